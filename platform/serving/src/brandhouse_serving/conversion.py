"""From journals to Parquet, so that a kill at any instruction neither loses nor doubles a row.

1. Which closed journals are converted together, the *batch*, is written down first.
2. Each day of each model gets its rows of the batch. The file says which batch it got last; one that says so is left alone.
3. The journals are removed, then the batch.

Whoever finds a batch finishes it before anything else. One process at a time works for a brand, under a lock.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson

from brandhouse_serving.durable_files import make_private_folder, write_durably
from brandhouse_serving.journal import EARLIER_RELEASE, brands_with_journals, find_segments, is_closed, journal_folder, read_entries
from brandhouse_serving.prediction_table import add_rows, rows_by_day

BATCH_BYTES = 8 << 20
"""Journals of at most so many bytes are converted together (or one): they are held in memory."""

BATCH_FILE = "batch.json"
LOCK_FILE = "lock"
TORN_START_SECONDS = 60.0
"""A journal that was never begun, since its process was killed just then, is removed after this time."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Journals that are converted together.

    Attributes:
        name: Differs from that of every other batch.
        segments: Names of the files, in the brand's journal folder.
    """

    name: str
    segments: list[str]


def convert_all(home: Path) -> int:
    """Convert the closed journals of all brands; return how many were converted.

    Raises:
        OSError: If the disk refused for a brand; all others have been converted.
    """
    count = 0
    failure: OSError | None = None
    for brand in brands_with_journals(home):
        try:
            count += convert_brand(home, brand)
        except OSError as error:
            failure = error
    if failure is not None:
        raise failure
    return count


def convert_brand(home: Path, brand: str) -> int:
    """Convert the closed journals of one brand; return how many. None are if another process is at it.

    Raises:
        OSError: If the disk refuses; it is gone on with at the next call.
    """
    count = 0
    with locked(home, brand) as is_mine:
        while is_mine and (batch := _batch_under_way(home, brand) or _begin_batch(home, brand)):
            _convert(home, brand, batch)
            count += len(batch.segments)
    return count


@contextlib.contextmanager
def locked(home: Path, brand: str) -> Iterator[bool]:
    """Hold the lock of who converts and expires a brand's predictions; yields whether it could be had."""
    folder = journal_folder(home, brand)
    make_private_folder(folder)
    with (folder / LOCK_FILE).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def adopt_earlier_records(home: Path) -> None:
    """Take what an earlier release wrote, one object a row beside where Parquet files are now, as journals."""
    for file in sorted((home / "predictions").glob("*/*/????-??-??/*.jsonl")):
        brand, model, day = file.parts[-4:-1]
        folder = journal_folder(home, brand)
        make_private_folder(folder)
        file.rename(folder / f"{model}-{day}-{file.stem}{EARLIER_RELEASE}")


def _batch_under_way(home: Path, brand: str) -> Batch | None:
    path = journal_folder(home, brand) / BATCH_FILE
    return Batch(**orjson.loads(path.read_bytes())) if path.exists() else None


def _begin_batch(home: Path, brand: str) -> Batch | None:
    chosen: list[str] = []
    size = 0
    for segment in find_segments(home, brand):
        if is_closed(segment):
            size += segment.stat().st_size  # under the lock of the brand: nobody else removes it
            if chosen and size > BATCH_BYTES:
                break
            chosen.append(segment.name)
    _remove_torn_starts(home, brand)
    if not chosen:
        return None
    batch = Batch(f"{time.time_ns():x}-{os.getpid()}", chosen)
    write_durably(journal_folder(home, brand) / BATCH_FILE, orjson.dumps({"name": batch.name, "segments": chosen}))
    return batch


def _convert(home: Path, brand: str, batch: Batch) -> None:
    folder = journal_folder(home, brand)
    segments = [folder / name for name in batch.segments]
    found = rows_by_day(entry for segment in segments for entry in read_entries(segment) if entry.version.brand == brand)
    for (key, day), rows in sorted(found.items()):
        add_rows(home / "predictions" / brand / key.model / day, rows, batch.name)
    for segment in segments:
        segment.unlink(missing_ok=True)
    (folder / BATCH_FILE).unlink()


def _remove_torn_starts(home: Path, brand: str) -> None:
    for file in journal_folder(home, brand).glob(".*.jsonl"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - file.stat().st_mtime > TORN_START_SECONDS and is_closed(file):
                file.unlink()
