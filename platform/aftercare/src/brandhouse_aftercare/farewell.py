"""A brand leaves: all that is its own goes into one archive with a hash of each part, its models end, and the ledger keeps a tombstone.

Nothing is deleted here. Buckets, keys and schemas end by `brandhouse infra destroy`, folders by whoever has taken the archive over.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from brandhouse_flows.remotes import is_url, remote_address, remote_credentials
from brandhouse_shared.brands import Brand
from brandhouse_shared.errors import BrandhouseError, RetryableError
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import Entry, EntryKind, Version
from brandhouse_shared.settings import Settings

MANIFEST = "manifest.json"
MOST = 1_000_000
"""Entries of one kind that an excerpt holds; more is an error and not a cut."""

_LEFT_OUT = ("__pycache__", ".dvc/cache", ".dvc/tmp", ".pytest_cache")
_CHUNK = 1 << 20


class FarewellError(BrandhouseError):
    """A brand cannot leave like this."""


@dataclass(frozen=True, slots=True)
class Part:
    """One file of an archive.

    Attributes:
        name: Its path there.
        path: Where it lies; for one in a store, the object's path without scheme.
        size_bytes: Of it.
        store: File system that opens it; None: this machine's.
    """

    name: str
    path: str
    size_bytes: int
    store: Any = None

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """Its bytes."""
        with self.store.open(self.path, "rb") if self.store is not None else Path(self.path).open("rb") as file:
            yield file


@dataclass(frozen=True, slots=True)
class Belongings:
    """What a brand has.

    Attributes:
        brand: Whose.
        parts: Files, by name: its folder, its folders below the home, its remote.
        documents: The ledger's excerpt, by name, as JSON values.
        served: Versions in production, canary or shadow.
    """

    brand: Brand
    parts: tuple[Part, ...]
    documents: Mapping[str, Any]
    served: tuple[Version, ...]

    @property
    def size_bytes(self) -> int:
        """Of all files."""
        return sum(part.size_bytes for part in self.parts)


@dataclass(frozen=True, slots=True)
class Archive:
    """What was written, and read again."""

    path: Path
    sha256: str
    files: int
    size_bytes: int


def look(settings: Settings, ledger: Ledger, brand: Brand, folders: Collection[str], environment: Mapping[str, str]) -> Belongings:
    """List what a brand has; nothing is changed.

    Args:
        settings: Of the process.
        ledger: Is read.
        brand: Who leaves.
        folders: Names below the home in which each brand has a folder.
        environment: Holds the brand's key to its remote.

    Raises:
        FarewellError: If the brand's remote is of a kind that cannot be copied from here.
        DatasetError: If the brand has no key to its remote.
    """
    parts = [*_files(brand.folder, "brand")]
    for name in sorted(folders):
        parts += _files(settings.home / name / brand.name, f"home/{name}")
    address = remote_address(brand, settings)
    parts += _objects(brand.name, address, environment) if is_url(address) else _files(Path(address), "remote")
    named = {part.name: part for part in parts}
    return Belongings(brand, tuple(named[name] for name in sorted(named)), _excerpt(ledger, brand), _served(ledger, brand))


def export(belongings: Belongings, path: Path, now: datetime) -> Archive:
    """Write everything into one tar, and read it again: an archive counts only if each part has its hash there.

    Raises:
        FarewellError: If the file exists, or a part changed while it was written.
    """
    if path.exists():
        raise FarewellError(f"{path} exists; name a file that does not")
    draft = path.with_name(f".{path.name}.part")
    hashes: dict[str, str] = {}
    try:
        with tarfile.open(draft, "w") as archive:
            for part in belongings.parts:
                hashes[part.name] = _add(archive, part, now)
            for name, document in belongings.documents.items():
                hashes[name] = _add_bytes(archive, name, _as_json(document), now)
            _add_bytes(archive, MANIFEST, _as_json({"brand": belongings.brand.name, "at": now.isoformat(), "sha256": hashes}), now)
        draft.chmod(0o600)
        check_archive(draft)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return Archive(path, _sha256_of(path), len(hashes), path.stat().st_size)


def check_archive(path: Path) -> dict[str, str]:
    """Read an archive again and compare each part with its hash; return the hashes.

    Raises:
        FarewellError: If a part is missing, altered, or not in the manifest.
    """
    found: dict[str, str] = {}
    said: dict[str, str] = {}
    with tarfile.open(path) as archive:
        for member in archive:
            file = archive.extractfile(member)
            data = _Hashing(file) if file else None
            if data is None:
                continue
            if member.name == MANIFEST:
                said = json.loads(data.read())["sha256"]
            else:
                while data.read(_CHUNK):
                    pass
                found[member.name] = data.sha256
    wrong = sorted(name for name in said.keys() | found.keys() if said.get(name) != found.get(name))
    if wrong or not said:
        raise FarewellError(
            f"{path}: {len(wrong)} part(s) are not what the manifest says, such as {wrong[:3]}; it is no archive to rely on"
        )
    return said


def say_farewell(ledger: Ledger, belongings: Belongings, archive: Archive, *, actor: str, reason: str, now: datetime) -> Entry:
    """End all of the brand's versions that are served and its API keys, and put the tombstone into the ledger.

    Raises:
        FarewellError: If `brand.toml` does not say that the brand leaves.
    """
    brand = belongings.brand
    refuse_unless_leaving(brand)
    # Production last: while it stands, callers are answered.
    for version in sorted(belongings.served, key=lambda one: one.stage == "production"):
        ledger.retire(version.key.model_key, actor=actor, reason=reason, number=version.number)
    keys = [key.key_id for key in ledger.keys(brand.name) if key.revoked_at is None]
    for key in keys:
        ledger.revoke_key(key, actor=actor, reason=reason)
    facts = {
        "sha256": archive.sha256,
        "files": archive.files,
        "bytes": archive.size_bytes,
        "keys": len(keys),
        "ended": [str(version.key) for version in belongings.served],
    }
    entry = Entry(
        kind=EntryKind.FAREWELL, brand=brand.name, name="leaving", state="exported", detail=reason[:500], facts=facts, actor=actor, at=now
    )
    return ledger.record_entry(entry)


def refuse_unless_leaving(brand: Brand) -> None:
    """Refuse for a brand that stays.

    Raises:
        FarewellError: If its `brand.toml` does not say `leaving = true`.
    """
    if not brand.config.leaving:
        raise FarewellError(
            f"{brand.name} does not leave: nothing was done. If it does, say so by `leaving = true` in brands/{brand.name}/brand.toml "
            "and have the change reviewed"
        )


def _files(folder: Path, prefix: str) -> Iterator[Part]:
    """Files below a folder. A link is not followed: it may lead to another brand's."""
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        inside = path.relative_to(folder).as_posix()
        if path.is_file() and not path.is_symlink() and not any(f"/{left_out}/" in f"/{inside}/" for left_out in _LEFT_OUT):
            yield Part(f"{prefix}/{inside}", str(path), path.stat().st_size)


