"""What a model answered in some time, read once for all checks: columns of a size that a small machine can hold.

A million rows of twenty fields take some 300 MB. Of more than `MOST_ROWS` an even sample is read, and `Answers` says so.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from brandhouse_aftercare.input_columns import is_number, is_text, read_inputs
from brandhouse_aftercare.log_files import Damage, find_parts_between, open_part, read_tables, to_ms
from brandhouse_shared.config import FieldType, InputField, Privacy
from brandhouse_shared.names import ModelKey

if TYPE_CHECKING:
    import pyarrow as pa

    from brandhouse_aftercare.checks import Watch

MOST_ROWS = 2_000_000
"""Of more rows every second, third ... is read: no effect that matters needs them, and memory is bounded."""

SAMPLE_ROWS = 1_000
"""So many rows are kept as they were logged, evenly spread, to be looked at one by one."""

ENDING = 8
"""Bytes at the end of an id that are compared first."""

FIXED = ("id", "at", "version", "served_by", "value", "probabilities")
COLUMNS = (*FIXED, "request_rows", "inputs", "withheld")


@dataclass(frozen=True)
class Numbers:
    """A column of numbers: a numeric field, or the lengths of a text field.

    Attributes:
        values: Shape (rows,) float64; NaN is missing.
    """

    values: NDArray[np.float64]

    @property
    def missing(self) -> NDArray[np.bool_]:
        """Shape (rows,)."""
        return np.isnan(self.values)


@dataclass(frozen=True)
class Categories:
    """A column of categories, of public ones their texts, of personal values their hashes.

    Attributes:
        codes: Shape (rows,) int32, place in `names`; -1 is missing.
        names: The different values.
    """

    codes: NDArray[np.int32]
    names: tuple[str, ...]

    @property
    def missing(self) -> NDArray[np.bool_]:
        """Shape (rows,)."""
        return self.codes < 0


@dataclass(frozen=True)
class Presence:
    """A column of which only is known whether there is a value.

    Attributes:
        missing: Shape (rows,).
    """

    missing: NDArray[np.bool_]


Column = Numbers | Categories | Presence


@dataclass(frozen=True)
class Answers:
    """The answers of one model in some time, each id once, in no particular order.

    Attributes:
        since: The first moment.
        until: The first moment after.
        table: Arrow; the columns `FIXED` of the log. `at` in time, `served_by` as a dictionary.
        inputs: Column of each field of the present input schema that is kept; of rows without inputs everything is missing.
        has_inputs: Shape (rows,); False where the brand did not keep inputs.
        sample: Some rows as they were logged, `inputs` as a dict; for what must look at single rows.
        duplicates: Rows that were left out since their id came before.
        step: Every so manyth row was read.
        damage: What could not be read.
    """

    since: datetime
    until: datetime
    table: "pa.Table"
    inputs: Mapping[str, Column]
    has_inputs: NDArray[np.bool_]
    sample: list[dict[str, Any]]
    duplicates: int
    step: int
    damage: Damage = field(default_factory=lambda: Damage([]))

    @property
    def rows(self) -> int:
        """How many answers were read."""
        return int(self.table.num_rows)

    @property
    def days(self) -> float:
        """Length of the time."""
        return (self.until - self.since) / timedelta(days=1)

    @functools.cached_property
    def at_ms(self) -> NDArray[np.int64]:
        """When each was answered, milliseconds since 1970."""
        import pyarrow as pa
        import pyarrow.compute as pc

        return np.asarray(pc.cast(self.table["at"], pa.int64()).to_numpy())

    @functools.cached_property
    def version(self) -> NDArray[np.int32]:
        """Number of the version that answered."""
        return np.asarray(self.table["version"].to_numpy())

    @functools.cached_property
    def value(self) -> NDArray[np.float64]:
        """The number of a regression; NaN where there is none."""
        return np.asarray(self.table["value"].to_numpy(), dtype=np.float64)

    @property
    def ids(self) -> "pa.ChunkedArray":
        """Ids of the predictions."""
        return self.table["id"]

    def by_production(self, version: int) -> NDArray[np.bool_]:
        """Which rows a version answered as the one in production, and not in its trial or in another's place. Shape (rows,)."""
        import pyarrow.compute as pc

        served = np.asarray(pc.equal(self.table["served_by"].cast("string"), "production").to_numpy(zero_copy_only=False), dtype=bool)
        return np.asarray(served & (self.version == version))

    def probabilities(self, chosen: NDArray[np.bool_], classes: int) -> NDArray[np.float64]:
        """Probabilities of the chosen rows that have that many; shape (rows, classes)."""
        import pyarrow as pa
        import pyarrow.compute as pc

        kept = self.table["probabilities"].filter(pa.array(chosen))
        kept = kept.filter(pc.fill_null(pc.equal(pc.list_value_length(kept), classes), False))
        return np.asarray(pc.list_flatten(kept).to_numpy(), dtype=np.float64).reshape(-1, classes)


