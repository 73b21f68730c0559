"""What the values of each column are like. All rows are looked at, by their distinct values, so that facts hold for all.

No type is decided here: that is `column_roles`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
WORDS_LOOKED_AT = 2_000
"""Distinct values looked at for what needs no certainty, such as the number of words."""


@dataclass(frozen=True)
class ColumnProfile:
    """One column by its distinct values.

    Attributes:
        name: Of the column, as in the file.
        values: Distinct values as texts, in the order in which they come first. Missing is not among them.
        counts: Rows of each value.
        codes: Position in `values` for each row; -1 where there is no value.
    """

    name: str
    values: pa.Array
    counts: NDArray[np.int64]
    codes: NDArray[np.int32]

    @property
    def rows(self) -> int:
        """Rows of the table."""
        return len(self.codes)

    @property
    def distinct(self) -> int:
        """How many different values there are."""
        return len(self.values)

    @cached_property
    def known(self) -> int:
        """Rows that have a value."""
        return int(self.counts.sum())

    @property
    def missing(self) -> int:
        """Rows that have none."""
        return self.rows - self.known

    @property
    def missing_share(self) -> float:
        """Share of the rows without a value."""
        return self.missing / max(1, self.rows)

    @cached_property
    def is_number(self) -> NDArray[np.bool_]:
        """Whether each distinct value is a number with a decimal point."""
        return np.asarray(pc.match_substring_regex(pc.utf8_trim_whitespace(self.values), NUMBER))

    @cached_property
    def numbers(self) -> NDArray[np.float64]:
        """Each distinct value as a number; NaN where it is none."""
        numeric = pc.if_else(pa.array(self.is_number), pc.utf8_trim_whitespace(self.values), pa.scalar(None, pa.string()))
        return np.asarray(numeric.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)

    @property
    def all_numbers(self) -> bool:
        """Whether every value is a number."""
        return bool(self.distinct and self.is_number.all())

    @cached_property
    def all_whole(self) -> bool:
        """Whether every value is a whole number."""
        return self.all_numbers and bool((self.numbers == np.floor(self.numbers)).all())

    @cached_property
    def has_leading_zeros(self) -> bool:
        """Whether values such as 0123 are among them: digits that are no quantity."""
        return bool(pc.any(pc.match_substring_regex(self.values, r"^0\d")).as_py())

    @cached_property
    def some(self) -> list[str]:
        """A bounded number of distinct values, evenly taken, for tests that need no certainty."""
        step = max(1, self.distinct // WORDS_LOOKED_AT)
        some: list[str] = self.values.take(pa.array(np.arange(0, self.distinct, step))).to_pylist()
        return some

    @cached_property
    def mean_blanks(self) -> float:
        """Mean number of gaps between the words of a value."""
        return float(np.mean([max(0, len(value.split()) - 1) for value in self.some])) if self.distinct else 0.0

    @cached_property
    def letter_share(self) -> float:
        """Share of letters among the signs of the values; a pair of coordinates has none."""
        signs = "".join(self.some)
        return sum(sign.isalpha() for sign in signs) / max(1, len(signs))

    @cached_property
    def max_length(self) -> int:
        """Signs of the longest value."""
        return int(pc.max(pc.utf8_length(self.values)).as_py() or 0)

    @cached_property
    def row_numbers(self) -> NDArray[np.float64]:
        """The number of each row; NaN where there is none."""
        return np.where(self.codes < 0, np.nan, np.append(self.numbers, np.nan)[self.codes])

    def without(self, values: Iterable[str]) -> ColumnProfile:
        """The same column with some values taken for missing."""
        gone = np.asarray(pc.is_in(self.values, pa.array(list(values), pa.string())))
        if not gone.any():
            return self
        places = np.where(gone, -1, np.cumsum(~gone) - 1).astype(np.int32)
        return ColumnProfile(
            self.name, self.values.filter(pa.array(~gone)), self.counts[~gone], np.append(places, np.int32(-1))[self.codes]
        )

    def rewritten(self, change: Any) -> ColumnProfile:
        """The same column with every value changed; values that become alike become one.

        Args:
            change: From an Arrow array of texts to one of as many.
        """
        encoded = change(self.values).dictionary_encode()
        places = np.asarray(encoded.indices.to_numpy(zero_copy_only=False), dtype=np.int32)
        counts = np.bincount(places, self.counts, len(encoded.dictionary)).astype(np.int64)
        return ColumnProfile(self.name, encoded.dictionary, counts, np.append(places, np.int32(-1))[self.codes])

    def texts(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Values of some rows as objects, None where missing."""
        looked_up = self.values.take(pa.array(self.codes[rows], mask=self.codes[rows] < 0))
        return np.asarray(looked_up.to_numpy(zero_copy_only=False), dtype=object)


def profile_columns(columns: Mapping[str, pa.Array]) -> dict[str, ColumnProfile]:
    """Profile every column of a table of texts, where null is missing."""
    return {name: _profile(name, cells) for name, cells in columns.items()}


def _profile(name: str, cells: pa.Array) -> ColumnProfile:
    encoded = cells.dictionary_encode()
    indices = np.asarray(encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False), dtype=np.int32)
    counts = np.bincount(indices[indices >= 0], minlength=len(encoded.dictionary)).astype(np.int64)
    return ColumnProfile(name, encoded.dictionary, counts, indices)
