"""What use costs in euro: a dated table, and the arithmetic that makes it a price for an hour."""

import datetime
import functools
from dataclasses import dataclass
from pathlib import Path

import tomli
from pydantic import Field

from brandhouse_shared.declarations import Declared

FILE = Path(__file__).with_name("prices.toml")
HOURS_YEAR = 8_760
HOURS_MONTH = 730


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices of one day, in euro without tax.

    Attributes:
        date: Of the table.
        source: Where they come from.
        core_hour: A core at work for an hour.
        gib_hour: 2^30 bytes of memory for an hour.
        gb_month: 10^9 bytes on disk for a month of 730 hours.
    """

    date: datetime.date
    source: str
    core_hour: float
    gib_hour: float
    gb_month: float

    def of(self, usage: "Usage") -> float:
        """Euro for some use."""
        return (
            usage.cpu_seconds / 3_600 * self.core_hour
            + usage.memory_gib_hours * self.gib_hour
            + usage.storage_gb_hours / HOURS_MONTH * self.gb_month
        )


@dataclass(frozen=True, slots=True)
class Usage:
    """What was used.

    Attributes:
        cpu_seconds: Of all processes.
        memory_gib_hours: Memory, as long as it was held.
        storage_gb_hours: 10^9 bytes on disk, as long as they lay there.
        rows: Rows learned from, or predicted.
    """

    cpu_seconds: float = 0.0
    memory_gib_hours: float = 0.0
    storage_gb_hours: float = 0.0
    rows: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.cpu_seconds + other.cpu_seconds,
            self.memory_gib_hours + other.memory_gib_hours,
            self.storage_gb_hours + other.storage_gb_hours,
            self.rows + other.rows,
        )


def say_cost(usage: Usage | None, prices: Prices | None = None) -> str:
    """Use and its price in words, such as `12.4 CPU seconds and 0.0021 GiB hours, EUR 0.00005 at the prices of 2026-11-01`."""
    if usage is None:
        return "not measured"
    prices = prices or read_prices()
    used = f"{usage.cpu_seconds:,.1f} CPU seconds and {usage.memory_gib_hours:.2g} GiB hours"
    return f"{used}, EUR {prices.of(usage):.2g} at the prices of {prices.date}"


class _Machine(Declared):
    price_eur: float = Field(gt=0)
    years: float = Field(gt=0)
    cores: int = Field(ge=1)
    memory_gib: float = Field(gt=0)
    watts: float = Field(ge=0)
    power_overhead: float = Field(ge=1)
    eur_per_kwh: float = Field(ge=0)
    used_share: float = Field(gt=0, le=1)
    cores_share: float = Field(ge=0, le=1)

    @property
    def eur_hour(self) -> float:
        """The whole machine for an hour: what it loses in worth, and its power."""
        return self.price_eur / self.years / HOURS_YEAR + self.watts / 1_000 * self.power_overhead * self.eur_per_kwh


class _Storage(Declared):
    gb_month_eur: float = Field(gt=0)


class _Table(Declared):
    date: datetime.date
    source: str
    machine: _Machine
    storage: _Storage


@functools.cache
def read_prices(file: Path = FILE) -> Prices:
    """Read a table; by default the one of this release."""
    table = _Table.model_validate(tomli.loads(file.read_text(encoding="utf-8")))
    machine = table.machine
    return Prices(
        date=table.date,
        source=table.source,
        core_hour=machine.eur_hour * machine.cores_share / machine.cores / machine.used_share,
        gib_hour=machine.eur_hour * (1 - machine.cores_share) / machine.memory_gib / machine.used_share,
        gb_month=table.storage.gb_month_eur,
    )