def read_answers(
    home: Path,
    key: ModelKey,
    fields: Mapping[str, InputField],
    since: datetime,
    until: datetime,
    *,
    most_rows: int = MOST_ROWS,
) -> Answers:
    """Read what a model answered from `since` to just before `until`, both aware of their time zone.

    Files that are damaged are left out and named in `Answers.damage`; no log at all is no rows.
    """
    damage = Damage([])
    first_ms, end_ms = to_ms(since), to_ms(until)
    total = _rows_at_most(home, key, first_ms, end_ms)
    step = max(1, -(-total // most_rows))
    gathered = _Gathered(fields, max(1, total // step // SAMPLE_ROWS))
    for table in read_tables(home, key, first_ms, end_ms, COLUMNS, damage):
        gathered.add(table if step == 1 else table.take(np.arange(0, table.num_rows, step)))
    return gathered.build(since, until, step, damage)


def read_newest(watch: "Watch") -> Answers:
    """Read as many of the newest whole days as give `watch.wanted_rows`, or all of the time if they do not."""
    since = watch.since
    if not watch.is_fixed_window:
        counts = watch.traffic.days[: watch.whole_window.days]
        days = int(np.searchsorted(np.cumsum(counts), watch.wanted_rows)) + 1
        since = max(watch.since, watch.until - timedelta(days=days))
    return read_answers(watch.home, watch.key, watch.model.inputs, since, watch.until)


def _rows_at_most(home: Path, key: ModelKey, first_ms: int, end_ms: int) -> int:
    """Rows of all files that touch the time."""
    total = 0
    for part in find_parts_between(home, key, first_ms, end_ms):
        file = open_part(part, Damage([]))  # noted when it is read
        if file is not None:
            with file:
                total += file.metadata.num_rows
    return total


class _Gathered:
    """What has been read so far, file by file."""

    def __init__(self, fields: Mapping[str, InputField], sample_step: int) -> None:
        self._fields = {name: field for name, field in fields.items() if field.privacy is not Privacy.SENSITIVE}
        self._sample_step = sample_step
        self._tables: list[pa.Table] = []
        self._columns: dict[str, list[Any]] = {name: [] for name in self._fields}
        self._has_inputs: list[NDArray[np.bool_]] = []
        self._sample: list[dict[str, Any]] = []

    def add(self, table: "pa.Table") -> None:
        """Take the rows of one file; of their inputs only what checks look at."""
        if not table.num_rows:
            return
        self._sample += _sampled(table, self._sample_step)
        has_inputs = np.asarray(table["inputs"].is_valid().to_numpy(), dtype=bool)
        self._has_inputs.append(has_inputs)
        for name, column in self._read(table["inputs"], has_inputs).items():
            self._columns[name].append(column)
        self._tables.append(_fixed(table))

    def _read(self, texts: "pa.ChunkedArray", has_inputs: NDArray[np.bool_]) -> "dict[str, pa.ChunkedArray]":
        import pyarrow as pa

        if has_inputs.all():
            return read_inputs(texts, self._fields)
        columns = read_inputs(texts.filter(pa.array(has_inputs)), self._fields)
        # Rows without inputs get nothing: the places of the others, null elsewhere.
        places = pa.array(np.where(has_inputs, np.cumsum(has_inputs) - 1, 0), mask=~has_inputs)
        return {name: column.take(places) for name, column in columns.items()}

    def build(self, since: datetime, until: datetime, step: int, damage: Damage) -> Answers:
        """Put it together, each id once."""
        import pyarrow as pa

        table = pa.concat_tables(self._tables) if self._tables else _fixed(_no_rows())
        self._tables.clear()
        has_inputs = np.concatenate(self._has_inputs) if self._has_inputs else np.zeros(0, bool)
        first = _first_of_each(table["id"])
        inputs = {name: _column(self._columns.pop(name), field, first) for name, field in self._fields.items()}
        duplicates = 0 if first is None else table.num_rows - len(first)
        if first is not None:
            table, has_inputs = table.take(first), has_inputs[first]
        return Answers(since, until, table, inputs, has_inputs, _each_once(self._sample), duplicates, step, damage)


def _fixed(table: "pa.Table") -> "pa.Table":
    """The columns that are kept of every row; repeated texts once."""
    import pyarrow as pa

    kept = table.select(list(FIXED))
    encoded = kept["served_by"].cast(pa.string()).dictionary_encode().cast(pa.dictionary(pa.int32(), pa.string()))
    return kept.set_column(FIXED.index("served_by"), "served_by", encoded)


def _no_rows() -> "pa.Table":
    from brandhouse_serving.prediction_table import schema

    return schema().empty_table()


def _sampled(table: "pa.Table", step: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = table.take(np.arange(0, table.num_rows, step)).to_pylist()
    return rows


def _each_once(sample: list[dict[str, Any]]) -> list[dict[str, Any]]:
    import orjson

    unique = list({row["id"]: row for row in sample}.values())[: 2 * SAMPLE_ROWS]
    return [row | {"inputs": None if row["inputs"] is None else orjson.loads(row["inputs"])} for row in unique]


def _first_of_each(ids: "pa.ChunkedArray") -> NDArray[np.int64] | None:
    """Places of the rows to keep; None: no id comes twice, which is nearly always so and quickly found."""
    import pyarrow.compute as pc

    if _ends_differ(ids) or pc.count_distinct(ids).as_py() == len(ids):
        return None
    codes = ids.combine_chunks().dictionary_encode().indices.to_numpy()
    _, first = np.unique(codes, return_index=True)
    return np.sort(first)


def _ends_differ(ids: "pa.ChunkedArray") -> bool:
    """Whether the last eight bytes, which are random, tell all ids apart: six times quicker than to compare them whole."""
    ends = [_ends(chunk) for chunk in ids.chunks if len(chunk)]
    ordered = np.sort(np.concatenate([np.zeros(0, "<u8"), *ends]))
    return len(ordered) == len(ids) and not (ordered[1:] == ordered[:-1]).any()


def _ends(ids: "pa.Array") -> NDArray[np.uint64]:
    """The last eight bytes of each text as a number; nothing if one is shorter."""
    bounds = np.frombuffer(ids.buffers()[1], np.int32)[ids.offset : ids.offset + len(ids) + 1]
    if (np.diff(bounds) < ENDING).any():
        return np.zeros(0, "<u8")
    content = np.frombuffer(ids.buffers()[2], np.uint8)
    words = np.ndarray((len(content) - ENDING + 1,), "<u8", content, strides=(1,))
    return np.asarray(words[bounds[1:] - ENDING])


def _column(chunks: list[Any], field: InputField, first: NDArray[np.int64] | None) -> Column:
    """One field of all files as a column."""
    import pyarrow as pa

    if is_number(field) or is_text(field) or (field.type is FieldType.DATE and field.privacy is Privacy.PUBLIC):
        values = _numbers(pa.chunked_array([piece for chunk in chunks for piece in chunk.chunks], type=pa.float64()))
        values = values if first is None else values[first]
        return Presence(np.isnan(values)) if field.type is FieldType.DATE else Numbers(values)
    whole = pa.chunked_array([piece for chunk in chunks for piece in chunk.chunks], type=pa.dictionary(pa.int32(), pa.string()))
    encoded = whole.unify_dictionaries().combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):  # there are no rows
        return Categories(np.zeros(0, np.int32), ())
    codes = np.asarray(encoded.indices.fill_null(-1).to_numpy(), dtype=np.int32)
    return Categories(codes if first is None else codes[first], tuple(encoded.dictionary.to_pylist()))


def _numbers(column: "pa.ChunkedArray") -> NDArray[np.float64]:
    return np.asarray(column.to_numpy(), dtype=np.float64)
