"""Logged inputs as columns: a file's JSON objects at once, in a form of which a million rows fit into memory.

Numbers and booleans become float64; categories, and personal values as their hashes, become codes of a dictionary; of
free texts only the length stays, of dates only whether there is one. Rows that are alike are cut (`alike_rows`), of others
Arrow reads the JSON; where a field holds kinds that do not fit one column (a category of numbers and texts), Python does.
Each is several times slower than the one before, and comes to the same result.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from brandhouse_aftercare.alike_rows import cut_alike
from brandhouse_shared.config import FieldType, InputField, Privacy

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK_BYTES = 1 << 20
"""So much is parsed at once, by each processor another block; more where rows are long, since a row must fit into a block."""

LONGEST_BLOCK = 1 << 30


def is_text(field: InputField) -> bool:
    """Whether only the length of a field's values is kept."""
    return field.type is FieldType.TEXT and field.privacy is Privacy.PUBLIC


def is_number(field: InputField) -> bool:
    """Whether a field's values are kept as numbers."""
    return field.is_numeric and field.privacy is Privacy.PUBLIC


def read_inputs(texts: "pa.ChunkedArray", fields: Mapping[str, InputField]) -> "dict[str, pa.ChunkedArray]":
    """Turn JSON objects into one column a field; a field that was withheld, left out or null is null.

    Args:
        texts: One object a row, none of them null.
        fields: The input schema.

    Returns:
        Field name to float64, or to a dictionary of texts; of a sensitive field nothing was kept and nothing is returned.
    """
    kept = {name: field for name, field in fields.items() if field.privacy is not Privacy.SENSITIVE}
    raw = _cut_alike(texts, kept) or _parse_as_arrow(texts, kept) or _parse_one_by_one(texts.to_pylist(), kept)
    return {name: _reduced(raw[name], field) for name, field in kept.items()}


def _cut_alike(texts: "pa.ChunkedArray", fields: Mapping[str, InputField]) -> "dict[str, pa.ChunkedArray] | None":
    columns = cut_alike(texts, {name: _arrow_type(field) for name, field in fields.items()})
    return None if columns is None else {name: column if is_number(fields[name]) else _as_text(column) for name, column in columns.items()}


def _parse_as_arrow(texts: "pa.ChunkedArray", fields: Mapping[str, InputField]) -> "dict[str, pa.ChunkedArray] | None":
    """Parse a whole file's rows in one go. None: something does not fit; the slow way finds out what."""
    import pyarrow as pa
    import pyarrow.json

    rows = texts.to_pylist()
    if not rows or not fields:
        return None
    text = "\n".join(rows).encode()
    block = max(BLOCK_BYTES, 8 * max(map(len, rows)))  # a character takes up to four bytes
    if block >= LONGEST_BLOCK:
        return None
    expected = pa.schema([pa.field(name, _arrow_type(field)) for name, field in fields.items()])
    options = pyarrow.json.ParseOptions(explicit_schema=expected, unexpected_field_behavior="ignore", newlines_in_values=False)
    reading = pyarrow.json.ReadOptions(use_threads=True, block_size=block)
    try:
        table = pyarrow.json.read_json(pa.BufferReader(text), reading, options)
    except (pa.ArrowException, ValueError):
        return None
    if table.num_rows != len(rows):
        return None
    return {name: _as_text(table[name]) if not is_number(field) else _as_number(table[name]) for name, field in fields.items()}


def _arrow_type(field: InputField) -> "pa.DataType":
    import pyarrow as pa

    if is_number(field):
        return pa.bool_() if field.type is FieldType.BOOLEAN else pa.float64()
    is_whole = field.privacy is Privacy.PUBLIC and field.values is not None and all(type(value) is int for value in field.values)
    return pa.int64() if is_whole else pa.string()


def _as_number(column: "pa.ChunkedArray") -> "pa.ChunkedArray":
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.cast(column, pa.float64())


def _as_text(column: "pa.ChunkedArray") -> "pa.ChunkedArray":
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.cast(column, pa.string())


def _parse_one_by_one(rows: Sequence[str], fields: Mapping[str, InputField]) -> "dict[str, pa.ChunkedArray]":
    import pyarrow as pa

    objects = [orjson.loads(row) for row in rows]
    columns: dict[str, pa.ChunkedArray] = {}
    for name, field in fields.items():
        read = _number_or_none if is_number(field) else _text_or_none
        kind = pa.float64() if is_number(field) else pa.string()
        columns[name] = pa.chunked_array([pa.array([read(row.get(name)) for row in objects], type=kind)])
    return columns


def _number_or_none(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _text_or_none(value: Any) -> str | None:
    return None if value is None else str(value)


def _reduced(column: "pa.ChunkedArray", field: InputField) -> "pa.ChunkedArray":
    import pyarrow as pa
    import pyarrow.compute as pc

    if is_number(field):
        return column
    filled = _without_empty(column)
    if is_text(field):
        return pc.cast(pc.utf8_length(filled), pa.float64())
    if field.type is FieldType.DATE and field.privacy is Privacy.PUBLIC:
        return pc.if_else(pc.is_valid(filled), pa.scalar(1.0), pa.scalar(None, pa.float64()))
    return pc.dictionary_encode(filled)


def _without_empty(column: "pa.ChunkedArray") -> "pa.ChunkedArray":
    """An empty text is a missing one."""
    import pyarrow as pa
    import pyarrow.compute as pc

    is_empty = pc.equal(pc.binary_length(column), 0)
    return pc.if_else(is_empty, pa.scalar(None, pa.string()), column) if pc.any(is_empty).as_py() else column
