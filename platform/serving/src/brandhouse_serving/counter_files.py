"""Numbers of one process that others can read while it runs, and after it was killed: doubles in a memory-mapped file.

A folder holds two files per worker: `<worker>.cells` with the numbers and `<worker>.names`, one JSON line per series,
saying which cells are whose. Adding to a cell is one store into shared memory, without a call to the kernel. A worker
that takes the place of a dead one goes on with its files, so that nothing counted is ever lost (ADR 0016).
"""

import fcntl
import logging
import mmap
import os
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import orjson

CELL_BYTES = 8
CHUNK_CELLS = 8192
"""Cells mapped at once, 64 KiB: room for some 500 versions. A file grows by so much."""

logger = logging.getLogger(__name__)


class Cells(Protocol):
    """A row of numbers; `memoryview` as it is used here."""

    def __getitem__(self, index: int) -> float: ...

    def __setitem__(self, index: int, value: float) -> None: ...

    def __len__(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Series:
    """One series as it was read.

    Attributes:
        family: What is counted.
        labels: The label values, in the family's order.
        values: Its cells.
        of_living: Whether the process that wrote it runs.
    """

    family: str
    labels: tuple[str, ...]
    values: tuple[float, ...]
    of_living: bool


class CounterFile:
    """The cells of this process, in a file or, without one, in its memory only.

    A cell is written by one thread. Cells stay valid as long as this object.
    """

    def __init__(self, folder: Path | None = None, worker: int = 0) -> None:
        """Open the files of a worker, with what an earlier process of this place left in them.

        Raises:
            OSError: If they cannot be written, or another process writes them.
        """
        self._lock = threading.Lock()
        self._chunks: list[memoryview[float]] = []
        self._used = 0
        self._series: dict[tuple[str, tuple[str, ...]], Cells] = {}
        self._cells_file = self._names_file = -1
        if folder is not None:
            self._names_file = _open_names(folder / f"{worker}.names")
            self._cells_file = os.open(folder / f"{worker}.cells", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._take_over()

    def cells(self, family: str, labels: tuple[str, ...], width: int) -> Cells:
        """Return the `width` cells of a series, all zero when it is new; the same ones for the same series."""
        present = self._series.get((family, labels))
        return present if present is not None else self._add(family, labels, width)

    def series(self) -> list[Series]:
        """All series of this process."""
        return [
            Series(family, labels, tuple(cells[index] for index in range(len(cells))), of_living=True)
            for (family, labels), cells in list(self._series.items())
        ]

    def close(self) -> None:
        """Leave the place to another process. What was counted stays; the cells must not be used any more."""
        for descriptor in (self._names_file, self._cells_file):
            if descriptor >= 0:
                os.close(descriptor)
        self._names_file = self._cells_file = -1

    def _add(self, family: str, labels: tuple[str, ...], width: int) -> Cells:
        with self._lock:
            present = self._series.get((family, labels))
            if present is not None:
                return present
            first = _place(self._used, width)
            try:
                cells = self._map(first, width)
                if self._names_file >= 0:
                    os.write(self._names_file, orjson.dumps([first, width, family, *labels]) + b"\n")
            except OSError as error:  # a full disk must not end a request: this series is not shared with other workers
                logger.error("%s of %s cannot be shared between processes (%s): it is not shown", family, "/".join(labels), error.strerror)
                return memoryview(bytearray(width * CELL_BYTES)).cast("d")
            self._used = first + width
            self._series[family, labels] = cells
            return cells

    def _map(self, first: int, width: int) -> Cells:
        chunk, offset = divmod(first, CHUNK_CELLS)
        while len(self._chunks) <= chunk:
            self._chunks.append(self._map_chunk(len(self._chunks)))
        return self._chunks[chunk][offset : offset + width]

    def _map_chunk(self, number: int) -> "memoryview[float]":
        size = CHUNK_CELLS * CELL_BYTES
        if self._cells_file < 0:
            return memoryview(mmap.mmap(-1, size)).cast("d")
        # Without its blocks reserved, writing to a mapped file on a full disk would end the process by SIGBUS.
        os.posix_fallocate(self._cells_file, number * size, size)
        return memoryview(mmap.mmap(self._cells_file, size, offset=number * size)).cast("d")

    def _take_over(self) -> None:
        for first, width, family, labels in _read_names(os.pread(self._names_file, os.fstat(self._names_file).st_size, 0)):
            self._series[family, labels] = self._map(first, width)
            self._used = max(self._used, first + width)


def read_series(folder: Path) -> Iterator[Series]:
    """Read the series of all workers that have files in a folder, the dead ones' too."""
    for path in sorted(folder.glob("*.names")):
        with suppress(FileNotFoundError):
            yield from _read_worker(path)


def _read_worker(path: Path) -> Iterator[Series]:
    is_alive = _is_written(path)
    # Names first: a series that is added in between is seen by the next look.
    names = path.read_bytes()
    content = path.with_suffix(".cells").read_bytes()
    for first, width, family, labels in _read_names(names):
        yield Series(family, labels, struct.unpack_from(f"={width}d", content, first * CELL_BYTES), is_alive)


def _read_names(content: bytes) -> Iterator[tuple[int, int, str, tuple[str, ...]]]:
    # What follows the last line's end is a name that a killed process was writing: nothing was counted under it.
    for line in content[: content.rfind(b"\n") + 1].splitlines():
        first, width, family, *labels = orjson.loads(line)
        yield first, width, family, tuple(labels)


def _open_names(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # held until this process ends: that is how others see that it lives
    except OSError:
        os.close(descriptor)
        raise
    content = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    os.ftruncate(descriptor, content.rfind(b"\n") + 1)
    return descriptor


def _is_written(path: Path) -> bool:
    """Whether a process holds the lock of a file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _place(used: int, width: int) -> int:
    """First cell at or after `used` where `width` cells lie in one chunk."""
    left = CHUNK_CELLS - used % CHUNK_CELLS
    return used if width <= left else used + left


def zero(series: Sequence[Cells]) -> None:
    """Set all cells to zero; for values that a dead process left and that say how it is now."""
    for cells in series:
        for index in range(len(cells)):
            cells[index] = 0.0
