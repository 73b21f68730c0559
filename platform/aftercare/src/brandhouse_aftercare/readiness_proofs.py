"""Writes down what was tried, so that readiness finds it: entries of kind evidence.

Tests of a brand are its own code: they run in a process of their own, without the platform's settings and without any brand's secrets.
"""

import os
import re
import subprocess
import sys
from datetime import datetime

from brandhouse_shared.brands import Brand, code_digest
from brandhouse_shared.errors import BrandhouseError, join_bounded
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import Entry, EntryKind
from brandhouse_shared.names import ModelKey
from brandhouse_shared.settings import Settings

BRAND_TESTS = "brand_tests"
REBUILD = "rebuild"
BY_HAND = "by_hand."
"""Before the name of a readiness test: somebody did it by hand."""

TEST_SECONDS = 600
_PASSED = re.compile(r"(\d+) passed")
_FAILED = re.compile(r"(\d+) (?:failed|error)")


class ProofError(BrandhouseError):
    """What somebody did by hand cannot be written down so."""


def record_tests(settings: Settings, ledger: Ledger, brand: Brand, now: datetime) -> Entry:
    """Run a brand's tests and keep whether they pass, and on which code.

    Args:
        settings: Says where the workspace is, and who runs them.
        ledger: Where it is recorded.
        brand: Whose.
        now: Aware, UTC.
    """
    digest = code_digest(brand)
    state, passed, detail = _run(settings, brand)
    return ledger.record_entry(
        Entry(
            kind=EntryKind.EVIDENCE,
            brand=brand.name,
            name=BRAND_TESTS,
            state=state,
            value=float(passed),
            detail=detail,
            facts={"code_digest": digest},
            actor=settings.actor,
            at=now,
        )
    )


def record_by_hand(ledger: Ledger, key: ModelKey, test: str, result: str, link: str, now: datetime, actor: str, *, holds: bool) -> Entry:
    """Keep that somebody did one of the tests by hand.

    Args:
        ledger: Where it is recorded.
        key: Of which model.
        test: Its name, such as `model.7`.
        result: What came out, in one sentence.
        link: Where the results are documented.
        now: Aware, UTC.
        actor: Who did it.
        holds: Whether it turned out well.

    Raises:
        ProofError: If there is no such test, or no result, or no link.
    """
    from brandhouse_aftercare.readiness import TESTS

    if test not in TESTS:
        raise ProofError(f"{key}: unknown readiness test {test!r}; known: {join_bounded(TESTS, 28)}")
    if not result.strip() or not link.strip():
        raise ProofError(
            f"{key}: a test done by hand counts with its result and a link to where it is documented; give --result and --link"
        )
    return ledger.record_entry(
        Entry(
            kind=EntryKind.EVIDENCE,
            brand=key.brand,
            model=key.model,
            name=f"{BY_HAND}{test}",
            state="passed" if holds else "failed",
            detail=" ".join(result.split())[:500],
            facts={"link": link.strip()[:500]},
            actor=actor,
            at=now,
        )
    )


def record_rebuild(ledger: Ledger, key: ModelKey, number: int, state: str, detail: str, now: datetime, actor: str) -> Entry:
    """Keep what training a version again gave."""
    return ledger.record_entry(
        Entry(
            kind=EntryKind.EVIDENCE,
            brand=key.brand,
            model=key.model,
            number=number,
            name=REBUILD,
            state=state,
            detail=detail[:500],
            actor=actor,
            at=now,
        )
    )


def _run(settings: Settings, brand: Brand) -> tuple[str, int, str]:
    folder = brand.folder / "tests"
    if not folder.is_dir():
        return "missing", 0, "the brand has no tests"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)]
    try:
        done = subprocess.run(
            command, cwd=settings.root, env=_bare_environment(), capture_output=True, text=True, timeout=TEST_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return "failed", 0, f"the tests took more than {TEST_SECONDS} s"
    passed, failed = _count(_PASSED, done.stdout), _count(_FAILED, done.stdout)
    if done.returncode == 0 and passed:
        return "passed", passed, f"{passed} tests passed"
    return "failed", passed, f"{failed} failed and {passed} passed; pytest ended with {done.returncode}"


def _bare_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("BRANDHOUSE_")}


def _count(pattern: re.Pattern[str], output: str) -> int:
    lines = output.strip().splitlines()
    found = pattern.findall(lines[-1]) if lines else []
    return sum(int(one) for one in found)
