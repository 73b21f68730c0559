"""Which versions are in memory: loaded when they are asked, and unloaded, least recently used first, above a budget.

A version that is unloaded while a request uses it stays until that request has answered: the request holds it, and only
what nobody holds is freed. So the budget may be exceeded by what is in use at one moment, and by nothing else.
"""

import ctypes
import logging
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from brandhouse_shared.ledger.records import Version
from brandhouse_shared.names import VersionKey

VERSION_BYTES = 450 << 10
"""What a loaded version takes beyond its model: an ONNX Runtime session, manifest, contract. Measured: 360-400 KiB."""

FILE_FACTOR = 6
"""Bytes in memory for one byte of a compiled model's file. Measured: 5.2 for forests and boosted trees, less for others."""

SILO_VERSION_BYTES = 64 << 10
"""What a version that answers in the brand's own process takes in this one: manifest and contract."""

SPARE_PART = 50
"""When there is no room, a fiftieth of the budget is made free beyond what is needed: looking through a thousand versions
takes half a millisecond, and so it is not done for every load."""

TRIM_BYTES = 32 << 20
"""After so much was unloaded, free memory is given back to the system; the allocator keeps it otherwise."""

logger = logging.getLogger(__name__)


class LoadCounts(Protocol):
    """Counts what happens to versions: `metrics.Metrics`."""

    def count_load(self, version: VersionKey) -> None:
        """Count a version taken into memory."""

    def count_load_failure(self, version: VersionKey) -> None:
        """Count a version that could not be loaded."""

    def count_unload(self, version: VersionKey) -> None:
        """Count a version put out of memory for the sake of others."""


class Resident(Protocol):
    """Something that can be unloaded and loaded again: a slot."""

    version: Version
    used: int
    """`Residency.epoch` when it was last asked."""
    is_standby: bool
    """Whether it is kept only in case that another one fails: the first to go."""

    @property
    def memory_bytes(self) -> int:
        """What it takes now; 0 if it is not loaded."""

    def unload(self) -> None:
        """Let go of what is loaded."""


@dataclass(frozen=True, slots=True)
class ResidencyState:
    """What is loaded now, and what happened since the start.

    Attributes:
        loaded: Versions in memory.
        loads: Versions loaded since the start, again and again counted.
        unloads: Versions unloaded to stay within the budget.
    """

    loaded: int
    loaded_bytes: int
    budget_bytes: int
    loads: int
    unloads: int


class Residency:
    """The budget of one process and what takes part in it. Used on one event loop only."""

    def __init__(self, budget_bytes: int, trim: Callable[[], None] | None = None, counts: LoadCounts | None = None) -> None:
        """`trim` gives free memory back to the system; it is called in a thread of its own. `counts` is told of loads and unloads."""
        self.counts = counts
        self.epoch = 0
        self.budget_bytes = budget_bytes
        self._residents: weakref.WeakSet[Resident] = weakref.WeakSet()
        self._loads = 0
        self._unloads = 0
        self._untrimmed = 0
        self._at_most = 0  # what is loaded, never less: a slot that is dropped or loaded anew is found out when it matters
        self._trim = trim or trim_heap

    @property
    def state(self) -> ResidencyState:
        """What is loaded now."""
        sizes = [size for size in (resident.memory_bytes for resident in self._residents) if size]
        return ResidencyState(len(sizes), sum(sizes), self.budget_bytes, self._loads, self._unloads)

    def has_room_for(self, memory_bytes: int) -> bool:
        """Whether nothing would be unloaded for so much more."""
        return self._at_most + memory_bytes <= self.budget_bytes

    def admit(self, newcomer: Resident) -> None:
        """Note that a version was loaded, and unload others if they take too much together.

        The order of use is known as exactly as it needs to be: which versions were used since the last loads.
        """
        self.epoch += 1
        self._loads += 1
        if self.counts is not None:
            self.counts.count_load(newcomer.version.key)
        newcomer.used = self.epoch
        self._residents.add(newcomer)
        self._at_most += newcomer.memory_bytes
        if self._at_most > self.budget_bytes:
            self._make_room(newcomer)

    def _make_room(self, newcomer: Resident) -> None:
        loaded = [(resident, resident.memory_bytes) for resident in self._residents if resident.memory_bytes]
        self._at_most = sum(size for _, size in loaded)
        excess = self._at_most - self.budget_bytes
        if excess > 0:
            others = [resident for resident, _ in loaded if resident is not newcomer]
            others.sort(key=lambda resident: (not resident.is_standby, resident.used))
            self._unload(others, excess)

    def _unload(self, others: list[Resident], excess: int) -> None:
        spare = self.budget_bytes // SPARE_PART
        for resident in others:
            size = resident.memory_bytes
            if excess + spare < size and excess <= 0:
                break
            excess -= size
            self._at_most -= size
            self._untrimmed += size
            self._unloads += 1
            if self.counts is not None:
                self.counts.count_unload(resident.version.key)
            resident.unload()
        if self._untrimmed >= TRIM_BYTES:
            self._untrimmed = 0
            threading.Thread(target=self._trim, name="trim-heap", daemon=True).start()


def compiled_bytes(file_bytes: int) -> int:
    """Estimate what a compiled version takes in memory.

    The difference in resident memory before and after a load would count what other threads allocate meanwhile, and
    nothing where freed memory is used again; the estimate depends on the file alone.
    """
    return VERSION_BYTES + FILE_FACTOR * file_bytes


def trim_heap() -> None:
    """Give free memory back to the system, where the C library can."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
