"""What was answered, as a process writes it first: append-only files of lines, one file open per process and brand.

`<home>/predictions/<brand>/_journal/<process>-<number>.jsonl`. A line is one request, as a list in the order of
`Entry`, from `ids` on; brand, model, version and time are in the ids. Whoever writes a file holds a lock on it, which the system takes
away when the process ends in whatever way: a file without that lock is closed and belongs to `conversion`.
"""

import contextlib
import fcntl
import functools
import itertools
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from brandhouse_serving import prediction_ids
from brandhouse_serving.durable_files import PRIVATE_FILE, make_private_folder, write_all
from brandhouse_shared.errors import InvalidNameError
from brandhouse_shared.names import VersionKey

SEGMENT_SECONDS = 5.0
"""A file is closed after this time, so that what it holds can be turned into Parquet."""

SEGMENT_BYTES = 8 << 20
"""A file of that size is closed even earlier: it is turned into Parquet as a whole, in memory."""

FOLDER = "_journal"
"""The underscore keeps it out of the sight of whoever reads the Parquet files around it."""

EARLIER_RELEASE = ".records.jsonl"
"""How the name of a file ends that holds one object a row, as an earlier release wrote them."""

logger = logging.getLogger(__name__)


class Entry(NamedTuple):
    """One answered request. What comes after `served_by` is left out where a brand may not keep it.

    Attributes:
        version: What answered. Not in the file but in the ids, as is the next.
        at_ms: When, in milliseconds since 1970.
        ids: One a row.
        latency_ms: From the request's last byte to the answer.
        served_by: What answered: `production`, or in its place `canary`, `previous`, `baseline`.
        rows: What may be kept of the request's objects.
        withheld: Fields that are hashed or left out.
        predictions: One number or label a row.
        probabilities: Shape (rows, classes); None for a regression.
    """

    version: VersionKey
    at_ms: int
    ids: Sequence[str]
    latency_ms: float
    served_by: str
    rows: Sequence[Mapping[str, Any]] | None = None
    withheld: Sequence[str] | None = None
    predictions: Sequence[Any] | None = None
    probabilities: Sequence[Sequence[float]] | None = None


def journal_folder(home: Path, brand: str) -> Path:
    """Where a brand's journals lie."""
    return home / "predictions" / brand / FOLDER


def find_segments(home: Path, brand: str) -> list[Path]:
    """Return all journals of a brand, closed or not, those of one process in order."""
    return sorted(path for path in journal_folder(home, brand).glob("*.jsonl") if not path.name.startswith("."))


def is_closed(segment: Path) -> bool:
    """Whether no process writes to a journal any more, be it that it is gone."""
    try:
        with segment.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except FileNotFoundError:
        return True
    return True


def has_open_segments(home: Path) -> bool:
    """Whether any process still writes."""
    return not all(is_closed(segment) for brand in brands_with_journals(home) for segment in find_segments(home, brand))


def read_entries(segment: Path, naming: bytes = b"", tell_damage: Callable[[int], None] | None = None) -> Iterator[Entry]:
    """Yield what a journal holds, up to its last whole line. A journal that is gone holds nothing: it is Parquet by now.

    Args:
        segment: The journal.
        naming: Only lines that hold this are read, for speed.
        tell_damage: Is told how many lines were passed over, if any were, instead of the program's log.
    """
    parse = _earlier_entry if segment.name.endswith(EARLIER_RELEASE) else _entry
    with contextlib.suppress(FileNotFoundError), segment.open("rb") as lines:
        damaged = 0
        for line in lines:
            if naming not in line or not line.endswith(b"\n"):  # the last line may be torn by a kill
                continue
            try:
                yield parse(line)
            except (ValueError, TypeError, KeyError, IndexError, AttributeError, InvalidNameError):
                damaged += 1
        if damaged and tell_damage is not None:
            tell_damage(damaged)
        elif damaged:
            logger.error("%s: %d lines are damaged and passed over", segment.name, damaged)


def _entry(line: bytes) -> Entry:
    ids, latency_ms, served_by, *kept = orjson.loads(line)
    entry = Entry(*_made_by_and_at(ids[0]), ids, float(latency_ms), served_by, *kept)
    if any(len(column) != len(ids) for column in (entry.rows, entry.predictions, entry.probabilities) if column is not None):
        raise ValueError("not as many answers as ids")
    return entry


