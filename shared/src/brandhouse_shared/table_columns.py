"""One column of raw texts under one declared field: canonical values, and the cells that are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brandhouse_shared.config import FieldType, InputField

if TYPE_CHECKING:
    import pandas as pd

MISSING_TEXT = ""
MAX_SAFE_INTEGER = 2**53
"""Whole numbers beyond are not exact as float64."""

DATE_YEARS = (1678, 2261)
"""First and last year whose dates fit into nanoseconds."""

TRUE_WORDS = frozenset({"true", "1", "1.0", "yes", "y", "t", "on", "ja", "j", "waar"})
FALSE_WORDS = frozenset({"false", "0", "0.0", "no", "n", "f", "off", "nee", "onwaar"})


def parse_column(field: InputField, raw: pd.Series[Any]) -> tuple[Any, list[tuple[str, Any]]]:
    """Return the canonical values of one raw text column, and what was refused with the rows that hold it."""
    import numpy as np
    import pandas as pd

    texts = raw.astype(object).where(raw.notna(), None)
    missing = texts.isna().to_numpy() | (texts == "").to_numpy()
    refused: list[tuple[str, Any]] = []

    def refuse(mask: Any, what: str) -> None:
        rows = np.asarray(mask, dtype=bool)
        if rows.any():
            refused.append((what, rows))

    if not field.nullable:
        refuse(missing, "no value")
    values: Any
    if field.is_numeric:
        if field.type is FieldType.BOOLEAN:
            words = texts.astype(str).str.strip().str.lower()
            values = np.where(words.isin(TRUE_WORDS), 1.0, np.where(words.isin(FALSE_WORDS), 0.0, np.nan))
        else:
            values = pd.to_numeric(texts, errors="coerce").to_numpy(dtype=np.float64)
        finite = np.isfinite(values)
        refuse(~missing & ~finite, "something else")
        if field.type is FieldType.INTEGER:
            refuse(finite & (values != np.floor(values)), "a number that is not whole")
            refuse(finite & (np.abs(values) > MAX_SAFE_INTEGER), "a number that is too large")
        if field.min is not None:
            refuse(finite & (values < field.min), "a smaller number")
        if field.max is not None:
            refuse(finite & (values > field.max), "a larger number")
        return np.where(finite, values, np.nan), refused
    if field.type is FieldType.DATE:
        stamps = _stamps(texts.where(~missing, None), field.format)
        refuse(~missing & stamps.isna().to_numpy(), "a text that is no such date")
        outside = ~stamps.dt.year.between(*DATE_YEARS).to_numpy() & stamps.notna().to_numpy()
        refuse(outside, f"a date outside {DATE_YEARS[0]} to {DATE_YEARS[1]}")
        stamps = stamps.mask(outside)  # they do not fit into nanoseconds
        return stamps.astype("datetime64[ns]").to_numpy(), refused
    text = texts.where(~missing, MISSING_TEXT).astype(str)
    if field.values is not None and not field.others:
        known = text.isin([str(value) for value in field.values]).to_numpy()
        refuse(~missing & ~known, "another category")
    refuse(text.str.len().to_numpy() > field.max_length, "a longer text")
    return text.to_numpy(dtype=object), refused


def _stamps(texts: pd.Series[Any], date_format: str) -> pd.Series[Any]:
    """Read dates. Like a request's, they keep their local time: an offset is read and dropped."""
    import pandas as pd

    if date_format.endswith("%z"):
        texts, date_format = texts.str.replace(r"(Z|[+-]\d{2}:?\d{2}(:?\d{2})?)$", "", regex=True), date_format.removesuffix("%z")
    return pd.to_datetime(texts, format=date_format, errors="coerce")
