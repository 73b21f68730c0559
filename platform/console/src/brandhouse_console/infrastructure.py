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
from brandhouse_console.progress import show_line
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
    planned, errors = _sorted_out(deployment.plan(names, offline=offline), names)
    if markdown is not None:
        from brandhouse_infra.costs.comparison import as_markdown

        costs = [one.cost for one in planned if one.cost]
        markdown.write_text(as_markdown(costs, [(one.tenant, str(one.plan)) for one in planned]), encoding="utf-8")
    if asked.as_json:
        print_json([*map(_document, planned), *({"error": str(error)} for error in errors)])
    elif planned:
        _print_planned(planned)
        _print_notes(planned, work)
    if not offline:
        tell_orphans(work)
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
    names = work.brand_names() if tenants is None else tenants
    found, errors = _sorted_out(deployment.drift(names), names)
    differing = [one for one in found if one.plan.does_something]
    orphaned = tell_orphans(work)
    if asked.as_json:
        left = [{"brand": name, "summary": "no folder declares it", "orphan": True} for name in orphaned]
        print_json([*map(_document, found), *left, *({"error": str(error)} for error in errors)])
    else:
        print_table(["stack", "differs", "changed outside"], [[one.tenant, str(one.plan), len(one.plan.drift)] for one in found])
        for one in differing:
            for change in one.plan.changes:
                if change.action != "nothing":
                    print(f"{one.tenant}: {change.action} {change.address}")
    _end(errors, asked)
    if differing or (orphaned and tenants is None):
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


def tell_orphans(work: "Workplace") -> list[str]:
    """Name, on standard error, the brands whose stacks stand here though no folder declares them; return them."""
    from brandhouse_infra.workplace import orphans, standing_stacks
    from brandhouse_shared.ledger import open_ledger

    left = orphans(work, standing_stacks(open_ledger(work.settings.ledger_url.get_secret_value())))
    for entry in left:
        options = f"--target {work.target.name} --environment {work.environment.name}"
        print(
            f"{entry.brand}: its stack stands since {entry.at:%Y-%m-%d}, keeps data and costs money, and brands/{entry.brand}/ is gone: "
            f"renamed, or removed before it left. Put the folder back with `leaving = true`, then "
            f"`brandhouse infra destroy {entry.brand} {options} --confirm {entry.brand}`",
            file=sys.stderr,
        )
    return [entry.brand for entry in left]


def _sorted_out(found: "Iterable[Planned | BrandhouseError]", names: Sequence[str]) -> "tuple[list[Planned], list[BrandhouseError]]":
    """Take stacks as they become known, and show how far it is."""
    planned, errors = [], []
    show_line(f"0 of {len(names)} stacks: {names[0] if names else ''}")
    try:
        for number, one in enumerate(found, 1):
            if isinstance(one, BrandhouseError):
                errors.append(one)
            else:
                planned.append(one)
            show_line(f"{number} of {len(names)} stacks: {names[number] if number < len(names) else ''}")
    finally:
        show_line("")
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
