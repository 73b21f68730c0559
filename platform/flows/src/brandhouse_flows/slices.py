"""The score of one prediction, broken down by the values of columns.

A slice is what a person asks about ("and for diesel cars?"), so it is cut from the raw columns of the dataset, not from
features. A slice with too few rows is shown and not judged: it is no pass.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from brandhouse_flows.scores import bootstrap
from brandhouse_flows.wording import say_number, shorten
from brandhouse_shared.errors import DatasetError, join_bounded

if TYPE_CHECKING:
    import pandas as pd

MAX_VALUES = 12
"""Values a column may have before it is cut: numbers into quartiles, texts into the most frequent and the others."""

SLICE_RESAMPLES = 200
"""Fewer than for the whole: there are many slices, and their intervals inform rather than decide."""

MISSING = "(missing)"
OTHERS = "(all others)"


@dataclass(frozen=True)
class SliceScore:
    """The score of the hold-out rows that share one value of one column.

    Attributes:
        column: Name of the column.
        value: The value, or the range of a numeric column, as shown to people.
        rows: Hold-out rows of the slice.
        score: None if there are too few rows or the metric is undefined on them.
        judged: Whether the slice counts for the gate.
        low: Lower end of the score's interval; None if unknown.
        high: Upper end.
        reason: Why it is not judged; empty if it is.
    """

    column: str
    value: str
    rows: int
    score: float | None
    judged: bool
    low: float | None = None
    high: float | None = None
    reason: str = ""

    def as_document(self) -> dict[str, Any]:
        """The slice as plain values for the ledger."""
        return asdict(self)


def slice_scores(
    metric_name: str,
    truth: NDArray[Any],
    prediction: NDArray[Any],
    columns: "pd.DataFrame",
    slices: Sequence[str],
    min_rows: int,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[SliceScore]:
    """Score each value of each sliced column.

    Args:
        metric_name: The model's metric.
        truth: Shape (rows,).
        prediction: Shape (rows,) or (rows, classes).
        columns: Raw text columns of the same hold-out rows. Not changed.
        slices: Names of the columns to break down by.
        min_rows: Fewer rows than this are shown and not judged.
        confidence: Of the intervals.
        seed: Of their resampling.

    Returns:
        One entry a slice, in the order of `slices`, large slices first within a column of texts.

    Raises:
        DatasetError: If a sliced column is not in the data.
    """
    unknown = [name for name in slices if name not in columns.columns]
    if unknown:
        raise DatasetError(f"slices name columns that the data lack: {join_bounded(unknown)}; columns: {join_bounded(columns.columns, 40)}")
    if len(columns) != len(truth):
        raise ValueError(f"slices need the columns of all {len(truth)} rows, not of {len(columns)}")

    def score_slice(column: str, value: str, mask: NDArray[np.bool_]) -> SliceScore:
        rows = int(mask.sum())
        if rows < min_rows:
            return SliceScore(column, value, rows, None, False, reason=f"too few rows ({min_rows} are needed)")
        report = bootstrap(metric_name, truth[mask], prediction[mask], None, confidence, seed, SLICE_RESAMPLES)
        if math.isnan(report.score):
            return SliceScore(column, value, rows, None, False, reason=report.reason)
        return SliceScore(column, value, rows, report.score, True, _known(report.low), _known(report.high))

    return [score_slice(column, value, mask) for column in slices for value, mask in each_value(columns[column])]


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def each_value(column: "pd.Series[Any]") -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Cut raw texts into what people ask about: each value or range as shown, and which rows have it; missing ones last."""
    import pandas as pd

    texts = column.astype(object).where(column.notna(), "").astype(str).str.strip().to_numpy(dtype=object)
    missing = texts == ""
    known = pd.Series(texts[~missing])
    if known.nunique() <= MAX_VALUES:
        yield from _each(texts, _ordered(known))
    else:
        numbers = pd.to_numeric(pd.Series(texts), errors="coerce").to_numpy(dtype=np.float64)
        yield from _quartiles(numbers) if np.isfinite(numbers[~missing]).all() else _most_frequent(texts, known)
    if missing.any():
        yield MISSING, missing


def _ordered(known: "pd.Series[Any]") -> list[str]:
    """Numbers ascending, texts by frequency."""
    import pandas as pd

    counts = known.value_counts()
    numbers = pd.to_numeric(counts.index.to_series(), errors="coerce")
    return list(counts.index[np.argsort(numbers)]) if numbers.notna().all() else list(counts.index)


def _each(texts: NDArray[Any], values: Sequence[str]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    for value in values:
        yield shorten(value), texts == value


def _most_frequent(texts: NDArray[Any], known: "pd.Series[Any]") -> Iterator[tuple[str, NDArray[np.bool_]]]:
    kept = list(known.value_counts().index[: MAX_VALUES - 1])
    yield from _each(texts, kept)
    yield OTHERS, ~np.isin(texts, np.array([*kept, ""], dtype=object))


def _quartiles(numbers: NDArray[np.float64]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Cut into quarters of the rows. The outer ranges name no minimum and no maximum: those are single rows' values."""
    edges = np.unique(np.nanquantile(numbers, [0.25, 0.5, 0.75], method="inverted_cdf"))
    for low, high in zip([-np.inf, *edges], [*edges, np.inf], strict=True):
        mask = (numbers > low) & (numbers <= high)
        if mask.any():
            yield _range(low, high), mask


def _range(low: float, high: float) -> str:
    if math.isinf(low):
        return f"up to {say_number(high)}"
    return f"above {say_number(low)}" if math.isinf(high) else f"{say_number(low)} to {say_number(high)}"
