"""The rows of a file to score, a bounded number at a time: CSV (also .gz, .bz2) as the model's dataset is read, or Parquet.

The first row of a CSV file names the columns. Separator, encoding, signs of numbers and what means "no value" are those of
the dataset that the model learned from. Nothing is converted for good: the cells of a row are written out as they came.
"""

from __future__ import annotations

import bz2
import gzip
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from brandhouse_flows.datasets import number_pattern, units_pattern
from brandhouse_shared.config import Dataset, FieldType, InputField
from brandhouse_shared.contracts import Contract
from brandhouse_shared.errors import DatasetError, join_bounded

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

CSV_ENDINGS = (".csv", ".csv.gz", ".csv.bz2", ".tsv", ".tsv.gz", ".txt")
PARQUET_ENDINGS = (".parquet", ".pq")
ENDINGS = CSV_ENDINGS + PARQUET_ENDINGS
READ_BYTES = 1 << 20


class Chunk(Protocol):
    """Some rows that follow each other."""

    @property
    def rows(self) -> int:
        """How many."""

    @property
    def share_read(self) -> float:
        """Share of the file's bytes, or of its rows, that are read when this chunk is."""

    def texts(self, name: str) -> list[str | None]:
        """One column as texts."""

    def table(self, names: Sequence[str]) -> pa.Table:
        """Some columns as they are stored; of a CSV file, texts."""


