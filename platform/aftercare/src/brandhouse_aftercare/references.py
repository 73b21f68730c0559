"""What a version's record says its training looked like, made comparable: cells, and how many rows lay in each.

A record of an earlier release, or a personal field, tells less: what cannot be compared says why. Of personal fields the
log only holds keyed hashes; where a field has few possible values, their hashes are computed and counted, so that nothing
is learnt but the coarse shares that the record holds anyway.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brandhouse_aftercare.answers import Categories, Column, Numbers
from brandhouse_shared.config import FieldType, InputField, Privacy

OTHER = "other"
COARSE_ROUNDING = 0.005
"""Shares of personal fields are rounded to hundredths."""

MOST_HASHED = 10_000
"""Of a personal whole number with more possible values nothing is counted: the range is no longer coarse."""

Counts = NDArray[np.float64]
Places = NDArray[np.int32]
HashOf = Callable[[Any], str]
"""From a value as it may stand in a request to what the log keeps of it."""


@dataclass(frozen=True)
class Reference:
    """The cells of one field, and the training's rows in them.

    Attributes:
        cells: Names for people; of personal fields ranges and declared values only.
        counts: Rows of each cell; not whole where only shares are known.
        place: From a column to the cell of each row, -1 where it has no value.
        slack: As in `distances.measure_distance`.
    """

    cells: tuple[str, ...]
    counts: Counts
    place: Callable[[Column], Places]
    slack: float = 0.0

    @property
    def rows(self) -> float:
        """Rows of the training that have a value."""
        return float(self.counts.sum())

    def count(self, column: Column, chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Rows of each cell among the chosen rows of a column."""
        places = self.place(column)
        places = places if chosen.all() else places[chosen]
        return np.bincount(places + 1, minlength=len(self.cells) + 1)[1:].astype(np.int64)


def field_reference(field: InputField, told: Mapping[str, Any], hash_of: HashOf | None = None) -> Reference | str:
    """Build the reference of one field, or say why it cannot be compared.

    Args:
        field: Its declaration now.
        told: What the version's record says of it.
        hash_of: For personal fields: what the log keeps of a value. None: they are not compared.
    """
    if field.privacy is Privacy.SENSITIVE:
        return "sensitive: nothing of it is logged"
    if told.get("type") != str(field.type) or told.get("privacy") != str(field.privacy):
        return "its type or privacy class has changed since the training"
    known = told["rows"] * (1 - (told.get("missing_share") or 0.0))
    if known < 1:
        return "the training had no value of it"
    if field.privacy is Privacy.PERSONAL:
        return _personal(field, told, known, hash_of) if hash_of is not None else "personal: only its hash is logged"
    return _public(field, told, known)


def _public(field: InputField, told: Mapping[str, Any], known: float) -> Reference | str:
    if field.type is FieldType.BOOLEAN:
        return shares_reference({"0": 1 - told["true_share"], "1": told["true_share"]}, known)
    if field.type is FieldType.DATE:
        return "a date: it moves on with time"
    if field.type is FieldType.CATEGORY:
        return _category_reference(told)
    if field.type is FieldType.TEXT:
        return number_reference(told["length"], known, whole=True)
    if "shares" in told:
        return shares_reference(told["shares"], known)
    return number_reference(told, known, whole=field.type is FieldType.INTEGER)


def number_reference(told: Mapping[str, Any], rows: float, *, whole: bool = False, tolerance: float = 0.0) -> Reference | str:
    """Cells between the training's deciles.

    Args:
        told: `bins` with exact counts, or the `deciles` of an earlier release.
        rows: Rows with a value.
        whole: Whether values are mostly whole numbers, of which many lie on a decile.
        tolerance: By how much, relative to its size, a number may be off and still be the same: a compiled model answers in
            single precision, and many answers of a forest lie on an edge.
    """
    bins = told.get("bins")
    if bins:
        edges = np.asarray(bins["edges"], dtype=np.float64)
        span = np.ptp(edges) if len(edges) else 0.0
        return _between(edges + tolerance * (np.abs(edges) + span), np.asarray(bins["counts"], dtype=np.float64))
    deciles = told.get("deciles")
    if not deciles or None in deciles or whole or len(set(deciles)) < len(deciles):
        return "its record is of an earlier release and too coarse for it; the next version can be compared"
    return _between(np.asarray(deciles[1:-1], dtype=np.float64), np.full(len(deciles) - 1, rows / (len(deciles) - 1)))


