"""A folder beside the brands in which one is made or tried, that nothing takes for a brand and that never outlives its process.

The brand lies one level deeper than brands are looked for. A lock on the folder ends with the process that made it, however
it ends; so the next command that needs such a folder knows which ones are abandoned, and removes them with all they noted.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path

from brandhouse_flows.content import exclusive
from brandhouse_shared.settings import Settings

PREFIX = ".unfinished-"

_JOURNAL = "undo.json"
_STATE_FOLDERS = ("cache/dvc", "remotes", "imports", "snapshots", "arrivals")
"""Below the platform's home: where the data of a brand lie."""


@contextmanager
def unfinished_folder(settings: Settings, name: str, *, is_new: bool) -> Iterator[Path]:
    """Yield an empty folder named like the brand; what is left of it afterwards is removed.

    Args:
        settings: Of this process.
        name: The brand's.
        is_new: Whether the brand is being made: unless it exists at the end, what it put into its cache and remote is removed too.
    """
    remove_abandoned(settings)
    place, descriptor = _make_place(settings)
    try:
        absent = [str(path) for path in _state_of(settings, name) if not path.exists()] if is_new else []
        (place / _JOURNAL).write_text(json.dumps({"brand": name, "remove": absent}), encoding="utf-8")
        folder = place / name
        folder.mkdir()
        yield folder
    finally:
        _undo(settings, place)
        os.close(descriptor)


def remove_abandoned(settings: Settings) -> None:
    """Remove the folders whose process is gone, and what they noted."""
    for place in sorted(settings.brands_dir.glob(f"{PREFIX}*")):
        with _nobody_cleans(settings):
            descriptor = _lock_abandoned(place)
        if descriptor is not None:
            try:
                _undo(settings, place)
            finally:
                os.close(descriptor)


def _make_place(settings: Settings) -> tuple[Path, int]:
    with _nobody_cleans(settings):
        place = Path(tempfile.mkdtemp(prefix=PREFIX, dir=settings.brands_dir))
        descriptor = os.open(place, os.O_RDONLY)
        flock(descriptor, LOCK_EX)
    return place, descriptor


def _nobody_cleans(settings: Settings) -> AbstractContextManager[None]:
    """Keep a folder from being taken for abandoned between its making and its locking."""
    return exclusive(settings.home / "locks" / "unfinished.lock", wait_seconds=10)


def _lock_abandoned(place: Path) -> int | None:
    """Hold the lock of a folder that nobody works in; None if somebody does, or it is gone."""
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return None
    try:
        flock(descriptor, LOCK_EX | LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _undo(settings: Settings, place: Path) -> None:
    """Remove the folder, and the data noted there unless the brand exists now."""
    name, noted = _read_journal(place)
    if name is not None and not (settings.brands_dir / name).exists():
        own = {str(path) for path in _state_of(settings, name)}  # whatever the journal says, nothing else is removed
        for path in own.intersection(noted):
            shutil.rmtree(path, ignore_errors=True)
    shutil.rmtree(place, ignore_errors=True)


def _read_journal(place: Path) -> tuple[str | None, Iterable[str]]:
    try:
        journal = json.loads((place / _JOURNAL).read_text(encoding="utf-8"))
        return str(journal["brand"]), [str(path) for path in journal["remove"]]
    except (OSError, ValueError, KeyError, TypeError):  # killed before it was written: no data had been touched
        return None, []


def _state_of(settings: Settings, name: str) -> list[Path]:
    return [settings.home / folder / name for folder in _STATE_FOLDERS]
