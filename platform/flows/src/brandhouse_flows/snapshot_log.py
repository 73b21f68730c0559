"""Which snapshots a dataset has had, which versions were trained on each, and which one a person means by a word.

Reads the ledger and the committed pointer; never a table.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from brandhouse_flows.data_project import DataProject
from brandhouse_shared.brands import Brand
from brandhouse_shared.errors import BrandhouseError, DatasetError, join_bounded
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import SnapshotRecord, Version
from brandhouse_shared.names import parse_version
from brandhouse_shared.settings import Settings

MIN_PREFIX = 4
"""Shortest beginning of a hash that names a snapshot."""

_PREFIX = re.compile(rf"[0-9a-f]{{{MIN_PREFIX},32}}")
_VERSION = re.compile(r"(?:([a-z][a-z0-9_]{1,39})/)?v([1-9][0-9]{0,8})")


class UnknownSnapshotError(BrandhouseError):
    """A snapshot was named that the brand's dataset never had, or the name fits several."""

    def __init__(self, subject: str, reference: str, why: str, known: Sequence[str]) -> None:
        super().__init__(
            f"{subject}: {reference[:80]!r} {why}; allowed: current, previous, first, a version such as v3, "
            f"or the beginning of a hash: {join_bounded(known)}"
        )


@dataclass(frozen=True, slots=True)
class LoggedSnapshot:
    """One snapshot of a dataset.

    Attributes:
        record: What the ledger holds of it.
        is_current: Whether the committed pointer names it.
        versions: Versions trained on it, newest first, of all models.
    """

    record: SnapshotRecord
    is_current: bool
    versions: tuple[Version, ...]


@dataclass(frozen=True, slots=True)
class SnapshotLog:
    """The snapshots of one dataset, newest first."""

    brand: str
    dataset: str
    entries: tuple[LoggedSnapshot, ...]
    current_hash: str | None
    """What the pointer names; None: there is no pointer yet."""

    @property
    def subject(self) -> str:
        """For messages: `casa/homes`."""
        return f"{self.brand}/{self.dataset}"

    def find(self, reference: str) -> str:
        """Return the hash of the snapshot that a person means.

        Args:
            reference: `current`, `previous`, `first`, `v3`, `price/v3`, or the beginning of a hash.

        Raises:
            UnknownSnapshotError: If it names none of this dataset, or several.
        """
        word = reference.strip().lower()
        found = self._by_word(word) or self._by_version(word) or self._by_prefix(word)
        if len(found) == 1:
            return found.pop()
        raise UnknownSnapshotError(
            self.subject, reference, "fits several snapshots" if found else "is no snapshot of this dataset", self._hashes()
        )

    def _by_word(self, word: str) -> set[str]:
        hashes = [entry.record.hash_md5 for entry in self.entries]
        match word:
            case "current":
                return {self.current_hash} if self.current_hash else set(hashes[:1])
            case "previous":
                return set([one for one in hashes if one != self.find("current")][:1])
            case "first":
                return set(hashes[-1:])
        return set()

    def _by_version(self, word: str) -> set[str]:
        match = _VERSION.fullmatch(word)
        if not match:
            return set()
        model, number = match[1], parse_version(match[2])
        return {
            entry.record.hash_md5
            for entry in self.entries
            for version in entry.versions
            if version.number == number and model in (None, version.record.key.model)
        }

    def _by_prefix(self, word: str) -> set[str]:
        if not _PREFIX.fullmatch(word):
            return set()
        return {one for one in {*self._hashes(32), *filter(None, [self.current_hash])} if one.startswith(word)}

    def _hashes(self, digits: int = 12) -> list[str]:
        return [entry.record.hash_md5[:digits] for entry in self.entries]


def read_snapshot_log(settings: Settings, brand: Brand, dataset: str, ledger: Ledger) -> SnapshotLog:
    """Read the log of one dataset of one brand.

    Raises:
        DatasetError: If the brand declares no such dataset.
    """
    if dataset not in brand.config.datasets:
        raise DatasetError(f"{brand.name}: unknown dataset {dataset[:80]!r}; known: {join_bounded(brand.config.datasets)}")
    versions = [version for key in brand.model_keys for version in ledger.versions(key)]
    try:
        current = DataProject(brand, settings).pointer(dataset).hash_md5
    except DatasetError:
        current = None  # never ingested, or the pointer is damaged: `ingest` says what to do
    entries = tuple(
        LoggedSnapshot(record, record.hash_md5 == current, _trained_on(versions, record))
        for record in ledger.snapshots(brand.name)
        if record.dataset == dataset
    )
    return SnapshotLog(brand.name, dataset, entries, current)


def find_dataset(brand: Brand, name: str | None) -> str:
    """Return the dataset of that name, or the only one if none is named.

    Raises:
        DatasetError: If it is unknown, or none is named and the brand has several.
    """
    known = list(brand.config.datasets)
    if name is None and len(known) == 1:
        return known[0]
    if name not in known:
        given = "no dataset is named" if name is None else f"unknown dataset {name[:80]!r}"
        raise DatasetError(f"{brand.name}: {given}; name one of: {', '.join(f'{brand.name}/{one}' for one in known[:12]) or 'none'}")
    return name


def _trained_on(versions: Sequence[Version], record: SnapshotRecord) -> tuple[Version, ...]:
    same = [
        version
        for version in versions
        if (version.record.snapshot_dataset, version.record.snapshot_hash) == (record.dataset, record.hash_md5)
    ]
    return tuple(sorted(same, key=lambda version: version.record.created_at, reverse=True))
