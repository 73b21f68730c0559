"""The reference of `brandhouse readiness`, generated from its tests."""

from brandhouse_aftercare.readiness import SECTIONS, section_tests
from brandhouse_aftercare.readiness_answers import Test

PAGE = "docs/reference/readiness-tests.md"

_HEAD = """# The 28 readiness tests

Generated from `brandhouse_aftercare.readiness` by `python -m brandhouse_console.reference`; do not edit.

What the points mean, and what is never assumed: [how ready a model is](../readiness.md). Hours are what a person needs, roughly.
"""


def readiness_reference() -> str:
    """Return the page: a heading for each section, and a row for each test."""
    return "\n".join([_HEAD, *(_section(section) for section in SECTIONS)])


def _section(section: str) -> str:
    head = "| test | asks | what counts | how to get it | hours |\n|---|---|---|---|---|\n"
    return f"## {section.capitalize()}\n\n{head}" + "".join(_row(test) for test in section_tests(section))


def _row(test: Test) -> str:
    return f"| `{test.name}` | {test.asks} | {test.counts} | {test.advice} | {test.hours:g} |\n"
