"""What the ledger says of erasures: which snapshots are gone for good, since when, and what took their place.

An entry of kind erasure and state `done` holds in its facts, for each dataset, the hashes before and after. Never the subject.
"""

from collections.abc import Iterator
from typing import Any

from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import Entry, EntryKind

DONE = "done"
SNAPSHOTS = "snapshots"
"""Name of the fact: a list of `{"dataset", "before", "after"}`; `after` is null where nothing replaces the snapshot."""

MANY = 100_000


def find_erasure(ledger: Ledger, brand: str, hash_md5: str) -> Entry | None:
    """Return the erasure that removed a snapshot of a brand; None if none did."""
    return next((entry for entry, one in _erased(ledger, brand) if one["before"] == hash_md5), None)


def erased_snapshots(ledger: Ledger, brand: str) -> dict[str, str | None]:
    """The snapshots that erasures removed, each with the hash of what replaced it; None: nothing did."""
    return {one["before"]: one["after"] for _, one in _erased(ledger, brand)}


def _erased(ledger: Ledger, brand: str) -> Iterator[tuple[Entry, dict[str, Any]]]:
    for entry in ledger.entries(EntryKind.ERASURE, brand, limit=MANY):
        listed = entry.facts.get(SNAPSHOTS) if entry.state == DONE else None
        for one in listed if isinstance(listed, list) else []:
            if isinstance(one, dict):
                yield entry, one
