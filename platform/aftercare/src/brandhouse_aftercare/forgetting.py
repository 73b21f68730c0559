"""Removing one person from a brand: snapshots, log, labels and copies; then marks, retraining and a certificate.

Every step can be done again: what is already done is found done. An intent is written before the first change, so that a kill
at any instruction is made up for by the same command. The steps are in an order in which data never go before what replaces
them is there, and the pointer never names what is gone.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from brandhouse_aftercare.certificates import Certificate, write_certificate
from brandhouse_aftercare.erasure_intents import Intent, begin, digest_of, end_intent, find_intent, save_intent
from brandhouse_aftercare.erasure_records import DONE, SNAPSHOTS
from brandhouse_aftercare.kept_copies import erase_copies
from brandhouse_aftercare.pointer_history import commit_pointers
from brandhouse_aftercare.subject_search import Findings, Person, SnapshotHit, SubjectError, search, sought_of
from brandhouse_flows.content import exclusive
from brandhouse_flows.data_project import DataProject
from brandhouse_flows.erased_hashes import read_erased
from brandhouse_flows.table_editing import drop_rows
from brandhouse_serving.log_erasure import erase_hits
from brandhouse_shared.brands import Brand
from brandhouse_shared.errors import BrandhouseError, RetryableError
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import Entry, EntryKind, SnapshotRecord
from brandhouse_shared.ledger.stages import Stage
from brandhouse_shared.names import ModelKey, VersionKey
from brandhouse_shared.settings import Settings

MARK = "trained_on_erased_data"
BEGUN = "begun"
SERVING = (Stage.PRODUCTION, Stage.CANARY, Stage.SHADOW)
LOCK_WAIT_SECONDS = 5.0

Tell = Callable[[str], None]


class IncompleteErasureError(BrandhouseError):
    """The search at the end still found something."""

    def __init__(self, brand: str, left: str) -> None:
        super().__init__(
            f"{brand}: the erasure is not complete, there is still: {left}. Rows may have come in meanwhile; run the same command again "
            "(docs/runbooks/erasure-interrupted.md)"
        )


def look(settings: Settings, ledger: Ledger, brand: Brand, person: Person) -> Findings:
    """Search and refuse what could not be erased; nothing is changed.

    Raises:
        SubjectError: If the person cannot be looked for, or a present snapshot would be left without a row.
    """
    findings = search(settings, ledger, brand, person)
    _check_shared(ledger, brand, findings)
    return findings


def forget(
    settings: Settings, ledger: Ledger, brand: Brand, person: Person, now: datetime, tell: Tell = lambda _: None
) -> tuple[Certificate, Path]:
    """Remove a person, and return the certificate with the place where it was written.

    Args:
        settings: Of this process; its actor is who did it.
        ledger: Where it is recorded.
        brand: Whose data.
        person: Whom to remove.
        now: Aware, UTC.
        tell: Told of each step that begins.

    Raises:
        IncompleteErasureError: If something is still found at the end.
        RetryableError: If another erasure of the brand is under way, or a remote does not answer; the same command goes on.
    """
    with _alone(settings, brand):
        tell("looking")
        findings = look(settings, ledger, brand, person)
        intent = _intent(settings, ledger, brand, person, findings, now)
        tell("snapshots without the person's rows")
        _replace_snapshots(settings, ledger, brand, findings, intent, now)
        pointers = _move_pointers(settings, brand, intent)
        tell("quarantine, label books, hold-out answers")
        erase_copies(findings.copies)
        tell("erased snapshots: cache, remote, copies")
        _erase_snapshots(settings, brand, intent)
        tell("prediction log")
        sought = sought_of(settings, brand, person, [])
        for key, hits in findings.log.items():
            erase_hits(settings.home, key, hits, sought)
        tell("looking again")
        _require_nothing_left(settings, ledger, brand, person)
        return _finish(settings, ledger, brand, intent, pointers, now)


@contextmanager
def _alone(settings: Settings, brand: Brand) -> Iterator[None]:
    try:
        with exclusive(settings.home / "locks" / f"erasure-{brand.name}.lock", LOCK_WAIT_SECONDS):
            yield
    except TimeoutError as error:
        raise RetryableError(f"{brand.name}: another erasure is under way; wait for it") from error


def _check_shared(ledger: Ledger, brand: Brand, findings: Findings) -> None:
    """Refuse where one content is the snapshot of two datasets and only one says whom its rows are about."""
    erased = {hit.hash_md5: hit.dataset for hit in findings.snapshots}
    named = {(hit.dataset, hit.hash_md5) for hit in findings.snapshots}
    for one in ledger.snapshots(brand.name):
        if one.hash_md5 in erased and (one.dataset, one.hash_md5) not in named:
            raise SubjectError(f"{brand.name}: {one.dataset} holds the same bytes as {erased[one.hash_md5]}; give it a `subject`, too")


def _intent(settings: Settings, ledger: Ledger, brand: Brand, person: Person, findings: Findings, now: datetime) -> Intent:
    """The erasure that was begun before, or a new one, on disk and in the ledger before anything is changed."""
    digest = digest_of(settings.home, brand.name, person.subject, person.predictions)
    known = find_intent(settings.home, brand.name, digest)
    intent = known or begin(digest, now, findings.counts)
    intent.versions = sorted({*intent.versions, *(str(version.key) for version in findings.versions)})
    listed = {(one["what"], one["why"]): one for one in [*intent.unreached, *map(asdict, findings.unreached)]}
    intent.unreached = list(listed.values())
    save_intent(settings.home, brand.name, intent)
    if known is None:
        _record(ledger, settings, brand, intent, BEGUN, f"a person's data are being erased: {_say(findings)}", now)
    return intent


def _say(findings: Findings) -> str:
    found = {name: count for name, count in findings.counts.items() if count and name != "snapshots looked at"}
    return ", ".join(f"{name} {count}" for name, count in found.items()) or "nothing found"


# -- snapshots -------------------------------------------------------------------------------------------------------


def _replace_snapshots(settings: Settings, ledger: Ledger, brand: Brand, findings: Findings, intent: Intent, now: datetime) -> None:
    project = DataProject(brand, settings)
    for hit in findings.snapshots:
        done = intent.replacements.setdefault(hit.dataset, {})
        if hit.hash_md5 not in done:
            done[hit.hash_md5] = _replace(settings, ledger, brand, project, hit, now)
            save_intent(settings.home, brand.name, intent)


def _replace(settings: Settings, ledger: Ledger, brand: Brand, project: DataProject, hit: SnapshotHit, now: datetime) -> str | None:
    """Store a snapshot without the person's rows, and return its hash; None if no row would be left."""
    declared = brand.config.datasets[hit.dataset]
    folder = settings.home / "arrivals" / brand.name
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with TemporaryDirectory(dir=folder, prefix="erasure-") as scratch:
        target = Path(scratch) / Path(declared.file).name
        left = drop_rows(declared, project.fetch(hit.dataset, hit.hash_md5), target, hit.places)
        if not left:
            if hit.is_current:
                raise SubjectError(
                    f"{brand.name}/{hit.dataset}: all rows of the present snapshot are about the person; bring other data in first"
                )
            return None
        size, hash_md5 = target.stat().st_size, project.keep(hit.dataset, target)
    ledger.record_snapshot(
        SnapshotRecord(
            brand=brand.name,
            dataset=hit.dataset,
            file=declared.file,
            hash_md5=hash_md5,
            size_bytes=size,
            rows=left,
            source=f"{hit.hash_md5} without the rows of a person",
            recorded_at=now,
        )
    )
    return hash_md5


