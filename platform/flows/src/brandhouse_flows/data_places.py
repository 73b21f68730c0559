"""Where DVC keeps an object, and what it means that one is not there: names of files and errors, without DVC itself."""

import sys
from pathlib import Path
from typing import Any

from brandhouse_flows.content import write_whole
from brandhouse_shared.errors import DatasetError


class SnapshotMissingError(DatasetError):
    """Neither cache nor remote holds a snapshot's bytes."""

    def __init__(self, subject: str, hash_md5: str) -> None:
        super().__init__(f"{subject}: no snapshot {hash_md5} in cache or remote; it was never imported, or the remote was emptied")


class SnapshotDamagedError(DatasetError):
    """What the remote holds under a snapshot's name are other bytes."""

    def __init__(self, subject: str, hash_md5: str) -> None:
        super().__init__(
            f"{subject}: the remote's copy of snapshot {hash_md5} is damaged and was not used; if the source "
            "still has these bytes, `brandhouse ingest` restores it, else restore a backup of the remote"
        )


def object_path(store: Path, hash_md5: str) -> Path:
    """Where DVC 3 keeps an object in a local cache or remote."""
    return store / "files" / "md5" / hash_md5[:2] / hash_md5[2:]


def file_state(path: Path) -> list[Any]:
    """What tells that a file is the one it was: path, size, time and inode."""
    info = path.stat()
    return [str(path), info.st_size, info.st_mtime_ns, info.st_ino]


def write_if_other(path: Path, text: str) -> None:
    """Write a small file unless it holds that text already."""
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_whole(path, text)


def network_errors() -> tuple[type[Exception], ...]:
    """What a remote raises that does not answer; the S3 client's errors are known only if a remote has loaded it."""
    s3 = sys.modules.get("botocore.exceptions")
    return (ConnectionError, TimeoutError, *([s3.BotoCoreError] if s3 else []))
