"""A dataset that grows by files dropped into a folder: each is taken once, whatever happens meanwhile.

The pointer names the batches that its snapshot ends with. A process that dies before the pointer is written has taken
nothing; one that dies after it leaves batches in the folder that the next ingest recognises and only moves away. Taken
batches are kept in `taken/` under their hash, so that one that is delivered again is recognised too; one that cannot be
read, or has other columns, goes to `refused/` with the reason beside it.
"""

import csv
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from brandhouse_flows.content import copy_whole, hash_file, write_whole
from brandhouse_flows.datasets import read_table
from brandhouse_flows.feeds import Arrival, Order
from brandhouse_flows.json_rows import NoRowError, named_columns, read_row
from brandhouse_flows.row_files import Cells, check_row_format, open_text, read_columns, write_rows
from brandhouse_shared.config import Dataset
from brandhouse_shared.declarations import StreamSource
from brandhouse_shared.errors import DatasetError, join_bounded

UNFINISHED = (".tmp", ".part")
JSON_LINES = (".jsonl", ".ndjson")


@dataclass(frozen=True, slots=True)
class Batch:
    """One file of the folder.

    Attributes:
        name: Its name there.
        id: Hash of name and bytes: two hours with the same rows are two batches.
        copy: The same bytes, where nobody else writes.
    """

    name: str
    id: str
    copy: Path


class _RefusedError(ValueError):
    """A batch cannot be added; the text says why."""


def collect_batches(order: Order) -> Arrival:
    """Add the waiting batches to the present snapshot's rows.

    Raises:
        DatasetError: If the folder is missing, or not the brand's to read.
        DiskFullError: If there is no space.
    """
    source = order.dataset.source
    assert isinstance(source, StreamSource)  # noqa: S101 - chosen by kind
    check_row_format(order.dataset, order.subject)
    folder = _Folder(_find_folder(order, source))
    notes = folder.clear(set(order.position.get("batches") or ()))
    columns = read_columns(order.dataset, order.find_present()) if order.pointer else []
    batches: list[Batch] = []
    rows = 0
    for batch in folder.waiting(order.target.parent):
        try:
            columns = columns or _columns_of(order, batch)
            rows += sum(1 for _ in _rows_of(order, batch, columns))
            batches.append(batch)
        except _RefusedError as error:
            notes.append(folder.refuse(batch, str(error)))
    if not batches or (len(batches) < source.every_batches and not (source.every_rows and rows >= source.every_rows)):
        waiting = [f"{len(batches)} batches with {rows} rows wait for more (every_batches = {source.every_batches})"] if batches else []
        return Arrival(is_new=False, notes=(*notes, *waiting))
    added = (row for batch in batches for row in _rows_of(order, batch, columns))
    count = write_rows(order.dataset, order.target, columns, added, after=order.find_present() if order.pointer else None)
    taken = sorted(batch.id for batch in batches)
    notes.append(f"{len(batches)} batches with {count} rows added")
    return Arrival(is_new=True, position={"batches": taken}, notes=tuple(notes), settle=lambda: _settle(folder, taken))


def _settle(folder: "_Folder", taken: list[str]) -> None:
    folder.clear(set(taken))


def _id(path: Path, hash_md5: str) -> str:
    return hashlib.md5(os.fsencode(path.name) + b"/" + hash_md5.encode(), usedforsecurity=False).hexdigest()


def _find_folder(order: Order, source: StreamSource) -> Path:
    """Only below the brand's own data, or outside the workspace and the platform's home."""
    path, own = (order.brand.folder / source.folder).resolve(), (order.brand.folder / "data").resolve()
    closed = (order.settings.brands_dir.resolve(), order.settings.home.resolve())
    if not (path != own and path.is_relative_to(own)) and any(path.is_relative_to(one) for one in closed):
        raise DatasetError(f"{order.subject}: {source.folder} is not the brand's; allowed: a folder below data/, or outside the workspace")
    if not path.is_dir():
        raise DatasetError(f"{order.subject}: the folder {source.folder} does not exist; make it, and drop files into it")
    if not os.access(path, os.W_OK):
        raise DatasetError(f"{order.subject}: {source.folder} cannot be written; batches that were taken are moved below it")
    return path


