"""Everything of one brand that is about one person: found, counted, and nothing changed.

A person is known by the value of a dataset's `subject` column, and by the ids of predictions that somebody knows to be theirs.
What cannot be looked at is listed with the reason: a search that skips in silence would end in a false certificate.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from brandhouse_aftercare.kept_copies import Copies, find_copies
from brandhouse_aftercare.pointer_history import past_hashes
from brandhouse_aftercare.sample_rows import shows_person
from brandhouse_flows.data_project import DataProject
from brandhouse_flows.erased_hashes import read_erased
from brandhouse_flows.table_editing import find_rows
from brandhouse_serving.log_erasure import Hits, Sought, find_hits, hashed_values, settle_journals
from brandhouse_serving.prediction_ids import parse
from brandhouse_serving.prediction_log import load_hash_key
from brandhouse_shared.brands import Brand
from brandhouse_shared.config import Privacy
from brandhouse_shared.errors import BrandhouseError, DatasetError, join_bounded
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import Version
from brandhouse_shared.names import ModelKey
from brandhouse_shared.settings import Settings


class SubjectError(BrandhouseError):
    """A person cannot be looked for as asked."""


@dataclass(frozen=True, slots=True)
class Person:
    """Whom to look for. Never printed, never written down.

    Attributes:
        subject: Value of the subject columns; empty: only the predictions are known.
        predictions: Ids of predictions that are theirs.
    """

    subject: str
    predictions: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class SnapshotHit:
    """A snapshot that holds rows about the person.

    Attributes:
        places: Of these rows in the file, from 0.
        is_current: Whether the pointer names it.
    """

    dataset: str
    hash_md5: str
    places: tuple[int, ...]
    is_current: bool


@dataclass(frozen=True, slots=True)
class Unreached:
    """What could not be looked at or cannot be changed."""

    what: str
    why: str


@dataclass(frozen=True)
class Findings:
    """What a search found.

    Attributes:
        looked_at: Snapshots that were read, whether or not the person was in them.
        log: Of each model, what the prediction log holds.
        copies: Files that people or runs keep beside: quarantine, label books, hold-out answers.
        versions: Trained on a snapshot that holds the person.
    """

    snapshots: tuple[SnapshotHit, ...]
    looked_at: int
    log: Mapping[ModelKey, Hits]
    copies: Copies
    versions: tuple[Version, ...]
    unreached: tuple[Unreached, ...]

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left to be removed."""
        return not self.snapshots and not self.copies.count and not any(hits.ids or hits.labels for hits in self.log.values())

    @property
    def counts(self) -> dict[str, int]:
        """How much of what, for people and the certificate."""
        return {
            "snapshots looked at": self.looked_at,
            "snapshots with the person": len(self.snapshots),
            "rows in snapshots": sum(len(hit.places) for hit in self.snapshots),
            "predictions": sum(len(hits.ids) for hits in self.log.values()),
            "labels of predictions": sum(hits.labels for hits in self.log.values()),
            **self.copies.counts,
            "versions trained on it": len(self.versions),
        }


def search(settings: Settings, ledger: Ledger, brand: Brand, person: Person) -> Findings:
    """Look for a person everywhere in a brand.

    Raises:
        SubjectError: If nothing says whom rows are about, or a prediction is another brand's.
        LogDamagedError: If a file of the log cannot be read.
        RetryableError: If the remote does not answer, or answers are still being written.
    """
    _check(brand, person)
    unreached: list[Unreached] = []
    hits, looked_at = _search_snapshots(settings, ledger, brand, person, unreached)
    sought = sought_of(settings, brand, person, unreached)
    settle_journals(settings.home, brand.name)
    log = {key: find_hits(settings.home, key, sought) for key in logged_models(settings, brand)}
    versions = [version for key in brand.model_keys for version in ledger.versions(key) if _learned_from(version, hits)]
    copies = find_copies(settings, ledger, brand, person.subject, hits, sought, log)
    unreached += _lasting(settings, brand, person, hits, versions)
    return Findings(hits, looked_at, log, copies, tuple(versions), tuple(unreached))


def _check(brand: Brand, person: Person) -> None:
    subjects = [name for name, dataset in brand.config.datasets.items() if dataset.subject is not None]
    if not person.subject and not person.predictions:
        raise SubjectError(f"{brand.name}: nobody is named; give --subject KEY, or --prediction ID")
    if person.subject and not subjects:
        known = join_bounded(brand.config.datasets)
        raise SubjectError(
            f"{brand.name}: no dataset says whom its rows are about; set `subject`, the name of a column, in one of: {known}"
        )
    foreign = [one for one in person.predictions if parse(one).version.brand != brand.name]
    if foreign:
        raise SubjectError(f"{brand.name}: {len(foreign)} of the predictions are not of this brand")


