"""What a readiness test says: its points, what was found, and how old that is. A test never assumes: what is not found is no point."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # the other way round at run time: evidence knows nothing of answers
    from brandhouse_aftercare.readiness_evidence import Evidence
    from brandhouse_shared.ledger.records import Version

Section = Literal["data", "model", "infrastructure", "monitoring"]
Verdict = Literal["shown", "refuted", "unknown", "not_applicable"]

NO_VERSION = "no version is in production"


@dataclass(frozen=True, slots=True)
class Answer:
    """What one test found.

    Attributes:
        points: 0, 0.5 or 1.
        verdict: shown: there is evidence for it. refuted: there is evidence against it, which nothing done by hand outweighs.
            unknown: nothing was found. not_applicable: the brand says that it cannot be known; no point either.
        found: One sentence: which evidence, or what is missing.
        at: When the evidence arose; None: it has no time, or there is none.
        link: Where to look: a file of the repository, a version, or an entry of the ledger.
    """

    points: float
    verdict: Verdict
    found: str
    at: datetime | None = None
    link: str = ""


Rule = Callable[["Evidence"], Answer]


@dataclass(frozen=True, slots=True)
class Test:
    """One of the 28 tests of the ML Test Score (Breck et al. 2017), in words of our own.

    Attributes:
        name: `section.number`, in the paper's order.
        asks: What should hold.
        counts: What gives one point, and what half.
        advice: How to get the point.
        hours: Of a person's work for it, roughly.
    """

    __test__ = False  # its name begins as pytest's classes do

    name: str
    asks: str
    counts: str
    advice: str
    hours: float
    rule: Rule

    @property
    def section(self) -> str:
        """Its section, a `Section`."""
        return self.name.split(".")[0]


def full(found: str, at: datetime | None = None, link: str = "") -> Answer:
    """It is tested by itself, time and again, and holds."""
    return Answer(1.0, "shown", found, at, link)


def half(found: str, at: datetime | None = None, link: str = "") -> Answer:
    """It was tested by hand, or once, or in part."""
    return Answer(0.5, "shown", found, at, link)


def unknown(found: str, at: datetime | None = None, link: str = "") -> Answer:
    """Nothing says so."""
    return Answer(0.0, "unknown", found, at, link)


def refuted(found: str, at: datetime | None = None, link: str = "") -> Answer:
    """It was tested and does not hold."""
    return Answer(0.0, "refuted", found, at, link)


def not_applicable(found: str, at: datetime | None = None, link: str = "") -> Answer:
    """It cannot be known here."""
    return Answer(0.0, "not_applicable", found, at, link)


def of_production(rule: Callable[["Evidence", "Version"], Answer]) -> Rule:
    """Make a rule of one about the version in production: without one, nothing is known."""

    def asked(evidence: "Evidence") -> Answer:
        return unknown(NO_VERSION) if evidence.version is None else rule(evidence, evidence.version)

    asked.__name__ = rule.__name__
    return asked
