"""Rows written so that equal rows make equal bytes: no time stamps, one quoting, one order of columns."""

import bz2
import csv
import gzip
import io
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, cast

from brandhouse_shared.config import Dataset
from brandhouse_shared.errors import DatasetError, join_bounded

Cells = Sequence[str | None]
PARQUET_CHUNK_ROWS = 50_000


def check_row_format(dataset: Dataset, subject: str) -> None:
    """Refuse a declaration in which rows cannot be written.

    Raises:
        DatasetError: If the file is no CSV or Parquet, or is packed in a way that pandas would guess from its ending.
    """
    if dataset.format == "zip-text" or Path(dataset.file).suffix.lower() in (".xz", ".zip", ".zst"):
        raise DatasetError(f"{subject}: rows of a {dataset.source.kind} source are kept as csv (also .gz, .bz2) or parquet; change `file`")
    given = [key for key, plain in {"decimal": ".", "thousands": None, "skip_rows": 0}.items() if getattr(dataset, key) != plain]
    if given:
        raise DatasetError(f"{subject}: rows of a {dataset.source.kind} source are written plainly; remove {join_bounded(given)}")


def read_columns(dataset: Dataset, path: Path) -> list[str]:
    """Names of the columns of a file of rows, in order."""
    if dataset.format == "parquet":
        import pyarrow.parquet as pq

        return [str(name) for name in pq.read_schema(path).names]
    if dataset.header is not None:
        return list(dataset.header)
    with open_text(path, dataset.encoding) as stream:
        return next(csv.reader(stream, delimiter=dataset.separator), [])


def write_rows(dataset: Dataset, path: Path, columns: Sequence[str], rows: Iterable[Cells], after: Path | None = None) -> int:
    """Write rows, behind those of the file `after`, whose columns are the same; return how many were added.

    A missing value is an empty cell in CSV and null in Parquet.

    Raises:
        DatasetError: If a text cannot be written in the declared encoding.
    """
    if dataset.format == "parquet":
        return _write_parquet(path, columns, rows, after)
    try:
        return _write_csv(dataset, path, columns, rows, after)
    except UnicodeEncodeError:  # its text holds the value
        raise DatasetError(f"{path.name}: a text has letters that {dataset.encoding} lacks; set encoding of the dataset to utf-8") from None


def _write_csv(dataset: Dataset, path: Path, columns: Sequence[str], rows: Iterable[Cells], after: Path | None) -> int:
    encoding = dataset.encoding.removesuffix("-sig").removesuffix("_sig")
    with ExitStack() as stack:
        raw = stack.enter_context(path.open("wb"))
        if after is not None:
            with after.open("rb") as old:
                shutil.copyfileobj(old, raw, 1 << 20)
            _end_line(dataset, after, raw)
        packed = stack.enter_context(_packed(path, raw))
        stream = stack.enter_context(io.TextIOWrapper(packed, encoding=encoding, newline="", write_through=False))
        writer = csv.writer(stream, delimiter=dataset.separator, lineterminator="\n")
        if after is None and dataset.header is None:
            writer.writerow(columns)
        return _write_all(writer, rows)


def _write_all(writer: Any, rows: Iterable[Cells]) -> int:
    count = 0
    for row in rows:
        writer.writerow(row)
        count += 1
    return count


@contextmanager
def _packed(path: Path, raw: IO[bytes]) -> Iterator[IO[bytes]]:
    """Packed files may be written one behind the other; what reads them goes on with the next."""
    match path.suffix.lower():
        case ".gz":
            with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed:
                yield cast(IO[bytes], packed)
        case ".bz2":
            with bz2.BZ2File(raw, "wb") as packed_too:
                yield cast(IO[bytes], packed_too)
        case _:
            yield raw


def _end_line(dataset: Dataset, old: Path, raw: IO[bytes]) -> None:
    """A file whose last line has no end would swallow the first new row; whoever hands files over may leave it out."""
    if old.suffix.lower() in (".gz", ".bz2"):
        return
    with old.open("rb") as stream:
        stream.seek(max(0, old.stat().st_size - 1))
        if stream.read(1) not in (b"\n", b""):
            raw.write("\n".encode(dataset.encoding.removesuffix("-sig").removesuffix("_sig")))


def _write_parquet(path: Path, columns: Sequence[str], rows: Iterable[Cells], after: Path | None) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, pa.string()) for name in columns])
    count = 0
    with pq.ParquetWriter(path, schema) as writer:
        if after is not None:
            for batch in pq.ParquetFile(after).iter_batches(PARQUET_CHUNK_ROWS):
                writer.write_table(pa.Table.from_batches([batch]).cast(schema))
        for chunk in _chunks(rows):
            arrays = [pa.array(values, pa.string()) for values in zip(*chunk, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
            count += len(chunk)
    return count


def _chunks(rows: Iterable[Cells]) -> Iterator[list[Cells]]:
    chunk: list[Cells] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == PARQUET_CHUNK_ROWS:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


@contextmanager
def open_text(path: Path, encoding: str) -> Iterator[IO[str]]:
    """Open a text file for the csv module, unpacked by its ending."""
    openers: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open}
    with openers.get(path.suffix.lower(), open)(path, "rt", encoding=encoding, newline="") as stream:
        yield stream
