"""Features of texts."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def clean(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """Return texts in lower case without blanks at both ends; a missing one stays "".

    Apply it to fields of the request, before anything else is done to them.
    """
    return column.str.strip().str.lower()


def clean_columns(rows: "pd.DataFrame", columns: Sequence[str]) -> "pd.DataFrame":
    """Return the rows with some columns cleaned; the others as they were."""
    return rows.assign(**{column: clean(rows[column]) for column in columns})
