"""Whether what a version was made of is still there: artifact, snapshot, code, environment. Each in one clear state."""

import hashlib
import re
import subprocess
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from brandhouse_aftercare.erasure_records import find_erasure
from brandhouse_flows.data_places import SnapshotDamagedError, SnapshotMissingError
from brandhouse_flows.data_project import DataProject
from brandhouse_shared.artifacts import ArtifactStore
from brandhouse_shared.brands import Brand, find_brand
from brandhouse_shared.errors import ArtifactCorruptError, BrandConfigError, DatasetError, RetryableError, UnknownBrandError
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import Version
from brandhouse_shared.settings import Settings

_COMMIT = re.compile(r"[0-9a-f]{40,64}")
RUNBOOK = "docs/runbooks/replay-differs.md"


class PieceState(StrEnum):
    """How it is with one piece of evidence."""

    OK = "ok"
    """It is there, and its bytes are those on record."""
    DIFFERS = "differs"
    """It is there and is another one than on record. For the environment: the lock was changed since, which is no fault."""
    MISSING = "missing"
    DAMAGED = "damaged"
    """It is there, and its bytes are not those on record."""
    UNREACHABLE = "unreachable"
    """Nobody can say: where it lies does not answer."""
    NOT_RECORDED = "not_recorded"
    """It was never kept: a training outside Git, or an answer that the brand may not store."""
    WITHHELD = "withheld"
    """It was kept hashed or not at all, since it is about a person."""
    ERASED = "erased"
    """It was removed at a person's request; there is a certificate."""
    FAILED = "failed"
    """It is there and could not be used."""


FAULTS = frozenset({PieceState.MISSING, PieceState.DAMAGED, PieceState.UNREACHABLE, PieceState.FAILED})
"""States in which somebody has to do something."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One piece of evidence.

    Attributes:
        name: artifact, snapshot, commit, environment or inputs.
        detail: One sentence.
        advice: What to do; empty if there is nothing to be done.
    """

    name: str
    state: PieceState
    detail: str
    advice: str = ""

    @property
    def is_fault(self) -> bool:
        """Whether somebody has to do something."""
        return self.state in FAULTS


def look_at_artifact(store: ArtifactStore, version: Version) -> tuple[Piece, Path | None]:
    """Fetch exactly that version's artifact, every byte checked against its digest; its folder is None if it cannot be used."""
    digest = version.record.artifact_digest
    advice = f"restore .brandhouse/bentoml/{version.record.key.brand} from the backup, or train again: {RUNBOOK}"
    try:
        folder = store.find(version.record.key, digest)
    except ArtifactCorruptError as error:
        state = PieceState.MISSING if "not in the store" in str(error) else PieceState.DAMAGED
        return Piece("artifact", state, str(error), advice), None
    return Piece("artifact", PieceState.OK, f"{digest[:12]}, every byte verified"), folder


def look_at_snapshot(settings: Settings, ledger: Ledger, version: Version) -> tuple[Piece, Path | None]:
    """Fetch exactly that snapshot, from the brand's cache or remote, verified; its path is None if it does not come."""
    record = version.record
    erasure = find_erasure(ledger, record.key.brand, record.snapshot_hash)
    if erasure is not None:
        detail = f"{record.snapshot_hash} was erased on {erasure.at:%Y-%m-%d} at a person's request: {erasure.detail}"
        return Piece("snapshot", PieceState.ERASED, detail), None
    try:
        brand = find_brand(settings.brands_dir, record.key.brand)
        path = DataProject(brand, settings).fetch(record.snapshot_dataset, record.snapshot_hash)
    except (UnknownBrandError, BrandConfigError, DatasetError, RetryableError) as error:
        return _unfetched(record.key.brand, error), None
    return Piece("snapshot", PieceState.OK, f"{record.snapshot_hash} of {record.snapshot_dataset}, fetched and verified"), path


def _unfetched(brand: str, error: Exception) -> Piece:
    match error:
        case UnknownBrandError() | BrandConfigError():
            advice = f"bring brands/{brand} back from Git; its remote and credentials are declared there"
            return Piece("snapshot", PieceState.MISSING, str(error), advice)
        case SnapshotMissingError():
            advice = f"restore it from the remote's backup, or ask the source: docs/runbooks/snapshot-missing.md ({RUNBOOK})"
            return Piece("snapshot", PieceState.MISSING, str(error), advice)
        case SnapshotDamagedError():
            return Piece("snapshot", PieceState.DAMAGED, str(error), f"`brandhouse ingest {brand}` restores it if the source still has it")
        case RetryableError():
            return Piece("snapshot", PieceState.UNREACHABLE, str(error), "ask again when it answers")
    return Piece("snapshot", PieceState.UNREACHABLE, str(error), f"look at the brand's remote and dataset: {RUNBOOK}")


def look_at_commit(root: Path, version: Version) -> Piece:
    """Whether Git still has the commit that the version was trained at."""
    commit, dirty = version.record.git_commit, version.record.git_dirty
    if not _COMMIT.fullmatch(commit):  # `planning.NO_COMMIT`, which would bring pandas along
        return Piece("commit", PieceState.NOT_RECORDED, "it was trained outside Git, or before the first commit")
    if not has_commit(root, commit):
        return Piece(
            "commit",
            PieceState.MISSING,
            f"Git does not know {commit[:12]}: the history was rewritten, or this clone is not whole",
            f"`git fetch --unshallow`, or fetch {commit[:12]} from a clone that has it: {RUNBOOK}",
        )
    changed = "; the work tree differed from it" if dirty else ""
    return Piece("commit", PieceState.OK, f"{commit[:12]}{changed}")


def has_commit(root: Path, commit: str) -> bool:
    """Whether the repository holds a commit."""
    command = ["git", "-C", str(root), "cat-file", "-e", f"{commit}^{{commit}}"]
    try:
        return subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0
    except (OSError, subprocess.SubprocessError):
        return False


def look_at_environment(settings: Settings, version: Version) -> Piece:
    """Whether the lock of all packages is still the one that the version was trained with."""
    wanted = version.record.lock_hash
    if not settings.lock_file.is_file():
        return Piece("environment", PieceState.MISSING, f"{settings.lock_file.name} does not exist", "bring it back from Git")
    present = hashlib.sha256(settings.lock_file.read_bytes()).hexdigest()
    if present != wanted:
        return Piece("environment", PieceState.DIFFERS, f"the lock was {wanted[:12]} at the training and is {present[:12]} now")
    return Piece("environment", PieceState.OK, f"the lock is the one of the training, {wanted[:12]}")


def find_brand_or_none(settings: Settings, name: str) -> Brand | None:
    """Return a brand as it is declared now; None if it left or cannot be read."""
    try:
        return find_brand(settings.brands_dir, name)
    except (UnknownBrandError, BrandConfigError):
        return None
