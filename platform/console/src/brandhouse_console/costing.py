"""What brands cost in a month, against their budgets, and what nobody uses."""

import re
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from brandhouse_console.output import print_json, print_table
from brandhouse_shared.brands import Brand, discover_brands, find_brand
from brandhouse_shared.errors import BrandhouseError
from brandhouse_shared.ledger import open_ledger
from brandhouse_shared.settings import load_settings

if TYPE_CHECKING:
    from brandhouse_aftercare.cost_report import CostRow, MonthCost
    from brandhouse_flows.prices import Prices, Usage

PriceTable = Literal["own", "aws"]

GB_MONTH_HOURS = 730
_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")


def cost(brand: str | None, *, month: str | None, table: PriceTable, measure: bool, as_json: bool) -> None:
    """Print what a month cost, one row a model.

    Args:
        brand: None: all brands.
        month: Such as 2026-11; None: this one.
        table: Whose prices: of machines of one's own, or of the cloud.
        measure: Measure serving and files first.
        as_json: Print JSON.
    """
    from brandhouse_aftercare.cost_report import month_cost, month_of

    settings, now = load_settings(), datetime.now(UTC)
    if month is not None and not _MONTH.fullmatch(month):
        raise BrandhouseError(f"{month[:20]!r} is no month; allowed: YYYY-MM, such as {month_of(now)}")
    brands = [find_brand(settings.brands_dir, brand)] if brand else discover_brands(settings.brands_dir)[0]
    ledger = open_ledger(settings.ledger_url.get_secret_value())
    if measure:
        from brandhouse_aftercare.cost_measuring import measure as measure_now

        measure_now(settings, ledger, brands, now, actor=settings.actor)
    prices = _prices(table)
    costs = [month_cost(ledger, one, month or month_of(now), prices) for one in brands]
    if as_json:
        print_json([_document(one, prices) for one in costs])
    else:
        _print(costs, prices)


def _prices(table: PriceTable) -> "Prices":
    from brandhouse_flows.prices import Prices, read_prices

    if table == "own":
        return read_prices()
    from brandhouse_infra.costs.prices import read_prices as read_cloud_prices

    cloud = read_cloud_prices()
    region, priced = next(iter(cloud.regions.items()))
    eur = cloud.eur_per_usd
    cpu, memory, disk = (priced[name] * eur for name in ("fargate_vcpu_hour", "fargate_gb_hour", "object_gb"))
    return Prices(cloud.date, f"{cloud.source} ({region})", cpu, memory, disk)


def _document(one: "MonthCost", prices: "Prices") -> dict[str, Any]:
    return {
        "brand": one.brand,
        "month": one.month,
        "eur": one.eur,
        "budget_eur": one.budget_eur,
        "budget_share": one.budget_share,
        "prices": {**asdict(prices), "date": str(prices.date)},
        "models": [_row_document(row) for row in one.rows],
    }


def _row_document(row: "CostRow") -> dict[str, Any]:
    parts = {"runs": row.runs, "serving": row.serving, "storage": row.storage}
    priced = {name: {**asdict(usage), "eur": row.prices.of(usage)} for name, usage in parts.items()}
    return {"model": row.model or None, "eur": row.eur, **asdict(row.usage), **priced}


def _print(costs: "Sequence[MonthCost]", prices: "Prices") -> None:
    print_table(
        ["brand", "model", "CPU s runs", "CPU s serving", "GiB hours", "GB months", "rows", "EUR"],
        [_row(row) for one in costs for row in one.rows],
        title=f"{costs[0].month if costs else ''}, prices of {prices.date}: {prices.source}",
    )
    print()
    print_table(["brand", "EUR", "budget", "used"], [_budget_row(one) for one in costs])


def _row(row: "CostRow") -> list[Any]:
    usage: Usage = row.usage
    months = usage.storage_gb_hours / GB_MONTH_HOURS
    return [
        row.brand,
        row.model or "(shared)",
        row.runs.cpu_seconds,
        row.serving.cpu_seconds,
        usage.memory_gib_hours,
        months,
        usage.rows,
        row.eur,
    ]


def _budget_row(one: "MonthCost") -> list[Any]:
    share = one.budget_share
    return [one.brand, one.eur, one.budget_eur or None, None if share is None else f"{100 * share:.3g} %"]


def forgotten(brand: str | None, *, days: int, as_json: bool) -> None:
    """Print what nobody has used for some days, of one brand or of all."""
    from brandhouse_aftercare.forgotten import find_forgotten

    settings = load_settings()
    brands: Sequence[Brand] = [find_brand(settings.brands_dir, brand)] if brand else discover_brands(settings.brands_dir)[0]
    ledger = open_ledger(settings.ledger_url.get_secret_value())
    found = find_forgotten(settings, ledger, brands, datetime.now(UTC), days)
    if as_json:
        print_json([asdict(one) for one in found])
        return
    print_table(
        ["what", "brand", "name", "MB", "since", "do"],
        [[one.kind, one.brand, one.name, _megabytes(one.size_bytes), one.since, one.advice] for one in found],
        empty=f"nothing that nobody has used for {days} days; `brandhouse cost --measure` now and then makes sure that use is known",
    )


def _megabytes(size: int | None) -> float | None:
    return None if size is None else size / 1e6
