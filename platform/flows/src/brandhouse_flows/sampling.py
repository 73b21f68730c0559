"""Learn from a part of the training rows, for a quick look. The hold-out stays whole, so that scores stay comparable."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from brandhouse_flows.splits import MIN_SIDE_ROWS, HoldoutSplit, Rows
from brandhouse_shared.config import ModelConfig
from brandhouse_shared.errors import DatasetError
from brandhouse_shared.metrics import Task


def thin(
    table: pd.DataFrame, target: NDArray[Any], split: HoldoutSplit, model: ModelConfig, sample: float, subject: str
) -> tuple[Rows, HoldoutSplit]:
    """Keep the hold-out and a part of the training rows.

    Which rows depends on the split, as the split itself does: at random (of each class its share), whole groups, or the
    newest by time. Deterministic by the split's seed.

    Args:
        table: Raw rows that have a target.
        target: Codes or values of exactly these rows.
        split: Positions in `table`.
        model: Says how it is split.
        sample: Training rows to keep: a number from 1, or a share below 1. More than there are means all.
        subject: Model key for messages.

    Returns:
        Positions of the rows to keep, ascending, and the split of what is kept.

    Raises:
        DatasetError: If fewer rows than a fit needs would be left.
    """
    wanted = round(sample * len(split.train)) if sample < 1 else int(sample)
    if wanted < MIN_SIDE_ROWS:
        rows = len(split.train)
        raise DatasetError(f"{subject}: a sample of {sample:g} leaves {wanted} of {rows} training rows; allowed: at least {MIN_SIDE_ROWS}")
    train = np.sort(_choose(table, target, split, model, wanted)) if wanted < len(split.train) else split.train
    kept = np.sort(np.concatenate([train, split.holdout]))
    smaller = HoldoutSplit(np.searchsorted(kept, train), np.searchsorted(kept, split.holdout), split.holdout_groups)
    return kept, smaller


def _choose(table: pd.DataFrame, target: NDArray[Any], split: HoldoutSplit, model: ModelConfig, wanted: int) -> Rows:
    generator = np.random.default_rng(model.split.seed)
    match model.split.kind:
        case "time":
            return split.train[-wanted:]  # rows are in time order: the newest are nearest to the hold-out
        case "grouped":
            return _whole_groups(split.train, table[str(model.split.by)].iloc[split.train], wanted, generator)
        case _ if model.task is Task.REGRESSION:
            return generator.permutation(split.train)[:wanted]
    return _of_each_class(split.train, target[split.train], wanted, generator)


def _whole_groups(train: Rows, groups: "pd.Series[Any]", wanted: int, generator: np.random.Generator) -> Rows:
    codes = pd.factorize(groups.astype(object).where(groups.notna(), "").astype(str))[0]
    sizes = np.bincount(codes)
    order = generator.permutation(len(sizes))
    # The first groups whose rows reach what is wanted; at least two, as a search needs them.
    count = max(2, int(np.searchsorted(np.cumsum(sizes[order]), wanted)) + 1)
    return train[np.isin(codes, order[:count])]


def _of_each_class(train: Rows, codes: NDArray[Any], wanted: int, generator: np.random.Generator) -> Rows:
    """Each class with its share, and none with less than two rows that has them: one row cannot be divided into folds."""
    chosen = []
    for code in np.unique(codes):
        rows = generator.permutation(train[codes == code])
        chosen.append(rows[: max(2, round(wanted * len(rows) / len(train)))])
    return np.concatenate(chosen)
