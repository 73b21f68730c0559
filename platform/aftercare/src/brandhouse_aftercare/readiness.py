"""How ready is a model for production? The 28 tests of the ML Test Score, each answered by evidence in repository and ledger.

After Breck, Cai, Nielsen, Salib, Sculley: The ML Test Score, 2017. One point for what is tested by itself time and again, half
for what was done by hand and documented, none for what nobody knows. The score is that of the weakest of the four sections.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, get_args

from brandhouse_aftercare import readiness_data, readiness_infrastructure, readiness_model, readiness_monitoring
from brandhouse_aftercare.readiness_answers import Answer, Section, Test, half
from brandhouse_aftercare.readiness_evidence import Evidence, read_evidence
from brandhouse_aftercare.readiness_proofs import BY_HAND
from brandhouse_shared.brands import Brand
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.names import ModelKey
from brandhouse_shared.settings import Settings

SECTIONS: tuple[str, ...] = get_args(Section)
TESTS: Mapping[str, Test] = {
    test.name: test
    for section in (readiness_data, readiness_model, readiness_infrastructure, readiness_monitoring)
    for test in section.TESTS
}
BY_HAND_DAYS = 180
"""What was done by hand longer ago counts no more."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """How ready one model is.

    Attributes:
        answers: Test to its answer, in the paper's order.
        now: When this was found.
    """

    key: ModelKey
    answers: Mapping[str, Answer]
    now: datetime

    @property
    def sections(self) -> dict[str, float]:
        """Points of each section, the weakest first."""
        points = {section: sum(self.answers[test.name].points for test in section_tests(section)) for section in SECTIONS}
        return dict(sorted(points.items(), key=lambda item: item[1]))

    @property
    def score(self) -> float:
        """Points of the weakest section."""
        return min(self.sections.values())

    @property
    def weakest(self) -> str:
        """The section that decides."""
        return next(iter(self.sections))

    @property
    def next_points(self) -> list[Test]:
        """Tests of the weakest section that can still gain, those with the most points an hour first."""
        open_tests = [test for test in section_tests(self.weakest) if self._gain(test) > 0]
        return sorted(open_tests, key=lambda test: test.hours / self._gain(test))

    def _gain(self, test: Test) -> float:
        answer = self.answers[test.name]
        return 0.0 if answer.verdict == "not_applicable" else 1.0 - answer.points

    def as_document(self) -> dict[str, Any]:
        """Plain values."""
        cheapest = self.next_points[0] if self.next_points else None
        return {
            "brand": self.key.brand,
            "model": self.key.model,
            "at": self.now.isoformat(),
            "score": self.score,
            "weakest": self.weakest,
            "sections": self.sections,
            "next": cheapest and {"test": cheapest.name, "gain": self._gain(cheapest), "hours": cheapest.hours, "do": cheapest.advice},
            "tests": [self._document(test) for test in TESTS.values()],
        }

    def _document(self, test: Test) -> dict[str, Any]:
        answer = self.answers[test.name]
        return {
            "test": test.name,
            "asks": test.asks,
            "points": answer.points,
            "verdict": answer.verdict,
            "found": answer.found,
            "at": answer.at and answer.at.isoformat(),
            "age_days": age_days(answer, self.now),
            "link": answer.link,
            "hours": test.hours,
            "advice": test.advice,
        }


def section_tests(section: str) -> Sequence[Test]:
    """The seven tests of a section."""
    return [test for test in TESTS.values() if test.section == section]


def measure_readiness(settings: Settings, ledger: Ledger, brands: Iterable[Brand], now: datetime) -> list[Readiness]:
    """Judge all models of these brands; reads only.

    Args:
        settings: Where things are.
        ledger: What happened.
        brands: Those that can be read.
        now: Aware, UTC.
    """
    return [judge(evidence) for evidence in read_evidence(settings, ledger, brands, now)]


def judge(evidence: Evidence) -> Readiness:
    """Answer all tests of one model."""
    return Readiness(evidence.key, {name: answer_test(test, evidence) for name, test in TESTS.items()}, evidence.now)


def answer_test(test: Test, evidence: Evidence) -> Answer:
    """Answer one test; what was done by hand gives half a point where nothing says otherwise."""
    answer = test.rule(evidence)
    note = evidence.proofs.get(f"{BY_HAND}{test.name}")
    if note is None or answer.points or answer.verdict == "refuted":
        return answer
    if note.state != "passed" or not evidence.is_fresh(note.at, BY_HAND_DAYS):
        return answer
    return half(f"by hand, {note.actor}: {note.detail}", note.at, str(note.facts.get("link", "")))


def age_days(answer: Answer, now: datetime) -> float | None:
    """How old the evidence is; None: it has no time."""
    return None if answer.at is None else round(max(0.0, (now - answer.at) / timedelta(days=1)), 1)
