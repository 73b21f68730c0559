"""Features that give the answer away: each single feature alone is asked to predict the target.

A feature is cut into at most `MAX_BINS` groups (ranges of equal frequency, or its own values) and predicts the mean
target of its group, learned on one half of the rows and asked on the other. That is a tree of one feature with many
leaves, in two array passes: it finds any shape of relation, not only a rising one, and costs milliseconds. What it does
not find: a leak that only several features together hold, or one inside free text.

A numeric feature is also judged by its order alone, which needs no groups: on a few hundred rows the groups are too small
to give away even an exact copy of the target.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from brandhouse_shared.metrics import Task

MAX_BINS = 64
"""Ranges of a numeric feature: a copy of the target still explains 99.9 % of its ranks."""

MAX_ROWS = 20_000
"""Rows looked at; a leak shows in far fewer."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Leak:
    """How well one feature alone predicts the target.

    Attributes:
        feature: Its name.
        score: In [0, 1]; 1 is perfect. Area under ROC for classes (mean over the classes), explained share of the ranks'
            variance for regression.
    """

    feature: str
    score: float

    def as_document(self) -> dict[str, Any]:
        """The leak as plain values for the ledger."""
        return asdict(self)


def find_leaks(features: pd.DataFrame, truth: NDArray[Any], task: Task, limit: float, seed: int = 0) -> list[Leak]:
    """Return the features that alone predict the target suspiciously well (score at or above `limit`), best first."""
    return [leak for leak in rank_features(features, truth, task, seed) if leak.score >= limit]


def rank_features(features: pd.DataFrame, truth: NDArray[Any], task: Task, seed: int = 0) -> list[Leak]:
    """Score every feature alone, best first.

    Args:
        features: One row per row of `truth`; numbers, booleans, dates or texts. Not changed.
        truth: Numbers, or class codes from 0.
        task: Decides the score.
        seed: Of the two halves.
    """
    generator = np.random.default_rng(seed)
    rows = np.sort(generator.permutation(len(truth))[:MAX_ROWS])
    halves = generator.permutation(len(rows)) % 2 == 0
    targets = _targets(np.asarray(truth)[rows], task)
    sampled = features.iloc[rows]
    scores = [Leak(str(name), _feature_score(column, targets, halves, task)) for name, column in sampled.items()]
    return sorted(scores, key=lambda leak: (-leak.score, leak.feature))


def _targets(truth: NDArray[Any], task: Task) -> Floats:
    """One column a question: the ranks of a regression's target, or one class against the rest."""
    if task is Task.REGRESSION:
        return (_ranks(truth) / len(truth))[:, None]
    classes = np.arange(1, 2) if task is Task.BINARY else np.unique(truth)
    return np.asarray(truth[:, None] == classes, dtype=np.float64)


def _groups(column: "pd.Series[Any]") -> NDArray[np.int64]:
    if pd.api.types.is_datetime64_any_dtype(column):
        return _ranges(np.where(column.isna(), np.nan, column.astype("int64")))
    if pd.api.types.is_numeric_dtype(column):
        return _ranges(column.to_numpy(dtype=np.float64, na_value=np.nan))
    return pd.factorize(column, use_na_sentinel=False)[0].astype(np.int64)


def _ranges(values: Floats) -> NDArray[np.int64]:
    """Number the ranges of equal frequency; missing values are a range of their own, since missingness may leak too."""
    known = np.sort(values[~np.isnan(values)])
    if not len(known):
        return np.zeros(len(values), dtype=np.int64)
    distinct = known[np.r_[True, np.diff(known) != 0]]
    edges = distinct if len(distinct) <= MAX_BINS else np.unique(known[np.arange(1, MAX_BINS) * len(known) // MAX_BINS])
    return np.asarray(np.where(np.isnan(values), len(edges) + 1, np.searchsorted(edges, values, "right")), dtype=np.int64)


def _score(groups: NDArray[np.int64], targets: Floats, halves: NDArray[np.bool_], task: Task) -> float:
    guesses = np.empty_like(targets)
    for asked in (halves, ~halves):
        guesses[asked] = _group_means(groups, targets, ~asked)[groups[asked]]
    judge = _explained_share if task is Task.REGRESSION else _area_under_roc
    areas = [judge(targets[:, position], guesses[:, position]) for position in range(targets.shape[1])]
    return float(np.mean(areas))


def _feature_score(column: "pd.Series[Any]", targets: Floats, halves: NDArray[np.bool_], task: Task) -> float:
    return max(_score(_groups(column), targets, halves, task), _order_score(column, targets, task))


def _order_score(column: "pd.Series[Any]", targets: Floats, task: Task) -> float:
    """How well the feature's order alone gives the target's; 0 where it has none or values are missing.

    Nothing is learned from the rows, so that nothing can be learned by heart.
    """
    if not pd.api.types.is_numeric_dtype(column) or column.isna().any() or column.nunique() < 2:
        return 0.0
    ranks = _ranks(column)
    if task is Task.REGRESSION:  # Spearman's coefficient, squared
        return float(np.corrcoef(ranks, targets[:, 0])[0, 1] ** 2)
    areas = [_area_under_roc(target, ranks) for target in targets.T]
    return float(np.mean([max(area, 1 - area) for area in areas]))


def _group_means(groups: NDArray[np.int64], targets: Floats, learned: NDArray[np.bool_]) -> Floats:
    """Mean target of each group among the learned rows, drawn towards the overall mean by one row's weight."""
    count = int(groups.max()) + 1
    rows = np.bincount(groups[learned], minlength=count)
    overall = targets[learned].mean(axis=0)
    totals = np.column_stack([np.bincount(groups[learned], column[learned], count) for column in targets.T])
    return np.asarray((totals + overall) / (rows[:, None] + 1))


def _explained_share(target: Floats, guess: Floats) -> float:
    variation = ((target - target.mean()) ** 2).sum()
    return float(np.clip(1 - ((target - guess) ** 2).sum() / variation, 0, 1)) if variation else 0.0


def _area_under_roc(target: Floats, guess: Floats) -> float:
    positives = int(target.sum())
    negatives = len(target) - positives
    if not positives or not negatives:
        return 0.5
    return float((_ranks(guess)[target == 1].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def _ranks(values: Any) -> Floats:
    """Ranks from 1, ties by their mean. By pandas: scipy.stats does the same, and takes a second to import."""
    return np.asarray(pd.Series(np.asarray(values)).rank(), dtype=np.float64)
