"""Which rows are held out, and the target as numbers.

Both work on the raw text table, before features: what is held out never depends on what a brand's code computes.
Everything is deterministic by the split's seed and the order of the rows.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from brandhouse_shared.config import ModelConfig, Scalar, Split
from brandhouse_shared.errors import DatasetError, join_bounded
from brandhouse_shared.metrics import Task

MIN_SIDE_ROWS = 10
"""Fewest rows to learn from or to judge on. Below this neither a fit nor an interval means anything."""

GROUPED_ATTEMPTS = 16
"""Grouped splits tried; groups differ in size, and the one whose row share is closest to the wanted is kept."""

_WHOLE_NUMBER = re.compile(r"^(0|-?[1-9][0-9]{0,17})$")

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class HoldoutSplit:
    """Positions of rows, ascending, in the table that was split.

    Attributes:
        train: Rows to learn from.
        holdout: Rows to judge on; no model sees them before.
        holdout_groups: Group number of each hold-out row of a grouped split, for intervals that resample groups. None otherwise.
    """

    train: Rows
    holdout: Rows
    holdout_groups: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Target:
    """The target of the rows that have one.

    Attributes:
        values: Shape (kept rows,): float64 for regression, int64 positions in `classes` otherwise.
        classes: The classes as in the data (ints where all are whole numbers, else texts), ascending; of a binary task the
            positive one is last and thus code 1. Empty for regression.
        keep: Shape (rows of the series,): False where the target is missing.
    """

    values: NDArray[Any]
    classes: tuple[Scalar, ...]
    keep: NDArray[np.bool_]

    @property
    def missing(self) -> int:
        """How many rows were dropped because they have no target."""
        return int((~self.keep).sum())


def encode_target(series: "pd.Series[Any]", model: ModelConfig, subject: str | None = None) -> Target:
    """Turn the raw target column into numbers and drop the rows that have none.

    Args:
        series: Raw texts of the target column; None, NaN or "" is missing. Not changed.
        model: Says the task and the positive class.
        subject: Model key for messages; by default the model's entry point.

    Raises:
        DatasetError: If all are missing, the target is constant, is not numeric in a regression, or has other classes than
            a binary task allows.
    """
    subject = subject or model.entrypoint
    texts = series.astype(object).where(series.notna(), "").astype(str).str.strip()
    keep = (texts != "").to_numpy()
    kept = texts[keep]
    if kept.empty:
        raise DatasetError(f"{subject}: all {len(texts)} rows lack the target {model.target!r}; a model needs rows with an answer")
    if kept.nunique() == 1:
        raise _constant(model, len(kept), subject)
    if model.task is Task.REGRESSION:
        return Target(_numbers(kept, model, subject), (), keep)
    return _classes(kept, model, subject, keep)


def split_rows(table: pd.DataFrame, model: ModelConfig, target: NDArray[Any], subject: str | None = None) -> HoldoutSplit:
    """Divide the rows of `table` into those to learn from and those to judge on.

    Args:
        table: Raw text columns, only rows that have a target. Not changed.
        model: Says kind, column, share and seed of the split.
        target: Values or class codes of the same rows, from `encode_target`.
        subject: Model key for messages; by default the model's entry point.

    Raises:
        DatasetError: If the column is missing or cannot be read, there are too few rows, one group or one time only, or a
            class would be absent on one side.
    """
    subject = subject or model.entrypoint
    _require_rows(len(table), model.split, subject)
    codes = None if model.task is Task.REGRESSION else np.asarray(target, dtype=np.int64)
    split = _SPLITTERS[model.split.kind](table, model.split, codes, subject)
    _require_sides(split, subject)
    if codes is not None:
        _require_classes(split, codes, subject)
    return split


def _numbers(texts: "pd.Series[Any]", model: ModelConfig, subject: str) -> NDArray[np.float64]:
    values = pd.to_numeric(texts, errors="coerce").to_numpy(dtype=np.float64)
    refused = int((~np.isfinite(values)).sum())
    if refused:
        raise DatasetError(
            f"{subject}: the target {model.target!r} is not a number in {refused} of {len(texts)} rows; a regression needs numbers: "
            "correct the data, name what means missing in datasets.*.missing, or declare another task"
        )
    if np.ptp(values) == 0:
        raise _constant(model, len(values), subject)
    return values


def _constant(model: ModelConfig, rows: int, subject: str) -> DatasetError:
    return DatasetError(f"{subject}: the target {model.target!r} is the same in all {rows} rows; there is nothing to learn from it")


def _classes(texts: "pd.Series[Any]", model: ModelConfig, subject: str, keep: NDArray[np.bool_]) -> Target:
    known = sorted(texts.unique())
    whole = all(_WHOLE_NUMBER.match(text) for text in known)
    ordered = sorted(known, key=int) if whole else known
    if model.task is Task.BINARY:
        ordered = _positive_last(ordered, model, subject)
    codes = texts.map({text: code for code, text in enumerate(ordered)}).to_numpy(dtype=np.int64)
    return Target(codes, tuple(int(text) if whole else text for text in ordered), keep)


def _positive_last(known: list[str], model: ModelConfig, subject: str) -> list[str]:
    if len(known) != 2:
        raise DatasetError(
            f"{subject}: the target {model.target!r} has {len(known)} classes; a binary task has exactly two: "
            "correct the data or declare task = 'multiclass'"
        )
    positive = [text for text in known if _means(text, model.positive)]
    if len(positive) != 1:
        raise DatasetError(
            f"{subject}: the positive class {model.positive!r} is not in the target {model.target!r}; its classes: {join_bounded(known)}; "
            "set positive in brand.toml to one of them"
        )
    return [text for text in known if text != positive[0]] + positive


def _means(text: str, declared: Scalar | None) -> bool:
    """Whether a text of the data is the class that TOML declares: true is True, 1 is 1.0."""
    if isinstance(declared, bool):
        return text.casefold() == str(declared).casefold()
    if isinstance(declared, int | float):
        try:
            return float(text) == float(declared)
        except ValueError:
            return False
    return text == str(declared).strip()


def _random(table: pd.DataFrame, split: Split, codes: Rows | None, subject: str) -> HoldoutSplit:
    # Strata are drawn here rather than by scikit-learn: its stratified split may leave a rare class without a hold-out row.
    generator = np.random.default_rng(split.seed)
    strata = np.zeros(len(table), dtype=np.int64) if codes is None or _rarest(codes) < 2 else codes
    held = [_draw(np.flatnonzero(strata == stratum), split.holdout_share, generator) for stratum in np.unique(strata)]
    return _divide(len(table), np.concatenate(held))


def _draw(rows: Rows, share: float, generator: np.random.Generator) -> Rows:
    count = min(max(round(len(rows) * share), 1), len(rows) - 1)
    return generator.permutation(rows)[:count]


def _grouped(table: pd.DataFrame, split: Split, codes: Rows | None, subject: str) -> HoldoutSplit:
    from sklearn.model_selection import GroupShuffleSplit

    # Rows without a group count as one group: they may well belong together.
    column = _column(table, split, subject)
    groups = pd.factorize(column.astype(object).where(column.notna(), "").astype(str))[0].astype(np.int64)
    if groups.max() == 0:
        raise DatasetError(f"{subject}: split.by = {split.by!r} has one group only; a grouped split needs at least two")
    splitter = GroupShuffleSplit(GROUPED_ATTEMPTS, test_size=split.holdout_share, random_state=split.seed)
    attempts = [_divide(len(table), held) for _, held in splitter.split(groups, groups=groups)]

    def misses(attempt: HoldoutSplit) -> tuple[int, float]:
        return _absent_classes(attempt, codes), abs(len(attempt.holdout) / len(table) - split.holdout_share)

    best = min(attempts, key=misses)
    return HoldoutSplit(best.train, best.holdout, groups[best.holdout])


def _by_time(table: pd.DataFrame, split: Split, codes: Rows | None, subject: str) -> HoldoutSplit:
    times = read_times(_column(table, split, subject), split, subject)
    ordered = np.sort(times)
    at = len(times) - min(max(round(len(times) * split.holdout_share), 1), len(times) - 1)
    # Rows of one time stay together: the whole tie goes to the side that keeps the share closer to the wanted one.
    first, after = int(np.searchsorted(ordered, ordered[at], "left")), int(np.searchsorted(ordered, ordered[at], "right"))
    begin = first if first > 0 and (at - first <= after - at or after == len(times)) else after
    if begin in (0, len(times)):
        raise DatasetError(f"{subject}: split.by = {split.by!r} holds one time only; the newest rows cannot be told from the rest")
    return _divide(len(times), np.flatnonzero(times >= ordered[begin]))


_SPLITTERS: dict[str, Callable[[pd.DataFrame, Split, Rows | None, str], HoldoutSplit]] = {
    "random": _random,
    "grouped": _grouped,
    "time": _by_time,
}


def _column(table: pd.DataFrame, split: Split, subject: str) -> "pd.Series[Any]":
    if split.by not in table.columns:
        known = join_bounded(table.columns, 40)
        raise DatasetError(f"{subject}: split.by names the column {split.by!r}, which the data lack; columns: {known}")
    return table[split.by]


def read_times(column: "pd.Series[Any]", split: Split, subject: str) -> NDArray[np.float64]:
    """Read a time column as numbers that order the rows: nanoseconds of a format, or the numbers as they are.

    Raises:
        DatasetError: If a row holds no readable time.
    """
    if split.format is None:
        times = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64)
        hint = "a number; for text set split.format, such as '%Y-%m-%d'"
    else:
        stamps = pd.to_datetime(column, format=split.format, errors="coerce", utc=True)
        times = np.where(stamps.isna(), np.nan, stamps.astype("datetime64[ns, UTC]").astype(np.int64))
        hint = f"a time in the format {split.format}"
    refused = int((~np.isfinite(times)).sum())
    if refused:
        raise DatasetError(f"{subject}: {refused} of {len(times)} rows of split.by = {split.by!r} hold no readable time; allowed: {hint}")
    return times


def _divide(count: int, held: Rows) -> HoldoutSplit:
    is_held = np.zeros(count, dtype=np.bool_)
    is_held[held] = True
    return HoldoutSplit(np.flatnonzero(~is_held), np.flatnonzero(is_held))


def _require_rows(count: int, split: Split, subject: str) -> None:
    needed = int(np.ceil(MIN_SIDE_ROWS / min(split.holdout_share, 1 - split.holdout_share)))
    if count < needed:
        raise DatasetError(
            f"{subject}: {count} rows have a target; with split.holdout_share = {split.holdout_share:g} at least {needed} are needed, "
            f"so that each side has {MIN_SIDE_ROWS}"
        )


def _require_sides(split: HoldoutSplit, subject: str) -> None:
    if min(len(split.train), len(split.holdout)) < MIN_SIDE_ROWS:
        raise DatasetError(
            f"{subject}: the split leaves {len(split.train)} rows to learn from and {len(split.holdout)} held out; each side needs "
            f"{MIN_SIDE_ROWS}: change split.holdout_share or split.by (groups or ties may be large)"
        )


def _require_classes(split: HoldoutSplit, codes: Rows, subject: str) -> None:
    absent = _absent_classes(split, codes)
    if absent:
        raise DatasetError(
            f"{subject}: {absent} of {codes.max() + 1} classes are absent on one side of the split (the rarest has {_rarest(codes)} rows); "
            "each class must be learned and judged: drop or merge rare classes, or split another way"
        )


def _absent_classes(split: HoldoutSplit, codes: Rows | None) -> int:
    if codes is None:
        return 0
    sides = (np.bincount(codes[rows], minlength=codes.max() + 1) for rows in (split.train, split.holdout))
    return int(np.logical_or.reduce([counts == 0 for counts in sides]).sum())


def _rarest(codes: Rows) -> int:
    return int(np.bincount(codes).min())