def _objects(brand: str, address: str, environment: Mapping[str, str]) -> Iterator[Part]:
    if not address.startswith("s3://"):
        raise FarewellError(
            f"{brand}: its remote {address.partition('://')[0]}://... cannot be copied from here; copy it to a folder first"
        )
    try:
        import s3fs
        from botocore.exceptions import BotoCoreError
    except ImportError:
        raise FarewellError(f"{brand}: copying its remote from S3 needs an extra; install brandhouse-flows[s3]") from None
    opened = remote_credentials(brand, address, environment)
    store = s3fs.S3FileSystem(
        key=opened["access_key_id"],
        secret=opened["secret_access_key"],
        token=opened.get("session_token"),
        endpoint_url=opened.get("endpointurl"),
        client_kwargs={"region_name": opened["region"]} if "region" in opened else {},
        skip_instance_cache=True,
    )
    root = address.removeprefix("s3://").rstrip("/")
    try:
        found = store.find(root, detail=True)
    except FileNotFoundError:
        return
    except (BotoCoreError, OSError) as error:
        raise RetryableError(f"{brand}: the store of its remote does not answer, or denies ({type(error).__name__})") from error
    for path, about in sorted(found.items()):
        yield Part(f"remote/{path.removeprefix(root).lstrip('/')}", path, int(about["size"]), store)


def _excerpt(ledger: Ledger, brand: Brand) -> dict[str, Any]:
    """What the ledger says of the brand. Of its API keys only what is no secret: the ledger has no more."""
    documents: dict[str, Any] = {"ledger/snapshots.json": _dumped(ledger.snapshots(brand.name))}
    keys = ledger.keys(brand.name)
    documents["ledger/keys.json"] = _dumped(keys, exclude={"hash"})
    for key in brand.model_keys:
        documents[f"ledger/versions-{key.model}.json"] = [
            {"number": one.number, "stage": str(one.stage), "record": one.record.model_dump(mode="json")} for one in ledger.versions(key)
        ]
        documents[f"ledger/runs-{key.model}.json"] = _dumped(_all(ledger.runs(key, MOST), brand.name))
        documents[f"ledger/stages-{key.model}.json"] = _dumped(_all(ledger.stage_events(key, limit=MOST), brand.name))
    for kind in EntryKind:
        documents[f"ledger/entries-{kind}.json"] = _dumped(_all(ledger.entries(kind, brand.name, limit=MOST), brand.name))
    return documents


def _all(found: list[Any], brand: str) -> list[Any]:
    if len(found) >= MOST:
        raise FarewellError(f"{brand}: the ledger holds {MOST} records or more of one kind; export it from the database itself")
    return found


def _dumped(records: Collection[Any], exclude: set[str] | None = None) -> list[Any]:
    return [record.model_dump(mode="json", exclude=exclude) for record in records]


def _served(ledger: Ledger, brand: Brand) -> tuple[Version, ...]:
    return tuple(version for version in ledger.deployed_versions(brand.model_keys) if version.key.brand == brand.name)


def _as_json(document: Any) -> bytes:
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False).encode()


def _add(archive: tarfile.TarFile, part: Part, now: datetime) -> str:
    with part.open() as file:
        hashing = _Hashing(file)
        try:
            archive.addfile(_member(part.name, part.size_bytes, now), hashing)
        except OSError as error:
            raise FarewellError(f"{part.name} became shorter while it was copied; stop what writes it, and export again") from error
        if file.read(1):
            raise FarewellError(f"{part.name} grew while it was copied; stop what writes it, and export again")
    return hashing.sha256


def _add_bytes(archive: tarfile.TarFile, name: str, data: bytes, now: datetime) -> str:
    archive.addfile(_member(name, len(data), now), io.BytesIO(data))
    return hashlib.sha256(data).hexdigest()


def _member(name: str, size: int, now: datetime) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = size, 0o600, int(now.timestamp())
    return member


class _Hashing:
    """A file whose bytes are hashed as they are read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hash = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """Read on."""
        data = self._file.read(size)
        self._hash.update(data)
        return data

    @property
    def sha256(self) -> str:
        """Of all that was read."""
        return self._hash.hexdigest()


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        hashing = _Hashing(file)
        while hashing.read(_CHUNK):
            pass
    return hashing.sha256
