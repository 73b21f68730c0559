"""Features of numbers that stay finite whatever the row holds."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


def ratio(part: "pd.Series[Any]", whole: "pd.Series[Any]") -> "pd.Series[Any]":
    """Return `part / whole`; missing where the whole is zero or missing."""
    return part / whole.where(whole != 0)


def log_amount(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """Return the logarithm of one more, for amounts with a long tail; what is below zero counts as zero, missing stays missing."""
    logarithms: pd.Series[Any] = np.log1p(column.clip(lower=0))
    return logarithms


def limit(column: "pd.Series[Any]", low: float, high: float) -> "pd.Series[Any]":
    """Return numbers within two bounds: what lies beyond is set to the bound, missing stays missing."""
    return column.clip(lower=low, upper=high)


def add_missing_flags(rows: "pd.DataFrame", columns: Sequence[str]) -> "pd.DataFrame":
    """Add `<column>_missing`: whether a number or date is missing, which linear models and forests do not see otherwise."""
    return rows.assign(**{f"{column}_missing": rows[column].isna() for column in columns})
