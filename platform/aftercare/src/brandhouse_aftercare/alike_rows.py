"""Logged inputs of one shape, cut at their commas: half the work of parsing them, and the same columns.

A client sends the same fields in the same order all day, and the log writes objects without blanks. Where all rows of a
file are alike, the commas between fields lie at places that can be checked, and a field is what stands between two of
them. Whatever is not exactly so (other fields, an escape, a comma in a text, a nested value) is for the parser of JSON.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import orjson
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

WORD = 8
"""Names of fields are compared so many bytes at a time."""

COMMA, QUOTE, TRUE, FALSE, NULL, ESCAPE, BRACE = (ord(sign) for sign in ',"tfn\\{')
TO_BRACE = ord("{") ^ ord("[")
"""The bit that makes a square bracket a brace, and no other sign of JSON that begins a value."""


class _NotAlikeError(Exception):
    """The rows have to be parsed."""


@dataclass(frozen=True)
class _Rows:
    """Rows of which every one has the same names in the same order.

    Attributes:
        data: Their bytes, one row behind the other, and a word of zeros.
        names: As in the first row.
        edges: Shape (names + 1, rows): the byte before each field, which is a brace or a comma, and the brace at the end.
    """

    data: NDArray[np.uint8]
    names: tuple[str, ...]
    edges: NDArray[np.int32]


def cut_alike(texts: "pa.ChunkedArray", types: "Mapping[str, pa.DataType]") -> "dict[str, pa.ChunkedArray] | None":
    """Read columns from JSON objects that the log wrote; None: they are not alike, and have to be parsed.

    Args:
        texts: One valid object a row, none of them null.
        types: Of the wanted fields: float64, int64, boolean or string. A field that no row has is null.

    Returns:
        What the parser of JSON would return for these types; booleans as 1.0 and 0.0.
    """
    import pyarrow as pa

    try:
        pieces = [_cut(chunk, types) for chunk in texts.chunks if len(chunk)]
    except (_NotAlikeError, pa.ArrowException):  # such as a number where a text is expected
        return None
    return {name: pa.chunked_array([piece[name] for piece in pieces], type=_kept_type(kind)) for name, kind in types.items()}


def _kept_type(kind: "pa.DataType") -> "pa.DataType":
    import pyarrow as pa

    return pa.float64() if pa.types.is_boolean(kind) else kind


def _cut(texts: "pa.Array", types: "Mapping[str, pa.DataType]") -> "dict[str, pa.Array]":
    import pyarrow as pa

    rows = _find_fields(texts)
    columns = {name: pa.nulls(len(texts), _kept_type(kind)) for name, kind in types.items() if name not in rows.names}
    for place, name in enumerate(rows.names):
        starts, ends = _values_of(rows, place)
        if name in types:
            columns[name] = _column(rows.data, starts, ends, types[name])
    return columns


def _find_fields(texts: "pa.Array") -> _Rows:
    """Find the commas between fields by their number: as many in each row as fields need, none is left for a text."""
    import pyarrow as pa

    if not pa.types.is_string(texts.type) or texts.null_count:
        raise _NotAlikeError
    _, offsets, content = texts.buffers()
    bounds = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    data = np.zeros(bounds[-1] - bounds[0] + WORD, np.uint8)
    data[:-WORD] = np.frombuffer(content, np.uint8)[bounds[0] : bounds[-1]]
    begins = bounds - bounds[0]
    names = tuple(orjson.loads(bytes(data[: begins[1]])))
    commas = np.flatnonzero(data == COMMA)
    if not names or len(commas) != len(texts) * (len(names) - 1) or (data == ESCAPE).any():
        raise _NotAlikeError
    edges = np.empty((len(names) + 1, len(texts)), np.int32)
    edges[0], edges[-1] = begins[:-1], begins[1:] - 1
    edges[1:-1] = commas.reshape(len(texts), -1).T
    return _Rows(data, names, edges)


def _values_of(rows: _Rows, place: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Where the values of one field begin and end.

    Behind each comma must stand the name in quotes and a colon. A comma within a text cannot have that behind it: the quote would
    end the text, and a name never follows. Nor can one in a nested value, if no value begins with a brace. A comma too many in
    one row, and one too few in another, make a field of two rows end before it begins.
    """
    head = b'"%b":' % rows.names[place].encode()
    starts = rows.edges[place] + np.int32(1)
    ends = rows.edges[place + 1]
    if (ends - starts <= len(head)).any() or not _has(rows.data, starts, head):
        raise _NotAlikeError
    starts = starts + np.int32(len(head))
    if ((rows.data[starts] | TO_BRACE) == BRACE).any():
        raise _NotAlikeError
    return starts, ends


def _has(data: NDArray[np.uint8], starts: NDArray[np.int32], text: bytes) -> bool:
    """Whether the text stands at all these places."""
    words = np.ndarray((len(data) - WORD + 1,), "<u8", data, strides=(1,))  # the eight bytes from each byte on
    pieces = [(at, text[at : at + WORD]) for at in range(0, len(text), WORD)]
    return all(_has_word(words, starts + np.int32(at), piece) for at, piece in pieces)


def _has_word(words: "NDArray[np.uint64]", starts: NDArray[np.int32], piece: bytes) -> bool:
    mask = np.uint64((1 << 8 * len(piece)) - 1)
    return bool(((words[starts] & mask) == np.uint64(int.from_bytes(piece, "little"))).all())


def _column(data: NDArray[np.uint8], starts: NDArray[np.int32], ends: NDArray[np.int32], kind: "pa.DataType") -> "pa.Array":
    import pyarrow as pa
    import pyarrow.compute as pc

    first = data[starts]
    is_null = first == NULL
    if pa.types.is_boolean(kind):
        return _booleans(first, is_null)
    if pa.types.is_string(kind):
        if not (is_null | ((first == QUOTE) & (data[ends - 1] == QUOTE))).all():
            raise _NotAlikeError
        return _texts(data, starts + np.int32(1), ends - np.int32(1), is_null)
    return pc.cast(_texts(data, starts, ends, is_null), kind)


def _booleans(first: NDArray[np.uint8], is_null: NDArray[np.bool_]) -> "pa.Array":
    import pyarrow as pa

    is_true = first == TRUE
    if not (is_null | is_true | (first == FALSE)).all():
        raise _NotAlikeError
    return pa.array(is_true.astype(np.float64), mask=is_null)


def _texts(data: NDArray[np.uint8], starts: NDArray[np.int32], ends: NDArray[np.int32], is_null: NDArray[np.bool_]) -> "pa.Array":
    """Cut texts out: as every second one of an array whose others are what lies between them."""
    import pyarrow as pa

    bounds = np.empty(2 * len(starts), np.int32)
    bounds[0::2], bounds[1::2] = starts, ends
    whole = pa.StringArray.from_buffers(len(bounds) - 1, pa.py_buffer(bounds), pa.py_buffer(data))
    places = np.arange(0, len(bounds), 2, dtype=np.int32)
    return whole.take(pa.array(places, mask=is_null if is_null.any() else None))
