"""What monitors found last, as series of the gateway: read from the ledger, so that every process of a gateway shows the same.

A monitor's own process is gone by the time somebody scrapes. The ledger is asked at most every few seconds; one that cannot
be read costs these series and not the others.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence

from brandhouse_serving.counter_files import Series
from brandhouse_serving.metric_families import CHECK_AGE, CHECK_RAN, CHECK_RED, CHECK_STATE, CHECK_VALUE
from brandhouse_shared.errors import BrandhouseError
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import Entry, EntryKind

FRESH_SECONDS = 10.0
RED = "red"


class CheckSeries:
    """The newest finding of every check. May be asked from several threads."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._lock = threading.Lock()
        self._entries: Sequence[Entry] = ()
        self._read_at = float("-inf")

    def series(self) -> list[Series]:
        """Return the series as of now."""
        return list(_series(self._newest(), time.time()))

    def _newest(self) -> Sequence[Entry]:
        with self._lock:
            if time.monotonic() - self._read_at > FRESH_SECONDS:
                self._read_at = time.monotonic()
                try:
                    self._entries = self._ledger.newest_entries(EntryKind.CHECK)
                except BrandhouseError:  # the ledger is not there at present: what was read last goes on, and grows old
                    return self._entries
            return self._entries


def _series(entries: Sequence[Entry], now: float) -> Iterator[Series]:
    ran: defaultdict[tuple[str, str], float] = defaultdict(float)
    for entry in entries:
        labels, at = (entry.brand, entry.model, entry.name), entry.at.timestamp()
        ran[labels[:2]] = max(ran[labels[:2]], at)
        yield _one(CHECK_RED, labels, float(entry.state == RED))
        yield _one(CHECK_STATE, (*labels, entry.state), 1.0)
        yield _one(CHECK_AGE, labels, max(0.0, now - at))
        if entry.value is not None:
            yield _one(CHECK_VALUE, labels, entry.value)
    for model, at in ran.items():
        yield _one(CHECK_RAN, model, at)


def _one(family: str, labels: tuple[str, ...], value: float) -> Series:
    return Series(family, labels, (value,), of_living=True)
