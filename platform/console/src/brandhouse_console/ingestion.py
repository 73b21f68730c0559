"""Bring a brand's data in, and show what was refused."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from brandhouse_console.output import print_json, print_table
from brandhouse_shared.brands import find_brand
from brandhouse_shared.ledger import open_ledger
from brandhouse_shared.settings import load_settings

if TYPE_CHECKING:
    from brandhouse_flows.intake import Ingested


def ingest(name: str, *, file: Path | None, dataset: str | None, accept_new: bool, as_json: bool) -> None:
    """Bring a brand's data in and print what came.

    Args:
        name: The brand.
        file: What a person hands over; None: what the sources have.
        dataset: One of the brand's datasets; None: all, or the one that takes files by hand.
        accept_new: Take bytes that differ from the pointer as a new snapshot.
        as_json: Print JSON.
    """
    from brandhouse_console.progress import show_steps
    from brandhouse_flows import intake

    settings = load_settings()
    brand = find_brand(settings.brands_dir, name)
    ledger = open_ledger(settings.ledger_url.get_secret_value())
    with show_steps(name, silent=as_json) as step:
        if file is None:
            ingested = intake.ingest(settings, brand, ledger, step, accept_new=accept_new, dataset=dataset)
        else:
            ingested = [intake.ingest_upload(settings, brand, dataset, file, ledger, step)]
    if as_json:
        print_json([_as_document(item) for item in ingested])
        return
    for item in ingested:
        _print(name, item)


def _as_document(item: "Ingested") -> dict[str, Any]:
    return {
        "dataset": item.snapshot.dataset,
        "file": item.snapshot.file,
        "hash_md5": item.snapshot.hash_md5,
        "rows": item.rows,
        "quarantined": item.quarantined,
        "changed": item.snapshot.changed,
        "notes": list(item.notes),
    }


def _print(name: str, item: "Ingested") -> None:
    rows = ", ".join(f"{model}: {count} rows" for model, count in item.rows.items())
    state = "new pointer, commit it" if item.snapshot.changed else "as its pointer says"
    print(f"{name}: {item.snapshot.file} {item.snapshot.hash_md5} ({state}); {rows}")
    for note in item.notes:
        print(f"  {note}")
    for model, one in item.checked.items():
        if one.quarantined:
            print(f"  {model}: {one.quarantined} rows in quarantine: {one.file}")


def show_quarantine(name: str, *, as_json: bool) -> None:
    """Print which rows of a brand's present snapshots are in quarantine, by reason."""
    from brandhouse_flows.acceptance import find_quarantined

    settings = load_settings()
    found = find_quarantined(settings, find_brand(settings.brands_dir, name))
    if as_json:
        print_json([one.as_document() for one in found])
        return
    rows = [(one.model, one.field, one.reason, one.cells, f"{one.bad} of {one.checked}", str(one.file)) for one in found]
    print_table(("model", "field", "holds", "rows", "model's bad rows", "file"), rows, empty="no row is in quarantine")
