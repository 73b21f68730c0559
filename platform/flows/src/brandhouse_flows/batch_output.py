"""What is written for a chunk, and how the parts become one file: CSV (also .gz, .bz2) or Parquet, by the output's ending.

Behind the columns that are kept: `prediction`, for classes `probability_<class>` each, `version`, and `error`, which is empty
where there is a prediction. Numbers are written so that reading them gives the same bits.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brandhouse_flows.batch_answers import Answers
from brandhouse_flows.batch_input import Chunk, RowSource, is_parquet
from brandhouse_flows.content import disk_full_named
from brandhouse_flows.row_files import Cells, write_rows
from brandhouse_shared.artifacts import Manifest
from brandhouse_shared.config import Dataset
from brandhouse_shared.errors import DatasetError, join_bounded
from brandhouse_shared.metrics import Task

if TYPE_CHECKING:
    import pyarrow as pa

GROUP_ROWS = 100_000
"""Rows of a row group of the finished Parquet file, at least, but for the last one."""

COPY_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class OutputShape:
    """The columns of one output.

    Attributes:
        kept: Columns of the input.
        manifest: Of the version that answers.
        version: `v7`.
        dataset: How a CSV file is written: separator and encoding.
    """

    kept: tuple[str, ...]
    manifest: Manifest
    version: str
    dataset: Dataset

    @property
    def added(self) -> list[str]:
        """Columns behind those of the input."""
        return ["prediction", *(f"probability_{_as_text(one)}" for one in self.manifest.classes), "version", "error"]

    @property
    def names(self) -> list[str]:
        """All columns."""
        return [*self.kept, *self.added]

    def check(self, subject: str) -> None:
        """Refuse columns of the same name.

        Raises:
            DatasetError: If a kept column is named like an added one.
        """
        both = [name for name in self.kept if name in self.added]
        if both:
            raise DatasetError(
                f"{subject}: the input has columns that are named like those of the answer: {join_bounded(both)}; "
                "name the columns to keep with --keep"
            )


# -- parts -----------------------------------------------------------------------------------------------------------


def write_part(path: Path, shape: OutputShape, chunk: Chunk, answers: Answers) -> int:
    """Write the rows of a chunk with their answers and return the file's size.

    Raises:
        DatasetError: If a kept column cannot be written this way.
        DiskFullError: If there is no space.
    """
    with disk_full_named(path):
        if is_parquet(path):
            _write_parquet(path, [_table_of(shape, chunk.table(shape.kept), answers)])
        else:
            write_rows(_plainly(shape), path, shape.names, _rows_of(shape, chunk, answers))
        return path.stat().st_size


def _plainly(shape: OutputShape) -> Dataset:
    """A part holds no names: the finished file has them once."""
    return shape.dataset.model_copy(update={"format": "csv", "header": tuple(shape.names)})


def _rows_of(shape: OutputShape, chunk: Chunk, answers: Answers) -> Iterator[Cells]:
    kept = [chunk.texts(name) for name in shape.kept]
    added = [_texts(answers.predictions), *map(_texts, answers.probabilities), [shape.version] * chunk.rows, answers.errors]
    return zip(*kept, *added, strict=True)


def _texts(values: Sequence[Any]) -> list[str | None]:
    return [None if value is None else _as_text(value) for value in values]


def _as_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value) if isinstance(value, float) else str(value)


def _table_of(shape: OutputShape, kept: pa.Table, answers: Answers) -> pa.Table:
    import pyarrow as pa

    kind = _prediction_type(shape.manifest)
    predictions = answers.predictions if kind != pa.string() else _texts(answers.predictions)
    arrays = [pa.array(predictions, kind), *(pa.array(one, pa.float64()) for one in answers.probabilities)]
    arrays += [pa.array([shape.version] * kept.num_rows, pa.string()), pa.array(answers.errors, pa.string())]
    table = kept
    for name, array in zip(shape.added, arrays, strict=True):
        table = table.append_column(name, array)
    return table


def _prediction_type(manifest: Manifest) -> Any:
    import pyarrow as pa

    if manifest.task is Task.REGRESSION:
        return pa.float64()
    kinds = {type(one) for one in manifest.classes}
    return {frozenset({bool}): pa.bool_(), frozenset({int}): pa.int64()}.get(frozenset(kinds), pa.string())


# -- the whole -------------------------------------------------------------------------------------------------------


def put_together(path: Path, shape: OutputShape, source: RowSource, parts: Sequence[Path]) -> str:
    """Write all parts as one file, on the disk when this returns, and return its SHA-256.

    Raises:
        DiskFullError: If there is no space; the parts stay.
    """
    with disk_full_named(path):
        if is_parquet(path):
            _write_parquet(path, _groups(shape, source, parts))
        else:
            _concatenate(path, shape, parts)
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
            return hashlib.file_digest(stream, "sha256").hexdigest()


def _concatenate(path: Path, shape: OutputShape, parts: Sequence[Path]) -> None:
    """Packed files may follow each other; what reads them goes on with the next."""
    write_rows(shape.dataset.model_copy(update={"format": "csv", "header": None}), path, shape.names, [])
    with path.open("ab") as whole:
        for part in parts:
            with part.open("rb") as stream:
                shutil.copyfileobj(stream, whole, COPY_BYTES)


def _groups(shape: OutputShape, source: RowSource, parts: Sequence[Path]) -> Iterator[pa.Table]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    nothing = Answers([], [[] for _ in shape.manifest.classes], [], 0, 0)
    gathered = [_table_of(shape, source.no_rows(shape.kept), nothing)]
    for part in parts:
        gathered.append(pq.ParquetFile(part).read())
        if sum(one.num_rows for one in gathered) >= GROUP_ROWS:
            yield pa.concat_tables(gathered)
            gathered = []
    if gathered:
        yield pa.concat_tables(gathered)


def _write_parquet(path: Path, tables: Iterator[pa.Table] | Sequence[pa.Table]) -> None:
    import pyarrow.parquet as pq

    waiting = iter(tables)
    first = next(waiting)
    with pq.ParquetWriter(path, first.schema) as writer:
        writer.write_table(first)
        for table in waiting:
            writer.write_table(table)
