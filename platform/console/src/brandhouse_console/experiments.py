"""A model's runs: list them, compare some, write them as a page."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brandhouse_console.output import format_cell, print_json, print_table
from brandhouse_console.targets import find_model
from brandhouse_shared.errors import BrandhouseError
from brandhouse_shared.ledger import open_ledger
from brandhouse_shared.names import ModelKey
from brandhouse_shared.settings import Settings, load_settings

if TYPE_CHECKING:
    from brandhouse_flows.experiments import Experiment
    from brandhouse_flows.run_comparison import RunComparison
    from brandhouse_shared.brands import Brand
    from brandhouse_shared.ledger.ledger import Ledger

MAX_COMPARED = 8
MAX_PARAMS_WIDTH = 60
MAX_PRINTED_DIFF = 60


def runs(target: str, names: Sequence[str], *, compare: bool, html: Path | None, limit: int, as_json: bool) -> None:
    """Print a model's runs, or the comparison of some, and write the page if one is asked for.

    Args:
        target: `BRAND/MODEL`.
        names: Runs to compare; the first is what the others are compared with.
        compare: Whether to compare; without names, production with the newest run.
        html: File of the page; None: no page.
        limit: Runs to list.
        as_json: Print JSON.
    """
    from brandhouse_flows.experiments import list_experiments

    settings = load_settings()
    brand, key = find_model(settings, target)
    ledger = open_ledger(settings.ledger_url.get_secret_value())
    listed = list_experiments(ledger, key, limit)
    comparison = _compare(settings, brand, key, ledger, names) if compare else None
    if as_json:
        print_json(_comparison_document(comparison) if comparison else [_document(one) for one in listed])
    elif comparison:
        _print_comparison(comparison)
    else:
        _print_list(str(key), listed)
    if html is not None:
        _write_page(html, key, brand.config.title, listed, comparison, silent=as_json)


def _compare(settings: Settings, brand: "Brand", key: ModelKey, ledger: "Ledger", names: Sequence[str]) -> "RunComparison":
    from brandhouse_flows.experiments import find_experiment
    from brandhouse_flows.run_comparison import compare_runs  # brings a learning library, which a list does not wait for

    found = [find_experiment(ledger, key, name) for name in _named(str(key), names)]
    different = list({(one.run_id, one.label): one for one in found}.values())
    if len(different) == 1 < len(found):
        raise BrandhouseError(f"{key}: all of these are run {found[0].label}; name another one: `brandhouse runs {key}` lists them")
    return compare_runs(settings, brand, key, ledger, different)


def _named(key: str, names: Sequence[str]) -> list[str]:
    if len(names) > MAX_COMPARED:
        raise BrandhouseError(f"{key}: {len(names)} runs beside each other cannot be read; allowed: 2 to {MAX_COMPARED}")
    if len(names) == 1:
        return ["production", names[0] if names[0] != "production" else "newest"]
    return list(dict.fromkeys(names)) or ["production", "newest"]


def _write_page(
    html: Path, key: ModelKey, title: str, listed: "Sequence[Experiment]", comparison: "RunComparison | None", *, silent: bool
) -> None:
    from brandhouse_flows.run_page import render_runs

    try:
        html.write_text(render_runs(key, title, listed, comparison), encoding="utf-8")
    except OSError as error:
        raise BrandhouseError(f"{html} cannot be written ({error.strerror}); name a file in a folder that exists") from error
    if not silent:
        print(f"page: {html}")


# -- the list ----------------------------------------------------------------------------------------------------------


def _print_list(key: str, listed: "Sequence[Experiment]") -> None:
    print_table(
        ["run", "when", "outcome", "kind", "candidate", "params", "score", "interval", "s", "data", "code", "who"],
        [_row(one) for one in listed],
        title=key,
        empty=f"{key} has no run yet; `brandhouse train {key}` makes one",
    )
    failed = [one for one in listed if one.run.outcome in ("failed", "crashed", "cancelled")]
    for one in failed[:3]:
        print(f"{one.label}: {one.run.outcome}: {(one.run.detail or '')[:200]}")


def _row(one: "Experiment") -> list[Any]:
    record, result = one.run.record, one.result
    code = (one.code_digest or "-")[:8] + ("*" if one.git_dirty else "")
    shared = [one.label, record.started_at, one.run.outcome or "running", record.kind]
    rest = [one.seconds, result.snapshot_hash[:8] if result else "-", code, record.actor]
    if result is None:
        return [*shared, "-", _say_params(_asked_params(one)), "-", "-", *rest]
    interval = f"{format_cell(result.score_low)} to {format_cell(result.score_high)}"
    return [*shared, result.candidate_name, _say_params(result.params), f"{result.metric} {format_cell(result.score)}", interval, *rest]


def _asked_params(one: "Experiment") -> dict[str, Any]:
    """What a run without a result was to try, if that was one thing."""
    candidates = (one.run.record.asked or {}).get("candidates")
    if not isinstance(candidates, dict) or len(candidates) != 1:
        return {}
    (only,) = candidates.values()
    params = only.get("params", {}) if isinstance(only, dict) else {}
    return params if isinstance(params, dict) else {}


def _say_params(params: dict[str, Any]) -> str:
    text = ", ".join(f"{name}={format_cell(value)}" for name, value in params.items()) or "-"
    return text if len(text) <= MAX_PARAMS_WIDTH else text[: MAX_PARAMS_WIDTH - 1] + "…"


def _document(one: "Experiment") -> dict[str, Any]:
    """One run as plain values. Names are fixed: others script against them."""
    record, result = one.run.record, one.result
    document = {
        "brand": record.key.brand,
        "model": record.key.model,
        "run": one.label,
        "run_id": one.run_id,
        "started_at": record.started_at,
        "seconds": one.seconds,
        "outcome": one.run.outcome,
        "detail": one.run.detail,
        "kind": record.kind,
        "asked": record.asked,
        "version": f"v{one.version.number}" if one.version else None,
        "stage": str(one.version.stage) if one.version else None,
        "git_commit": record.git_commit,
        "git_dirty": one.git_dirty,
        "code_digest": one.code_digest,
        "lock_hash": one.lock_hash,
        "actor": record.actor,
        "flow_run_url": record.flow_run_url,
    }
    measured = result.model_dump(mode="json", exclude={"run_id", "key", "number"}) if result else {}
    return document | {"result": measured or None}


# -- a comparison ------------------------------------------------------------------------------------------------------


def _print_comparison(comparison: "RunComparison") -> None:
    from brandhouse_flows.run_comparison import diff_commands

    labels = [one.label for one in comparison.experiments]
    print_table(
        ["run", comparison.metric, "interval", f"gain over {labels[0]}", "interval of the gain", "verdict"],
        [_score_row(comparison, index) for index in range(len(labels))],
        title=f"{comparison.key}: {', '.join(labels[1:])} compared with {labels[0]}",
    )
    for how in dict.fromkeys(gain.how for gain in comparison.gains if gain):
        print(how)
    print()
    print_table(["", "param", *labels], [[_differs(values), name, *map(format_cell, values)] for name, values in comparison.params.items()])
    print()
    if comparison.slices:
        rows = [[row.column, row.value, *(_slice_cell(item) for item in row.scores)] for row in comparison.slices]
        print_table(["slice", "value", *labels], rows)
        print()
    data = [
        [label, f"{one.dataset} {one.hash_md5[:12]}", one.rows, one.rows_train, one.rows_holdout]
        for label, one in zip(labels, comparison.data, strict=True)
    ]
    print_table(["run", "snapshot", "rows", "learned from", "held out"], data)
    for command in diff_commands(comparison):
        print(f"how the data differ: {command}")
    _print_changes(comparison, labels)


def _score_row(comparison: "RunComparison", index: int) -> list[Any]:
    result, gain = comparison.results[index], comparison.gains[index]
    interval = f"{format_cell(result.score_low)} to {format_cell(result.score_high)}"
    if gain is None:
        return [comparison.experiments[index].label, result.score, interval, None, "-", "-"]
    between = f"{format_cell(gain.low)} to {format_cell(gain.high)}"
    return [comparison.experiments[index].label, result.score, interval, gain.gain, between, gain.verdict]


def _differs(values: Sequence[Any]) -> str:
    return "*" if len(set(map(str, values))) > 1 else ""


def _slice_cell(item: Any) -> str:
    if item is None or item.get("score") is None:
        return "-"
    return f"{format_cell(item['score'])} ({format_cell(item.get('low'))} to {format_cell(item.get('high'))})"


def _print_changes(comparison: "RunComparison", labels: list[str]) -> None:
    for label, code, lock in zip(labels[1:], comparison.code, comparison.locks, strict=True):
        print(f"\n{label} against {labels[0]}")
        print(f"code: {code.summary}")
        _print_diff(code.diff.splitlines())
        print(f"packages: {lock.summary}")
        for name, (before, after) in list(lock.packages.items())[:20]:
            print(f"  {name}: {before or 'not there'} -> {after or 'not there'}")


def _print_diff(lines: list[str]) -> None:
    for line in lines[:MAX_PRINTED_DIFF]:
        print(f"  {line}")
    if len(lines) > MAX_PRINTED_DIFF:
        print(f"  ... {len(lines) - MAX_PRINTED_DIFF} more lines with --html or --json")


def _comparison_document(comparison: "RunComparison") -> dict[str, Any]:
    from dataclasses import asdict

    from brandhouse_flows.run_comparison import diff_commands

    return {
        "brand": comparison.key.brand,
        "model": comparison.key.model,
        "metric": comparison.metric,
        "confidence": comparison.confidence,
        "runs": [_document(one) for one in comparison.experiments],
        "params": {name: list(values) for name, values in comparison.params.items()},
        "gains": [asdict(gain) if gain else None for gain in comparison.gains],
        "slices": [{"column": row.column, "value": row.value, "scores": list(row.scores)} for row in comparison.slices],
        "data": [asdict(one) for one in comparison.data],
        "data_diff_commands": diff_commands(comparison),
        "code": [asdict(one) for one in comparison.code],
        "packages": [asdict(one) for one in comparison.locks],
    }
