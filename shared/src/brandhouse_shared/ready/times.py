"""Features of dates and times. Each row is described by itself, so a request of one row gets what training saw.

What would need the past of other rows (a lag, a count of the last week, a category's rate so far) is not here: a
request brings no past. Keep such a figure as a column of the table, made by whoever knows the past at that moment; or
name the category in `many_valued`, whose mean target is learned from training rows alone.

A missing date gives missing parts.
"""

from collections.abc import Sequence
from datetime import datetime
from math import pi
from typing import TYPE_CHECKING, Any

import numpy as np

from brandhouse_shared.errors import BrandhouseError, join_bounded

if TYPE_CHECKING:
    import pandas as pd

ATTRIBUTES = {
    **{part: part for part in ("year", "quarter", "month", "day", "hour", "minute")},
    "dayofyear": "day_of_year",
    "weekday": "day_of_week",
}
PARTS = tuple(ATTRIBUTES)
"""Calendar parts on offer; weekday counts from Monday, 0."""

CYCLES = {"month": (1, 12), "day": (1, 31), "dayofyear": (1, 366), "weekday": (0, 7), "hour": (0, 24), "minute": (0, 60)}
"""Parts that begin anew: first value and length of the round."""

DIGITS = 6
EPOCH = datetime(2000, 1, 1)
DAY_SECONDS = 86_400
DAYS_PER_YEAR = 365.2425


class UnknownPartError(BrandhouseError):
    """A part of a date was asked for that is not on offer."""

    def __init__(self, part: object, known: Sequence[str]) -> None:
        super().__init__(f"no part {str(part)[:60]!r} of a date; allowed: {join_bounded(known)}")


def add_calendar(
    rows: "pd.DataFrame", columns: Sequence[str], parts: Sequence[str] = ("year", "month", "weekday"), *, keep: bool = False
) -> "pd.DataFrame":
    """Replace dates by their calendar parts, named `<column>_<part>`: what trees need.

    Args:
        rows: Typed rows. Not changed.
        columns: Date columns.
        parts: Some of `PARTS`.
        keep: Whether the dates stay, for further features; the features may not hold a date in the end.

    Raises:
        UnknownPartError: If a part is not on offer.
    """
    _check_parts(parts, PARTS)
    added = {f"{column}_{part}": _part(rows[column], part) for column in columns for part in parts}
    return _finish(rows.assign(**added), columns, keep)


def add_cycles(
    rows: "pd.DataFrame", columns: Sequence[str], parts: Sequence[str] = ("month", "weekday"), *, keep: bool = False
) -> "pd.DataFrame":
    """Replace dates by places on a round, `<column>_<part>_sin` and `_cos`: what linear models need, Sunday beside Monday.

    Args:
        rows: Typed rows. Not changed.
        columns: Date columns.
        parts: Some of `CYCLES`.
        keep: Whether the dates stay, for further features.

    Raises:
        UnknownPartError: If a part is not on offer.
    """
    _check_parts(parts, tuple(CYCLES))
    added: dict[str, Any] = {}
    for column in columns:
        for part in parts:
            first, length = CYCLES[part]
            angle = (_part(rows[column], part) - first) * (2 * pi / length)
            # Rounded: the sine of pi is 1e-16 and a little more or less elsewhere, where a tree may have put a threshold.
            added[f"{column}_{part}_sin"] = np.sin(angle).round(DIGITS)
            added[f"{column}_{part}_cos"] = np.cos(angle).round(DIGITS)
    return _finish(rows.assign(**added), columns, keep)


def days_since(column: "pd.Series[Any]", start: datetime = EPOCH) -> "pd.Series[Any]":
    """Return days since a fixed moment, with a fraction: a trend for linear models. Never since "now", which moves."""
    return (column - start).dt.total_seconds() / DAY_SECONDS


def days_between(earlier: "pd.Series[Any]", later: "pd.Series[Any]") -> "pd.Series[Any]":
    """Return the days from one date to the other, with a fraction; negative if they lie the other way round."""
    return (later - earlier).dt.total_seconds() / DAY_SECONDS


def hours_between(earlier: "pd.Series[Any]", later: "pd.Series[Any]") -> "pd.Series[Any]":
    """Return the hours from one moment to the other."""
    return (later - earlier).dt.total_seconds() / 3_600


def years_between(earlier: "pd.Series[Any]", later: "pd.Series[Any]") -> "pd.Series[Any]":
    """Return the years from one date to the other, such as an age; a year has 365.2425 days."""
    return days_between(earlier, later) / DAYS_PER_YEAR


def is_weekend(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """Return whether a date is a Saturday or a Sunday; a missing one is not."""
    weekend: pd.Series[Any] = column.dt.day_of_week >= 5
    return weekend


def _part(column: "pd.Series[Any]", part: str) -> "pd.Series[Any]":
    value: pd.Series[Any] = getattr(column.dt, ATTRIBUTES[part])
    return value


def _check_parts(parts: Sequence[str], known: Sequence[str]) -> None:
    for part in parts:
        if part not in known:
            raise UnknownPartError(part, known)


def _finish(rows: "pd.DataFrame", columns: Sequence[str], keep: bool) -> "pd.DataFrame":
    return rows if keep else rows.drop(columns=list(columns))
