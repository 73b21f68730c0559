"""Whom a version serves worse: one metric by groups of people, and by how much the groups differ.

Groups are values of dataset columns that `[models.X.fairness]` names; they need not be inputs, and better are not. Scores by group
are fairlearn's `MetricFrame`. Its own bootstrap copies all rows for each resample, 26 ms each; intervals are therefore drawn here, with
row weights, of which each metric is a function of two sums (Efron and Tibshirani 1993).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from brandhouse_flows.resampling import draw_weights
from brandhouse_flows.slices import each_value
from brandhouse_shared.config import ModelConfig
from brandhouse_shared.metrics import Task
from brandhouse_shared.operation import Fairness

RESAMPLES = 1_000
"""Of a pair of groups among ten the outermost 0.1 % decide; a few of the resamples must lie there."""

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class GroupScore:
    """The metric for the people of one group.

    Attributes:
        column: Name of the column.
        value: The value or range, as shown to people.
        rows: Hold-out rows that count: those of the true class that the metric asks about, or all.
        score: None if the metric is undefined for them.
        judged: Whether there are enough rows.
        low: Lower end of the interval; None if not judged.
        high: Upper end.
    """

    column: str
    value: str
    rows: int
    score: float | None
    judged: bool
    low: float | None = None
    high: float | None = None

    def as_document(self) -> dict[str, Any]:
        """The group as plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Gap:
    """The greatest difference between two judged groups of one column.

    Attributes:
        column: Name of the column.
        value: The difference, not negative; None if fewer than two groups could be judged.
        least: What the difference is at least, with the declared confidence over all pairs of the column; 0 if it may be chance.
        lower: The group with the lower value.
        higher: The group with the higher one.
    """

    column: str
    value: float | None
    least: float | None
    lower: str = ""
    higher: str = ""


@dataclass(frozen=True)
class FairnessReport:
    """What was measured, for the gate and the card."""

    declared: Fairness
    confidence: float
    groups: list[GroupScore]
    gaps: list[Gap]


@dataclass(frozen=True)
class _Asked:
    """A metric as a mean: what is averaged, over which rows.

    Attributes:
        values: One a row.
        counts: Which rows count.
    """

    values: Floats
    counts: Bools


def measure_fairness(
    model: ModelConfig, truth: NDArray[Any], prediction: Floats, columns: pd.DataFrame, groups: NDArray[np.int64] | None = None
) -> FairnessReport | None:
    """Measure what `[models.X.fairness]` declares; None if it declares nothing.

    Args:
        model: Declares fields, metric and limits.
        truth: Shape (rows,): numbers, or class codes from 0.
        prediction: Shape (rows,) or (rows, classes).
        columns: Raw text columns of the same hold-out rows. Not changed.
        groups: Group number of each row from 0 for a grouped split: whole groups are drawn. None: single rows.
    """
    declared = model.fairness
    if declared is None:
        return None
    asked = _METRICS[declared.metric](truth, prediction if model.task is Task.REGRESSION else prediction.argmax(axis=1))
    scores: list[GroupScore] = []
    gaps = []
    for name in declared.fields:
        cut = list(each_value(columns[name]))
        of_column, samples = _score_groups(model, declared, asked, name, cut, groups)
        scores += of_column
        gaps.append(_gap(name, of_column, samples, model.gates.confidence))
    return FairnessReport(declared, model.gates.confidence, scores, gaps)


def _score_groups(
    model: ModelConfig, declared: Fairness, asked: _Asked, name: str, cut: Sequence[tuple[str, Bools]], groups: NDArray[np.int64] | None
) -> tuple[list[GroupScore], list[Floats]]:
    """Scores of one column's groups, and of the judged ones the scores of all resamples."""
    known = _point_scores(asked, cut)
    masks = [mask & asked.counts for _, mask in cut]
    judged = [int(mask.sum()) >= declared.min_rows for mask in masks]
    samples = _resampled(asked, [mask for mask, enough in zip(masks, judged, strict=True) if enough], groups, model.split.seed)
    waiting = iter(samples)
    tail = (1 - model.gates.confidence) / 2
    scores = []
    for (value, _), mask, enough in zip(cut, masks, judged, strict=True):
        low, high = np.nanquantile(next(waiting), [tail, 1 - tail]).tolist() if enough else (None, None)
        scores.append(GroupScore(name, value, int(mask.sum()), known.get(value), enough, low, high))
    return scores, samples


def _point_scores(asked: _Asked, cut: Sequence[tuple[str, Bools]]) -> dict[str, float]:
    """The metric by group; a group without a row that counts has none."""
    from fairlearn.metrics import MetricFrame

    labels = np.full(len(asked.values), "", dtype=object)
    for value, mask in cut:
        labels[mask] = value
    kept = asked.counts & (labels != "")
    if not kept.any():
        return {}
    frame = MetricFrame(
        metrics=lambda truth, values: float(np.mean(values)),
        y_true=asked.values[kept],
        y_pred=asked.values[kept],
        sensitive_features=pd.Series(labels[kept], name="group"),
    )
    return {str(value): float(score) for value, score in frame.by_group.items()}


def _resampled(asked: _Asked, masks: Sequence[Bools], groups: NDArray[np.int64] | None, seed: int) -> list[Floats]:
    if not masks:
        return []
    counted = np.column_stack(masks).astype(np.float64)
    summed = counted * asked.values[:, None]
    parts = []
    for weights in draw_weights(len(asked.values), groups, seed, RESAMPLES):
        with np.errstate(divide="ignore", invalid="ignore"):
            # Not the @ operator; see `resampling.resample_scores`.
            parts.append(np.einsum("ij,ik->jk", summed, weights) / np.einsum("ij,ik->jk", counted, weights))
    return list(np.concatenate(parts, axis=1))


def _gap(name: str, scores: Sequence[GroupScore], samples: Sequence[Floats], confidence: float) -> Gap:
    """The pair that differs most surely: with several pairs each must differ with a greater confidence (Bonferroni)."""
    judged = [(score.value, score.score, drawn) for score, drawn in zip([one for one in scores if one.judged], samples, strict=True)]
    pairs = list(combinations(judged, 2))
    if not pairs:
        return Gap(name, None, None)
    gaps = [_pair_gap(name, one, other, (1 - confidence) / len(pairs)) for one, other in pairs]
    return max(gaps, key=lambda gap: (gap.least or 0.0, gap.value or 0.0))


def _pair_gap(name: str, one: tuple[str, float | None, Floats], other: tuple[str, float | None, Floats], tail: float) -> Gap:
    (lower, low, below), (higher, high, above) = sorted((one, other), key=lambda group: group[1] or 0.0)
    least = float(np.nanquantile(above - below, tail))
    return Gap(name, (high or 0.0) - (low or 0.0), max(least, 0.0) if math.isfinite(least) else 0.0, lower, higher)


Metric = Callable[[NDArray[Any], NDArray[Any]], _Asked]


def _all(values: NDArray[Any]) -> _Asked:
    return _Asked(values.astype(np.float64), np.ones(len(values), dtype=bool))


_METRICS: dict[str, Metric] = {
    "selection_rate": lambda truth, said: _all(said == 1),
    "true_positive_rate": lambda truth, said: _Asked((said == 1).astype(np.float64), truth == 1),
    "false_positive_rate": lambda truth, said: _Asked((said == 1).astype(np.float64), truth == 0),
    "error_rate": lambda truth, said: _all(said != truth),
    "absolute_error": lambda truth, said: _all(np.abs(truth - said)),
    "mean_error": lambda truth, said: _all(said - truth),
}
