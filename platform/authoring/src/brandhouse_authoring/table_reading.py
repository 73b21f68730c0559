"""Read a table of unknown origin: which format, encoding and separator, whether there is a header, and every cell as a text.

What is found out is written down as the keys of a dataset, so that the platform reads the same cells later. The file is
read by Arrow, which is several times as fast as what a training uses; where Arrow refuses, the platform's own reading decides.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from brandhouse_authoring.csv_layout import Layout, find_layout
from brandhouse_authoring.decisions import Decision
from brandhouse_authoring.text_encoding import DEFAULT_ENCODING, guess_encoding
from brandhouse_shared.config import Dataset
from brandhouse_shared.errors import DatasetError, join_bounded

HEAD_BYTES = 1 << 18
"""Enough lines to tell a layout by."""

_COMPRESSIONS = {b"\x1f\x8b": ".gz", b"BZh": ".bz2"}
_FOREIGN = {
    b"PK\x03\x04": "a zip or a spreadsheet (xlsx); unpack it, or save the sheet as CSV (in the spreadsheet: save as, CSV UTF-8)",
    b"\xd0\xcf\x11\xe0": "an old spreadsheet (xls); save the sheet as CSV (in the spreadsheet: save as, CSV UTF-8)",
    b"%PDF": "a PDF; a table is needed",
    b"SQLite format 3": "a SQLite database; use --sql and --query",
    b"\x28\xb5\x2f\xfd": "compressed by zstd; pack it with gzip",
    b"\xfd7zXZ": "compressed by xz; pack it with gzip",
}


_FROM_JSON = 'convert it in Python: pandas.read_json(FILE).to_csv("rows.csv", index=False); with lines=True if every line is an object'


@dataclass(frozen=True)
class TableReading:
    """A table and how it was read.

    Attributes:
        data: Keys of the dataset except `source`, those that differ from their defaults.
        columns: Column name to its cells as texts; a missing cell is null. In the file's order.
        decisions: What was found out about the file.
    """

    data: Mapping[str, Any]
    columns: Mapping[str, pa.Array]
    decisions: tuple[Decision, ...]

    @property
    def rows(self) -> int:
        """How many rows the table has."""
        return len(next(iter(self.columns.values())))


def read_unknown(path: Path, target: str, header: Sequence[str] | None = None) -> TableReading:
    """Find out how a file is to be read, and read it.

    Args:
        path: CSV, also packed by gzip or bzip2, or Parquet. The content decides, not the name.
        target: A column that must be there; it tells a header row from data.
        header: Column names, if the file has none or none that can be used.

    Raises:
        DatasetError: If the file is missing, empty, damaged or no table.
    """
    if path.is_dir():
        raise DatasetError(f"{path.resolve().name[:80]}: this is a folder; give the path of one CSV or Parquet file in it")
    if not path.is_file():
        raise DatasetError(f"{path.name[:80]}: there is no such file; give the path of a CSV or Parquet file")
    with path.open("rb") as file:
        start = file.read(16)
    if not start:
        raise DatasetError(f"{path.name[:80]}: the file is empty (0 bytes); give a CSV or Parquet file with column names and rows")
    for mark, what in _FOREIGN.items():
        if start.startswith(mark):
            raise DatasetError(f"{path.name[:80]}: this is {what}; allowed: CSV, CSV packed by gzip or bzip2, and Parquet")
    reading = _read_parquet(path) if start.startswith(b"PAR1") else _read_csv(path, start, target, header)
    if not reading.rows:
        raise DatasetError(f"{path.name[:80]}: the file has columns but no row; there is nothing to learn from")
    return reading


def texts_of(column: Any) -> pa.Array:
    """The cells of an Arrow column as texts, as the platform reads Parquet.

    Raises:
        pyarrow.ArrowNotImplementedError: If it holds lists or records.
    """
    values = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    return _without_missing(values.cast(pa.string()))


def _without_missing(texts: pa.Array) -> pa.Array:
    import pyarrow.compute as pc

    is_missing = pc.is_in(texts, pa.array(Dataset.model_fields["missing"].default))
    return pc.if_else(is_missing, pa.scalar(None, pa.string()), texts)


def _read_parquet(path: Path) -> TableReading:
    import pyarrow.parquet as pq

    try:
        stored = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise DatasetError(f"{path.name[:80]}: the file is no whole Parquet file") from error
    twice = sorted({name for name in stored.column_names if stored.column_names.count(name) > 1})
    if twice:
        raise DatasetError(f"{path.name[:80]}: columns of the same name: {join_bounded(twice)}; name every column once")
    if not stored.num_columns:
        raise DatasetError(f"{path.name[:80]}: the file has no column")
    columns: dict[str, pa.Array] = {}
    for name in stored.column_names:
        try:
            columns[name] = texts_of(stored.column(name))
        except pa.ArrowNotImplementedError as error:
            allowed = "allowed: numbers, texts, booleans, dates; write the file without it"
            raise DatasetError(f"{path.name[:80]}: column {name[:80]!r} holds lists or records; {allowed}") from error
    found = Decision("file", "Parquet", f"{stored.num_rows:,} rows and {stored.num_columns} columns")
    return TableReading({"format": "parquet"}, columns, (found,))


def _read_csv(path: Path, start: bytes, target: str, header: Sequence[str] | None) -> TableReading:
    packing = next((ending for mark, ending in _COMPRESSIONS.items() if start.startswith(mark)), "")
    named = path.suffix.lower() if path.suffix.lower() in _COMPRESSIONS.values() else ""
    if packing != named:
        found, wanted = packing or "not packed", f"{path.name[:80].removesuffix(named)}{packing}"
        raise DatasetError(f"{path.name[:80]}: the content is {found}, the name says {named or 'not packed'}; rename the file to {wanted}")
    head = _read_bytes(path, packing, HEAD_BYTES)
    if head.lstrip()[:1] in (b"{", b"[") and b'":' in head:
        raise DatasetError(f"{path.name[:80]}: this looks like JSON; allowed: CSV, CSV packed by gzip or bzip2, and Parquet; {_FROM_JSON}")
    encoding = guess_encoding(head)
    cells = _cells(path, packing, head, encoding, target, header)
    if cells is None and encoding == DEFAULT_ENCODING:  # a sign beyond ASCII may come late
        encoding = guess_encoding(_read_bytes(path, packing))
        cells = _cells(path, packing, head, encoding, target, header)
    if cells is None:
        raise DatasetError(f"{path.name[:80]}: some bytes are not {encoding}, as the file seems to be; save it as UTF-8")
    return cells


def _read_bytes(path: Path, packing: str, count: int = -1) -> bytes:
    openers: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, "": open}
    try:
        with openers[packing](path, "rb") as file:
            content: bytes = file.read(count)
            return content
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetError(f"{path.name[:80]}: the file is truncated or damaged ({type(error).__name__})") from error


def _cells(path: Path, packing: str, head: bytes, encoding: str, target: str, header: Sequence[str] | None) -> TableReading | None:
    """Read the file in one encoding; None if its bytes are not of that encoding."""
    text = codecs.getincrementaldecoder(encoding)("replace").decode(head)
    layout = find_layout(text, len(head) < HEAD_BYTES, target, header, path.name[:80])
    data = {
        **({} if encoding == DEFAULT_ENCODING else {"encoding": encoding}),
        **({} if layout.separator == "," else {"separator": layout.separator}),
        **({"skip_rows": layout.skip_rows} if layout.skip_rows else {}),
        **({"header": list(layout.names)} if layout.declares_names else {}),
    }
    try:
        texts = _by_arrow(path, packing, encoding, layout)
    except UnicodeDecodeError:
        return None
    except pa.ArrowInvalid as error:
        if "UTF8" in str(error):
            return None
        texts = _by_platform(path, packing, data)
    return TableReading(data, texts, tuple(_findings(encoding, packing, layout, texts)))


def _by_arrow(path: Path, packing: str, encoding: str, layout: Layout) -> dict[str, pa.Array]:
    from pyarrow import csv

    positions = [str(position) for position in range(len(layout.names))]
    skipped = layout.skip_rows + (0 if layout.declares_names else 1)
    # Arrow counts lines like pandas, blank ones too; only a header that spans lines is counted otherwise.
    reading = csv.ReadOptions(
        encoding="utf8" if encoding == DEFAULT_ENCODING else encoding,
        column_names=positions,
        skip_rows=layout.skip_rows,
        skip_rows_after_names=skipped - layout.skip_rows,
        block_size=8 << 20,
    )
    converting = csv.ConvertOptions(
        column_types=dict.fromkeys(positions, pa.string()),
        null_values=list(Dataset.model_fields["missing"].default),
        strings_can_be_null=True,
        quoted_strings_can_be_null=True,
    )
    parsing = csv.ParseOptions(delimiter=layout.separator, newlines_in_values=True)
    with pa.input_stream(path, compression={".gz": "gzip", ".bz2": "bz2", "": None}[packing]) as stream:
        table = csv.read_csv(stream, reading, parsing, converting)
    return {name: table.column(position).combine_chunks() for name, position in zip(layout.names, positions, strict=True)}


def _by_platform(path: Path, packing: str, data: Mapping[str, Any]) -> dict[str, pa.Array]:
    """Read as a training will; it is slower, and takes rows with fewer cells than columns."""
    from brandhouse_flows.datasets import read_table

    dataset = Dataset.model_validate({"file": f"data/rows.csv{packing}", "source": {"kind": "upload"}, **data})
    cells = read_table(dataset, path)
    return {str(name): pa.array(cells[name], pa.string()) for name in cells.columns}


def _findings(encoding: str, packing: str, layout: Layout, texts: Mapping[str, pa.Array]) -> Iterator[Decision]:
    separators = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar", " ": "blank"}
    said = f"CSV{' in gzip' if packing == '.gz' else ' in bzip2' if packing else ''}"
    between = separators.get(layout.separator, layout.separator)
    written = "UTF-8" if encoding == DEFAULT_ENCODING else encoding
    rows = len(next(iter(texts.values())))
    yield Decision("file", said, f"{rows:,} rows and {len(texts)} columns; separated by {between}, {written}")
    if layout.remark:
        yield Decision("file", "header declared", layout.remark, attention=True)
    elif layout.skip_rows:
        yield Decision("file", f"{layout.skip_rows} lines skipped", "they come before the table", attention=True)
