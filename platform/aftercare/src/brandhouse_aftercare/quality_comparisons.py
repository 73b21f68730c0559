"""Scores of labelled answers beside what a version was registered with: of all, of the newest, and by slice."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brandhouse_aftercare.checks import Watch
from brandhouse_aftercare.label_joins import inputs_of
from brandhouse_aftercare.live_slices import LiveSlice, find_slices
from brandhouse_aftercare.log_files import to_ms
from brandhouse_aftercare.score_losses import Loss, Scored, loss_between, loss_to
from brandhouse_flows.scores import RESAMPLES, bootstrap
from brandhouse_flows.slices import SLICE_RESAMPLES
from brandhouse_shared.ledger.records import VersionRecord

NEWEST_SHARES = (1 / 4, 1 / 16)
"""Of the time that is looked at: of four weeks the newest week, and not quite two days."""

HOLD_OUT = "hold-out"
THRESHOLD = "threshold"


@dataclass(frozen=True)
class Labelled:
    """Answers of one version with their truths.

    Attributes:
        at_ms: When they were answered, shape (rows,).
        label_at_ms: When their labels came, shape (rows,).
        truth: Shape (rows,): numbers, or class codes from 0.
        prediction: Shape (rows,) or (rows, classes).
    """

    ids: list[str]
    at_ms: NDArray[np.int64]
    label_at_ms: NDArray[np.int64]
    truth: NDArray[Any]
    prediction: NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """A measured score beside what it is held against.

    Attributes:
        name: `hold-out`, `threshold`, or `column = value` of a slice.
        tolerated_share: How much worse is still no matter.
        newest: Of the newest labels alone: in what time they came. None: of all.
    """

    name: str
    now: Scored
    rows: int
    before: float
    loss: Loss
    tolerated_share: float
    newest: timedelta | None = None

    @property
    def matters(self) -> bool:
        """Whether the loss is larger than allowed, be it chance or not."""
        return self.loss.share > self.tolerated_share

    @property
    def is_whole(self) -> bool:
        """Whether it is of no slice."""
        return self.name in (HOLD_OUT, THRESHOLD)


@dataclass(frozen=True)
class LabelledSlices:
    """Labelled answers and the slices among them, to be compared with a version's record.

    Attributes:
        unseen: Columns whose slices cannot be found.
    """

    watch: Watch
    record: VersionRecord
    labelled: Labelled
    live: list[LiveSlice]
    unseen: list[str]

    @classmethod
    def of(cls, watch: Watch, record: VersionRecord, labelled: Labelled) -> "LabelledSlices":
        """Find the slices."""
        if not record.slices:
            return cls(watch, record, labelled, [], [])
        first, last = int(labelled.at_ms.min()), int(labelled.at_ms.max()) + 1
        inputs = inputs_of(watch, labelled.ids, first, last)
        return cls(watch, record, labelled, *find_slices(record.slices, watch.manifest.inputs, [inputs.get(one) for one in labelled.ids]))

    @cached_property
    def newest_parts(self) -> dict[timedelta, NDArray[np.bool_]]:
        """The newest labels, the longer time first: each part large enough to be judged, and so is what it leaves out."""
        needed = self.watch.model.monitoring.min_labels
        times = [(self.watch.until - self.watch.since) * share for share in NEWEST_SHARES]
        parts = {time: self.labelled.label_at_ms >= to_ms(self.watch.until - time) for time in times}
        return {time: rows for time, rows in parts.items() if rows.sum() >= needed and (~rows).sum() >= needed}

    def compare_newest(self, time: timedelta) -> list[Comparison]:
        """Compare one of the newest parts, as a whole and by slice."""
        rows = self.newest_parts[time]
        now = self._measure(rows, RESAMPLES)
        found = compare_whole(self.watch, self.record, now, int(rows.sum()), time) if now.is_known else []
        return found + self.compare_slices(rows, time)

    def compare_slices(self, rows: NDArray[np.bool_], newest: timedelta | None = None) -> list[Comparison]:
        """Compare the slices among some rows; those that are too small, or of no known score, are left out."""
        found = [self._compare_slice(one, one.mask & rows, newest) for one in self.live]
        return [one for one in found if one is not None]

    def is_over(self, one: Comparison, others: Sequence[Comparison]) -> bool:
        """Whether a loss over all labels is one of the older alone.

        The newest part loses nothing that matters, and is better than the older one by more than chance explains.
        """
        newest = next((other for other in others if other.name == one.name and other.newest is not None), None)
        if one.newest is not None or newest is None or newest.newest is None or newest.matters:
            return False
        older = ~self.newest_parts[newest.newest]
        for part in self.live:
            if _name(part) == one.name:
                older &= part.mask
        before = self._measure(older, SLICE_RESAMPLES)
        return before.is_known and loss_between(self.record.metric, newest.now, before).chance < 1 - before.confidence

    def _compare_slice(self, live: LiveSlice, rows: NDArray[np.bool_], newest: timedelta | None) -> Comparison | None:
        gates = self.watch.model.gates
        score, low, high = (_number(live.registered.get(name)) for name in ("score", "low", "high"))
        before = Scored(score, low, high, gates.confidence)
        if rows.sum() < gates.slice_min_rows or not before.is_known:
            return None
        now = self._measure(rows, SLICE_RESAMPLES)
        if not now.is_known:
            return None
        loss = loss_between(self.record.metric, before, now)
        return Comparison(_name(live), now, int(rows.sum()), before.score, loss, self.watch.model.monitoring.quality_loss_share, newest)

    def _measure(self, rows: NDArray[np.bool_], resamples: int) -> Scored:
        truth, prediction = self.labelled.truth[rows], self.labelled.prediction[rows]
        return measure(self.record.metric, truth, prediction, self.watch.model.gates.confidence, resamples)


def measure(metric: str, truth: NDArray[Any], prediction: NDArray[np.float64], confidence: float, resamples: int = RESAMPLES) -> Scored:
    """Score answers, with a bootstrap interval."""
    report = bootstrap(metric, truth, prediction, None, confidence, resamples=resamples)
    return Scored(report.score, report.low, report.high, confidence)


def compare_whole(watch: Watch, record: VersionRecord, now: Scored, rows: int, newest: timedelta | None = None) -> list[Comparison]:
    """Hold a score against the hold-out's, and against the gate's threshold where one is declared."""
    registered = Scored(record.score, record.score_low, record.score_high, watch.model.gates.confidence)
    tolerated = watch.model.monitoring.quality_loss_share
    found = [Comparison(HOLD_OUT, now, rows, record.score, loss_between(record.metric, registered, now), tolerated, newest)]
    threshold = watch.model.gates.threshold
    if threshold is not None:
        found.append(Comparison(THRESHOLD, now, rows, threshold, loss_to(record.metric, threshold, now), 0.0, newest))
    return found


def _name(live: LiveSlice) -> str:
    return f"{live.column} = {live.value}"


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)
