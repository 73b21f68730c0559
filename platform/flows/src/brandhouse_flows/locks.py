"""One training of a model at a time on this machine.

A kernel lock, so that it ends with its process, however that ends. The lock's file names the run that holds it; who
ends in order takes the name away, so that a name that is found there is that of a run whose process died.
"""

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from brandhouse_flows.content import disk_full_named
from brandhouse_shared.errors import AlreadyRunningError
from brandhouse_shared.names import ModelKey

_HOLDER = re.compile(r"^process \d+, run (\S+)$")


@contextmanager
def training_lock(home: Path, key: ModelKey, run_id: str, *, rehearsal: bool = False) -> Iterator[str | None]:
    """Hold the lock of one model.

    Args:
        home: Of the platform.
        key: The model.
        run_id: The run that holds it.
        rehearsal: Take the lock of the model's dry runs, another one: somebody's experiment keeps no scheduled training away.

    Yields:
        The run that held the lock before and never let go of it, because its process was killed; None if there is none.

    Raises:
        AlreadyRunningError: If another process holds it.
        DiskFullError: If the lock's file cannot be written.
    """
    path = home / "locks" / f"{key.dotted}{'.rehearsal' if rehearsal else ''}.lock"
    with disk_full_named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunningError(key, _read(file) or "by another process") from None
        abandoned = _HOLDER.match(_read(file))
        with disk_full_named(path):
            _write(file, f"process {os.getpid()}, run {run_id}")
        yield abandoned.group(1) if abandoned else None
        # Not in a `finally`: if even a failure could not be recorded, the next training does it.
        _write(file, "")


def training_under_way(home: Path, key: ModelKey) -> str:
    """Which run of this machine trains a model now, such as `process 12, run 3f0c`; empty: none."""
    try:
        with (home / "locks" / f"{key.dotted}.lock").open("r") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return _read(file) or "another process"
    except FileNotFoundError:
        pass
    return ""


def abandoned_training(home: Path, key: ModelKey) -> str | None:
    """The run that held a model's lock when its process was killed; None if the lock is held, or was let go in order."""
    if training_under_way(home, key):
        return None
    try:
        found = _HOLDER.match((home / "locks" / f"{key.dotted}.lock").read_text().strip())
    except FileNotFoundError:
        return None
    return found.group(1) if found else None


def _read(file: IO[str]) -> str:
    file.seek(0)
    return file.read(200).strip()


def _write(file: IO[str], text: str) -> None:
    file.truncate(0)
    file.write(text)
    file.flush()
