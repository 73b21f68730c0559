"""The arithmetic of the bootstrap: each metric for many resamples at once.

A resample is a column of row weights (how often each row was drawn), so that no row is ever copied. Most metrics are
functions of sums over rows and need one matrix product; those that rank rows need one sort and cumulative sums.
`scores` decides what is computed; here is only how.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

WEIGHTS_AT_ONCE = 2_000_000
"""Row weights held in memory at a time (16 MB); a larger hold-out is resampled in several rounds."""

LOWEST_PROBABILITY = 1e-15
"""Probabilities are clipped here for the log loss: one sure and wrong row must not make it infinite."""


def draw_weights(rows: int, groups: NDArray[np.int64] | None, seed: int, resamples: int) -> Iterator[Floats]:
    """Draw bootstrap resamples, a bounded number at a time.

    Args:
        rows: Rows of the hold-out.
        groups: Group number of each row, from 0, or None to draw single rows.
        seed: Of the draws.
        resamples: How many in all.

    Yields:
        Weights of shape (rows, some resamples); each column sums to `rows` if single rows are drawn.
    """
    generator = np.random.default_rng(seed)
    units = rows if groups is None else int(groups.max()) + 1
    at_once = max(1, min(resamples, WEIGHTS_AT_ONCE // rows))
    for start in range(0, resamples, at_once):
        count = min(at_once, resamples - start)
        weights = np.empty((units, count))
        for resample in range(count):
            weights[:, resample] = np.bincount(generator.integers(0, units, units), minlength=units)
        yield weights if groups is None else weights[groups]


def resample_scores(metric_name: str, truth: NDArray[Any], prediction: Floats, weights: Floats) -> Floats:
    """Compute a metric for every resample.

    Args:
        metric_name: A metric that fits the prediction.
        truth: Shape (rows,).
        prediction: Shape (rows,) or (rows, classes); finite, probabilities normalised.
        weights: Shape (rows, resamples).

    Returns:
        Shape (resamples,); NaN where the metric is undefined.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        if metric_name in _RANKED:
            return _RANKED[metric_name](truth, prediction[:, 1], weights)
        columns, combine = _SUMMED[metric_name]
        # Not the @ operator: its threads cost more than they bring here, and many times more while other runs keep the cores busy.
        return combine(np.einsum("ij,ik->jk", columns(truth, prediction), weights))


def normalised(probabilities: NDArray[Any]) -> Floats:
    """Return probabilities as float64 whose rows sum to one; float32 ones miss it by rounding and scikit-learn warns."""
    bounded = np.clip(np.asarray(probabilities, dtype=np.float64), 0.0, 1.0)
    totals = bounded.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(bounded, totals, out=np.full_like(bounded, np.nan), where=totals > 0))


def clipped(probabilities: Floats) -> Floats:
    """Return probabilities that are all above zero, for logarithms."""
    return normalised(np.clip(probabilities, LOWEST_PROBABILITY, 1.0))


# -- metrics that are functions of sums: columns of shape (rows, sums), the first one being the weight itself -----------


def _with_ones(*columns: NDArray[Any]) -> Floats:
    return np.column_stack([np.ones(len(columns[0])), *columns])


def _mean(totals: Floats) -> Floats:
    return np.asarray(totals[1] / totals[0])


def _root_mean(totals: Floats) -> Floats:
    return np.sqrt(_mean(totals))


def _variance_columns(truth: NDArray[Any], prediction: Floats) -> Floats:
    centred = truth - truth.mean()  # the variance is a difference of sums: without centring it would cancel
    return _with_ones((truth - prediction) ** 2, centred, centred**2)


def _explained(totals: Floats) -> Floats:
    variation = totals[3] - totals[2] ** 2 / totals[0]
    return np.where(variation > 1e-12 * totals[3], 1 - totals[1] / variation, np.nan)


def _likelihood_columns(truth: NDArray[Any], prediction: Floats) -> Floats:
    return _with_ones(-np.log(clipped(prediction)[np.arange(len(truth)), truth]))


def _label_columns(truth: NDArray[Any], prediction: Floats) -> Floats:
    """Columns: rows of each class, rows predicted as each class, rows of each class predicted rightly."""
    classes = np.arange(prediction.shape[1])
    actual = truth[:, None] == classes
    labelled = prediction.argmax(axis=1)[:, None] == classes
    return np.column_stack([actual, labelled, actual & labelled]).astype(np.float64)