def _between(edges: NDArray[np.float64], counts: Counts) -> Reference:
    def place(column: Column) -> Places:
        values = _values(column)
        places = np.zeros(len(values), np.int32)
        for edge in edges:  # a dozen: one after the other is five times quicker than a search for each value
            places += values > edge
        return _without_missing(places, values)

    names = [f"{edge:.4g}" for edge in edges]
    cells = [f"up to {names[0]}", *(f"to {name}" for name in names[1:]), f"above {names[-1]}"] if names else ["all"]
    return Reference(tuple(cells), counts, place)


def shares_reference(shares: Mapping[str, float], rows: float) -> Reference:
    """A cell for each of a few numbers, and one for all others."""
    names = list(shares)
    numbers = np.asarray([float(name) for name in names])

    def place(column: Column) -> Places:
        values = _values(column)
        places = np.full(len(values), len(names), np.int32)
        for cell, number in enumerate(numbers):
            places[np.abs(values - number) <= 1e-12 + 1e-5 * abs(number)] = cell
        return _without_missing(places, values)

    counts = np.asarray([*(shares[name] * rows for name in names), 0.0])
    return Reference((*names, OTHER), counts, place)


def _without_missing(places: Places, values: NDArray[np.float64]) -> Places:
    places[np.isnan(values)] = -1
    return places


def _category_reference(told: Mapping[str, Any]) -> Reference:
    return classes_reference(told["top"], told["other_rows"])


def classes_reference(counts: Mapping[str, float], others: float = 0.0) -> Reference:
    """A cell for each category that is told of, and one for all others."""
    cells = {name: cell for cell, name in enumerate(counts)}

    def place(column: Column) -> Places:
        found = _categories(column)
        of_code = np.asarray([*(cells.get(name[:80], len(cells)) for name in found.names), -1], dtype=np.int32)
        return of_code[found.codes]  # a missing one has code -1, the last

    return Reference((*cells, OTHER), np.asarray([*counts.values(), others], dtype=np.float64), place)


# -- personal fields ---------------------------------------------------------------------------------------------------


def _personal(field: InputField, told: Mapping[str, Any], known: float, hash_of: HashOf) -> Reference | str:
    if "edges" in told:
        return _personal_numbers(field, told, known, hash_of)
    if "shares" not in told or field.type not in (FieldType.BOOLEAN, FieldType.CATEGORY):
        return "personal: the record holds no shares that its hashes could be compared with"
    disclosed = list(told["shares"])
    if field.type is FieldType.BOOLEAN:
        possible: dict[str, list[Any]] = {"false": [False], "true": [True]}
    else:
        possible = {str(value): [value] for value in field.values or ()}
    cell_of = {
        hash_of(value): (disclosed.index(name) if name in disclosed else len(disclosed))
        for name, values in possible.items()
        for value in values
    }
    shares = [*told["shares"].values(), told["other_share"]]
    return _hashed((*disclosed, OTHER), shares, known, cell_of)


def _personal_numbers(field: InputField, told: Mapping[str, Any], known: float, hash_of: HashOf) -> Reference | str:
    is_whole = field.type is FieldType.INTEGER and field.min is not None and field.max is not None
    if not is_whole or field.min is None or field.max is None or field.max - field.min > MOST_HASHED:
        return "personal: too many possible values to be told by their hashes"
    edges = np.asarray(told["edges"], dtype=np.float64)
    cell_of: dict[str, int] = {}
    for value in range(int(field.min), int(field.max) + 1):
        cell = int(np.searchsorted(edges, value, "right"))
        cell_of |= {hash_of(value): cell, hash_of(float(value)): cell}
    names = [f"{edge:.4g}" for edge in edges]
    cells = (f"below {names[0]}", *(f"from {name}" for name in names), OTHER)
    return _hashed(cells, [*told["shares"], 0.0], known, cell_of)


def _hashed(cells: tuple[str, ...], shares: list[float], known: float, cell_of: Mapping[str, int]) -> Reference:
    def place(column: Column) -> Places:
        found = _categories(column)
        of_code = np.asarray([*(cell_of.get(name, len(cells) - 1) for name in found.names), -1], dtype=np.int32)
        return of_code[found.codes]

    counts = np.maximum(np.asarray(shares, dtype=np.float64), 0) * known
    return Reference(cells, counts, place, slack=COARSE_ROUNDING * len(cells) / 2)


def _categories(column: Column) -> Categories:
    if not isinstance(column, Categories):
        raise TypeError(f"cells of categories hold no {type(column).__name__}")
    return column


def _values(column: Column) -> NDArray[np.float64]:
    if not isinstance(column, Numbers):
        raise TypeError(f"cells of numbers hold no {type(column).__name__}")
    return column.values