def logged_models(settings: Settings, brand: Brand) -> list[ModelKey]:
    """Models of a brand with answers in the log, declared or not any more."""
    below = settings.home / "predictions" / brand.name
    names = {path.name for path in below.iterdir() if path.is_dir() and not path.name.startswith("_")} if below.is_dir() else set()
    return sorted(ModelKey(brand.name, name) for name in names)


def sought_of(settings: Settings, brand: Brand, person: Person, unreached: list[Unreached]) -> Sought:
    """How the person is known in the log: by input fields that are a subject column, and by ids."""
    fields: dict[ModelKey, tuple[str, ...]] = {}
    values: dict[str, frozenset[str]] = {}
    for key in brand.model_keys if person.subject else ():
        model = brand.model(key.model)
        column = brand.config.datasets[model.dataset].subject
        if column is None or column not in model.inputs:
            unreached.append(Unreached(f"answers of {key}", "requests do not say whom they are about; name predictions by --prediction"))
        elif model.inputs[column].privacy is Privacy.SENSITIVE:
            unreached.append(Unreached(f"answers of {key}", f"{column} is sensitive and not kept, so nothing says whose they are"))
        else:
            fields[key] = (column,)
            values[column] = hashed_values(load_hash_key(settings.home, brand.name), column, person.subject)
    return Sought(person.predictions, fields, values)


# -- snapshots -------------------------------------------------------------------------------------------------------


def _search_snapshots(
    settings: Settings, ledger: Ledger, brand: Brand, person: Person, unreached: list[Unreached]
) -> tuple[tuple[SnapshotHit, ...], int]:
    project, hits, looked_at = DataProject(brand, settings), [], 0
    for dataset, column in _subject_columns(brand, person, unreached):
        current = project.pointer(dataset).hash_md5 if project.has_pointer(dataset) else None
        for hash_md5 in _known_hashes(settings, ledger, brand, dataset, current):
            try:
                places = find_rows(brand.config.datasets[dataset], project.fetch(dataset, hash_md5), column, [person.subject])
            except DatasetError as error:
                unreached.append(Unreached(f"snapshot {hash_md5} of {dataset}", str(error)))
                continue
            looked_at += 1
            if places:
                hits.append(SnapshotHit(dataset, hash_md5, tuple(places), hash_md5 == current))
    return tuple(hits), looked_at


def _subject_columns(brand: Brand, person: Person, unreached: list[Unreached]) -> Iterator[tuple[str, str]]:
    for name, dataset in brand.config.datasets.items() if person.subject else ():
        if dataset.subject is None:
            unreached.append(Unreached(f"dataset {name}", "brand.toml does not say whom its rows are about (`subject`)"))
        else:
            yield name, dataset.subject


def _known_hashes(settings: Settings, ledger: Ledger, brand: Brand, dataset: str, current: str | None) -> list[str]:
    """All contents that the dataset ever had, by ledger, pointer and Git's history, but for those that are erased."""
    recorded = [one.hash_md5 for one in ledger.snapshots(brand.name) if one.dataset == dataset]
    past = past_hashes(settings.root, brand.folder / f"{brand.config.datasets[dataset].file}.dvc")
    erased = read_erased(settings.home, brand.name)
    return [one for one in dict.fromkeys([*([current] if current else []), *recorded, *past]) if one not in erased]


def _learned_from(version: Version, hits: Sequence[SnapshotHit]) -> bool:
    return any((hit.dataset, hit.hash_md5) == (version.record.snapshot_dataset, version.record.snapshot_hash) for hit in hits)


# -- what lasts ------------------------------------------------------------------------------------------------------


def _lasting(settings: Settings, brand: Brand, person: Person, hits: Sequence[SnapshotHit], versions: Sequence[Version]) -> list[Unreached]:
    """What nobody can take the person out of, or nobody here."""
    found = [
        Unreached("backups", "of home, remote and ledger are not known here: erase there by their own rules"),
        Unreached("files of people", "exports, notebooks, scored files and copies of snapshots lie where somebody put them"),
    ]
    found += [
        Unreached(f"source of {name}", "it is not the platform's: take the person out there, or the next ingest may bring them back")
        for name in sorted({hit.dataset for hit in hits})
    ]
    if versions:
        found.append(
            Unreached("models", f"{len(versions)} versions learned from the rows; they are marked, and what serves is trained again")
        )
    for version in versions:
        named = json.dumps(person.subject)
        if named in json.dumps([version.record.feature_statistics, version.record.slices], ensure_ascii=True):
            found.append(Unreached(f"ledger, {version.key}", "statistics or slices name the value itself; the ledger only adds rows"))
        if shows_person(settings, brand, version, hits):
            found.append(
                Unreached(
                    f"artifact of {version.key}",
                    f"its sample holds a row of the person: retire it and remove it ({Path('docs/how-to/forget.md')})",
                )
            )
    if settings.mlflow_url is not None:
        found.append(Unreached("MLflow mirror", "cards and metrics were copied to another server; no rows are"))
    return found
