"""BentoML's model store as the house's artifact store: the only module that names it.

One store folder per brand, `<home>/bentoml/<brand>/models/`, each what BENTOML_HOME points at, so that
`BENTOML_HOME=<home>/bentoml/<brand> bentoml models list` shows one brand and nothing of another. A tag is
`<brand>.<model>:<first 40 digits of the digest>`.

Writing goes through BentoML. Reading does not import it (1.4 s, in every process that serves): a stored folder's
place follows from its tag, and what counts is that its bytes are those that the digest names.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from brandhouse_shared.artifacts import folder_digest
from brandhouse_shared.errors import ArtifactCorruptError, DiskFullError
from brandhouse_shared.names import ModelKey

DIGEST_LENGTH_IN_TAG = 40
"""BentoML allows 63 characters a version; a SHA-256 has 64. 160 bits name content well enough, all bytes are checked."""

MAX_TAG_NAME_LENGTH = 63
_DIGEST = re.compile(r"^[0-9a-f]{64}$")

FileStamp = tuple[str, int, int, int]
"""Path below the folder, size in bytes, modification time in ns, inode."""


class BentoArtifactStore:
    """Artifacts of all brands, in one BentoML model store per brand."""

    def __init__(self, home: Path) -> None:
        self._home = home / "bentoml"
        self._verified: dict[Path, tuple[FileStamp, ...]] = {}

    def save(self, key: ModelKey, folder: Path, labels: dict[str, str]) -> str:
        """Copy a finished folder into the store and return its digest. Saving the same content twice is one artifact.

        Raises:
            DiskFullError: If no space is left; nothing half written stays.
        """
        digest = folder_digest(folder)
        target = self.path_of(key, digest)
        with self.exclusive(key.brand):
            if not _holds(target, digest):
                self._discard(target)
                self._create(key, digest, folder, labels)
        return digest

    def find(self, key: ModelKey, digest: str) -> Path:
        """Return the stored folder after checking every byte against the digest.

        A process checks a folder once, and again when a file's size, time or inode has changed.

        Raises:
            ArtifactCorruptError: If it is missing or altered.
        """
        target = self.path_of(key, digest)
        subject = f"{key} artifact {digest[:12]}"
        if not target.is_dir():
            raise ArtifactCorruptError(subject, "it is not in the store")
        stamps = _stamps(target)
        if self._verified.get(target) != stamps:
            if folder_digest(target) != digest:
                raise ArtifactCorruptError(subject, "its bytes are not those that were registered")
            self._verified[target] = stamps
        return target

    def delete(self, key: ModelKey, digest: str) -> None:
        """Remove one artifact; no error if it is not there."""
        with self.exclusive(key.brand):
            self._discard(self.path_of(key, digest))

    def path_of(self, key: ModelKey, digest: str) -> Path:
        """Where the artifact lies if it is in the store."""
        if not _DIGEST.match(digest):
            raise ArtifactCorruptError(key, "the digest is no SHA-256")
        return self._models_dir(key.brand) / tag_name(key) / digest[:DIGEST_LENGTH_IN_TAG]

    def tag_of(self, key: ModelKey, digest: str) -> str:
        """BentoML's tag of an artifact."""
        return f"{tag_name(key)}:{digest[:DIGEST_LENGTH_IN_TAG]}"

    def home_of(self, brand: str) -> Path:
        """What BENTOML_HOME must be to see the brand's models and Bentos, and nothing of another brand."""
        return self._home / brand

    @contextlib.contextmanager
    def exclusive(self, brand: str) -> Iterator[None]:
        """One writer per brand at a time, over all processes: BentoML's store has no lock."""
        models = self._models_dir(brand)
        models.mkdir(parents=True, exist_ok=True)
        models.parent.chmod(0o700)
        with (models.parent / "write.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _create(self, key: ModelKey, digest: str, folder: Path, labels: dict[str, str]) -> None:
        bentoml, store = self._bentoml(key.brand)
        tag = self.tag_of(key, digest)
        labels = {**labels, "brand": key.brand, "model": key.model, "digest": digest}
        scratch: Path | None = None
        try:
            with bentoml.models.create(tag, labels=labels, _model_store=store) as model:
                scratch = Path(model.path)
                shutil.copytree(folder, scratch, dirs_exist_ok=True)
        except OSError as error:
            self._discard(self.path_of(key, digest))
            if error.errno == errno.ENOSPC:
                raise DiskFullError(self._home) from error
            raise
        finally:
            if scratch is not None:  # BentoML copies it into the store and leaves it behind
                shutil.rmtree(scratch, ignore_errors=True)
        _flush_to_disk(self.path_of(key, digest))

    def _discard(self, target: Path) -> None:
        self._verified.pop(target, None)
        if target.exists():
            # Renamed first: a reader finds the whole folder or none of it.
            grave = Path(tempfile.mkdtemp(dir=self._home, prefix="deleted-"))
            target.rename(grave / "artifact")
            shutil.rmtree(grave)

    def _bentoml(self, brand: str) -> tuple[Any, Any]:
        # BENTOML_HOME is read once a process; a store per brand in one process needs the store's own class.
        bentoml, model_store = import_engine()
        return bentoml, model_store(self._models_dir(brand))

    def _models_dir(self, brand: str) -> Path:
        return self._home / brand / "models"


def tag_name(key: ModelKey) -> str:
    """`<brand>.<model>` where BentoML allows it (63 characters, ending in a letter or digit), else shortened and hashed."""
    name = key.dotted
    if len(name) <= MAX_TAG_NAME_LENGTH and name[-1] != "_":
        return name
    return f"{name[:46]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def _holds(target: Path, digest: str) -> bool:
    return target.is_dir() and folder_digest(target) == digest and (target / "model.yaml").is_file()


def _stamps(folder: Path) -> tuple[FileStamp, ...]:
    stamps = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            status = path.stat()
            stamps.append((path.relative_to(folder).as_posix(), status.st_size, status.st_mtime_ns, status.st_ino))
    return tuple(stamps)


def import_engine() -> tuple[Any, Any]:
    """Import BentoML and return it with its store's class. A process that forks many runs calls this beforehand."""
    os.environ.setdefault("BENTOML_DO_NOT_TRACK", "true")
    import bentoml.models
    from bentoml._internal.models import ModelStore

    return bentoml, ModelStore


def _flush_to_disk(folder: Path) -> None:
    """Make sure that a version the ledger will name survives a power failure."""
    for path in [*folder.rglob("*"), folder, folder.parent]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
