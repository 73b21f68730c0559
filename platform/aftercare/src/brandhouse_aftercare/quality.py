"""The check of what a model is worth: its own metric on the answers whose truth has come in.

Held against the gate's threshold and against what the version was registered with, and by slice against that slice's
own score. Red is what is worse by more than the brand allows, and by more than chance explains.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brandhouse_aftercare.checks import Finding, State, Watch
from brandhouse_aftercare.label_health import describe_labels, why_no_labels
from brandhouse_aftercare.label_joins import LabelBook, inputs_of
from brandhouse_aftercare.live_slices import LiveSlice, find_slices
from brandhouse_aftercare.log_files import to_ms
from brandhouse_aftercare.score_losses import Loss, Scored, improbable, loss_between, loss_to
from brandhouse_flows.scores import RESAMPLES, bootstrap
from brandhouse_flows.slices import SLICE_RESAMPLES
from brandhouse_flows.wording import say_interval, say_number, say_share, shorten
from brandhouse_shared.errors import ArtifactCorruptError
from brandhouse_shared.ledger.records import VersionRecord
from brandhouse_shared.metrics import METRICS

MOST_ROWS = 20_000
"""The newest labels; of more the intervals do not get narrower in any digit that is shown."""

HOLD_OUT = "hold-out"
THRESHOLD = "threshold"


@dataclass(frozen=True)
class Labelled:
    """Answers of one version with their truths, the newest labels last.

    Attributes:
        truth: Shape (rows,): numbers, or class codes from 0.
        prediction: Shape (rows,) or (rows, classes).
    """

    ids: list[str]
    at_ms: NDArray[np.int64]
    truth: NDArray[Any]
    prediction: NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """A measured score beside what it is held against.

    Attributes:
        name: `hold-out`, `threshold`, or `column = value` of a slice.
        tolerated_share: How much worse is still no matter.
    """

    name: str
    now: Scored
    rows: int
    before: float
    loss: Loss
    tolerated_share: float

    @property
    def matters(self) -> bool:
        """Whether the loss is larger than allowed, be it chance or not."""
        return self.loss.share > self.tolerated_share


class QualityCheck:
    """See the module."""

    name = "quality"

    def look(self, watch: Watch) -> Finding:
        """See `Check.look`."""
        refused = why_no_labels(watch)
        if refused is not None or watch.version is None:
            return Finding(self.name, *(refused or (State.NOT_APPLICABLE, "no version is in production")))
        try:
            labelled = labelled_answers(watch)
        except ArtifactCorruptError:
            return Finding(self.name, State.UNKNOWN, "the files of the version in production are missing or altered; see the check skew")
        rows, needed = len(labelled.truth), watch.model.monitoring.min_labels
        if rows < needed:
            return Finding(self.name, State.UNKNOWN, f"not enough data: {rows:,} of {needed:,} labelled answers", rows=rows)
        return _judge(watch, watch.version.record, labelled)


def labelled_answers(watch: Watch) -> Labelled:
    """The answers of the version in production whose labels came in during the watch's time.

    Raises:
        ArtifactCorruptError: If the version's files are missing or altered.
    """
    book = watch.labels
    number = -1 if watch.version is None else watch.version.number
    known = np.isfinite(book.values if book.probabilities is None else book.probabilities.sum(axis=1))
    mask = (book.version == number) & book.is_own & (book.label_at_ms >= to_ms(watch.since)) & known
    places = np.flatnonzero(mask)
    newest = places[np.argsort(book.label_at_ms[places], kind="stable")][-MOST_ROWS:]
    return Labelled(
        ids=book.ids.take(newest).to_pylist(),
        at_ms=book.at_ms[newest],
        truth=book.truth[newest] if book.probabilities is None else book.truth[newest].astype(np.int64),
        prediction=_predictions(book)[newest],
    )


def _predictions(book: LabelBook) -> NDArray[np.float64]:
    return book.values if book.probabilities is None else book.probabilities


def _judge(watch: Watch, record: VersionRecord, labelled: Labelled) -> Finding:
    whole = measure(record.metric, labelled.truth, labelled.prediction, watch.model.gates.confidence)
    if not whole.is_known:
        return Finding(
            QualityCheck.name, State.UNKNOWN, f"{record.metric} has no value on these labelled answers", rows=len(labelled.truth)
        )
    comparisons = compare_whole(watch, record, whole, len(labelled.truth))
    sliced, unseen, small = _slices(watch, record, labelled)
    comparisons += sliced
    is_red = [
        one.matters and rare
        for one, rare in zip(comparisons, improbable([one.loss.chance for one in comparisons], watch.alarm_share), strict=True)
    ]
    red = [one for one, bad in zip(comparisons, is_red, strict=True) if bad]
    said = [say_score(record, whole, len(labelled.truth)), *(_say_loss(record.metric, one) for one in red)]
    said += [] if red else [_say_no_loss(comparisons[0])]
    said += [f"{small:,} slices have too few labelled rows or no registered score"] if small else []
    said += [f"no slices by {', '.join(unseen)}: no public input fields"] if unseen else []
    facts = _facts(whole, comparisons, is_red, unseen, watch.alarm_share)
    state = State.RED if red else State.GREEN
    limit = allowed_score(watch, record)
    return Finding(
        QualityCheck.name, state, "; ".join([*said, describe_labels(watch.labels)]), whole.score, limit, len(labelled.truth), facts
    )


def measure(metric: str, truth: NDArray[Any], prediction: NDArray[np.float64], confidence: float, resamples: int = RESAMPLES) -> Scored:
    """Score answers, with a bootstrap interval."""
    report = bootstrap(metric, truth, prediction, None, confidence, resamples=resamples)
    return Scored(report.score, report.low, report.high, confidence)


def compare_whole(watch: Watch, record: VersionRecord, now: Scored, rows: int) -> list[Comparison]:
    """Hold a score against the hold-out's, and against the gate's threshold where one is declared."""
    registered = Scored(record.score, record.score_low, record.score_high, watch.model.gates.confidence)
    tolerated = watch.model.monitoring.quality_loss_share
    found = [Comparison(HOLD_OUT, now, rows, record.score, loss_between(record.metric, registered, now), tolerated)]
    threshold = watch.model.gates.threshold
    if threshold is not None:
        found.append(Comparison(THRESHOLD, now, rows, threshold, loss_to(record.metric, threshold, now), 0.0))
    return found


def allowed_score(watch: Watch, record: VersionRecord) -> float:
    """The score at which the tolerated loss is used up, or the gate's threshold if that is stricter."""
    sign = 1.0 if METRICS[record.metric].greater_is_better else -1.0
    allowed = record.score - sign * watch.model.monitoring.quality_loss_share * abs(record.score)
    threshold = watch.model.gates.threshold
    return allowed if threshold is None else sign * max(sign * allowed, sign * threshold)


