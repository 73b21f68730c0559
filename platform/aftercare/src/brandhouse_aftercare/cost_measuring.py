"""Measure what serving and files use, and write it into the ledger: entries of kind cost, named `serving` and `storage`.

A training or a scoring records itself when it ends (`brandhouse_flows.run_usage`). What goes on all the time is measured now and
then, by what was counted since the last time: each entry holds the counters as they stood.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from brandhouse_aftercare.disk_use import DiskUse, disk_use
from brandhouse_serving.loading import memory_bytes_of
from brandhouse_serving.request_totals import Totals, read_cpu_seconds, read_totals
from brandhouse_serving.worker_place import running_gateways
from brandhouse_shared.artifacts import MANIFEST_FILE, Manifest, Runtime, load_artifact_store
from brandhouse_shared.brands import Brand
from brandhouse_shared.errors import ArtifactCorruptError
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import Entry, EntryKind, Version
from brandhouse_shared.names import ModelKey
from brandhouse_shared.settings import Settings

SERVING = "serving"
STORAGE = "storage"
GIB = 2**30
GB = 10**9


@dataclass(frozen=True, slots=True)
class Counters:
    """What all gateways of the home counted so far.

    Attributes:
        totals: By model.
        cpu_seconds: Of the gateways' processes.
        is_running: Whether a gateway runs now.
    """

    totals: Mapping[ModelKey, Totals]
    cpu_seconds: float
    is_running: bool

    @property
    def seconds(self) -> float:
        """Taken by all answers of all models."""
        return sum(one.seconds for one in self.totals.values())


def measure(settings: Settings, ledger: Ledger, brands: Sequence[Brand], now: datetime, *, actor: str) -> list[Entry]:
    """Record what serving and files of brands used since they were measured last; the first time only counters are noted.

    Args:
        settings: Of this process.
        ledger: Where it is recorded.
        brands: Whose use it is.
        now: Aware, UTC.
        actor: Who measures.
    """
    counters = read_counters(settings)
    last = {(one.brand, one.model, one.name): one for one in ledger.newest_entries(EntryKind.COST)}
    meter = _Meter(settings, ledger, counters, last, now, actor)
    return [ledger.record_entry(entry) for brand in brands for entry in meter.entries(brand)]


def read_counters(settings: Settings) -> Counters:
    """Read what gateways counted: those that have ended, and those that run."""
    running = running_gateways(settings.home)
    totals = read_totals(settings.home, running)
    return Counters(totals, read_cpu_seconds(settings.home, running), bool(running))


@dataclass(frozen=True, slots=True)
class _Meter:
    settings: Settings
    ledger: Ledger
    counters: Counters
    last: Mapping[tuple[str, str, str], Entry]
    now: datetime
    actor: str

    def entries(self, brand: Brand) -> Iterator[Entry]:
        use = disk_use(self.settings, brand)
        yield from (self._storage(brand, model, use) for model in use)
        production = {key.model: self.ledger.production(key) for key in brand.model_keys}
        yield from (self._serving(brand, key, production) for key in brand.model_keys)

    def _storage(self, brand: Brand, model: str, use: DiskUse) -> Entry:
        size = sum(use[model].values())
        before = self.last.get((brand.name, model, STORAGE))
        hours = self._hours_since(before)
        gb_hours = (size + _number(before, "bytes", size)) / 2 / GB * hours
        facts = {"bytes": size, "places": use[model], "storage_gb_hours": gb_hours, "hours": hours}
        return self._entry(brand, model, STORAGE, gb_hours, f"{size / 1e6:,.1f} MB on disk, for {hours:.1f} hours", facts)

    def _serving(self, brand: Brand, key: ModelKey, production: Mapping[str, Version | None]) -> Entry:
        totals, before = self.counters.totals.get(key, Totals()), self.last.get((key.brand, key.model, SERVING))
        requests, rows = _grown(totals.answered, before, "answered"), _grown(totals.rows, before, "all_rows")
        seconds = _grown(totals.seconds, before, "all_seconds")
        cpu = seconds * self._cpu_per_second() + (seconds if _is_apart(production[key.model]) else 0.0)
        hours = self._hours_since(before) if self.counters.is_running else 0.0
        gib_hours = _memory_bytes(self.settings, brand, key.model, production) / GIB * hours
        facts: dict[str, Any] = {"cpu_seconds": cpu, "memory_gib_hours": gib_hours, "requests": requests, "rows": rows, "hours": hours}
        facts |= {"answered": totals.answered, "all_rows": totals.rows, "all_seconds": totals.seconds}
        return self._entry(brand, key.model, SERVING, cpu, f"{requests:,} requests and {rows:,} rows in {cpu:,.1f} CPU seconds", facts)

    def _cpu_per_second(self) -> float:
        """CPU seconds of the gateway for each second of an answer: all that it does is put down to answers, by their time."""
        return self.counters.cpu_seconds / self.counters.seconds if self.counters.seconds else 0.0

    def _hours_since(self, before: Entry | None) -> float:
        return 0.0 if before is None else max(0.0, (self.now - before.at).total_seconds() / 3_600)

    def _entry(self, brand: Brand, model: str, name: str, value: float, detail: str, facts: dict[str, Any]) -> Entry:
        return Entry(
            kind=EntryKind.COST,
            brand=brand.name,
            model=model,
            name=name,
            state="measured",
            value=value,
            detail=detail,
            facts=facts,
            actor=self.actor,
            at=self.now,
        )


def _number(entry: Entry | None, name: str, default: float) -> float:
    value = None if entry is None else entry.facts.get(name)
    return float(value) if isinstance(value, int | float) else default


def _grown(total: Any, before: Entry | None, name: str) -> Any:
    """What a counter gained since it was read last; all of it if it began anew, as when a gateway was killed."""
    known = type(total)(_number(before, name, 0))
    return total - known if total >= known else total


def _is_apart(version: Version | None) -> bool:
    """Whether a version answers in a process of the brand's own."""
    return version is not None and version.record.runtime == Runtime.PYTHON


def _memory_bytes(settings: Settings, brand: Brand, model: str, production: Mapping[str, Version | None]) -> float:
    """Memory held for a model: of a compiled one as the gateway estimates it; of others their part of what is kept for the brand."""
    version = production[model]
    if version is None:
        return 0.0
    if _is_apart(version):
        kept = (brand.config.silo_memory_mib or settings.silo_memory_mib) * 2**20
        return kept / sum(_is_apart(one) for one in production.values())
    try:
        folder = load_artifact_store(settings).find(version.record.key, version.record.artifact_digest)
    except ArtifactCorruptError:  # then it is not in memory either
        return 0.0
    return float(memory_bytes_of(folder, Manifest.model_validate_json((folder / MANIFEST_FILE).read_bytes())))
