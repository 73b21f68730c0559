"""What a month cost: use as the ledger has it, times a dated table of prices."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from brandhouse_aftercare.alert_signals import Signal
from brandhouse_aftercare.cost_measuring import SERVING, STORAGE
from brandhouse_flows.prices import Prices, Usage, read_prices
from brandhouse_shared.brands import Brand
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import Entry, EntryKind
from brandhouse_shared.names import ModelKey

MANY = 1_000_000

WARNED_SHARES = (0.8, 1.0)
"""Shares of the month's budget at which the brand is told."""


@dataclass(frozen=True, slots=True)
class CostRow:
    """What one model used in a month, or what all models of a brand share.

    Attributes:
        brand: Whose it is.
        model: Empty: shared by the brand's models.
        runs: Use by runs: trainings, rehearsals, scorings.
        serving: Use by answers.
        storage: Use by files.
        prices: That turn it into euro.
    """

    brand: str
    model: str
    runs: Usage
    serving: Usage
    storage: Usage
    prices: Prices

    @property
    def usage(self) -> Usage:
        """All of it."""
        return self.runs + self.serving + self.storage

    @property
    def eur(self) -> float:
        """What it cost."""
        return self.prices.of(self.usage)


@dataclass(frozen=True, slots=True)
class MonthCost:
    """What a brand cost in a month.

    Attributes:
        brand: Its name.
        month: Such as 2026-11.
        rows: One a model, and one for what they share.
        budget_eur: That the brand declares; 0: none.
    """

    brand: str
    month: str
    rows: Sequence[CostRow] = field(default_factory=list)
    budget_eur: float = 0.0

    @property
    def eur(self) -> float:
        """The sum."""
        return sum(row.eur for row in self.rows)

    @property
    def budget_share(self) -> float | None:
        """Of the budget; None: there is none."""
        return self.eur / self.budget_eur if self.budget_eur else None


def month_of(now: datetime) -> str:
    """The month of a moment, in UTC, such as 2026-11."""
    return now.strftime("%Y-%m")


def month_cost(ledger: Ledger, brand: Brand, month: str, prices: Prices | None = None) -> MonthCost:
    """Add up what a brand used in a month. A run counts in the month in which it ended."""
    entries = ledger.entries(EntryKind.COST, brand.name, limit=MANY)
    of_month = [entry for entry in entries if month_of(entry.at) == month]
    learned = {key.model: _rows_learned(ledger, key) for key in brand.model_keys}
    by_model: dict[str, list[Entry]] = defaultdict(list, {model: [] for model in brand.config.models})
    for entry in of_month:
        by_model[entry.model].append(entry)
    rows = [_row(brand.name, model, by_model[model], learned.get(model, {}), prices or read_prices()) for model in sorted(by_model)]
    return MonthCost(brand.name, month, rows, brand.config.budget_eur_month)


def _rows_learned(ledger: Ledger, key: ModelKey) -> Mapping[str, int]:
    return {run: result.rows_train for run, result in ledger.results(key).items()}


def _row(brand: str, model: str, entries: Sequence[Entry], learned: Mapping[str, int], prices: Prices) -> CostRow:
    runs = [_usage(entry, learned.get(entry.run_id or "", 0)) for entry in entries if entry.name not in (SERVING, STORAGE)]
    serving = [_usage(entry, int(_number(entry.facts.get("rows")))) for entry in entries if entry.name == SERVING]
    storage = [_usage(entry, 0) for entry in entries if entry.name == STORAGE]
    return CostRow(brand, model, sum(runs, Usage()), sum(serving, Usage()), sum(storage, Usage()), prices)


def _usage(entry: Entry, rows: int) -> Usage:
    facts = entry.facts
    names = ("cpu_seconds", "memory_gib_hours", "storage_gb_hours")
    cpu, memory, storage = (_number(facts.get(name)) for name in names)
    return Usage(cpu, memory, storage, rows)


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def budget_signals(ledger: Ledger, brand: Brand, now: datetime, prices: Prices | None = None) -> list[Signal]:
    """What the brand is to be told of its budget: a check at each of `WARNED_SHARES`. None for a brand without one."""
    cost = month_cost(ledger, brand, month_of(now), prices)
    share = cost.budget_share
    return [] if share is None else [_signal(cost, share, limit) for limit in WARNED_SHARES]


def _signal(cost: MonthCost, share: float, limit: float) -> Signal:
    detail = f"EUR {cost.eur:,.2f} of {cost.budget_eur:,.0f} used in {cost.month}, {100 * share:.0f} % of the budget"
    return Signal(f"budget.{100 * limit:.0f}", "red" if share >= limit else "green", detail, value=share, limit=limit)
