"""What changed between two snapshots of a dataset: columns, rows, and the distribution of every column.

Values of a column appear only where `disclosure` allows it; of all other columns only counts and effects are told.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from brandhouse_flows.column_values import PairedColumn, guess_type, pair_column
from brandhouse_flows.disclosure import ColumnRule
from brandhouse_flows.effects import number_chance, number_effect, say_effect, share_chance, share_effect
from brandhouse_shared.config import FieldType
from brandhouse_shared.errors import DatasetError, join_bounded

SHOWN_VALUES = 10
"""New, vanished and frequent values that are named; the others are counted."""

BINS = 24
_KEY_NAME = re.compile(r"(?i:(?:^|[_\W])(?:id|key|uuid|guid|nr|number|code)$)|[a-z](?:Id|ID|Nr)$")
_MIX = 0x9E3779B97F4A7C15


@dataclass(frozen=True, slots=True)
class RowChanges:
    """What happened to the rows.

    Attributes:
        before: Rows of the first table.
        after: Rows of the second.
        equal: Rows that are in both, with equal values in all common columns.
        added: Rows of the second that the first lacks.
        removed: Rows of the first that the second lacks.
        changed: Rows of the same key with other values; None: without a key nobody can tell.
        key: The column by which rows were matched; None: by all their values.
        repeated_after: Rows of the second that repeat another row of it.
    """

    before: int
    after: int
    equal: int
    added: int
    removed: int
    changed: int | None
    key: str | None
    repeated_after: int


@dataclass(frozen=True, slots=True)
class Side:
    """One column in one of the tables.

    Attributes:
        missing_share: Of the rows, in [0, 1].
        distinct: Different values.
        summary: Low, quartiles and high of numbers, dates as days since 1970; None where values are not shown.
    """

    missing_share: float
    distinct: int
    summary: tuple[float, float, float, float, float] | None


@dataclass(frozen=True, slots=True)
class Picture:
    """What is drawn of one column: shares before and after, by bin or by category.

    Attributes:
        kind: `bins` (edges are numbers, or days since 1970) or `categories`.
        labels: Of the bins' edges (one more than shares), or of the categories.
    """

    kind: str
    labels: tuple[str | float, ...]
    before: tuple[float, ...]
    after: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ColumnChange:
    """One column that both tables have.

    Attributes:
        disclosure: public, personal, sensitive, undeclared.
        type: Declared, or told from the values.
        effect: Distance of the two distributions in [0, 1] (of texts: of their lengths), or the difference of the shares of
            missing values if that is larger. None: a table has no rows.
        word: The effect in words.
        new_values: Different values that the first table lacks.
        vanished_values: Different values that the second table lacks.
        new_named: The most frequent of them; empty where values are not shown or are no categories.
        vanished_named: Likewise.
        changed_cells: Cells that differ in rows of the same key; None without a key.
        picture: None where values are not shown.
    """

    name: str
    disclosure: str
    type: str
    before: Side
    after: Side
    effect: float | None
    word: str
    new_values: int
    vanished_values: int
    new_named: tuple[str, ...]
    vanished_named: tuple[str, ...]
    changed_cells: int | None
    picture: Picture | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """The difference of two tables.

    Attributes:
        added_columns: Only in the second.
        removed_columns: Only in the first.
        retyped: Column to what its values looked like before and after, where that differs.
        columns: Common columns, the largest effect first.
    """

    rows: RowChanges
    added_columns: tuple[str, ...]
    removed_columns: tuple[str, ...]
    is_reordered: bool
    retyped: Mapping[str, tuple[str, str]]
    columns: tuple[ColumnChange, ...]

    def as_document(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def compare_tables(
    before: pd.DataFrame, after: pd.DataFrame, rules: Mapping[str, ColumnRule], *, key: str | None = None, subject: str = "dataset"
) -> Comparison:
    """Compare two tables of texts, as `datasets.read_table` returns them.

    Args:
        before: The older one. Not changed.
        after: The newer one. Not changed.
        rules: Of each column of both.
        key: The column that identifies a row; None: one whose name and values say that it does, if there is one.
        subject: For messages.

    Raises:
        DatasetError: If the named key is missing in a table, or is empty or repeated in a row.
    """
    common = [name for name in after.columns if name in before.columns]
    pairs = {name: pair_column(name, rules[name], before[name], after[name]) for name in common}
    chosen = _named_key(key, pairs, subject) if key is not None else _find_key(pairs)
    matched = _match(pairs, chosen) if chosen else None
    changes = [_column_change(pair, matched) for pair in pairs.values()]
    return Comparison(
        rows=_rows_by_key(pairs, chosen, matched) if chosen and matched else _rows_by_value(pairs, len(before), len(after)),
        added_columns=tuple(str(name) for name in after.columns if name not in before.columns),
        removed_columns=tuple(str(name) for name in before.columns if name not in after.columns),
        is_reordered=common != [name for name in before.columns if name in after.columns],
        retyped={name: types for name, pair in pairs.items() if (types := _types(pair))[0] != types[1]},
        columns=tuple(sorted(changes, key=lambda change: -(change.effect or 0))),
    )


# -- rows ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Matched:
    """Positions of the rows that both tables have, by their key."""

    before: NDArray[np.int64]
    after: NDArray[np.int64]


def _named_key(name: str, pairs: Mapping[str, PairedColumn], subject: str) -> str:
    if name not in pairs:
        raise DatasetError(f"{subject}: the key {name[:80]!r} is not in both snapshots; columns of both: {join_bounded(pairs, 40)}")
    if not _identifies(pairs[name]):
        raise DatasetError(f"{subject}: {name[:80]!r} is empty or repeated in some rows, so it cannot match them; name another --key")
    return name


def _find_key(pairs: Mapping[str, PairedColumn]) -> str | None:
    """The first column whose name says that it identifies, that does so, and that the tables share values of."""
    for name, pair in pairs.items():
        if _KEY_NAME.search(name) and _identifies(pair) and np.minimum(*pair.counts).any():
            return name
    return None


def _identifies(pair: PairedColumn) -> bool:
    counts = pair.counts
    complete = (pair.before >= 0).all() and (pair.after >= 0).all()
    return bool(complete and len(pair.before) and len(pair.after) and max(counts[0].max(), counts[1].max()) == 1)


def _match(pairs: Mapping[str, PairedColumn], key: str) -> _Matched:
    pair = pairs[key]
    places = np.full(len(pair.values), -1, dtype=np.int64)
    places[pair.before] = np.arange(len(pair.before))
    found = places[pair.after]
    return _Matched(found[found >= 0], np.flatnonzero(found >= 0))


def _rows_by_key(pairs: Mapping[str, PairedColumn], key: str, matched: _Matched) -> RowChanges:
    pair = pairs[key]
    same = np.ones(len(matched.before), dtype=bool)
    for one in pairs.values():
        same &= one.before[matched.before] == one.after[matched.after]
    total, equal = len(matched.before), int(same.sum())
    return RowChanges(
        len(pair.before), len(pair.after), equal, len(pair.after) - total, len(pair.before) - total, total - equal, key, repeated_after=0
    )


def _rows_by_value(pairs: Mapping[str, PairedColumn], before: int, after: int) -> RowChanges:
    """Match rows by a 64-bit hash of all their values: among a million rows two differ and collide in one of 10^7 cases."""
    columns = list(pairs.values())
    hashes = np.concatenate([_row_hashes([one.before for one in columns], before), _row_hashes([one.after for one in columns], after)])
    _, codes = np.unique(hashes, return_inverse=True)
    size = int(codes.max()) + 1 if len(codes) else 0
    first, second = np.bincount(codes[:before], minlength=size), np.bincount(codes[before:], minlength=size)
    equal = int(np.minimum(first, second).sum()) if pairs else 0
    return RowChanges(before, after, equal, after - equal, before - equal, None, None, after - int((second > 0).sum()))


def _row_hashes(columns: Sequence[NDArray[np.int64]], rows: int) -> NDArray[np.uint64]:
    hashes = np.zeros(rows, dtype=np.uint64)
    for codes in columns:
        hashes = _mixed(hashes * np.uint64(31) + _mixed(codes.astype(np.uint64) + np.uint64(_MIX)))
    return hashes


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finalizer of SplitMix64 (Steele, Lea and Flood 2014): spreads every bit over all bits."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


# -- columns ---------------------------------------------------------------------------------------------------------


def _types(pair: PairedColumn) -> tuple[str, str]:
    """What the values of either table look like alone; of an empty side what the other looks like."""
    present = [counts > 0 for counts in pair.counts]
    first, second = (guess_type(pair.values[here], pair.numbers[here]) if here.any() else None for here in present)
    return str(first or second), str(second or first)


def _column_change(pair: PairedColumn, matched: _Matched | None) -> ColumnChange:
    first, second = pair.counts
    effect, chance = _effect(pair)
    new, vanished = (first == 0) & (second > 0), (first > 0) & (second == 0)
    named = pair.rule.shows_values and pair.type in (FieldType.CATEGORY, FieldType.BOOLEAN)
    return ColumnChange(
        name=pair.name,
        disclosure=str(pair.rule.disclosure),
        type=str(pair.type),
        before=_side(pair, pair.before, first),
        after=_side(pair, pair.after, second),
        effect=effect,
        word=say_effect(effect, chance),
        new_values=int(new.sum()),
        vanished_values=int(vanished.sum()),
        new_named=_frequent(pair, np.where(new, second, 0)) if named else (),
        vanished_named=_frequent(pair, np.where(vanished, first, 0)) if named else (),
        changed_cells=None if matched is None else int((pair.before[matched.before] != pair.after[matched.after]).sum()),
        picture=_picture(pair) if pair.rule.shows_values else None,
    )


def _effect(pair: PairedColumn) -> tuple[float | None, float]:
    """The larger of what the values and what the shares of missing values say, and what chance alone may do."""
    effect, chance = _values_effect(pair)
    missing = [np.array([(codes < 0).sum(), (codes >= 0).sum()], dtype=np.int64) for codes in (pair.before, pair.after)]
    of_missing = share_effect(*missing)
    if of_missing is not None and of_missing > (effect or 0):
        return of_missing, share_chance(*missing)
    return effect, chance


def _values_effect(pair: PairedColumn) -> tuple[float | None, float]:
    first, second = pair.counts
    if pair.is_measured or pair.type is FieldType.TEXT:
        known = np.isfinite(pair.measures)
        chance = number_chance(int(first[known].sum()), int(second[known].sum()))
        return number_effect(pair.measures[known], first[known], second[known]), chance
    return share_effect(first, second), share_chance(first, second)


def _side(pair: PairedColumn, codes: NDArray[np.int64], counts: NDArray[np.int64]) -> Side:
    missing = float((codes < 0).mean()) if len(codes) else 0.0
    numbers = pair.measured(codes) if pair.is_measured and pair.rule.shows_values else np.empty(0)
    summary = None
    if len(numbers):
        low, first, middle, third, high = (float(value) for value in np.quantile(numbers, [0, 0.25, 0.5, 0.75, 1]))
        summary = (low, first, middle, third, high)
    return Side(missing, int((counts > 0).sum()), summary)


def _frequent(pair: PairedColumn, counts: NDArray[np.int64]) -> tuple[str, ...]:
    order = np.argsort(-counts, kind="stable")[:SHOWN_VALUES]
    return tuple(str(pair.values[place])[:80] for place in order if counts[place])


def _picture(pair: PairedColumn) -> Picture | None:
    if pair.is_measured or pair.type is FieldType.TEXT:
        return _bins(pair.measured(pair.before), pair.measured(pair.after))
    return _categories(pair)


def _bins(before: NDArray[np.float64], after: NDArray[np.float64]) -> Picture | None:
    """Shares by bin; the outermost half percent on either side is counted in the first and last bin."""
    both = np.concatenate([before, after])
    if not len(both):
        return None
    low, high = (float(value) for value in np.quantile(both, [0.005, 0.995]))
    if low == high:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, BINS + 1)
    shares = [np.histogram(np.clip(part, low, high), edges)[0] / max(len(part), 1) for part in (before, after)]
    return Picture("bins", tuple(edges.tolist()), tuple(shares[0].tolist()), tuple(shares[1].tolist()))


def _categories(pair: PairedColumn) -> Picture | None:
    first, second = (counts / max(counts.sum(), 1) for counts in pair.counts)
    if not len(first):
        return None
    order = np.argsort(-(first + second), kind="stable")
    top, rest = order[:SHOWN_VALUES], order[SHOWN_VALUES:]
    labels = [str(pair.values[place])[:80] for place in top]
    shares = [[*part[top].tolist(), *([float(part[rest].sum())] if len(rest) else [])] for part in (first, second)]
    return Picture("categories", (*labels, *([f"{len(rest)} others"] if len(rest) else [])), tuple(shares[0]), tuple(shares[1]))
