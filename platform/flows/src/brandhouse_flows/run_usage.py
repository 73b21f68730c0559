"""What a run used of the machine, as the operating system counted it, and the entry of the ledger that keeps it.

Workers of a Dask cluster are other machines' processes: what they used is not in it.
"""

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from brandhouse_flows.prices import Usage
from brandhouse_shared.errors import BrandhouseError
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import Entry, EntryKind
from brandhouse_shared.names import ModelKey

PEAK_UNIT = 1 if sys.platform == "darwin" else 1024
"""Bytes in the system's unit of a peak."""


@dataclass(slots=True)
class Meter:
    """Use of this process and of those that it started and that have ended, since the meter was made."""

    cpu_before: float = field(default_factory=lambda: _cpu_seconds())
    started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Since the meter was made."""
        return time.monotonic() - self.started

    def read(self, rows: int = 0) -> Usage:
        """Use until now. Memory counts with the process's peak, which may be older than the meter: an upper bound."""
        return Usage(_cpu_seconds() - self.cpu_before, peak_bytes() / 2**30 * self.seconds / 3_600, rows=rows)


def _cpu_seconds() -> float:
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in both)


def peak_bytes() -> int:
    """The most memory that this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * PEAK_UNIT


@contextmanager
def metered(ledger: Ledger, key: ModelKey, what: str, run_id: str, actor: str) -> Iterator[Meter]:
    """Record what a run used when it ends, however it ends.

    Args:
        ledger: Where it is recorded.
        key: The model it worked for.
        what: The template, such as `train`.
        run_id: Of the run.
        actor: Who ran it.
    """
    meter = Meter()
    try:
        yield meter
    finally:
        with suppress(BrandhouseError):  # a ledger that refuses must not hide how the run ended
            ledger.record_entry(_entry(key, what, run_id, actor, meter))


def _entry(key: ModelKey, what: str, run_id: str, actor: str, meter: Meter) -> Entry:
    usage = meter.read()
    facts = {"cpu_seconds": usage.cpu_seconds, "memory_gib_hours": usage.memory_gib_hours, "seconds": meter.seconds}
    return Entry(
        kind=EntryKind.COST,
        brand=key.brand,
        model=key.model,
        name=what,
        state="measured",
        value=usage.cpu_seconds,
        detail=f"{usage.cpu_seconds:.1f} CPU seconds in {meter.seconds:.1f} s, at most {peak_bytes() / 2**20:.0f} MiB",
        facts={**facts, "peak_mib": peak_bytes() / 2**20},
        actor=actor,
        run_id=run_id,
        at=datetime.now(UTC),
    )
