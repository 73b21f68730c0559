"""`forget`: what a brand holds of one person, and its removal."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brandhouse_console.output import print_json, print_table
from brandhouse_console.progress import show_line
from brandhouse_shared.brands import Brand, find_brand
from brandhouse_shared.errors import BrandhouseError
from brandhouse_shared.ledger import open_ledger
from brandhouse_shared.ledger.records import Entry, EntryKind
from brandhouse_shared.settings import Settings, load_settings

if TYPE_CHECKING:
    from brandhouse_aftercare.subject_search import Findings, Person


def forget(name: str, *, subject: str | None, predictions: Sequence[str], predictions_from: Path | None, sure: bool, as_json: bool) -> None:
    """Print what a brand holds of a person and, if that is wanted, remove it and write the certificate.

    Args:
        name: Of the brand.
        subject: Value of its `subject` columns; `-` reads it from standard input, where no other user sees it.
        predictions: Ids of predictions that are theirs.
        predictions_from: A file with such ids, one a line.
        sure: Whether to remove it. Otherwise nothing is changed.
        as_json: Print JSON.
    """
    from brandhouse_aftercare.forgetting import look
    from brandhouse_aftercare.subject_search import Person

    settings = load_settings()
    brand, ledger = find_brand(settings.brands_dir, name), open_ledger(settings.ledger_url.get_secret_value())
    person = Person(_read_subject(subject), frozenset([*predictions, *_read_ids(predictions_from)]))
    if not sure:
        _show(brand, look(settings, ledger, brand, person), as_json=as_json)
        return
    _remove(settings, ledger, brand, person, as_json=as_json)


def _remove(settings: Settings, ledger: Any, brand: Brand, person: "Person", *, as_json: bool) -> None:
    from brandhouse_aftercare.certificates import render
    from brandhouse_aftercare.forgetting import forget as remove

    certificate, path = remove(settings, ledger, brand, person, datetime.now(UTC), show_line)
    if as_json:
        print_json(certificate.as_document() | {"certificate": str(path)})
        return
    print(render(certificate))
    print(f"\ncertificate: {path}")


def listing(name: str, *, as_json: bool) -> None:
    """Print the erasures of a brand, and those that were begun and have not ended; exit status 1 if there are such."""
    from brandhouse_aftercare.erasure_intents import begun_intents

    settings = load_settings()
    ledger = open_ledger(settings.ledger_url.get_secret_value())
    entries = ledger.entries(EntryKind.ERASURE, name, limit=100_000)
    begun = begun_intents(settings.home, name)
    if as_json:
        print_json({"erasures": entries, "interrupted": [{"name": one.name, "begun_at": one.begun_at} for one in begun]})
    else:
        print_table(["when", "whose", "state", "what", "who"], [_row(entry) for entry in entries], empty=f"{name} has erased nothing")
        for one in begun:
            print(f"interrupted: {one.name}, begun {one.begun_at}; the same command goes on with it (docs/runbooks/erasure-interrupted.md)")
    if begun:
        sys.exit(1)


def _row(entry: Entry) -> list[Any]:
    return [entry.at, entry.name, entry.state, entry.detail, entry.actor]


def _read_subject(subject: str | None) -> str:
    return (sys.stdin.readline() if subject == "-" else subject or "").strip()


def _read_ids(path: Path | None) -> list[str]:
    if path is None:
        return []
    try:
        return path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise BrandhouseError(f"{path} cannot be read as a list of prediction ids: {type(error).__name__}") from None


def _show(brand: Brand, findings: "Findings", *, as_json: bool) -> None:
    versions = [str(version.key) for version in findings.versions]
    snapshots = [
        {"dataset": hit.dataset, "hash_md5": hit.hash_md5, "rows": len(hit.places), "current": hit.is_current} for hit in findings.snapshots
    ]
    if as_json:
        document = {"brand": brand.name, "dry_run": True, "counts": findings.counts, "snapshots": snapshots, "versions": versions}
        print_json(document | {"unreached": [asdict(one) for one in findings.unreached]})
        return
    print_table(["what", "number"], list(map(list, findings.counts.items())), title=brand.name)
    for one in snapshots:
        print(f"snapshot {one['hash_md5']} of {one['dataset']}{' (current)' if one['current'] else ''}: {one['rows']} rows")
    for name in versions:
        print(f"version {name} learned from these rows")
    for left in findings.unreached:
        print(f"not reached: {left.what}: {left.why}")
    print("\nnothing was changed; the same command with --yes removes it for good")
