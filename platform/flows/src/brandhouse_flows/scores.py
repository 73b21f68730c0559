"""How good predictions are: every metric of `brandhouse_shared.metrics`, with a confidence interval.

Predictions are 1-D numbers for regression and (rows, classes) probabilities for classes; of a binary task column 1 is
the positive class. Point scores are scikit-learn's. Intervals are percentile bootstrap intervals (Efron and Tibshirani,
An Introduction to the Bootstrap, 1993, chapter 13); differences are paired: all predictions are scored on the same
resampled rows.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brandhouse_flows.resampling import clipped, draw_weights, normalised, resample_scores
from brandhouse_shared.metrics import METRICS, Task

Floats = NDArray[np.float64]

RESAMPLES = 400
"""Enough for a 95 % percentile interval to be steady in its second digit, at a few milliseconds a prediction."""

METHOD = "percentile bootstrap (Efron and Tibshirani 1993), paired on the same hold-out"

_NEEDS_BOTH_CLASSES = frozenset({"roc_auc", "average_precision"})


@dataclass(frozen=True)
class Difference:
    """Another prediction (a baseline, the version in production) on the same rows.

    Attributes:
        gain: How much better the judged prediction is, in the metric's unit; positive is better whatever the direction.
        low: Lower end of the gain's interval.
        high: Upper end of the gain's interval.
        score: The other prediction's own score.
        score_low: Lower end of its interval.
        score_high: Upper end of its interval.
    """

    gain: float
    low: float
    high: float
    score: float
    score_low: float
    score_high: float


@dataclass(frozen=True)
class ScoreReport:
    """The score of one prediction on a hold-out, with its interval and what it gains on others.

    Attributes:
        metric: Name of the metric.
        score: NaN if the metric is undefined on these rows; `reason` says why.
        low: Lower end of the two-sided interval; NaN if unknown.
        high: Upper end.
        confidence: Of every interval in the report, such as 0.95.
        rows: Rows of the hold-out.
        groups: Groups that were resampled as wholes; None if rows were.
        differences: Name of another prediction to the comparison with it.
        reason: Why the score is unknown; empty if it is known.
        method: Source of the intervals.
    """

    metric: str
    score: float
    low: float
    high: float
    confidence: float
    rows: int
    groups: int | None = None
    differences: Mapping[str, Difference] = field(default_factory=dict)
    reason: str = ""
    method: str = METHOD

    @property
    def greater_is_better(self) -> bool:
        """Direction of the metric."""
        return METRICS[self.metric].greater_is_better


def score(metric_name: str, truth: NDArray[Any], prediction: NDArray[Any]) -> float:
    """Compute one metric with scikit-learn.

    Args:
        metric_name: A key of `METRICS`.
        truth: Shape (rows,): numbers, or class codes from 0.
        prediction: Shape (rows,) for regression, (rows, classes) probabilities otherwise.

    Returns:
        The score, or NaN where the metric is undefined on these rows (`undefined_reason` says why).

    Raises:
        ValueError: If the shapes do not fit the metric.
    """
    prediction = _checked(metric_name, truth, prediction)
    return math.nan if undefined_reason(metric_name, truth, prediction) else float(_compute(metric_name, truth, prediction))


def undefined_reason(metric_name: str, truth: NDArray[Any], prediction: NDArray[Any]) -> str:
    """Say why the metric has no value on these rows; empty if it has one."""
    if not len(truth):
        return "there are no rows"
    if not np.isfinite(prediction).all():
        return "the prediction holds values that are not finite"
    if metric_name in _NEEDS_BOTH_CLASSES and np.ptp(truth) == 0:
        return "all rows are of one class"
    if metric_name == "f1" and not truth.any() and not (prediction.argmax(axis=1) == 1).any():
        return "no row is positive, and none is predicted so"
    if metric_name == "r2" and np.ptp(truth) == 0:
        return "the target is the same in all rows"
    if metric_name == "mape" and not truth.all():
        return "the target is zero in some rows, and a share of zero is undefined; use mae"
    return ""


def bootstrap(
    metric_name: str,
    truth: NDArray[Any],
    prediction: NDArray[Any],
    others: Mapping[str, NDArray[Any]] | None = None,
    confidence: float = 0.95,
    seed: int = 0,
    resamples: int = RESAMPLES,
    groups: NDArray[Any] | None = None,
) -> ScoreReport:
    """Score a prediction with an interval, and its gain over others with theirs.

    Args:
        metric_name: A key of `METRICS`.
        truth: Shape (rows,): numbers, or class codes from 0.
        prediction: The prediction to judge.
        others: Further predictions of the same rows, by name.
        confidence: Of the two-sided intervals.
        seed: Of the resampling; the same seed gives the same report.
        resamples: Number of bootstrap resamples.
        groups: Shape (rows,): group of each row. Given for a grouped split: whole groups are resampled, since rows of one
            group are not independent and an interval over rows would be too narrow.
    """
    names = list(others or {})
    predictions = [_checked(metric_name, truth, values) for values in (prediction, *(others or {}).values())]
    codes, count = (None, None) if groups is None else _group_codes(groups)
    samples = _resampled(metric_name, truth, predictions, codes, seed, resamples)
    scores = [score(metric_name, truth, values) for values in predictions]
    sign = 1.0 if METRICS[metric_name].greater_is_better else -1.0
    differences = {}
    for position, name in enumerate(names, start=1):
        gains = _interval(sign * (samples[0] - samples[position]), confidence)
        own = _interval(samples[position], confidence)
        differences[name] = Difference(sign * (scores[0] - scores[position]), *gains, scores[position], *own)
    low, high = _interval(samples[0], confidence)
    reason = undefined_reason(metric_name, truth, predictions[0])
    return ScoreReport(metric_name, scores[0], low, high, confidence, len(truth), count, differences, reason)


def _checked(metric_name: str, truth: NDArray[Any], prediction: NDArray[Any]) -> Floats:
    values = np.asarray(prediction, dtype=np.float64)
    wanted = 1 if Task.REGRESSION in METRICS[metric_name].tasks else 2
    if values.ndim != wanted or len(values) != len(truth):
        shape = "(rows,)" if wanted == 1 else "(rows, classes)"
        raise ValueError(f"{metric_name} needs a prediction of shape {shape} for {len(truth)} rows, not {values.shape}")
    return values if wanted == 1 else normalised(values)


def _compute(metric_name: str, truth: NDArray[Any], prediction: Floats) -> float:
    from sklearn import metrics

    if prediction.ndim == 1:
        match metric_name:
            case "rmse":
                return float(metrics.root_mean_squared_error(truth, prediction))
            case "mae":
                return float(metrics.mean_absolute_error(truth, prediction))
            case "mape":
                return float(metrics.mean_absolute_percentage_error(truth, prediction))
            case "r2":
                return float(metrics.r2_score(truth, prediction))
    match metric_name:
        case "roc_auc":
            return float(metrics.roc_auc_score(truth, prediction[:, 1]))
        case "average_precision":
            return float(metrics.average_precision_score(truth, prediction[:, 1]))
        case "brier":
            return float(np.mean((prediction[:, 1] - truth) ** 2))  # scikit-learn refuses rows of one class; the formula is the same
        case "log_loss":
            return float(metrics.log_loss(truth, clipped(prediction), labels=np.arange(prediction.shape[1])))
    return _label_score(metric_name, truth, prediction.argmax(axis=1))


def _label_score(metric_name: str, truth: NDArray[Any], labels: NDArray[Any]) -> float:
    from sklearn import metrics

    match metric_name:
        case "accuracy":
            return float(metrics.accuracy_score(truth, labels))
        case "balanced_accuracy":
            return float(metrics.recall_score(truth, labels, labels=np.unique(truth), average="macro", zero_division=0))
        case "f1":
            return float(metrics.f1_score(truth, labels, pos_label=1, zero_division=0))
        case "macro_f1":
            return float(metrics.f1_score(truth, labels, average="macro", zero_division=0))
    raise ValueError(f"no metric {metric_name!r}; known: {', '.join(METRICS)}")


def _group_codes(groups: NDArray[Any]) -> tuple[NDArray[np.int64], int]:
    names, codes = np.unique(groups, return_inverse=True)
    return codes.astype(np.int64), len(names)


def _resampled(
    metric_name: str, truth: NDArray[Any], predictions: list[Floats], groups: NDArray[np.int64] | None, seed: int, resamples: int
) -> list[Floats]:
    samples = [np.full(resamples, np.nan) for _ in predictions]
    known = [position for position, prediction in enumerate(predictions) if not undefined_reason(metric_name, truth, prediction)]
    drawn = 0
    for weights in draw_weights(len(truth), groups, seed, resamples) if known else ():
        for position in known:
            samples[position][drawn : drawn + weights.shape[1]] = resample_scores(metric_name, truth, predictions[position], weights)
        drawn += weights.shape[1]
    return samples


def _interval(samples: Floats, confidence: float) -> tuple[float, float]:
    known = samples[np.isfinite(samples)]
    # Resamples on which the metric is undefined are left out; when they are the most, the interval is unknown.
    if len(known) * 2 < len(samples):
        return math.nan, math.nan
    tail = (1 - confidence) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return float(low), float(high)