def _move_pointers(settings: Settings, brand: Brand, intent: Intent) -> str:
    """Let pointers and the brand's folder name what replaces an erased snapshot, and commit the pointers."""
    project, moved = DataProject(brand, settings), []
    for dataset, replaced in intent.replacements.items():
        pointer = project.pointer(dataset) if project.has_pointer(dataset) else None
        after = replaced.get(pointer.hash_md5) if pointer is not None else None
        if pointer is not None and after is not None:
            project.put(dataset, project.fetch(dataset, after), pointer.position, after=pointer)
        if pointer is not None and (after or pointer.hash_md5) in replaced.values():
            moved.append(brand.folder / f"{brand.config.datasets[dataset].file}.dvc")
    if not moved:
        return "not changed"
    message = f"{brand.name}: data without the rows of a person\n\n{intent.name}"
    return commit_pointers(settings.root, settings.home, moved, message, settings.actor)


def _erase_snapshots(settings: Settings, brand: Brand, intent: Intent) -> None:
    project = DataProject(brand, settings)
    for dataset, replaced in intent.replacements.items():
        for hash_md5 in replaced:
            project.erase(dataset, hash_md5)


def _require_nothing_left(settings: Settings, ledger: Ledger, brand: Brand, person: Person) -> None:
    left = search(settings, ledger, brand, person)
    if not left.is_empty:
        raise IncompleteErasureError(brand.name, _say(left))


