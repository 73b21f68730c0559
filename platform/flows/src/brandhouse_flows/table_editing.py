"""A data file without some of its rows, everything else byte by byte as it was; checked before anybody uses it.

Rows are taken out of the file as it is written, not written anew from what was read: what nobody reads today may be read
tomorrow. A file whose rows cannot be taken out with certainty is refused.
"""

import bz2
import codecs
import csv
import gzip
import io
import sys
import zipfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from brandhouse_flows.datasets import read_table
from brandhouse_shared.config import Dataset
from brandhouse_shared.errors import DatasetError

if TYPE_CHECKING:
    import pandas as pd

_PACKED: dict[str, tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]] = {
    ".gz": (gzip.decompress, lambda data: gzip.compress(data, mtime=0)),
    ".bz2": (bz2.decompress, bz2.compress),
}
"""Ending to unpacking and packing; a packed file is the same for the same rows, whenever it is made."""


class NoSuchColumnError(DatasetError):
    """A file lacks the column that says whom a row is about."""


def find_rows(dataset: Dataset, path: Path, column: str, values: Collection[str]) -> list[int]:
    """Return the places of the rows, from 0, whose cell holds one of the values; blanks around both do not count.

    A whole number may be written with `.0` behind it, as tables are in which one was missing once.

    Raises:
        NoSuchColumnError: If the file has no such column.
        DatasetError: If it cannot be read.
    """
    table = read_as_written(dataset, path)
    if column not in table.columns:
        raise NoSuchColumnError(f"{path.name}: there is no column {column[:80]!r}, so nobody can say whom its rows are about")
    wanted = {value.strip() for value in values}
    wanted |= {f"{value}.0" for value in wanted if value.isascii() and value.isdigit()}
    cells = table[column]
    return [place for place, cell in enumerate(cells) if cell is not None and str(cell).strip() in wanted]


def read_as_written(dataset: Dataset, path: Path) -> "pd.DataFrame":
    """Read a file without rewriting the numbers in it: which columns are numbers depends on all rows, these included."""
    return read_table(dataset.model_copy(update={"decimal": ".", "thousands": None, "units": ()}), path)


def drop_rows(dataset: Dataset, source: Path, target: Path, places: Collection[int]) -> int:
    """Write a file without the rows at these places, and return how many are left. With none left nothing is written.

    Args:
        dataset: How the file is to be read.
        source: The file; its ending says how it is packed.
        target: What to write; its ending is that of `source`.
        places: Of the rows, from 0, as `find_rows` gives them.

    Raises:
        DatasetError: If what was written does not read as the file without exactly these rows.
    """
    before = read_as_written(dataset, source)
    expected = before.drop(index=list(places)).reset_index(drop=True)
    if expected.empty:
        return 0
    writers = {"csv": _drop_from_csv, "parquet": _drop_from_parquet, "zip-text": _drop_from_zip}
    writers[dataset.format](dataset, source, target, set(places))
    if not read_as_written(dataset, target).equals(expected):
        target.unlink()
        raise DatasetError(f"{source.name}: rows cannot be taken out of it with certainty; take them out at its source, and ingest it anew")
    return len(expected)


def _drop_from_csv(dataset: Dataset, source: Path, target: Path, places: set[int]) -> None:
    unpack, pack = _PACKED.get(source.suffix, (bytes, bytes))
    raw = unpack(source.read_bytes())
    text = raw.decode(dataset.encoding)
    kept = "".join(_kept_lines(dataset, text, places))
    has_mark = raw.startswith(codecs.BOM_UTF8)
    target.write_bytes(pack(kept.encode("utf-8" if dataset.encoding == "utf-8-sig" and not has_mark else dataset.encoding)))


def _kept_lines(dataset: Dataset, text: str, places: set[int]) -> Iterator[str]:
    lines = iter(io.StringIO(text, newline=""))
    for _ in range(dataset.skip_rows):
        yield next(lines, "")
    place = -1 if dataset.header is None else 0
    for record, written in _records(lines, dataset.separator):
        is_row = any(cell.strip() for cell in record) or len(record) > 1  # pandas passes over lines that hold nothing
        if not is_row or place not in places:
            yield written
        place += is_row


def _records(lines: Iterator[str], separator: str) -> Iterator[tuple[list[str], str]]:
    """Yield each record with the text it was written as; a record may be several lines."""
    taken: list[str] = []

    def take() -> Iterator[str]:
        for line in lines:
            taken.append(line)
            yield line

    with _long_cells():
        for record in csv.reader(take(), delimiter=separator):
            yield record, "".join(taken)
            taken.clear()


@contextmanager
def _long_cells() -> Iterator[None]:
    before = csv.field_size_limit(sys.maxsize)
    try:
        yield
    except csv.Error as error:
        raise DatasetError(f"rows cannot be told apart: {str(error)[:200]}") from error
    finally:
        csv.field_size_limit(before)


def _drop_from_parquet(dataset: Dataset, source: Path, target: Path, places: set[int]) -> None:
    import pyarrow.parquet as pq

    with pq.ParquetFile(source) as file:
        table, groups = file.read(), file.metadata
        codec = groups.row_group(0).column(0).compression if groups.num_row_groups else "SNAPPY"
    kept = table.filter([place not in places for place in range(table.num_rows)])
    pq.write_table(kept, target, compression="NONE" if codec == "UNCOMPRESSED" else codec)


def _drop_from_zip(dataset: Dataset, source: Path, target: Path, places: set[int]) -> None:
    with zipfile.ZipFile(source) as before, zipfile.ZipFile(target, "w") as after:
        members = sorted((item for item in before.infolist() if not item.is_dir()), key=lambda item: item.filename)
        for place, member in enumerate(members):
            if place not in places:
                after.writestr(member, before.read(member))
