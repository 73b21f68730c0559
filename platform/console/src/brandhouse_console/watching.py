"""Run monitors by hand and print what they found."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from brandhouse_console.output import print_json, print_table
from brandhouse_console.targets import models_of_target
from brandhouse_shared.brands import discover_brands, find_brand
from brandhouse_shared.ledger import open_ledger
from brandhouse_shared.names import ModelKey
from brandhouse_shared.settings import Settings, load_settings

if TYPE_CHECKING:
    from brandhouse_aftercare.monitoring import MonitorReport

COLUMNS = ("model", "check", "state", "value", "limit", "rows", "")


def monitor(targets: Sequence[str], *, days: int | None, silent: bool, as_json: bool) -> None:
    """Run the monitors of some models now; end with 1 if a check is red.

    Args:
        targets: `BRAND/MODEL` or `BRAND`; none: all models that have a version in production.
        days: Look at exactly so many days.
        silent: Tell nobody: no alerts, no events.
        as_json: Print JSON.
    """
    from brandhouse_aftercare.checks import State

    settings = load_settings()
    reports = [_run(settings, key, days, silent=silent) for key in _keys(settings, targets)]
    if as_json:
        print_json([report.as_document() for report in reports])
    else:
        rows = [row for report in reports for row in _rows(report)]
        print_table(COLUMNS, rows, empty="no model has a version in production yet: there is nothing to watch")
    if any(report.worst is State.RED for report in reports):
        sys.exit(1)


def watch_the_watch(targets: Sequence[str], *, silent: bool, as_json: bool) -> None:
    """See that the checks of all deployed models ran in time; end with 1 if one did not.

    Args:
        targets: `BRAND/MODEL` or `BRAND` whose rows are shown; none: all. All are looked at.
        silent: Tell nobody.
        as_json: Print JSON.
    """
    from brandhouse_aftercare.checks import State
    from brandhouse_aftercare.dead_man import tell_missed, watch_the_watch

    settings, now = load_settings(), datetime.now(UTC)
    shown = {key for target in targets for key in models_of_target(settings, target)}
    brands, _ = discover_brands(settings.brands_dir)
    with open_ledger(settings.ledger_url.get_secret_value()) as ledger:
        entries = watch_the_watch(ledger, brands, now)
        if not silent:
            tell_missed(ledger, brands, entries, now)
    listed = [entry for entry in entries if not shown or ModelKey(entry.brand, entry.model) in shown]
    if as_json:
        print_json(listed)
    else:
        rows = [[f"{entry.brand}/{entry.model}", entry.state, entry.detail] for entry in listed]
        print_table(["model", "monitors", ""], rows, empty="no model has a version in production yet: there is nothing to watch")
    if any(entry.state == State.RED for entry in listed):
        sys.exit(1)


def _keys(settings: Settings, targets: Sequence[str]) -> list[ModelKey]:
    if targets:
        return list(dict.fromkeys(key for target in targets for key in models_of_target(settings, target)))
    brands, errors = discover_brands(settings.brands_dir)
    for error in errors:
        print(f"broken, not watched: {error}", file=sys.stderr)
    with open_ledger(settings.ledger_url.get_secret_value()) as ledger:
        known = set(ledger.production_versions())
    return [key for brand in brands for key in brand.model_keys if key in known]


def _run(settings: Settings, key: ModelKey, days: int | None, *, silent: bool) -> "MonitorReport":
    from brandhouse_aftercare.monitoring import run_monitor

    brand = find_brand(settings.brands_dir, key.brand)
    with open_ledger(settings.ledger_url.get_secret_value()) as ledger:
        report = run_monitor(settings, ledger, brand, key.model, datetime.now(UTC), days=days)
        if not silent:
            from brandhouse_aftercare.telling import tell_findings

            tell_findings(ledger, brand, report)
    return report


def _rows(report: "MonitorReport") -> list[list[Any]]:
    return [
        [str(report.key), one.name, str(one.state).replace("_", " "), one.value, one.limit, one.rows, one.detail] for one in report.findings
    ]
