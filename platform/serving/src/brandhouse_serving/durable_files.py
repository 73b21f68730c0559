"""Writing that survives a kill and a power cut: a file is as before, or as wanted, and never in between."""

import os
from pathlib import Path

PRIVATE_FOLDER = 0o700
PRIVATE_FILE = 0o600


def append_durably(path: Path, data: bytes) -> None:
    """Append lines and flush them to disk. On a failure the file is as before.

    The caller holds the file's lock. A last line that an earlier kill has torn is cut off first: the new lines would
    otherwise become part of it.
    """
    make_private_folder(path.parent)
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, PRIVATE_FILE)
    try:
        size = _cut_torn_line(handle)
        try:
            write_all(handle, data)
            os.fdatasync(handle)
        except OSError:
            os.ftruncate(handle, size)
            raise
    finally:
        os.close(handle)


def write_durably(path: Path, data: bytes) -> None:
    """Write or replace a whole file."""
    draft = draft_of(path)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE_FILE)
    try:
        write_all(handle, data)
    finally:
        os.close(handle)
    put_in_place(draft, path)


def draft_of(path: Path) -> Path:
    """Where the next content of a file is written before it takes the file's place. Hidden from whoever lists the folder."""
    return path.with_name(f".{path.name}.draft")


def put_in_place(draft: Path, path: Path) -> None:
    """Let a finished draft become the file, at once and for good."""
    sync(draft)
    draft.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Flush a file, or the names in a folder, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_all(handle: int, data: bytes) -> None:
    """Write to an open file until all is written: the system may take less at a time."""
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def make_private_folder(path: Path) -> None:
    """Make a folder, and those above it that are missing, for the owner only."""
    if not path.is_dir():
        make_private_folder(path.parent)
        path.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)


def _cut_torn_line(handle: int) -> int:
    """Return the size up to the end of the last whole line, to which the file is cut."""
    size = os.fstat(handle).st_size
    end = size
    while end and not (block := os.pread(handle, 1, end - 1)).endswith(b"\n"):
        end -= len(block)
    if end < size:
        os.ftruncate(handle, end)
    return end
