"""Rows and answers that are kept beside snapshots and log: quarantine, label books, and what runs answered for held-out rows."""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brandhouse_flows.content import exclusive, write_whole
from brandhouse_flows.label_book import LOCK_WAIT_SECONDS
from brandhouse_flows.run_details import FOLDER as DETAILS_FOLDER
from brandhouse_serving.log_erasure import Hits, Sought
from brandhouse_shared.brands import Brand
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.names import ModelKey
from brandhouse_shared.settings import Settings

if TYPE_CHECKING:
    from brandhouse_aftercare.subject_search import SnapshotHit

MANY = 100_000
PRIVATE_FILE = 0o600


@dataclass(frozen=True, slots=True)
class Copies:
    """Files with something of the person.

    Attributes:
        whole: Files that go as a whole: what they hold follows from an erased snapshot.
        lines: Files of which some lines go, with the places of these lines from 0.
    """

    whole: Mapping[Path, str]
    lines: Mapping[Path, tuple[int, ...]]

    @property
    def count(self) -> int:
        """How many files there are."""
        return len(self.whole) + len(self.lines)

    @property
    def counts(self) -> dict[str, int]:
        """By what they are."""
        kinds = ("quarantine files", "files of hold-out answers")
        found = {kind: sum(one == kind for one in self.whole.values()) for kind in kinds}
        return found | {"lines of label books": sum(map(len, self.lines.values()))}


def find_copies(
    settings: Settings,
    ledger: Ledger,
    brand: Brand,
    subject: str,
    hits: "Collection[SnapshotHit]",
    sought: Sought,
    log: Mapping[ModelKey, Hits],
) -> Copies:
    """Look through what a brand keeps beside.

    Args:
        settings: Of this process.
        ledger: Says which runs learned from which snapshot.
        brand: Whose.
        subject: Value of the subject columns; empty: only predictions are known.
        hits: Snapshots that hold the person.
        sought: How the person is known in requests.
        log: Their predictions.
    """
    hashes = {hit.hash_md5 for hit in hits}
    whole = dict.fromkeys(_quarantine_of(settings, brand, hashes), "quarantine files")
    whole |= dict.fromkeys(_details_of(settings, ledger, brand, hashes), "files of hold-out answers")
    theirs = {one for found in log.values() for one in found.ids} | sought.ids
    lines: dict[Path, tuple[int, ...]] = {}
    for key in brand.model_keys:
        lines |= _lines_of_book(settings, brand, key, subject, sought, theirs)
    return Copies(whole, {path: places for path, places in lines.items() if places})


def erase_copies(copies: Copies) -> None:
    """Remove what was found. Done twice is done once, as long as nothing was written to these files in between."""
    for path in copies.whole:
        path.unlink(missing_ok=True)
    for path, places in copies.lines.items():
        with exclusive(path.parent / "write.lock", LOCK_WAIT_SECONDS):
            kept = [line for place, line in enumerate(_read_lines(path)) if place not in places]
            write_whole(path, b"".join(kept))
            path.chmod(PRIVATE_FILE)


def _quarantine_of(settings: Settings, brand: Brand, hashes: Collection[str]) -> list[Path]:
    below = settings.home / "quarantine" / brand.name
    return [path for path in below.glob("*/*-*.csv") if path.name.partition("-")[0] in hashes]


def _details_of(settings: Settings, ledger: Ledger, brand: Brand, hashes: Collection[str]) -> list[Path]:
    below = settings.home / DETAILS_FOLDER / brand.name
    results = [(key, one) for key in brand.model_keys for one in ledger.results(key, limit=MANY).values() if one.snapshot_hash in hashes]
    paths = [below / key.model / f"{one.details_digest}.npz" for key, one in results if one.details_digest]
    return [path for path in paths if path.is_file()]


def _lines_of_book(
    settings: Settings, brand: Brand, key: ModelKey, subject: str, sought: Sought, theirs: Collection[str]
) -> dict[Path, tuple[int, ...]]:
    folder = settings.home / "labels" / key.brand / key.model
    column = brand.config.datasets[brand.model(key.model).dataset].subject
    picked = [_as_json(line) for line in _read_lines(folder / "picked.jsonl")]

    def is_theirs(record: dict[str, Any]) -> bool:
        row = record.get("row") or {}
        values = {subject, *sought.values.get(column or "", ())}
        return record.get("row_id") in theirs or (bool(subject) and column is not None and str(row.get(column, "")).strip() in values)

    ids = {record["row_id"] for record in picked if is_theirs(record)} | set(theirs)
    named = {"picked.jsonl": is_theirs, "labels.jsonl": lambda record: record.get("row_id") in ids}
    return {folder / name: _places(folder / name, test) for name, test in named.items()}


def _places(path: Path, test: Callable[[dict[str, Any]], bool]) -> tuple[int, ...]:
    return tuple(place for place, line in enumerate(_read_lines(path)) if test(_as_json(line)))


def _read_lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True) if path.is_file() else []


def _as_json(line: bytes) -> dict[str, Any]:
    try:
        document = json.loads(line)
    except ValueError:
        return {}  # torn by a kill, and confirmed to nobody
    return document if isinstance(document, dict) else {}
