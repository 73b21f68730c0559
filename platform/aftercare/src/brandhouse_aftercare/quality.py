"""The check of what a model is worth: its own metric on the answers whose truth has come in.

Held against the gate's threshold and against what the version was registered with, and by slice against that slice's
own score. Red is what is worse by more than the brand allows, and by more than chance explains.

The newest labels are looked at by themselves, too: among weeks of good ones a sudden change would take days to show, and a
fault that was repaired would stay red until its last label is out of sight.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brandhouse_aftercare.checks import Finding, State, Watch
from brandhouse_aftercare.label_health import describe_labels, why_no_labels
from brandhouse_aftercare.label_joins import LabelBook
from brandhouse_aftercare.log_files import to_ms
from brandhouse_aftercare.quality_comparisons import HOLD_OUT, THRESHOLD, Comparison, Labelled, LabelledSlices, compare_whole, measure
from brandhouse_aftercare.score_losses import Scored, improbable
from brandhouse_flows.wording import say_interval, say_number, say_share, shorten
from brandhouse_shared.errors import ArtifactCorruptError
from brandhouse_shared.ledger.records import VersionRecord
from brandhouse_shared.metrics import METRICS

MOST_ROWS = 20_000
"""The newest labels; of more the intervals do not get narrower in any digit that is shown."""


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
        label_at_ms=book.label_at_ms[newest],
        truth=book.truth[newest] if book.probabilities is None else book.truth[newest].astype(np.int64),
        prediction=_predictions(book)[newest],
    )


def _predictions(book: LabelBook) -> NDArray[np.float64]:
    return book.values if book.probabilities is None else book.probabilities


def _judge(watch: Watch, record: VersionRecord, labelled: Labelled) -> Finding:
    rows = len(labelled.truth)
    whole = measure(record.metric, labelled.truth, labelled.prediction, watch.model.gates.confidence)
    if not whole.is_known:
        return Finding(QualityCheck.name, State.UNKNOWN, f"{record.metric} has no value on these labelled answers", rows=rows)
    slices = LabelledSlices.of(watch, record, labelled)
    sliced = slices.compare_slices(np.ones(rows, dtype=np.bool_))
    comparisons = compare_whole(watch, record, whole, rows) + sliced
    comparisons += [one for time in slices.newest_parts for one in slices.compare_newest(time)]
    rare = improbable([one.loss.chance for one in comparisons], watch.alarm_share)
    worse = [one for one, is_rare in zip(comparisons, rare, strict=True) if one.matters and is_rare]
    over = [one for one in worse if slices.is_over(one, comparisons)]
    red = [one for one in worse if one not in over]
    said = [say_score(record, whole, rows), *(_say_loss(record.metric, one) for one in _once_each(red))]
    said += [_say_over(one, watch.until - watch.since) for one in over]
    said += [] if worse else [_say_no_loss(comparisons[0])]
    small = len(slices.live) - len(sliced)
    said += [f"{small:,} slices have too few labelled rows or no registered score"] if small else []
    said += [f"no slices by {', '.join(slices.unseen)}: no public input fields"] if slices.unseen else []
    facts = _facts(whole, comparisons, red, slices.unseen, watch.alarm_share)
    state = State.RED if red else State.GREEN
    said.append(describe_labels(watch.labels))
    return Finding(QualityCheck.name, state, "; ".join(said), whole.score, allowed_score(watch, record), rows, facts)


def _once_each(red: Sequence[Comparison]) -> list[Comparison]:
    """Of what is red over several times, the longest."""
    return list({one.name: one for one in reversed(red)}.values())[::-1]


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


def _say_loss(metric: str, one: Comparison) -> str:
    against = {HOLD_OUT: "the hold-out", THRESHOLD: "the gate's threshold"}.get(one.name, "the same slice of the hold-out")
    where = "" if one.is_whole else f"where {shorten(one.name)}: {metric} {say_number(one.now.score)}, "
    when = "" if one.newest is None else f"of the newest {_say_days(one.newest)} ({one.rows:,} labels): "
    return (
        f"{when}{where}{say_share(round(one.loss.share, 3))} worse than {against} ({say_number(one.before)}); at most "
        f"{say_share(one.tolerated_share)} is allowed"
    )


def _say_over(one: Comparison, time: timedelta) -> str:
    where = "" if one.is_whole else f" where {shorten(one.name)}"
    return f"it was worse{where} ({say_share(round(one.loss.share, 3))} over {_say_days(time)}), and its newest labels are well again"


def _say_days(time: timedelta) -> str:
    """Say a time in days."""
    days = time / timedelta(days=1)
    return f"{days:.0f} days" if days >= 3 else f"{days * 24:.0f} hours"


def _say_no_loss(one: Comparison) -> str:
    word = "worse" if one.loss.loss > 0 else "better"
    told = f"{say_share(round(abs(one.loss.share), 3))} {word} than on the hold-out ({say_number(one.before)})"
    if one.matters:
        return f"{told}: more than {say_share(one.tolerated_share)}, which may still be chance"
    return told


def _facts(
    whole: Scored, comparisons: Sequence[Comparison], red: Sequence[Comparison], unseen: list[str], alarm_share: float
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
                "newest_days": None if one.newest is None else round(one.newest / timedelta(days=1), 2),
                "rows": one.rows,
                "score": one.now.score,
                "before": one.before,
                "loss_share": one.loss.share,
                "chance": one.loss.chance,
                "red": one in red,
            }
            for one in comparisons
        ],
    }