def _label_totals(totals: Floats) -> NDArray[np.float64]:
    return totals.reshape(3, -1, totals.shape[1])


def _mean_recall(totals: Floats) -> Floats:
    actual, _, right = _label_totals(totals)
    return _mean_of_known(right / actual)


def _f1_of_classes(totals: Floats) -> Floats:
    actual, labelled, right = _label_totals(totals)
    return np.asarray(2 * right / (actual + labelled))


def _mean_of_known(values: Floats) -> Floats:
    known = ~np.isnan(values)
    return np.asarray(np.where(known, values, 0.0).sum(axis=0) / known.sum(axis=0))


Columns = Callable[[NDArray[Any], Floats], Floats]
Combine = Callable[[Floats], Floats]

_SUMMED: dict[str, tuple[Columns, Combine]] = {
    "rmse": (lambda truth, prediction: _with_ones((truth - prediction) ** 2), _root_mean),
    "mae": (lambda truth, prediction: _with_ones(np.abs(truth - prediction)), _mean),
    "mape": (lambda truth, prediction: _with_ones(np.abs(truth - prediction) / np.abs(truth)), _mean),
    "r2": (_variance_columns, _explained),
    "brier": (lambda truth, prediction: _with_ones((truth - prediction[:, 1]) ** 2), _mean),
    "log_loss": (_likelihood_columns, _mean),
    "accuracy": (lambda truth, prediction: _with_ones(truth == prediction.argmax(axis=1)), _mean),
    "balanced_accuracy": (_label_columns, _mean_recall),
    "f1": (_label_columns, lambda totals: np.asarray(_f1_of_classes(totals)[1])),
    "macro_f1": (_label_columns, lambda totals: _mean_of_known(_f1_of_classes(totals))),
}


# -- metrics that rank rows: only cumulative weights at the positive rows are needed ------------------------------------


def _area_under_roc(truth: NDArray[Any], ranking: Floats, weights: Floats) -> Floats:
    """Share of pairs ranked rightly, ties counting half (Mann and Whitney 1947)."""
    positives, negatives = np.flatnonzero(truth == 1), _ordered(truth == 0, ranking)
    below, upto = (np.searchsorted(ranking[negatives], ranking[positives], side) for side in ("left", "right"))
    drawn = _cumulated(weights[negatives])
    # Without ties both ranks are one: half of the memory traffic, which is what this costs.
    beaten = drawn[below] if np.array_equal(below, upto) else (drawn[below] + drawn[upto]) / 2
    won = np.einsum("ij,ij->j", weights[positives], beaten)
    return np.asarray(won / (weights[positives].sum(axis=0) * drawn[-1]))


def _average_precision(truth: NDArray[Any], ranking: Floats, weights: Floats) -> Floats:
    """Mean precision at the positive rows; rows of one probability are drawn together."""
    positives, negatives = _ordered(truth == 1, -ranking), _ordered(truth == 0, -ranking)
    at = -ranking[positives]
    found, drawn = _cumulated(weights[positives]), _cumulated(weights[negatives])
    right = found[np.searchsorted(at, at, "right")]
    wrong = drawn[np.searchsorted(-ranking[negatives], at, "right")]
    precision = np.where(right > 0, right / (right + wrong), 0.0)
    return np.asarray(np.einsum("ij,ij->j", weights[positives], precision) / found[-1])


def _ordered(mask: NDArray[np.bool_], ranking: Floats) -> NDArray[np.intp]:
    """Rows of the mask by rising `ranking`."""
    rows = np.flatnonzero(mask)
    return rows[np.argsort(ranking[rows])]


def _cumulated(weights: Floats) -> Floats:
    """Running totals with a leading row of zeros: row k holds the total of the first k rows."""
    totals = np.empty((len(weights) + 1, weights.shape[1]))
    totals[0] = 0.0
    np.cumsum(weights, axis=0, out=totals[1:])
    return totals


_RANKED: dict[str, Callable[[NDArray[Any], Floats, Floats], Floats]] = {"roc_auc": _area_under_roc, "average_precision": _average_precision}
