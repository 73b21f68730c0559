"""Bytes by their content: hash them, copy them whole or not at all, and let one process at a time do so.

Knows files only. What a brand's snapshots are and where they lie is in `data_project`.
"""

import errno
import fcntl
import hashlib
import os
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from brandhouse_shared.errors import DiskFullError

CHUNK_BYTES = 1 << 20
POLL_SECONDS = 0.02
FULL_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Device full, quota used up, or the file larger than this process may write: to the user all are "no space"."""
FULL_SQLITE_ERRORS = frozenset({"SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHMSIZE"})


def hash_file(path: Path) -> str:
    """MD5 of a file's bytes: the hash by which DVC addresses content. It finds damage; it is no defence against forgery."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def is_intact(path: Path, hash_md5: str) -> bool:
    """Whether `path` is a file that holds exactly the bytes of that hash."""
    return path.is_file() and hash_file(path) == hash_md5


def copy_whole(source: Path, target: Path) -> str:
    """Copy a file so that `target` holds all of it or is as it was; return the MD5 of what was copied.

    Raises:
        DiskFullError: If there is no space; nothing is left behind.
    """
    digest = hashlib.md5(usedforsecurity=False)

    def write(descriptor: int) -> None:
        with source.open("rb") as reader, os.fdopen(descriptor, "wb", closefd=False) as writer:
            while chunk := reader.read(CHUNK_BYTES):
                digest.update(chunk)
                writer.write(chunk)

    _replace(target, write)
    return digest.hexdigest()


def write_whole(target: Path, content: str | bytes) -> None:
    """Write a small file (a text in UTF-8) so that a reader sees the old or the new one.

    Raises:
        DiskFullError: If there is no space; nothing is left behind.
    """

    def write(descriptor: int) -> None:
        with os.fdopen(descriptor, "wb", closefd=False) as writer:
            writer.write(content.encode() if isinstance(content, str) else content)

    _replace(target, write)


def _replace(target: Path, write: Callable[[int], None]) -> None:
    with disk_full_named(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
        try:
            try:
                write(descriptor)
                os.fchmod(descriptor, 0o644)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


@contextmanager
def disk_full_named(path: Path) -> Iterator[None]:
    """Turn the ways to say "no space", of the operating system and of libraries that keep a SQLite file, into `DiskFullError`."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL_ERRNOS:
            raise DiskFullError(error.filename or path) from error
        raise
    except sqlite3.OperationalError as error:
        if error.sqlite_errorname in FULL_SQLITE_ERRORS:
            raise DiskFullError(path) from error
        raise


@contextmanager
def exclusive(lock_file: Path, wait_seconds: float) -> Iterator[None]:
    """Hold a lock between processes and threads of this machine; it ends with the process that holds it.

    Raises:
        TimeoutError: If it is still held elsewhere after `wait_seconds`.
        DiskFullError: If the lock file cannot be made.
    """
    with disk_full_named(lock_file):
        lock_file.parent.mkdir(parents=True, exist_ok=True)
        stream = lock_file.open("a")
    with stream:
        _wait_for(stream.fileno(), time.monotonic() + wait_seconds)
        yield  # closing the file releases the lock


def _wait_for(descriptor: int, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise TimeoutError from None
            time.sleep(POLL_SECONDS)
        else:
            return