class _Folder:
    """The drop folder, with `taken/` and `refused/` below it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def clear(self, known: set[str]) -> list[str]:
        """Move away what is in already: the batches of the last snapshot, and what was delivered again."""
        notes = []
        for path in self._files():
            batch_id = _id(path, hash_file(path))
            kept = self._path / "taken" / f"{batch_id}-{path.name}"
            if batch_id not in known and not kept.is_file():
                continue
            if kept.is_file():
                notes.append(f"{path.name} was delivered again, and taken only once")
            kept.parent.mkdir(exist_ok=True)
            path.replace(kept)
        return notes

    def waiting(self, aside: Path) -> Iterator[Batch]:
        """The batches in the order of their names, each copied first: whoever delivers may still write."""
        for number, path in enumerate(self._files()):
            copy = aside / f"batch-{number}{''.join(path.suffixes[-2:])}"
            yield Batch(path.name, _id(path, copy_whole(path, copy)), copy)

    def refuse(self, batch: Batch, reason: str) -> str:
        """Put a batch aside with the reason; return a sentence about it."""
        aside = self._path / "refused"
        aside.mkdir(exist_ok=True)
        copy_whole(batch.copy, aside / batch.name)
        write_whole(aside / f"{batch.name}.reason.txt", reason + "\n")
        original = self._path / batch.name
        if original.is_file() and _id(original, hash_file(original)) == batch.id:
            original.unlink()
        return f"{batch.name} refused: {reason}"

    def _files(self) -> list[Path]:
        files = (path for path in self._path.iterdir() if path.is_file() and not path.is_symlink())
        return sorted((path for path in files if not path.name.startswith(".") and path.suffix.lower() not in UNFINISHED), key=str)


def _columns_of(order: Order, batch: Batch) -> list[str]:
    """Columns of the very first snapshot: those of its first batch."""
    if batch.copy.suffix.lower() in JSON_LINES:
        return named_columns(order.brand, order.name)
    try:
        return read_columns(_as_declared(order.dataset, batch), batch.copy)
    except (ValueError, OSError, EOFError) as error:
        raise _RefusedError(f"it cannot be read ({type(error).__name__})") from error


def _rows_of(order: Order, batch: Batch, columns: list[str]) -> Iterator[Cells]:
    """The rows of one batch, their cells in the order of the columns.

    Raises:
        _RefusedError: If it cannot be read, or has other columns.
    """
    declared = _as_declared(order.dataset, batch)
    try:
        if batch.copy.suffix.lower() in JSON_LINES:
            yield from _json_rows(batch, columns)
        elif declared.format == "parquet":
            table = read_table(declared, batch.copy)
            order_of = _places(list(table.columns), columns)
            yield from ([row[place] for place in order_of] for row in table.itertuples(index=False, name=None))
        else:
            yield from _csv_rows(declared, batch, columns)
    except (ValueError, OSError, EOFError, csv.Error, DatasetError) as error:
        if isinstance(error, _RefusedError):
            raise
        raise _RefusedError(f"it cannot be read ({type(error).__name__})") from error


def _as_declared(dataset: Dataset, batch: Batch) -> Dataset:
    """How a batch is read: by its ending; the rest as the dataset declares."""
    is_parquet = batch.copy.suffix.lower() == ".parquet"
    return dataset.model_copy(update={"format": "parquet" if is_parquet else "csv"})


def _csv_rows(declared: Dataset, batch: Batch, columns: list[str]) -> Iterator[Cells]:
    with open_text(batch.copy, declared.encoding) as stream:
        reader = csv.reader(stream, delimiter=declared.separator)
        found = list(declared.header) if declared.header is not None else next(reader, [])
        order_of = _places(found, columns)
        for row in reader:
            if len(row) != len(found):
                if not row:  # an empty line, as readers skip it
                    continue
                raise _RefusedError(f"line {reader.line_num} has {len(row)} cells, the header {len(found)}")
            yield [row[place] for place in order_of]


def _json_rows(batch: Batch, columns: list[str]) -> Iterator[Cells]:
    with batch.copy.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            try:
                if line.strip():
                    yield read_row(line, columns)
            except NoRowError as error:
                raise _RefusedError(f"line {number} holds {error}") from None


def _places(found: list[str], columns: list[str]) -> list[int]:
    if sorted(found) != sorted(columns):
        lacking, more = [name for name in columns if name not in found], [name for name in found if name not in columns]
        raise _RefusedError(f"other columns than the dataset: lacks {join_bounded(lacking)}; unknown {join_bounded(more)}")
    return [found.index(name) for name in columns]
