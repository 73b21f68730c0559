"""What one process has seen of one trial: a version in canary or shadow, beside the one in production.

Only counts and prediction ids are kept, no row and no answer. `document` of several processes are put together by `trial_reports`.
"""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from brandhouse_serving.sequential import EXCESSES, mean_gains
from brandhouse_serving.trial_keys import KeySet
from brandhouse_serving.trial_times import Times, quantile_ms
from brandhouse_shared.ledger.stages import Stage
from brandhouse_shared.names import VersionKey

TIMED_PRODUCTION = 200
"""Answers of production after which it is known how long they usually take."""

TIMED_CANARY = 20
"""A canary's first answers are not judged: a version that was just loaded is slower for a while."""

SLOW_FACTOR = 2.0
"""Without a latency budget an answer is slow if it took this many times as long as 95 % of production's."""

LEAST_SLOW_MS = 5.0
"""Without a latency budget nothing faster is called slow: a tenth of a millisecond instead of a twentieth harms nobody."""

MAX_PAIRS = 200
"""Different pairs of labels that are counted one by one; the rest counts together."""

MAX_EXAMPLES = 20
MAX_REASONS = 20

DROPPED = "too many at once"
REPEATED = "the same request again"
NOT_ASKED = (DROPPED, REPEATED)
"""Why a request was left out without asking the other version. Any other reason is a failure of that version."""


@dataclass(frozen=True, slots=True)
class TrialRules:
    """What a trial is judged by. With other rules it is another trial.

    Attributes:
        max_disagreement_share: Of the compared rows; more is harm.
        tolerance: Difference of two numbers up to which they agree, in the target's unit. None: by `tolerance_share`.
        tolerance_share: The same as a share of production's number, or of the typical one if that is greater.
        budget_ms: Milliseconds one row may take; None: as production usually takes.
    """

    max_disagreement_share: float
    tolerance: float | None
    tolerance_share: float
    budget_ms: float | None


@dataclass(frozen=True, slots=True)
class Trial:
    """Which version is on trial beside which, since when and by which rules."""

    version: VersionKey
    stage: Stage
    share: float | None
    production: int
    since: int
    rules: TrialRules


@dataclass(slots=True)
class Side:
    """Requests of canary or production, and how they went.

    Attributes:
        answers: Requests that it answered.
        failures: Requests that it was to answer and could not.
        judged: Answers whose duration was judged.
        slow: Of these, too slow.
    """

    answers: int = 0
    failures: int = 0
    judged: int = 0
    slow: int = 0
    times: Times = field(default_factory=Times)

    def document(self) -> dict[str, Any]:
        """As plain values."""
        counts = {"answers": self.answers, "failures": self.failures, "judged": self.judged, "slow": self.slow}
        return {**counts, "times": list(self.times.counts)}


@dataclass(frozen=True, slots=True)
class Comparison:
    """One request, answered by both.

    Attributes:
        rows: How many rows were compared.
        differing: Of these, how many answers differ.
        differences: Per row, how far apart: of numbers in the target's unit, of classes the largest difference of a probability.
        pairs: Per row production's label and the other's; None for numbers.
        ids: Prediction ids of the rows that differ.
        milliseconds: How long the version that was asked for comparison took.
    """

    rows: int
    differing: int
    differences: Sequence[float]
    pairs: Sequence[tuple[Any, Any]] | None
    ids: Sequence[str]
    milliseconds: float