@dataclass(frozen=True, slots=True)
class RowSource:
    """One file to score.

    Attributes:
        path: Where it is.
        columns: Its columns, in order.
        rows: How many rows it holds; None if only reading it all would tell.
        dataset: How its cells are to be understood.
    """

    path: Path
    columns: tuple[str, ...]
    rows: int | None
    dataset: Dataset

    @property
    def is_parquet(self) -> bool:
        """Whether it is a Parquet file."""
        return is_parquet(self.path)

    def no_rows(self, names: Sequence[str]) -> pa.Table:
        """Some columns without a row, with the types that chunks have."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        if self.is_parquet:
            return pq.read_schema(self.path).empty_table().select(list(names))
        return pa.table({name: pa.array([], pa.string()) for name in names})

    def chunks(self, rows: int, start: int) -> Iterator[Chunk]:
        """Yield the rows from number `start` (the first is 0) on, at most `rows` at a time.

        Raises:
            DatasetError: If the file is damaged or not as declared.
        """
        with _damage_named(self.path, self.dataset.encoding):
            yield from (_parquet_chunks if self.is_parquet else _csv_chunks)(self, rows, start)


def is_parquet(path: Path) -> bool:
    """Whether a file is written or read as Parquet, by its ending."""
    return path.name.lower().endswith(PARQUET_ENDINGS)


def check_ending(path: Path) -> None:
    """Refuse a name that does not say how the file is written.

    Raises:
        DatasetError: If its ending is none of ours.
    """
    if not path.name.lower().endswith(ENDINGS):
        raise DatasetError(f"{path.name}: the ending says how a file is written; allowed: {join_bounded(ENDINGS)}")


def open_source(path: Path, declared: Dataset, separator: str | None, encoding: str | None) -> RowSource:
    """Look at a file's head.

    Args:
        path: The file.
        declared: The dataset that the model learned from.
        separator: Of the cells of a CSV file, if it is another than the dataset's.
        encoding: Of a CSV file, if it is another than the dataset's.

    Raises:
        DatasetError: If it is missing, empty, or its head is not as declared.
    """
    check_ending(path)
    if not path.is_file():
        raise DatasetError(f"{path}: there is no such file to score")
    if not path.stat().st_size:
        raise DatasetError(f"{path.name}: the file to score is empty (0 bytes)")
    given = {"separator": separator or ("\t" if ".tsv" in path.name.lower() else None), "encoding": encoding}
    dataset = declared.model_copy(update={name: value for name, value in given.items() if value is not None})
    with _damage_named(path, dataset.encoding):
        return _open_parquet(path, dataset) if is_parquet(path) else _open_csv(path, dataset)


@contextmanager
def _damage_named(path: Path, encoding: str) -> Iterator[None]:
    """Turn what readers raise about bytes into one error that names the file and no value."""
    import pandas as pd
    import pyarrow as pa

    try:
        yield
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path.name}: a byte is not {error.encoding}; give --encoding, such as latin-1") from None
    except LookupError:
        raise DatasetError(f"{path.name}: unknown encoding {encoding[:40]!r}; allowed: a codec, such as utf-8 or latin-1") from None
    except pd.errors.EmptyDataError:
        raise DatasetError(f"{path.name}: the file holds no table; the first row names the columns") from None
    except pd.errors.ParserError as error:
        raise DatasetError(f"{path.name}: the rows do not fit the columns: {str(error)[:200]}; give --separator") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DatasetError(f"{path.name}: the file is truncated or damaged ({type(error).__name__})") from None
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DatasetError(f"{path.name}: the file is no whole Parquet file of plain columns ({type(error).__name__})") from None


# -- csv -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _CsvChunk:
    frame: pd.DataFrame
    share_read: float

    @property
    def rows(self) -> int:
        return len(self.frame)

    def texts(self, name: str) -> list[str | None]:
        column = self.frame[name].astype(object)
        return list(column.where(column.notna(), None))

    def table(self, names: Sequence[str]) -> pa.Table:
        import pyarrow as pa

        return pa.table({name: pa.array(self.texts(name), pa.string()) for name in names})


def _open_csv(path: Path, dataset: Dataset) -> RowSource:
    import pandas as pd

    with _unpacked(path) as (_, stream):
        columns = pd.read_csv(stream, header=None, nrows=1, **_options(dataset)).iloc[0].tolist()
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise DatasetError(f"{path.name}: columns of the same name: {join_bounded(twice)}; name every column once")
    return RowSource(path, tuple(columns), None, dataset)


def _options(dataset: Dataset) -> dict[str, Any]:
    return {"sep": dataset.separator, "encoding": dataset.encoding, "dtype": str, "keep_default_na": False, "na_filter": False}


@contextmanager
def _unpacked(path: Path) -> Iterator[tuple[Any, Any]]:
    """Open a file: its own bytes, whose position tells how far reading is, and the same unpacked."""
    openers: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open}
    with path.open("rb", buffering=READ_BYTES) as raw:
        opener = openers.get(path.suffix.lower())
        yield raw, raw if opener is None else opener(raw)


def _csv_chunks(source: RowSource, rows: int, start: int) -> Iterator[Chunk]:
    import pandas as pd

    size = source.path.stat().st_size
    with _unpacked(source.path) as (raw, stream), pd.read_csv(stream, chunksize=rows, **_options(source.dataset)) as reader:
        passed = 0
        for frame in reader:
            if not isinstance(frame.index, pd.RangeIndex):  # pandas takes surplus leading cells for an index, without a word
                raise DatasetError(f"{source.path.name}: the rows hold more cells than the {len(source.columns)} columns; give --separator")
            skipped = max(0, start - passed)
            passed += len(frame)
            if skipped < len(frame):
                yield _CsvChunk(frame.iloc[skipped:], raw.tell() / size)


# -- parquet ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _ParquetChunk:
    stored: pa.Table
    share_read: float

    @property
    def rows(self) -> int:
        return int(self.stored.num_rows)

    def texts(self, name: str) -> list[str | None]:
        """Arrow writes 3 for 3 and for 3.0, as a CSV would."""
        import pyarrow as pa

        column = self.stored.column(name)
        values = column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
        texts: list[str | None] = values.cast(pa.string()).to_pylist()
        return texts

    def table(self, names: Sequence[str]) -> pa.Table:
        return self.stored.select(list(names))


def _open_parquet(path: Path, dataset: Dataset) -> RowSource:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        return RowSource(path, tuple(str(name) for name in file.schema_arrow.names), int(file.metadata.num_rows), dataset)


def _parquet_chunks(source: RowSource, rows: int, start: int) -> Iterator[Chunk]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    # A buffer instead of whole columns of a row group: some writers make one row group of everything.
    with pq.ParquetFile(source.path, buffer_size=READ_BYTES, pre_buffer=False) as file:
        sizes = [file.metadata.row_group(index).num_rows for index in range(file.num_row_groups)]
        first, before = 0, 0
        while first < len(sizes) and before + sizes[first] <= start:
            before += sizes[first]
            first += 1
        for batch in file.iter_batches(rows, row_groups=list(range(first, len(sizes)))):
            skipped = max(0, start - before)
            before += batch.num_rows
            if skipped < batch.num_rows:
                yield _ParquetChunk(pa.Table.from_batches([batch.slice(skipped)]), before / max(1, source.rows or 0))


# -- cells -----------------------------------------------------------------------------------------------------------


def raw_table(chunk: Chunk, contract: Contract, dataset: Dataset) -> pd.DataFrame:
    """The input fields of a chunk as `Contract.refuse_cells` takes them.

    A number of the dataset's form is rewritten cell by cell: what a cell means must not depend on the rows beside it.
    """
    import pandas as pd

    return pd.DataFrame({name: _meant(chunk.texts(name), field, dataset) for name, field in contract.fields.items()}, dtype=object)


def _meant(texts: list[str | None], field: InputField, dataset: Dataset) -> list[str | None]:
    stripped = [None if text is None else text.strip() for text in texts] if dataset.strip else texts
    missing = frozenset(dataset.missing)
    known = [None if text in missing else text for text in stripped]
    if dataset.decimal == "." and dataset.thousands is None and not dataset.units:
        return known
    is_number = field.is_numeric and field.type is not FieldType.BOOLEAN
    listed = frozenset(map(str, field.values or ()))
    if not is_number and not listed:
        return known
    plain = _Plain(dataset)
    return [text if text is None or text in listed else plain(text, listed) for text in known]


class _Plain:
    """Rewrites a number of the dataset's form as Python writes it."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._is_number = re.compile(number_pattern(dataset.decimal, dataset.thousands))
        self._units = units_pattern(dataset.units) if dataset.units else None

    def __call__(self, text: str, listed: frozenset[str]) -> str:
        bare = self._units.sub("", text) if self._units else text
        if not self._is_number.fullmatch(bare):
            return bare if bare in listed or (not listed and _PLAIN_NUMBER.fullmatch(bare)) else text
        ungrouped = bare if self._dataset.thousands is None else bare.replace(self._dataset.thousands, "")
        written = ungrouped.replace(self._dataset.decimal, ".")
        return written if not listed or written in listed else text


_PLAIN_NUMBER = re.compile(number_pattern(".", None))
