"""Which of a gateway's processes this is, and the folder that they share while the gateway runs."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from brandhouse_serving.request_totals import claim, keep_totals

_PREFIX = "brandhouse-gateway-"
_IN_MEMORY = Path("/dev/shm")  # noqa: S108 - the folder made in it is this user's alone
_LOCK = "lock"


@dataclass(frozen=True, slots=True)
class WorkerPlace:
    """The place of one process in its gateway.

    Attributes:
        number: From 0; a process that is started for a dead one has its number.
        count: How many processes the gateway has. A limit of the whole gateway is divided by it.
        folder: The gateway's own folder; None: nothing is shared, as for a single answer without a gateway.
    """

    number: int = 0
    count: int = 1
    folder: Path | None = None


ALONE = WorkerPlace()


@contextlib.contextmanager
def gateway_folder(home: Path) -> Iterator[Path]:
    """A folder for as long as this gateway runs; what killed gateways left is removed first.

    It is in memory where the system has a place for that: what is counted in it must not wait for a disk.
    """
    parent = _IN_MEMORY if os.access(_IN_MEMORY, os.W_OK) else _made(home / "gateways")
    _sweep(parent)
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=parent))
    claim(folder, home)
    with _locked(folder):
        try:
            yield folder
        finally:
            keep_totals(folder, home)
            shutil.rmtree(folder, ignore_errors=True)


def running_gateways(home: Path) -> list[Path]:
    """Folders of the gateways of this machine, of whichever home; one may end meanwhile."""
    return [folder for parent in (_IN_MEMORY, home / "gateways") for folder in parent.glob(f"{_PREFIX}*")]


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock that says that the folder is in use; under its name only when it is held."""
    draft = folder / f"{_LOCK}.draft"
    descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        draft.rename(folder / _LOCK)
        yield
    finally:
        os.close(descriptor)


def _sweep(parent: Path) -> None:
    for folder in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if folder.stat().st_uid == os.getuid() and _is_abandoned(folder / _LOCK):
                shutil.rmtree(folder, ignore_errors=True)


def _is_abandoned(lock: Path) -> bool:
    descriptor = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
