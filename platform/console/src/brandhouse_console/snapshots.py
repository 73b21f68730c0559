"""`data log`, `data pull`, `data diff` and `data report`."""

import ast
from dataclasses import asdict
from pathlib import Path
from typing import Any

from brandhouse_console.output import print_json, print_table
from brandhouse_console.targets import check_destination
from brandhouse_shared.brands import Brand, find_brand
from brandhouse_shared.ledger import open_ledger
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.settings import Settings, load_settings

SHORT_HASH = 12


def log(target: str, *, as_json: bool) -> None:
    """Print the snapshots of one dataset or of all of a brand, newest first."""
    from brandhouse_flows.snapshot_log import read_snapshot_log

    settings, brand, named, ledger = _open(target)
    logs = [read_snapshot_log(settings, brand, one, ledger) for one in ([named] if named else brand.config.datasets)]
    entries = [entry for one in logs for entry in one.entries]
    if as_json:
        print_json([_entry_document(entry) for entry in entries])
        return
    print_table(
        ["dataset", "hash", "", "rows", "bytes", "taken", "source", "trained on it"],
        [
            [
                entry.record.dataset,
                entry.record.hash_md5[:SHORT_HASH],
                "current" if entry.is_current else "",
                entry.record.rows,
                entry.record.size_bytes,
                entry.record.recorded_at,
                _say_source(entry.record.source),
                _say_versions(entry.versions),
            ]
            for entry in entries
        ],
        title=brand.name,
        empty=f"{target} has no snapshot yet; take one with `brandhouse ingest {brand.name}`",
    )


def pull(target: str, *, snapshot: str, to: Path | None) -> None:
    """Fetch a snapshot by its hash, and print where it lies."""
    from brandhouse_flows.content import copy_whole
    from brandhouse_flows.data_project import DataProject
    from brandhouse_flows.snapshot_log import find_dataset, read_snapshot_log

    settings, brand, named, ledger = _open(target)
    dataset = find_dataset(brand, named)
    check_destination(settings, brand.name, to)
    path = DataProject(brand, settings).fetch(dataset, read_snapshot_log(settings, brand, dataset, ledger).find(snapshot))
    if to is not None:
        copy_whole(path, to / path.name)
        path = to / path.name
    print(path)


def diff(target: str, before: str, after: str, *, key: str | None, show_undeclared: bool, as_json: bool, html: Path | None) -> None:
    """Print what changed between two snapshots, or write it as a page."""
    from brandhouse_flows.snapshot_comparison import Sought, compare_snapshots
    from brandhouse_flows.snapshot_log import find_dataset, read_snapshot_log

    settings, brand, named, ledger = _open(target)
    dataset = find_dataset(brand, named)
    check_destination(settings, brand.name, html)
    snapshots = read_snapshot_log(settings, brand, dataset, ledger)
    hashes = snapshots.find(before), snapshots.find(after)
    comparison = compare_snapshots(settings, brand, dataset, *hashes, Sought(key, show_undeclared))
    names = [f"{hash_md5[:SHORT_HASH]}" for hash_md5 in hashes]
    if html is not None:
        from brandhouse_flows.comparison_page import render_comparison
        from brandhouse_flows.content import write_whole

        write_whole(html, render_comparison(comparison, title=f"{brand.name}/{dataset}", before=names[0], after=names[1]))
    if as_json:
        heading = {"brand": brand.name, "dataset": dataset, "before": hashes[0], "after": hashes[1]}
        print_json(heading | comparison.as_document())
        return
    _print_comparison(comparison, f"{brand.name}/{dataset}: {names[0]} -> {names[1]}")
    if html is not None:
        print(f"page: {html}")


def report(target: str, *, snapshot: str, show_undeclared: bool, html: Path | None, as_json: bool) -> None:
    """Make or find the report of a snapshot's columns, and print where it lies."""
    from brandhouse_flows.snapshot_log import find_dataset, read_snapshot_log
    from brandhouse_flows.snapshot_report import keep_report, write_report

    settings, brand, named, ledger = _open(target)
    dataset = find_dataset(brand, named)
    hash_md5 = read_snapshot_log(settings, brand, dataset, ledger).find(snapshot)
    if html is None and show_undeclared:
        html = Path(f"{dataset}-{hash_md5[:SHORT_HASH]}.html")  # what only this person may see is not kept
    check_destination(settings, brand.name, html)
    if html is None:
        made = keep_report(settings, brand, dataset, hash_md5)
    else:
        made = write_report(settings, brand, dataset, hash_md5, html, show_undeclared)
    if as_json:
        print_json({"brand": brand.name, "dataset": dataset, "hash_md5": hash_md5} | asdict(made))
        return
    print(made.summary)
    print(made.path)


def _open(target: str) -> tuple[Settings, Brand, str | None, Ledger]:
    settings = load_settings()
    name, slash, dataset = target.partition("/")
    brand = find_brand(settings.brands_dir, name)
    return settings, brand, dataset if slash else None, open_ledger(settings.ledger_url.get_secret_value())


def _entry_document(entry: Any) -> dict[str, Any]:
    versions = [{"version": str(version.key), "stage": str(version.stage)} for version in entry.versions]
    record: dict[str, Any] = entry.record.model_dump(mode="json")
    return record | {"current": entry.is_current, "versions": versions}


def _say_versions(versions: Any) -> str:
    names = [f"{one.record.key.model}/v{one.number}{' (production)' if one.stage == 'production' else ''}" for one in versions]
    return ", ".join([*names[:4], *([f"and {len(names) - 4} more"] if len(names) > 4 else [])]) or "-"


def _say_source(recorded: str) -> str:
    """The ledger holds the source as it was declared, written as a dictionary."""
    try:
        declared = ast.literal_eval(recorded)
    except (ValueError, SyntaxError):
        return recorded
    if not isinstance(declared, dict):
        return recorded
    return " ".join(str(value) for value in declared.values() if value not in (None, "", (), [], {}))


def _print_comparison(comparison: Any, title: str) -> None:
    from brandhouse_flows.comparison_page import say_side, say_values

    rows = comparison.rows
    changed = "" if rows.changed is None else f", {rows.changed:,} changed"
    how = f"matched by {rows.key}" if rows.key else "matched by all values: a changed row counts as removed and added"
    print(title)
    print(f"rows: {rows.before:,} -> {rows.after:,}; {rows.equal:,} equal{changed}, {rows.added:,} added, {rows.removed:,} removed ({how})")
    for what, names in (("added", comparison.added_columns), ("removed", comparison.removed_columns)):
        if names:
            print(f"columns {what}: {', '.join(names)}")
    for name, (before, after) in comparison.retyped.items():
        print(f"column {name}: looked like {before}, looks like {after}")
    if comparison.is_reordered:
        print("columns: in another order")
    keyed = ["changed cells"] if rows.key else []
    print_table(
        ["column", "shown", "effect", "in words", "before", "after", "new and gone", *keyed],
        [
            [
                change.name,
                "values" if change.disclosure == "public" else f"counts ({change.disclosure})",
                change.effect,
                change.word,
                say_side(change.before, change.type),
                say_side(change.after, change.type),
                say_values(change) or "-",
                *([change.changed_cells] if rows.key else []),
            ]
            for change in comparison.columns
        ],
        empty="no common columns",
    )
