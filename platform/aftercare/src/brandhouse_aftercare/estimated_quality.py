"""The check of what a model is probably worth while the truth is not there: an estimate, and it says so.

It looks at answers without a label, with what the version's own hold-out taught about its probabilities or its errors
(`expected_scores`). It sees rows that are harder than those of the hold-out. It does not see that the same inputs have
come to mean something else: for that there is only the truth, and `quality`.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brandhouse_aftercare.checks import Finding, State, Watch
from brandhouse_aftercare.expected_scores import Estimate, Known, estimate_score
from brandhouse_aftercare.label_health import why_no_labels
from brandhouse_aftercare.quality import allowed_score
from brandhouse_aftercare.quality_comparisons import HOLD_OUT, compare_whole
from brandhouse_aftercare.score_losses import Scored, improbable
from brandhouse_flows.wording import say_interval, say_number, say_share
from brandhouse_shared.errors import ArtifactCorruptError
from brandhouse_shared.ledger.records import Version
from brandhouse_shared.metrics import Task

MIN_HOLD_OUT_ROWS = 50
"""Fewer rows teach neither how sure a model may be nor how far off it is."""

SEES_NOT = "it cannot see whether the same inputs have come to mean something else"


class EstimatedQualityCheck:
    """See the module."""

    name = "estimated_quality"

    def look(self, watch: Watch) -> Finding:
        """See `Check.look`."""
        version = watch.version
        if version is None:
            return Finding(self.name, State.NOT_APPLICABLE, "no version is in production")
        if not watch.brand.config.capabilities.may_store_predictions:
            return Finding(self.name, State.NOT_APPLICABLE, "the brand keeps no answers (may_store_predictions = false)")
        known = find_known(watch, version)
        if isinstance(known, str):
            return Finding(self.name, State.UNKNOWN, known)
        try:
            prediction, total = answers_without_label(watch, version)
        except ArtifactCorruptError:
            return Finding(self.name, State.UNKNOWN, "the files of the version in production are missing or altered; see the check skew")
        needed = watch.model.monitoring.min_rows
        if total >= needed and len(prediction) < needed:
            return Finding(
                self.name, State.NOT_APPLICABLE, "nearly all answers have their label; see the check quality", rows=len(prediction)
            )
        if len(prediction) < needed:
            detail = f"not enough data: {len(prediction):,} of {needed:,} answers without a label"
            return Finding(self.name, State.UNKNOWN, detail, rows=len(prediction))
        return _judge(watch, version, known, prediction)


def find_known(watch: Watch, version: Version) -> Known | str:
    """The answers that the version's training kept of its hold-out, or why there are none."""
    result = watch.ledger.results(version.record.key).get(version.record.run_id)
    if version.record.kind == "baseline" or result is None or result.number != version.number:
        return f"{version.key} keeps no answers on its hold-out: it is a baseline, or older than this release; train it again"
    from brandhouse_flows.run_details import find_details  # takes two seconds, and most monitors end above

    details = find_details(watch.home, version.record.key, result.details_digest)
    if details is None or details.truth is None or details.prediction is None:
        return f"the answers of {version.key} on its hold-out are not on this machine (experiments/); train it again"
    if len(details.truth) < MIN_HOLD_OUT_ROWS:
        return f"not enough data: the hold-out of {version.key} has {len(details.truth)} of {MIN_HOLD_OUT_ROWS} rows"
    groups = None if details.groups is None else np.unique(details.groups, return_inverse=True)[1].astype(np.int64)
    return Known(details.truth, details.prediction.astype(np.float64), groups)


def answers_without_label(watch: Watch, version: Version) -> tuple[NDArray[np.float64], int]:
    """The newest answers of the version that have no label, and how many it has in all.

    Raises:
        ArtifactCorruptError: If labels are looked for, and the version's files are missing or altered.
    """
    import pyarrow.compute as pc

    answers = watch.answers
    own = answers.by_production(version.number)
    labelled = np.zeros(answers.rows, dtype=np.bool_)
    if why_no_labels(watch) is None:
        labelled = np.asarray(pc.is_in(answers.ids, value_set=watch.labels.ids.combine_chunks()).to_numpy(), dtype=np.bool_)
    if version.record.task is Task.REGRESSION:
        values = answers.value
        return values[own & ~labelled & np.isfinite(values)], int(own.sum())
    return answers.probabilities(own & ~labelled, len(watch.manifest.classes)), int(own.sum())


def _judge(watch: Watch, version: Version, known: Known, prediction: NDArray[np.float64]) -> Finding:
    record, confidence = version.record, watch.model.gates.confidence
    estimate = estimate_score(record.metric, known, prediction, confidence, record.seed)
    if not math.isfinite(estimate.score):
        detail = f"{record.metric} cannot be estimated on these answers"
        return Finding(EstimatedQualityCheck.name, State.UNKNOWN, detail, rows=len(prediction))
    comparisons = compare_whole(watch, record, _as_scored(estimate, confidence), estimate.rows)
    rare = improbable([one.loss.chance for one in comparisons], watch.alarm_share)
    red = [one for one, improbable_ in zip(comparisons, rare, strict=True) if one.matters and improbable_]
    first = comparisons[0]
    word = "worse" if first.loss.loss > 0 else "better"
    detail = (
        f"estimate, not a measurement: {record.metric} {say_number(estimate.score)} ({say_share(confidence)} interval "
        f"{say_interval(estimate.low, estimate.high)}) on {len(prediction):,} answers without a label, "
        f"{say_share(round(abs(first.loss.share), 3))} {word} than on the hold-out ({say_number(first.before)}); {SEES_NOT}"
    )
    facts = _facts(estimate, confidence, {one.name: one.loss.share for one in comparisons}, watch.alarm_share)
    state = State.RED if red else State.GREEN
    return Finding(EstimatedQualityCheck.name, state, detail, estimate.score, allowed_score(watch, record), len(prediction), facts)


def _as_scored(estimate: Estimate, confidence: float) -> Scored:
    return Scored(estimate.score, estimate.low, estimate.high, confidence)


def _facts(estimate: Estimate, confidence: float, shares: dict[str, float], alarm_share: float) -> dict[str, Any]:
    return {
        "is_estimate": True,
        "score": estimate.score,
        "low": estimate.low,
        "high": estimate.high,
        "confidence": confidence,
        "alarm_share": alarm_share,
        "rows_used": estimate.rows,
        "loss_share": shares[HOLD_OUT],
    }