# -- what stays behind -----------------------------------------------------------------------------------------------


def _finish(settings: Settings, ledger: Ledger, brand: Brand, intent: Intent, pointers: str, now: datetime) -> tuple[Certificate, Path]:
    versions = [VersionKey.parse(name) for name in intent.versions]
    for version in versions:
        _mark(ledger, settings, version, intent, now)
    retrained = [str(key) for key in _to_train(ledger, versions)]
    for name in retrained:
        _ask_for_training(ledger, settings, ModelKey.parse(name), intent, now)
    snapshots = [
        {"dataset": dataset, "before": before, "after": _last_of(settings, brand, replaced, after)}
        for dataset, replaced in intent.replacements.items()
        for before, after in replaced.items()
    ]
    certificate = Certificate(
        brand=brand.name,
        digest=intent.digest,
        begun_at=intent.begun_at,
        ended_at=now.isoformat(),
        actor=settings.actor,
        counts=intent.counts,
        snapshots=snapshots,
        versions=intent.versions,
        retrained=retrained,
        pointers=pointers,
        unreached=intent.unreached,
    )
    path = write_certificate(settings.home, certificate, now)
    facts = {SNAPSHOTS: snapshots, "counts": intent.counts, "versions": intent.versions, "certificate": path.name}
    rows = sum(intent.counts.get(name, 0) for name in ("rows in snapshots", "predictions"))
    detail = f"{rows} rows and answers of a person were erased; certificate {path.name}"
    _record(ledger, settings, brand, intent, DONE, detail, now, facts, float(rows))
    end_intent(settings.home, brand.name, intent)
    return certificate, path


def _last_of(settings: Settings, brand: Brand, replaced: dict[str, str | None], after: str | None) -> str | None:
    """What is there now instead; a replacement may itself have been erased for another person meanwhile."""
    return None if after in read_erased(settings.home, brand.name) else after


def _mark(ledger: Ledger, settings: Settings, version: VersionKey, intent: Intent, now: datetime) -> None:
    same = ledger.entries(EntryKind.MARK, version.brand, version.model, MARK, limit=100_000)
    if any(entry.number == version.number and entry.facts.get("digest") == intent.digest for entry in same):
        return
    entry = Entry(
        kind=EntryKind.MARK,
        brand=version.brand,
        model=version.model,
        number=version.number,
        name=MARK,
        state="erased",
        detail=f"{version} learned from rows of a person whose data were erased on {now:%Y-%m-%d}",
        facts={"digest": intent.digest},
        actor=settings.actor,
        at=now,
    )
    ledger.record_entry(entry)


def _to_train(ledger: Ledger, versions: list[VersionKey]) -> list[ModelKey]:
    """Models whose marked versions answer or are on trial."""
    return sorted({version.model_key for version in versions if ledger.find_version(version).stage in SERVING})


def _ask_for_training(ledger: Ledger, settings: Settings, key: ModelKey, intent: Intent, now: datetime) -> None:
    """Put the model among the retrainings that are owed; whoever carries these out decides as always."""
    from brandhouse_aftercare.retrain_run import DECISION

    newest = ledger.entries(EntryKind.DECISION, key.brand, key.model, DECISION, limit=1)
    if newest and newest[0].state == "wait" and newest[0].facts.get("digest") == intent.digest:
        return
    why = "a version that answers learned from data that were erased"
    entry = Entry(
        kind=EntryKind.DECISION,
        brand=key.brand,
        model=key.model,
        name=DECISION,
        state="wait",
        detail=f"{why}; to be trained again",
        facts={"trigger": "erasure", "asked_because": why, "until": None, "digest": intent.digest},
        actor=settings.actor,
        at=now,
    )
    ledger.record_entry(entry)


def _record(
    ledger: Ledger,
    settings: Settings,
    brand: Brand,
    intent: Intent,
    state: str,
    detail: str,
    now: datetime,
    facts: Mapping[str, object] | None = None,
    value: float | None = None,
) -> None:
    entry = Entry(
        kind=EntryKind.ERASURE,
        brand=brand.name,
        name=intent.name,
        state=state,
        value=value,
        detail=detail,
        facts={"digest": intent.digest, **(facts or {})},
        actor=settings.actor,
        at=now,
    )
    ledger.record_entry(entry)