class Evidence:
    """Counts of one trial in one process. The event loop adds what was answered, the comparer's thread what was compared."""

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        self.begun_at = datetime.now(UTC)
        self.changes = 0
        self.problem = ""
        self._canary, self._production = Side(), Side()
        self._errors, self._slow = KeySet(), KeySet()
        self._slow_ms: float | None = None
        self._reasons: dict[str, int] = {}
        self._compared = _Compared()

    def note_canary(self, key: int, milliseconds: float, rows: int) -> None:
        """Count an answer of the canary."""
        self._canary.answers += 1
        self._judge(self._canary, key, milliseconds, rows, is_canary=True)

    def note_canary_failure(self, key: int, reason: str) -> None:
        """Count a request that the canary could not answer and production could."""
        self.changes += 1
        self._canary.failures += 1
        _count(self._reasons, reason, MAX_REASONS)
        self._errors.add(key, is_canary=True)

    def note_production(self, key: int, milliseconds: float, rows: int, *, failed: bool) -> None:
        """Count a request that was production's."""
        if failed:
            self.changes += 1
            self._production.failures += 1
            self._errors.add(key, is_canary=False)
            return
        self._production.answers += 1
        self._judge(self._production, key, milliseconds, rows, is_canary=False)

    def note_comparison(self, comparison: Comparison) -> None:
        """Count a request that both answered."""
        self.changes += 1
        self._compared.add(comparison, self.trial.rules.max_disagreement_share)

    def note_uncompared(self, why: str) -> None:
        """Count a request that was not compared: one of `NOT_ASKED`, or why the version that was asked could not answer."""
        self.changes += 1
        _count(self._compared.uncompared, why, MAX_REASONS)

    def note_problem(self, problem: str) -> None:
        """Say why this process has not loaded the version; empty: it has."""
        if problem != self.problem:
            self.changes += 1
            self.problem = problem

    def outcomes(self) -> dict[str, int]:
        """Requests so far, by what became of them, in the words of the metrics of the stage."""
        if self.trial.stage is Stage.CANARY:
            return {"answered": self._canary.answers, "failed": self._canary.failures}
        compared = self._compared
        skipped = sum(compared.uncompared.get(why, 0) for why in NOT_ASKED)
        return {
            "agree": compared.requests - compared.disagreeing,
            "disagree": compared.disagreeing,
            "failed": sum(list(compared.uncompared.values())) - skipped,
            "skipped": skipped,
        }

    def document(self, worker: str) -> dict[str, Any]:
        """Everything as plain values, to be put together with other processes'."""
        trial = self.trial
        return {
            "brand": trial.version.brand,
            "model": trial.version.model,
            "version": trial.version.number,
            "stage": str(trial.stage),
            "share": trial.share,
            "production": trial.production,
            "since": trial.since,
            "rules": {name: getattr(trial.rules, name) for name in TrialRules.__slots__},
            "worker": worker,
            "begun_at": self.begun_at.isoformat(),
            "problem": self.problem,
            "written_at": datetime.now(UTC).isoformat(),
            "canary": self._canary.document(),
            "beside": self._production.document(),
            "errors": self._errors.document(),
            "slow": self._slow.document(),
            "slow_ms": self._slow_ms,
            "reasons": dict(self._reasons),
            "compared": self._compared.document(),
        }

    def _judge(self, side: Side, key: int, milliseconds: float, rows: int, *, is_canary: bool) -> None:
        self.changes += 1
        side.times.add(milliseconds)
        limit = self._limit_ms(rows)
        if limit is None or self._canary.answers <= TIMED_CANARY:
            return
        side.judged += 1
        if milliseconds > limit:
            side.slow += 1
            self._slow.add(key, is_canary=is_canary)

    def _limit_ms(self, rows: int) -> float | None:
        """How long an answer may take; None: not known yet. Set before the answers that it judges, the same for both sides."""
        if self.trial.rules.budget_ms is not None:
            return self.trial.rules.budget_ms * rows
        if self._slow_ms is None and self._production.answers >= TIMED_PRODUCTION:
            usual = quantile_ms(self._production.times.counts, 0.95)
            self._slow_ms = max(LEAST_SLOW_MS, SLOW_FACTOR * (usual or 0.0))
            return None
        return self._slow_ms


class _Compared:
    """Sums over comparisons. Its dictionaries have texts as keys: copying them is one step, whichever thread adds meanwhile."""

    def __init__(self) -> None:
        self.requests = self.disagreeing = self.rows = self.differing = 0
        self.sum_difference = self.max_difference = 0.0
        self.times, self.differences = Times(), Times()
        self.gains = [0.0] * len(EXCESSES)
        self.pairs: dict[str, int] = {}
        self.uncompared: dict[str, int] = {}
        self.examples: deque[str] = deque(maxlen=MAX_EXAMPLES)

    def add(self, one: Comparison, limit: float) -> None:
        self.requests += 1
        self.rows += one.rows
        self.differing += one.differing
        self.disagreeing += one.differing > 0
        self.times.add(one.milliseconds)
        self.sum_difference += sum(one.differences)
        self.max_difference = max(self.max_difference, *one.differences)
        for difference in one.differences:
            self.differences.add(difference)
        self.gains = [sum(pair) for pair in zip(self.gains, mean_gains(one.differing / one.rows, limit), strict=True)]
        for production, other in one.pairs or ():
            _count(self.pairs, f"{production}\n{other}", MAX_PAIRS)
        self.examples.extend(one.ids)

    def document(self) -> dict[str, Any]:
        return {
            "requests": self.requests,
            "rows": self.rows,
            "differing": self.differing,
            "sum_difference": self.sum_difference,
            "max_difference": self.max_difference,
            "times": list(self.times.counts),
            "differences": list(self.differences.counts),
            "gains": list(self.gains),
            "pairs": dict(self.pairs),
            "uncompared": dict(self.uncompared),
            "examples": list(self.examples),
        }


OTHERS = "others"


def _count(counts: dict[str, int], name: str, most: int) -> None:
    if name not in counts and len(counts) >= most:
        name = OTHERS
    counts[name] = counts.get(name, 0) + 1


def milliseconds_since(started: float) -> float:
    """Milliseconds since `time.perf_counter()` was `started`."""
    return (time.perf_counter() - started) * 1000
