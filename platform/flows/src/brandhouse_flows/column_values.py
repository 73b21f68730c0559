"""The values of one column in two tables at once: what they are, and one code for each different value.

Coding both tables together makes all comparisons counting: of rows, of categories, of new and vanished values.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from brandhouse_flows.disclosure import ColumnRule
from brandhouse_shared.config import FieldType
from brandhouse_shared.contracts import FALSE_WORDS, TRUE_WORDS

MAX_CATEGORIES = 60
"""A column of more different texts is text, not a category, where nothing is declared."""

_DATE_FORMATS = ("%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%d-%m-%Y", "%d/%m/%Y", "%m/%d/%Y")
_LOOKED_AT = 1_000
"""Different values looked at to guess a type before all are."""

_NUMERIC = frozenset({FieldType.NUMBER, FieldType.INTEGER})


@dataclass(frozen=True)
class PairedColumn:
    """One column of two tables.

    Attributes:
        name: Of the column.
        rule: What is declared of it.
        before: Code of each row's value in the first table, -1 where it is missing.
        after: The same in the second table.
        values: The different values as texts; a code is a position in them.
        numbers: Each of them as a number; NaN where it is none.
        type: As declared, or told from the values.
    """

    name: str
    rule: ColumnRule
    before: NDArray[np.int64]
    after: NDArray[np.int64]
    values: NDArray[Any]
    numbers: NDArray[np.float64]
    type: FieldType

    @property
    def is_measured(self) -> bool:
        """Whether values lie on a line: numbers and dates."""
        return self.type in _NUMERIC or self.type is FieldType.DATE

    @cached_property
    def measures(self) -> NDArray[np.float64]:
        """Number of each different value: dates as days since 1970, texts as their length; NaN where it is none."""
        if self.type in _NUMERIC:
            return self.numbers
        if self.type is FieldType.DATE:
            return _days(self.values, self.rule.format)
        return np.asarray([len(value) for value in self.values], dtype=np.float64)

    @cached_property
    def counts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows of each different value, before and after."""
        size = len(self.values)
        return _count(self.before, size), _count(self.after, size)

    def measured(self, codes: NDArray[np.int64]) -> NDArray[np.float64]:
        """The numbers of one table's rows, without those that have none."""
        numbers = self.measures[codes[codes >= 0]]
        return numbers[np.isfinite(numbers)]


def pair_column(name: str, rule: ColumnRule, before: "pd.Series[Any]", after: "pd.Series[Any]") -> PairedColumn:
    """Code one column of two tables. Values that are equal as numbers get one code, however they are written."""
    codes, values = pd.factorize(pd.concat([before, after], ignore_index=True), use_na_sentinel=True)
    texts = np.asarray(values, dtype=object)
    numbers = _numbers(texts)
    type_ = rule.type or guess_type(texts, numbers)
    if type_ is FieldType.BOOLEAN:
        words = np.asarray([_boolean_word(value) for value in texts], dtype=object)
        codes, kept = _merge(codes, words)
        texts, numbers = words[kept], numbers[kept]
    elif type_ in _NUMERIC and np.isfinite(numbers).all():
        codes, kept = _merge(codes, numbers)
        texts, numbers = texts[kept], numbers[kept]
    coded = codes.astype(np.int64)
    return PairedColumn(name, rule, coded[: len(before)], coded[len(before) :], texts, numbers, type_)


def guess_type(texts: NDArray[Any], numbers: NDArray[np.float64]) -> FieldType:
    """Tell the type of a column from its different values, as texts and as numbers."""
    if not len(texts):
        return FieldType.CATEGORY
    if np.isfinite(numbers).all():
        return FieldType.NUMBER
    if all(text.strip().lower() in TRUE_WORDS | FALSE_WORDS for text in texts[:_LOOKED_AT]):
        return FieldType.BOOLEAN
    if any(np.isfinite(_days_in(texts[:_LOOKED_AT], pattern)).all() for pattern in _DATE_FORMATS):
        return FieldType.DATE
    return FieldType.CATEGORY if len(texts) <= MAX_CATEGORIES else FieldType.TEXT


def _numbers(texts: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(pd.to_numeric(pd.Series(texts, dtype=object), errors="coerce"), dtype=np.float64)


def _days(texts: NDArray[Any], pattern: str) -> NDArray[np.float64]:
    """Days since 1970; of several usual formats the one that reads most values, if the declared one does not read all."""
    best = np.full(len(texts), np.nan)
    for one in dict.fromkeys((pattern, *_DATE_FORMATS)):
        days = _days_in(texts, one)
        best = days if np.isfinite(days).sum() > np.isfinite(best).sum() else best
        if np.isfinite(best).all():
            break
    return best


def _days_in(texts: NDArray[Any], pattern: str) -> NDArray[np.float64]:
    stamps = pd.to_datetime(pd.Series(texts, dtype=object), format=pattern, errors="coerce")
    return np.asarray((stamps - pd.Timestamp(0)) / pd.Timedelta(days=1), dtype=np.float64)


def _boolean_word(text: str) -> str:
    word = text.strip().lower()
    return "true" if word in TRUE_WORDS else "false" if word in FALSE_WORDS else text


def _merge(codes: NDArray[Any], forms: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Give values of equal form one code; also return the first place of each form that is left."""
    again, kept = pd.factorize(forms)
    first = np.full(len(kept), len(forms), dtype=np.int64)
    np.minimum.at(first, again, np.arange(len(forms)))
    return np.where(codes >= 0, again[np.maximum(codes, 0)] if len(again) else -1, -1), first


def _count(codes: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    return np.bincount(codes[codes >= 0], minlength=size).astype(np.int64)
