"""The reference of `brandhouse check`, generated from the catalogue of rules."""

from itertools import groupby

from brandhouse_flows.checks.catalogue import RULES, Rule

_HEAD = """# Rules of `brandhouse check`

Generated from `brandhouse_flows.checks.catalogue` by `python -m brandhouse_console.reference`; do not edit.

An error fails the check, a warning is shown. [How to use the command](../how-to/check.md).
"""


def rule_reference() -> str:
    """Return the page: a heading for each subject, and for each rule what it asks, why, and how to mend a brand."""
    groups = groupby(RULES.values(), key=lambda rule: rule.subject)
    return "\n".join([_HEAD, *(_section(subject, list(rules)) for subject, rules in groups)])


def _section(subject: str, rules: list[Rule]) -> str:
    return "\n".join([f"## {subject}\n", *(_entry(rule) for rule in rules)])


def _entry(rule: Rule) -> str:
    return f"### {rule.id}\n\n{rule.severity.capitalize()}. {rule.asks}\n\n- **Why**: {rule.reason}\n- **Fix**: {rule.fix}.\n"
