"""What the commands of infrastructure print. The work is in `brandhouse_infra`."""

import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from brandhouse_console.output import print_json, print_table
from brandhouse_shared.errors import BrandhouseError
from brandhouse_shared.settings import Settings, load_settings

if TYPE_CHECKING:
    from brandhouse_infra.deployment import Deployment, Planned
    from brandhouse_infra.workplace import Workplace
    from brandhouse_shared.ledger.ledger import Ledger
    from brandhouse_shared.ledger.records import Entry


@dataclass(frozen=True, slots=True)
class Asked:
    """Where, and how to print."""

    target: str
    environment: str
    as_json: bool


def synth(tenants: Sequence[str] | None, *, target: str, environment: str, output: Path | None, as_json: bool) -> None:
    """Write stacks and list them.

    Args:
        tenants: Brands, or `platform`; None: all brands.
        target: aws or local.
        environment: As declared.
        output: Folder; None: below the home.
        as_json: Print JSON.
    """
    from brandhouse_infra.workplace import Workplace

    work = Workplace.of(load_settings(), target, environment, output)
    names = work.brand_names() if tenants is None else tenants
    written = work.write(work.stacks(names))
    if as_json:
        print_json([{"stack": one.name, "file": str(one.file), "changed": one.changed} for one in written])
        return
    print_table(["stack", "file", ""], [[one.name, str(one.file), "written" if one.changed else "unchanged"] for one in written])


def plan(tenants: Sequence[str] | None, asked: Asked, *, offline: bool, markdown: Path | None) -> None:
    """Plan stacks; exit 1 if one could not be planned."""
    work, deployment = _begin(asked)
    names = work.brand_names() if tenants is None else tenants
    planned, errors = _sorted_out(deployment.plan(names, offline=offline))
    if markdown is not None:
        from brandhouse_infra.costs.comparison import as_markdown

        costs = [one.cost for one in planned if one.cost]
        markdown.write_text(as_markdown(costs, [(one.tenant, str(one.plan)) for one in planned]), encoding="utf-8")
    if asked.as_json:
        print_json([*map(_document, planned), *({"error": str(error)} for error in errors)])
    elif planned:
        _print_planned(planned)
        _print_notes(planned, work)
    _end(errors, asked)
    if any(one.breaches for one in planned):
        raise typer.Exit(1)


def apply(tenant: str, asked: Asked, *, confirm: str) -> None:
    """Apply the saved plan of one stack."""
    _, deployment = _begin(asked)
    progress = deployment.apply(tenant, confirmed=confirm)
    _print_done(tenant, "applied", progress.done, asked)


def destroy(tenant: str, asked: Asked, *, confirm: str) -> None:
    """End one stack."""
    _, deployment = _begin(asked)
    progress = deployment.destroy(tenant, confirmed=confirm)
    _print_done(tenant, "destroyed", progress.done, asked)


def drift(tenants: Sequence[str] | None, asked: Asked) -> None:
    """Look for drift; exit 1 if there is any, or if one could not be looked at."""
    work, deployment = _begin(asked)
    found, errors = _sorted_out(deployment.drift(work.brand_names() if tenants is None else tenants))
    differing = [one for one in found if one.plan.does_something]
    if asked.as_json:
        print_json([*map(_document, found), *({"error": str(error)} for error in errors)])
    else:
        print_table(["stack", "differs", "changed outside"], [[one.tenant, str(one.plan), len(one.plan.drift)] for one in found])
        for one in differing:
            for change in one.plan.changes:
                if change.action != "nothing":
                    print(f"{one.tenant}: {change.action} {change.address}")
    _end(errors, asked)
    if differing:
        raise typer.Exit(1)


def _begin(asked: Asked) -> "tuple[Workplace, Deployment]":
    from brandhouse_infra.deployment import Deployment
    from brandhouse_infra.workplace import Workplace

    settings = load_settings()
    work = Workplace.of(settings, asked.target, asked.environment)
    return work, Deployment(work, _recorder(settings), settings.actor, datetime.now(UTC))


def _recorder(settings: Settings) -> "Callable[[Entry], object]":
    """What takes entries; the ledger is opened for the first, since a plan made offline has none."""

    def record(entry: "Entry") -> None:
        from brandhouse_shared.ledger import open_ledger

        with lock:  # plans are made side by side
            if not opened:
                opened.append(open_ledger(settings.ledger_url.get_secret_value()))
            opened[0].record_entry(entry)

    opened: list[Ledger] = []
    lock = threading.Lock()
    return record


def _sorted_out(found: "Iterable[Planned | BrandhouseError]") -> "tuple[list[Planned], list[BrandhouseError]]":
    planned, errors = [], []
    for one in found:
        if isinstance(one, BrandhouseError):
            errors.append(one)
        else:
            planned.append(one)
    return planned, errors


def _document(planned: "Planned") -> dict[str, Any]:
    changes = [{"address": one.address, "action": one.action} for one in planned.plan.changes if one.action != "nothing"]
    cost = planned.cost.as_document() if planned.cost else None
    saved = str(planned.file) if planned.file else None
    return {
        "brand": planned.tenant,
        "summary": str(planned.plan),
        "changes": changes,
        "cost": cost,
        "breaches": list(planned.breaches),
        "saved": saved,
    }


def _print_planned(planned: "Sequence[Planned]") -> None:
    rows = [
        [
            one.tenant,
            str(one.plan),
            *([one.cost.isolation, one.cost.eur, one.cost.pool_eur, one.cost.silo_eur, one.cost.budget_eur] if one.cost else ["-"] * 5),
        ]
        for one in planned
    ]
    print_table(["stack", "plan", "isolation", "€ a month", "as pool", "as silo", "budget"], rows)


def _print_notes(planned: "Sequence[Planned]", work: "Workplace") -> None:
    from brandhouse_infra.costs.prices import read_prices

    for one in planned:
        if one.cost and not one.cost.fits:
            print(f"{one.tenant}: {one.cost.eur:.2f} € a month is above its budget of {one.cost.budget_eur:.2f} €")
        for breach in one.breaches:
            print(f"{one.tenant}: breaks a rule, so the plan is not saved: {breach}")
        if lost := one.plan.lost(work.target.data_bearing):
            print(f"{one.tenant}: this plan would end what holds data: {', '.join(change.address for change in lost)}")
    if any(one.cost for one in planned):
        prices = read_prices()
        print(f"prices of {prices.date}, {prices.eur_per_usd} € for a dollar; each brand bears an equal part of the platform")


def _print_done(tenant: str, how: str, done: Sequence[str], asked: Asked) -> None:
    if asked.as_json:
        print_json({"brand": tenant, "state": how, "done": list(done)})
    else:
        print(f"{tenant}: {how}, {len(done)} resource(s) changed")


def _end(errors: Sequence[BrandhouseError], asked: Asked) -> None:
    for error in errors:
        if not asked.as_json:
            print(f"error: {error}", file=sys.stderr)
    if errors:
        raise typer.Exit(1)