def _made_by_and_at(identifier: str) -> tuple[VersionKey, int]:
    version, stamp, _ = identifier.rsplit(".", 2)
    return _parse_version(version), int(stamp, 16)


@functools.lru_cache(10_000)
def _parse_version(text: str) -> VersionKey:
    return prediction_ids.parse(f"{text}.00000000000.AAAAAAAAAAAAAAAA").version


def _earlier_entry(line: bytes) -> Entry:
    record = orjson.loads(line)
    identifier = record["id"]
    shared = (*_made_by_and_at(identifier), [identifier], float(record["latency_ms"]), record["served_by"])
    if "inputs" not in record:
        return Entry(*shared)
    shares = record.get("probabilities")
    return Entry(*shared, [record["inputs"]], record["withheld"], [record["prediction"]], None if shares is None else [shares])


@dataclass(slots=True, eq=False)
class _Segment:
    """One open journal.

    Attributes:
        size: Bytes written.
        closes_at: Monotonic seconds.
        is_finished: Nothing is written to it any more; it is closed when it has been flushed.
    """

    handle: int
    size: int
    closes_at: float
    is_finished: bool = False


class JournalWriter:
    """The journals that one process writes. `append` and `finish` belong to one thread, `sync` to another."""

    def __init__(self, home: Path, most_open: int) -> None:
        """`most_open`: so many brands may have a file open; the one that was begun first is closed for another."""
        self._home = home
        self._most_open = most_open
        # The time tells two processes apart that had the same number one after the other.
        self._names = (f"{os.getpid()}-{time.time_ns():x}-{number:06d}.jsonl" for number in itertools.count())
        self._open: dict[str, _Segment] = {}
        self._unsynced: deque[_Segment] = deque()

    @property
    def seconds_left(self) -> float | None:
        """Until the next journal is to be finished; None if none is open."""
        first = min((segment.closes_at for segment in self._open.values()), default=None)
        return None if first is None else max(0.0, first - time.monotonic())

    def append(self, brand: str, data: bytes) -> None:
        """Write lines so that every reader sees them. On a failure the journal is as before.

        Raises:
            OSError: If the disk refuses.
        """
        segment = self._open.get(brand) or self._begin(brand)
        try:
            write_all(segment.handle, data)
        except OSError:
            os.ftruncate(segment.handle, segment.size)
            raise
        segment.size += len(data)
        self._unsynced.append(segment)

    def finish(self, *, everything: bool = False) -> None:
        """Hand over to `conversion` what is old or large enough, or all."""
        now = time.monotonic()
        for brand, segment in list(self._open.items()):
            if everything or segment.closes_at <= now or segment.size >= SEGMENT_BYTES:
                self._finish(brand)

    def sync(self) -> None:
        """Flush to disk what was written since the last call, and close what is finished.

        Raises:
            OSError: If the disk fails; all other journals have been flushed.
        """
        failure: OSError | None = None
        for segment in {self._unsynced.popleft() for _ in range(len(self._unsynced))}:
            try:
                _sync(segment)
            except OSError as error:
                failure = error
        if failure is not None:
            raise failure

    def _begin(self, brand: str) -> _Segment:
        while len(self._open) >= self._most_open:
            self._finish(next(iter(self._open)))
        folder = journal_folder(self._home, brand)
        make_private_folder(folder)
        name = next(self._names)
        # Hidden until it is locked: without the lock it would be taken for the journal of a process that has ended.
        hidden = folder / f".{name}"
        handle = os.open(hidden, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            hidden.rename(folder / name)
        except OSError:
            os.close(handle)
            hidden.unlink(missing_ok=True)
            raise
        segment = self._open[brand] = _Segment(handle, 0, time.monotonic() + SEGMENT_SECONDS)
        return segment

    def _finish(self, brand: str) -> None:
        segment = self._open.pop(brand)
        segment.is_finished = True
        self._unsynced.append(segment)


def _sync(segment: _Segment) -> None:
    closing = segment.is_finished  # looked at first: what is finished meanwhile comes again
    try:
        if segment.handle >= 0:
            os.fdatasync(segment.handle)
    finally:
        if closing and segment.handle >= 0:
            handle, segment.handle = segment.handle, -1
            os.close(handle)


def brands_with_journals(home: Path) -> list[str]:
    """Names of the brands that have ever had an answer written down."""
    return sorted(folder.parent.name for folder in (home / "predictions").glob(f"*/{FOLDER}"))
