"""A version trained again from its record: the same snapshot by hash, the code at that commit, the same params and seed.

It happens in a scratch folder and a process of its own, and registers nothing. Then the two artifacts are compared file by
file; where they differ, everything that may explain it is looked at and said.
"""

import hashlib
import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from brandhouse_aftercare.evidence import look_at_artifact, look_at_commit, look_at_snapshot
from brandhouse_aftercare.file_differences import FileDifference, compare_folders
from brandhouse_aftercare.installed_packages import differing_packages
from brandhouse_aftercare.past_code import PastCode, check_out
from brandhouse_flows.content import disk_full_named
from brandhouse_serving.provenance import find_run
from brandhouse_shared.artifacts import ArtifactStore, folder_digest
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import Version, VersionRecord
from brandhouse_shared.settings import Settings

State = Literal["same", "same model", "differs", "not possible", "failed"]
"""same: all bytes; same model: all bytes that answer, while the card tells another time; the last two: there is nothing to compare."""

DESCRIPTIONS = frozenset({"card.md", "card.html"})
"""Files of an artifact that tell when and how long it was trained; no answer depends on them."""


@dataclass(frozen=True, slots=True)
class Rebuild:
    """What training again showed.

    Attributes:
        detail: One sentence.
        reasons: What may explain a difference; empty if there is none.
        files: The artifact's files, compared; empty if there is nothing to compare.
        digest: Of the new artifact; None if there is none.
    """

    state: State
    detail: str
    reasons: tuple[str, ...] = ()
    files: tuple[FileDifference, ...] = ()
    digest: str | None = None

    @property
    def is_sound(self) -> bool:
        """Whether the same model came out."""
        return self.state in ("same", "same model")

    def as_document(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Trained:
    """What the training in its own process said."""

    summary: Mapping[str, Any] = field(default_factory=dict)
    failure: str = ""


def rebuild(settings: Settings, ledger: Ledger, store: ArtifactStore, version: Version) -> Rebuild:
    """Train a version again and compare. Only files of a temporary folder are written, and Git's list of work trees for as long."""
    artifact, folder = look_at_artifact(store, version)
    snapshot, path = look_at_snapshot(settings, ledger, version)
    commit = look_at_commit(settings.root, version)
    missing = [piece for piece in (artifact, snapshot, commit) if piece.is_fault]
    if missing or folder is None or path is None:
        reasons = tuple(f"{piece.name}: {piece.detail}" for piece in (missing or [snapshot]))
        return Rebuild("not possible", "something of its record is gone", reasons)
    with _scratch_folder() as scratch, check_out(settings, ledger, version, scratch) as code:
        made = scratch / "artifact"
        trained = _train(settings, ledger, version, code, path, scratch, made)
        if trained.failure:
            return Rebuild("failed", trained.failure, _reasons(settings, ledger, version, code, trained))
        return _compared(settings, ledger, version, code, trained, folder, made)


@contextmanager
def _scratch_folder() -> Iterator[Path]:
    with TemporaryDirectory(prefix="brandhouse-replay-") as scratch, disk_full_named(Path(scratch)):
        yield Path(scratch)


def _train(settings: Settings, ledger: Ledger, version: Version, code: PastCode, snapshot: Path, scratch: Path, made: Path) -> _Trained:
    run = find_run(ledger, version)
    asked = (run.record.asked if run is not None else None) or {}
    wanted = {
        "key": str(version.record.key),
        "run_id": version.record.run_id,
        "estimator": asked.get("estimator", ""),
        "params": asked.get("params", {}),
        "snapshot": str(snapshot),
        "hash_md5": version.record.snapshot_hash,
        "baseline": version.record.candidate_name if version.record.kind == "baseline" else "",
        "folder": str(made),
    }
    made.mkdir()
    done = subprocess.run(code.command(), input=json.dumps(wanted), env=code.environment(settings, scratch), **_TEXT)
    if done.returncode != 0:
        return _Trained(failure=f"the training ended with {done.returncode}: {_last_line(done.stderr)}")
    summary: Mapping[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return _Trained(summary)


_TEXT: Any = {"capture_output": True, "text": True, "check": False}


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1][:500] if lines else "without a word"


def _compared(settings: Settings, ledger: Ledger, version: Version, code: PastCode, trained: _Trained, folder: Path, made: Path) -> Rebuild:
    files = tuple(compare_folders(folder, made))
    digest = folder_digest(made)
    others = [one.name for one in files if not one.is_same and one.name not in DESCRIPTIONS]
    if digest == version.record.artifact_digest:
        return Rebuild("same", "every byte of the artifact is the same", (), files, digest)
    if not others:
        detail = "every byte that answers is the same; only the card, which tells time and duration, is another"
        return Rebuild("same model", detail, (), files, digest)
    reasons = _reasons(settings, ledger, version, code, trained)
    return Rebuild("differs", f"{', '.join(others)} differ", reasons, files, digest)


def _reasons(settings: Settings, ledger: Ledger, version: Version, code: PastCode, trained: _Trained) -> tuple[str, ...]:
    """Everything that may explain another result; the last resort is said as such."""
    record, summary = version.record, trained.summary
    found = [*code.remarks, *_of_environment(settings, code, record)]
    if summary:
        found += [*_of_inputs(record, summary), *_of_search(ledger, record, summary)]
    if not found and not trained.failure:
        found.append(
            "code, data, lock, params and seed are the same: an estimator draws without a seed, or another processor rounds otherwise"
        )
    return tuple(found)


def _of_environment(settings: Settings, code: PastCode, record: VersionRecord) -> list[str]:
    lock = code.root / settings.lock_file.name
    if not lock.is_file():
        return [f"the commit has no {lock.name}: nobody can say which packages it was trained with"]
    then = hashlib.sha256(lock.read_bytes()).hexdigest()
    remarks = [] if then == record.lock_hash else ["the lock at that commit is not the one on record: it was changed and not committed"]
    packages = differing_packages(lock)
    return [*remarks, *([f"packages installed now differ from the lock: {packages}"] if packages else [])]


def _of_inputs(record: VersionRecord, summary: Mapping[str, Any]) -> list[str]:
    names = {"code_digest": "the brand's code", "template_version": "the training template"}
    remarks = [
        f"{what} is {str(summary[name])[:12]}, on record is {str(getattr(record, name))[:12]}"
        for name, what in names.items()
        if summary[name] != getattr(record, name)
    ]
    rows = (summary["rows_train"], summary["rows_holdout"])
    if rows != (record.rows_train, record.rows_holdout):
        remarks.append(
            f"{rows[0]} and {rows[1]} rows were learned from and held out, on record are {record.rows_train} and {record.rows_holdout}"
        )
    return remarks


def _of_search(ledger: Ledger, record: VersionRecord, summary: Mapping[str, Any]) -> list[str]:
    result = ledger.results(record.key).get(record.run_id)
    remarks = []
    if result is not None and result.trials != summary["trials"]:
        remarks.append(f"the search is limited in time: {summary['trials']} sets of params were tried, {result.trials} then")
    if record.kind == "candidate" and summary["candidate"] != record.candidate_name:
        remarks.append(f"candidate {summary['candidate']} was chosen, on record is {record.candidate_name}")
    elif record.kind == "candidate" and summary["params"] != record.params:
        names = sorted(name for name in {*summary["params"], *record.params} if summary["params"].get(name) != record.params.get(name))
        remarks.append(f"other params were chosen: {', '.join(names)}")
    return remarks