def say_score(record: VersionRecord, now: Scored, rows: int) -> str:
    """Say a score with its interval and its rows."""
    interval = say_interval(now.low, now.high)
    return f"{record.metric} {say_number(now.score)} ({say_share(now.confidence)} interval {interval}) on {rows:,} labelled answers"


def _slices(watch: Watch, record: VersionRecord, labelled: Labelled) -> tuple[list[Comparison], list[str], int]:
    """Comparisons of slices, columns that are not seen, and how many slices could not be judged."""
    if not record.slices:
        return [], [], 0
    first, last = int(labelled.at_ms.min()), int(labelled.at_ms.max()) + 1
    inputs = inputs_of(watch, labelled.ids, first, last)
    live, unseen = find_slices(record.slices, watch.manifest.inputs, [inputs.get(one) for one in labelled.ids])
    compared = [_compare_slice(watch, record, labelled, one) for one in live]
    found = [one for one in compared if one is not None]
    return found, unseen, len(compared) - len(found)


def _compare_slice(watch: Watch, record: VersionRecord, labelled: Labelled, live: LiveSlice) -> Comparison | None:
    rows = int(live.mask.sum())
    confidence = watch.model.gates.confidence
    score, low, high = (_number(live.registered.get(name)) for name in ("score", "low", "high"))
    before = Scored(score, low, high, confidence)
    if rows < watch.model.gates.slice_min_rows or not before.is_known:
        return None
    now = measure(record.metric, labelled.truth[live.mask], labelled.prediction[live.mask], confidence, SLICE_RESAMPLES)
    if not now.is_known:
        return None
    name = f"{live.column} = {live.value}"
    tolerated = watch.model.monitoring.quality_loss_share
    return Comparison(name, now, rows, before.score, loss_between(record.metric, before, now), tolerated)


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _say_loss(metric: str, one: Comparison) -> str:
    against = {HOLD_OUT: "the hold-out", THRESHOLD: "the gate's threshold"}.get(one.name, "the same slice of the hold-out")
    where = "" if one.name in (HOLD_OUT, THRESHOLD) else f"where {shorten(one.name)}: {metric} {say_number(one.now.score)}, "
    return (
        f"{where}{say_share(round(one.loss.share, 3))} worse than {against} ({say_number(one.before)}); at most "
        f"{say_share(one.tolerated_share)} is allowed"
    )


def _say_no_loss(one: Comparison) -> str:
    word = "worse" if one.loss.loss > 0 else "better"
    told = f"{say_share(round(abs(one.loss.share), 3))} {word} than on the hold-out ({say_number(one.before)})"
    if one.matters:
        return f"{told}: more than {say_share(one.tolerated_share)}, which may still be chance"
    return told


def _facts(
    whole: Scored, comparisons: Sequence[Comparison], is_red: Sequence[bool], unseen: list[str], alarm_share: float
) -> dict[str, Any]:
    return {
        "score": whole.score,
        "low": whole.low,
        "high": whole.high,
        "confidence": whole.confidence,
        "alarm_share": alarm_share,
        "slices_unseen": unseen,
        "comparisons": [
            {
                "name": one.name,
                "rows": one.rows,
                "score": one.now.score,
                "before": one.before,
                "loss_share": one.loss.share,
                "chance": one.loss.chance,
                "red": red,
            }
            for one, red in zip(comparisons, is_red, strict=True)
        ],
    }
