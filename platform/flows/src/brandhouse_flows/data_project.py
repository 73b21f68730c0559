"""The data of one brand: snapshots by content, each in the brand's own cache and the brand's own remote.

The only module that names DVC; swapping the tool changes this file. A brand folder is a DVC project of its own
(`--subdir`), so brands never wait for each other's lock and a brand's remote never holds another's bytes. What is
committed is the pointer (`data/<file>.dvc`) and an empty configuration: cache, remote and credentials differ from
machine to machine and are handed over at run time.

Git is never touched here: twelve processes that stage files in one repository break each other's index lock.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brandhouse_flows.content import copy_whole, disk_full_named, exclusive, hash_file, is_intact, write_whole
from brandhouse_flows.data_places import SnapshotDamagedError, SnapshotMissingError, file_state, network_errors, object_path, write_if_other
from brandhouse_flows.dvc_settings import COMMITTED_CONFIG, local_config_text, run_config
from brandhouse_flows.erased_hashes import ErasedBytesError, add_erased, read_erased
from brandhouse_flows.pointers import Pointer, check_hash, read_pointer, write_pointer
from brandhouse_flows.remote_objects import delete_object
from brandhouse_flows.remotes import is_url, remote_address
from brandhouse_flows.sources import find_source, is_on_this_machine
from brandhouse_shared.brands import Brand
from brandhouse_shared.config import Dataset
from brandhouse_shared.declarations import FileSource
from brandhouse_shared.errors import DataProjectLockedError, DatasetError, RetryableError, SnapshotMismatchError, join_bounded
from brandhouse_shared.settings import Settings

LOCK_WAIT_SECONDS = 60.0
"""Longer than any import that ships; a training waits for another model's import of the same brand instead of failing."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One content of a dataset.

    Attributes:
        dataset: Name in `brand.toml`.
        file: Path below the brand's folder.
        hash_md5: Hash of the bytes, the snapshot's name for ever.
        size_bytes: Size of the file.
        path: The bytes in the brand's folder. A later import replaces them; `fetch` gives a path that stays.
        changed: Whether the pointer was written: the first import of a new dataset, or accepted new data.
    """

    dataset: str
    file: str
    hash_md5: str
    size_bytes: int
    path: Path
    changed: bool


class DataProject:
    """The snapshots of one brand."""

    def __init__(self, brand: Brand, settings: Settings, *, lock_wait_seconds: float = LOCK_WAIT_SECONDS) -> None:
        self._brand = brand
        self._home = settings.home
        self._lock_wait_seconds = lock_wait_seconds
        self._cache_dir = settings.home / "cache" / "dvc" / brand.name
        self._remote = remote_address(brand, settings)

    def ensure_initialised(self) -> None:
        """Make the brand's folder a data project. Nothing that is right already is written again."""
        folder = self._brand.folder / ".dvc"
        texts = {folder / "config": COMMITTED_CONFIG, folder / ".gitignore": "/config.local\n/tmp\n/cache\n"}
        for path, text in texts.items():
            if not path.is_file():
                write_whole(path, text)
        write_if_other(folder / "config.local", local_config_text(self._brand.folder, self._cache_dir, self._remote))

    def pointer(self, dataset: str) -> Pointer:
        """Read what the committed pointer of a dataset names.

        Raises:
            DatasetError: If there is none, or it is not one file's pointer.
        """
        return read_pointer(self._pointer_path(dataset), self._subject(dataset))

    def has_pointer(self, dataset: str) -> bool:
        """Whether the dataset ever had a snapshot."""
        return self._pointer_path(dataset).is_file()

    def import_source(self, dataset: str, accept_new: bool = False) -> Snapshot:
        """Bring the source's bytes into the brand's folder, its cache and its remote.

        A source that is not on this machine is not asked: what its pointer names is brought in. See `put`.
        The file under `data/` is made from the source: changes made to it by hand are replaced. If all is there
        already, nothing is read but one small file, and DVC is not imported. A source file that is not on this machine
        is no error while the snapshot that the pointer names can be fetched.

        Args:
            dataset: Name in `brand.toml`.
            accept_new: Whether other bytes than the pointer names become the new snapshot. Older ones stay fetchable.

        Raises:
            DatasetError: If the source is missing or empty, or the remote cannot be used.
            SnapshotMismatchError: If the bytes are not those the pointer names and `accept_new` is false.
            DataProjectLockedError: If another process holds the project for too long.
            DiskFullError: If there is no space; what was there before still is.
        """
        declared = self._declared(dataset)
        kept = self._kept(dataset, declared)
        if kept:
            return kept
        with self._locked():
            return self._import(dataset, declared, accept_new)

    def put(self, dataset: str, path: Path, position: Mapping[str, Any] | None = None, *, after: Pointer | None = None) -> Snapshot:
        """Make the bytes of a file the dataset's snapshot: cache and remote first, then the brand's folder, then the pointer.

        However it ends, the pointer names bytes that can be fetched, and the position that belongs to them.

        Args:
            dataset: Name in `brand.toml`.
            path: The new bytes, under a path that nobody else writes.
            position: How far the source has been read.
            after: The pointer that the bytes continue; None: they continue nothing, and replace whatever is there.

        Raises:
            RetryableError: If the pointer is not `after` any more.
            DatasetError: If the remote cannot be used.
            DataProjectLockedError: If another process holds the project for too long.
            DiskFullError: If there is no space; what was there before still is.
        """
        declared = self._declared(dataset)
        with self._locked():
            self.ensure_initialised()
            present = self.pointer(dataset) if self.has_pointer(dataset) else None
            if after is not None and present != after:
                raise RetryableError(f"{self._subject(dataset)}: another ingest was faster; it is tried again")
            pointer = Pointer(self._allowed(dataset, hash_file(path)), path.stat().st_size, position or {})
            self._store(dataset, path, pointer.hash_md5)
            workspace = self._brand.folder / declared.file
            if not is_intact(workspace, pointer.hash_md5):
                copy_whole(path, workspace)
            if pointer != present:
                write_pointer(self._pointer_path(dataset), workspace.name, pointer)
            changed = present is None or present.hash_md5 != pointer.hash_md5
            snapshot = Snapshot(dataset, declared.file, pointer.hash_md5, pointer.size_bytes, workspace, changed)
            self._write_stamp(snapshot, None)
            return snapshot

    def fetch(self, dataset: str, hash_md5: str) -> Path:
        """Return the verified bytes of any snapshot that was ever imported, under a path that stays.

        Args:
            dataset: Name in `brand.toml`.
            hash_md5: The snapshot's hash; need not be the present pointer's.

        Raises:
            SnapshotMissingError: If neither cache nor remote holds these bytes.
            SnapshotDamagedError: If the remote's bytes are others.
            DatasetError: If the remote cannot be used.
        """
        declared = self._declared(dataset)
        check_hash(hash_md5, self._subject(dataset))
        path = self._home / "snapshots" / self._brand.name / hash_md5 / Path(declared.file).name
        if not is_intact(path, hash_md5):
            with self._locked():
                copy_whole(self._cached(dataset, hash_md5), path)
        return path

    def keep(self, dataset: str, path: Path) -> str:
        """Put a file into cache and remote without making it the present snapshot; return its hash. Raises as `put` does."""
        with self._locked():
            self.ensure_initialised()
            hash_md5 = self._allowed(dataset, hash_file(path))
            self._store(dataset, path, hash_md5)
            return hash_md5

    def erase(self, dataset: str, hash_md5: str) -> int:
        """Take a snapshot out of cache, remote and the brand's kept copies for good, and never let its bytes in again.

        Done twice is done once. The pointer is not looked at: it must name another snapshot already. Returns how many copies there were.

        Raises:
            DatasetError, RetryableError: If the remote refuses or does not answer.
        """
        check_hash(hash_md5, self._subject(dataset))
        with self._locked():
            add_erased(self._home, self._brand.name, hash_md5)
            kept, cached = self._home / "snapshots" / self._brand.name / hash_md5, self._cached_path(hash_md5)
            count = sum(path.is_file() for path in kept.rglob("*")) + cached.is_file()
            shutil.rmtree(kept, ignore_errors=True)
            cached.unlink(missing_ok=True)
            with self._opened(dataset, []) as repo:
                return count + delete_object(repo.cloud.get_remote_odb(), hash_md5)

    # -- import --------------------------------------------------------------------------------------------------

    def _import(self, dataset: str, declared: Dataset, accept_new: bool) -> Snapshot:
        self.ensure_initialised()
        expected = self.pointer(dataset) if self.has_pointer(dataset) else None
        source = self._source(dataset, declared, expected)
        workspace = self._brand.folder / declared.file
        found = hash_file(source)
        if expected and found in read_erased(self._home, self._brand.name):  # the source still holds what was erased
            source, found = self._held(dataset, declared, expected), expected.hash_md5
        self._allowed(dataset, found)
        if expected and found != expected.hash_md5 and not accept_new:
            raise SnapshotMismatchError(self._brand.name, declared.file, expected.hash_md5, found)
        if not is_intact(workspace, found) and copy_whole(source, workspace) != found:
            raise RetryableError(f"{self._subject(dataset)}: the source changed while it was copied; it is tried again")
        self._store(dataset, workspace, found)
        changed = expected is None or expected.hash_md5 != found
        if changed:
            write_pointer(self._pointer_path(dataset), workspace.name, Pointer(found, workspace.stat().st_size))
        snapshot = Snapshot(dataset, declared.file, found, workspace.stat().st_size, workspace, changed)
        if not is_on_this_machine(declared.source):
            self._write_stamp(snapshot, None)
        elif source != self._cached_path(found):
            self._write_stamp(snapshot, source)
        return snapshot

    def _source(self, dataset: str, declared: Dataset, expected: Pointer | None) -> Path:
        """The source's file, or the pointer's snapshot where the source is somewhere else."""
        if not is_on_this_machine(declared.source):
            return self._held(dataset, declared, expected)
        try:
            return find_source(self._brand, dataset)
        except DatasetError:
            # A file that is here and cannot be used is an error; only one that lives elsewhere is made up for.
            if not isinstance(declared.source, FileSource) or expected is None or (self._brand.folder / declared.source.path).exists():
                raise
            try:
                return self._cached(dataset, expected.hash_md5)
            except DatasetError as error:
                raise DatasetError(
                    f"{self._subject(dataset)}: the source {declared.source.path} is missing or empty, and so is the snapshot "
                    f"its pointer names: {error}"
                ) from error

    def _held(self, dataset: str, declared: Dataset, expected: Pointer | None) -> Path:
        """The snapshot that the pointer names, from the brand's folder, its cache or its remote."""
        if expected is None:
            options = f" --from FILE --dataset {dataset}" if declared.source.kind == "upload" else ""
            raise DatasetError(
                f"{self._subject(dataset)}: there are no data yet; bring them in with `brandhouse ingest {self._brand.name}{options}`"
            )
        workspace = self._brand.folder / declared.file
        return workspace if is_intact(workspace, expected.hash_md5) else self._cached(dataset, expected.hash_md5)

    def _kept(self, dataset: str, declared: Dataset) -> Snapshot | None:
        """The snapshot of the last import, if source, file, pointer and remote are provably as it left them."""
        try:
            stamp = json.loads(self._stamp_path(dataset).read_text(encoding="utf-8"))
            source = find_source(self._brand, dataset) if is_on_this_machine(declared.source) else None
            workspace = self._brand.folder / declared.file
            now = self._state(dataset, source, workspace)
        except (OSError, ValueError, DatasetError):
            return None  # the import looks at everything again and says what is wrong
        if stamp.get("state") != now or not self._is_in_local_remote(stamp["hash_md5"], workspace.stat().st_size):
            return None
        return Snapshot(dataset, declared.file, stamp["hash_md5"], workspace.stat().st_size, workspace, changed=False)

    def _write_stamp(self, snapshot: Snapshot, source: Path | None) -> None:
        stamp = {"hash_md5": snapshot.hash_md5, "state": self._state(snapshot.dataset, source, snapshot.path)}
        write_whole(self._stamp_path(snapshot.dataset), json.dumps(stamp))

    def _state(self, dataset: str, source: Path | None, workspace: Path) -> dict[str, Any]:
        return {
            "source": source and file_state(source),
            "workspace": file_state(workspace),
            "pointer": self._pointer_path(dataset).read_text(encoding="utf-8"),
            "remote": self._remote,
        }

    # -- bytes in cache and remote -------------------------------------------------------------------------------

    def _store(self, dataset: str, path: Path, hash_md5: str) -> None:
        """Put a file into cache and remote, over what is damaged there."""
        cached = self._cached_path(hash_md5)
        remote = None if is_url(self._remote) else object_path(Path(self._remote), hash_md5)
        copies = [cached, *([remote] if remote else [])]
        damaged = [copy for copy in copies if not is_intact(copy, hash_md5)]
        if remote and not damaged:
            return
        with self._opened(dataset, [copy.parent for copy in copies]) as repo:
            for copy in damaged:
                copy.unlink(missing_ok=True)
            repo.cache.local.add(str(path), repo.fs, hash_md5)
            _push(repo, cached, hash_md5)

    def _cached(self, dataset: str, hash_md5: str) -> Path:
        """The intact object in the brand's cache, fetched from its remote if need be."""
        cached = self._cached_path(hash_md5)
        if is_intact(cached, hash_md5):
            return cached
        cached.unlink(missing_ok=True)
        with self._opened(dataset, [cached.parent]) as repo:
            remote = repo.cloud.get_remote_odb()
            arriving = cached.with_name(f"{cached.name}.tmp")
            cached.parent.mkdir(parents=True, exist_ok=True)
            try:
                remote.fs.get_file(remote.oid_to_path(hash_md5), str(arriving))
            except FileNotFoundError as error:
                raise SnapshotMissingError(self._subject(dataset), hash_md5) from error
            if not is_intact(arriving, hash_md5):
                arriving.unlink()
                self._stamp_path(dataset).unlink(missing_ok=True)  # the next import looks at the remote itself
                raise SnapshotDamagedError(self._subject(dataset), hash_md5)
            repo.cache.local.add(str(arriving), repo.fs, hash_md5)
            arriving.unlink()
        return cached

    def _cached_path(self, hash_md5: str) -> Path:
        return object_path(self._cache_dir, hash_md5)

    @contextmanager
    def _opened(self, dataset: str, written: list[Path]) -> Iterator[Any]:
        """Open the project in DVC, under DVC's own lock too, so that a `dvc` command by hand is respected."""
        os.environ["DVC_NO_ANALYTICS"] = "1"  # read at import
        from dvc.exceptions import DvcException
        from dvc.lock import LockError
        from dvc.repo import Repo

        self.ensure_initialised()
        try:
            with (
                disk_full_named(self._home),
                Repo(str(self._brand.folder), config=run_config(self._home, self._brand.name, self._cache_dir, self._remote)) as repo,
                repo.lock,
            ):
                yield repo
        except LockError as error:
            raise DataProjectLockedError(self._brand.name, self._lock_wait_seconds) from error
        except DvcException as error:
            raise DatasetError(f"{self._subject(dataset)}: the remote cannot be used: {str(error)[:300]}") from error
        except network_errors() as error:
            raise RetryableError(f"{self._subject(dataset)}: the remote does not answer ({type(error).__name__})") from error
        except OSError as error:
            raise DatasetError(
                f"{self._subject(dataset)}: the remote cannot be used: {type(error).__name__}: {str(error)[:300]}"
            ) from error
        finally:
            for leftover in (item for folder in written if folder.is_dir() for item in folder.glob("*.tmp")):
                leftover.unlink()  # DVC writes under a temporary name first, and leaves it when the disk is full

    def _is_in_local_remote(self, hash_md5: str, size_bytes: int) -> bool:
        """Whether the remote still has the object; one behind a URL is not asked at every call."""
        if is_url(self._remote):
            return True
        path = object_path(Path(self._remote), hash_md5)
        return path.is_file() and path.stat().st_size == size_bytes

    def _allowed(self, dataset: str, hash_md5: str) -> str:
        """Return the hash of bytes that come in, unless they were erased."""
        if hash_md5 in read_erased(self._home, self._brand.name):
            raise ErasedBytesError(self._subject(dataset), hash_md5)
        return hash_md5

    # -- names and locks -----------------------------------------------------------------------------------------

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            with exclusive(self._home / "locks" / f"data-{self._brand.name}.lock", self._lock_wait_seconds):
                yield
        except TimeoutError as error:
            raise DataProjectLockedError(self._brand.name, self._lock_wait_seconds) from error

    def _declared(self, dataset: str) -> Dataset:
        try:
            return self._brand.config.datasets[dataset]
        except KeyError:
            known = join_bounded(self._brand.config.datasets)
            raise DatasetError(f"{self._brand.name}: unknown dataset {dataset[:80]!r}; known: {known}") from None

    def _subject(self, dataset: str) -> str:
        return f"{self._brand.name}/{dataset}"

    def _pointer_path(self, dataset: str) -> Path:
        return self._brand.folder / f"{self._declared(dataset).file}.dvc"

    def _stamp_path(self, dataset: str) -> Path:
        return self._home / "imports" / self._brand.name / f"{dataset}.json"


def _push(repo: Any, cached: Path, hash_md5: str) -> None:
    """Bring an object into the remote; bytes there under its name that are not its bytes are replaced."""
    from dvc_objects.errors import ObjectFormatError

    remote = repo.cloud.get_remote_odb()
    try:
        remote.check(hash_md5, check_hash=True)  # reads the whole object, once a machine; DVC removes it if it is damaged
    except (FileNotFoundError, ObjectFormatError):
        remote.add(str(cached), repo.fs, hash_md5, check_exists=False)
