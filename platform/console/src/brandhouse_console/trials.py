"""What shadows and canaries have shown, as a table, JSON or a page."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brandhouse_console.output import format_cell, print_json, print_table, say_stage
from brandhouse_console.targets import check_destination, models_of_target
from brandhouse_shared.brands import discover_brands
from brandhouse_shared.errors import BrandhouseError
from brandhouse_shared.ledger import open_ledger
from brandhouse_shared.names import ModelKey
from brandhouse_shared.settings import Settings, load_settings

if TYPE_CHECKING:
    from brandhouse_serving.trial_listing import ListedTrial
    from brandhouse_serving.trial_reports import TrialReport

MAX_PAIRS = 8
MAX_EXAMPLES = 5


def trial(targets: Sequence[str], *, html: Path | None, as_json: bool) -> None:
    """Print trials: of one named model all, of several those that go on.

    Args:
        targets: `BRAND/MODEL` or `BRAND`; none: all brands.
        html: File of the page; None: no page. For one model.
        as_json: Print JSON.
    """
    settings = load_settings()
    keys = _keys(settings, targets)
    if html is not None and len(keys) != 1:
        raise BrandhouseError(f"--html shows one model, not {len(keys)}; name one, such as {keys[0] if keys else 'BRAND/MODEL'}")
    trials = _read(settings, keys)
    if as_json:
        print_json([one.as_document() for one in trials])
    else:
        _print(trials)
    if html is not None:
        _write_page(settings, html, keys[0], trials, silent=as_json)


def _keys(settings: Settings, targets: Sequence[str]) -> list[ModelKey]:
    if targets:
        return [key for target in targets for key in models_of_target(settings, target)]
    return [key for brand in discover_brands(settings.brands_dir)[0] for key in brand.model_keys]


def _read(settings: Settings, keys: Sequence[ModelKey]) -> "list[ListedTrial]":
    from brandhouse_serving.trial_listing import list_trials

    ledger = open_ledger(settings.ledger_url.get_secret_value())
    return [one for key in keys for one in list_trials(ledger, settings.home, key, only_running=len(keys) > 1)]


def _print(trials: "Sequence[ListedTrial]") -> None:
    print_table(
        ["version", "stage", "beside", "since", "until", "requests", "failed", "slow", "disagree", "odds", "verdict"],
        [_row(one) for one in trials],
        empty="no version is or was in shadow or canary; `brandhouse promote BRAND/MODEL --to shadow` puts one there",
    )
    for one in trials:
        if one.ended is None and one.report is not None:
            _print_details(str(one.version), one.report)
        elif one.ended is not None:
            print(f"\n{one.version} -> {say_stage(one.ended.to, one.ended.share)} by {one.ended.actor}: {one.ended.reason}")


def _row(one: "ListedTrial") -> list[Any]:
    shared = [str(one.version), say_stage(one.stage, one.share)]
    if one.report is None:
        return [*shared, None, one.since.at, "now", 0, None, None, None, None, one.verdict]
    report = one.report
    return [
        *shared,
        f"v{report.production}",
        one.since.at,
        "now" if one.ended is None else one.ended.at,
        report.seen,
        *_shares(report),
        f"{max(report.evidence.values()):,.3g} of {report.harm_odds:,.0f}",
        report.verdict,
    ]


def _shares(report: "TrialReport") -> list[str | None]:
    if report.stage == "canary":
        failed = f"{_percent(report.canary.failure_share)} : {_percent(report.beside.failure_share)}"
        slow = f"{_percent(report.canary.slow_share)} : {_percent(report.beside.slow_share)}"
        return [failed, slow, _percent(report.compared.share)]
    return [None, None, _percent(report.compared.share)]


def _print_details(version: str, report: "TrialReport") -> None:
    compared = report.compared
    print(f"\n{version}: {compared.rows:,} rows of {compared.requests:,} requests compared, {compared.differing:,} differ", end="")
    print(f" (allowed: {_percent(report.max_disagreement_share)})")
    if compared.mean_difference is not None:
        print(f"  difference: mean {format_cell(compared.mean_difference)}, largest {format_cell(compared.max_difference)}")
    for production, other, count in compared.pairs[:MAX_PAIRS]:
        print(f"  {production} -> {other}: {count:,} rows")
    if report.stage == "canary":
        print(f"  milliseconds (50 %, 95 %, 99 %): {_times(report.canary)}; production beside it: {_times(report.beside)}", end="")
        print("" if report.slow_ms is None else f"; slow from {format_cell(report.slow_ms)}")
    else:
        print(f"  milliseconds (50 %, 99 %): {format_cell(compared.p50_ms)}, {format_cell(compared.p99_ms)}")
    for why, count in compared.uncompared.items():
        print(f"  not compared, {why}: {count:,} requests")
    if compared.examples:
        print(f"  predictions that differ: {', '.join(compared.examples[-MAX_EXAMPLES:])}")


def _times(side: Any) -> str:
    return ", ".join(format_cell(value) for value in (side.p50_ms, side.p95_ms, side.p99_ms))


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.3g} %"


def _write_page(settings: Settings, html: Path, key: ModelKey, trials: "Sequence[ListedTrial]", *, silent: bool) -> None:
    from brandhouse_serving.trial_page import render_trials

    check_destination(settings, key.brand, html)
    try:
        html.write_text(render_trials(key, trials), encoding="utf-8")
    except OSError as error:
        raise BrandhouseError(f"{html} cannot be written ({error.strerror}); name a file in a folder that exists") from error
    if not silent:
        print(f"page: {html}")
