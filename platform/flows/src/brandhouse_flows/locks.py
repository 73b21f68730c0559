"""One training of a model at a time on this machine.

A kernel lock, so that it ends with its process, however that ends.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from brandhouse_shared.errors import AlreadyRunningError
from brandhouse_shared.names import ModelKey


@contextmanager
def training_lock(home: Path, key: ModelKey) -> Iterator[None]:
    """Hold the lock of one model.

    Raises:
        AlreadyRunningError: If another process holds it.
    """
    folder = home / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{key.dotted}.lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise AlreadyRunningError(key, file.read(40).strip() or "another process") from None
        file.truncate(0)
        file.write(f"process {os.getpid()}\n")
        file.flush()
        yield
