"""Bytes on disk by brand, model and place. Files only: what lies in a store of objects is not seen."""

import os
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from brandhouse_flows.remotes import is_url, remote_address
from brandhouse_shared.brands import Brand
from brandhouse_shared.settings import Settings

BY_MODEL = ("predictions", "labels", "experiments", "trials")
"""Folders of the home with a folder for each brand, and in it one for each model."""

BY_BRAND = ("cache/dvc", "snapshots", "quarantine", "arrivals", "imports")
"""Folders of the home with a folder for each brand."""

ARTIFACTS = "bentoml"

SHARED = ""
"""Stands for what all models of a brand share."""

DiskUse = dict[str, dict[str, int]]
"""By model (`SHARED` for what they share) and by place: bytes."""


def disk_use(settings: Settings, brand: Brand) -> DiskUse:
    """Bytes that a brand's files take. Of a file with several names in one place one is counted."""
    sums: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for model, place, folder in _folders(settings, brand):
        sums[model][place] = sums[model].get(place, 0) + size_of(folder)
    return {model: {place: size for place, size in places.items() if size} for model, places in sums.items()}


def _folders(settings: Settings, brand: Brand) -> Iterator[tuple[str, str, Path]]:
    """Each folder with its model and the name of its place; every declared model is there, if only with nothing."""
    for model in brand.config.models:
        yield from ((model, place, settings.home / place / brand.name / model) for place in BY_MODEL)
        yield model, "artifacts", settings.home / ARTIFACTS / brand.name / "models" / f"{brand.name}.{model}"
    yield from ((SHARED, place, settings.home / place / brand.name) for place in BY_BRAND)
    remote = remote_address(brand, settings)
    if not is_url(remote):
        yield SHARED, "remote", Path(remote)


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder, or of a file; 0 if it is not there. Links lead nowhere."""
    seen: set[tuple[int, int]] = set()
    return sum(_sizes(folder, seen))


def _sizes(folder: Path, seen: set[tuple[int, int]]) -> Iterator[int]:
    # Files come and go meanwhile: what is gone takes no space.
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as found:
        for one in found:
            with suppress(FileNotFoundError):
                if one.is_dir(follow_symlinks=False):
                    yield from _sizes(Path(one.path), seen)
                elif one.is_file(follow_symlinks=False):
                    yield _once(one.stat(follow_symlinks=False), seen)


def _once(info: os.stat_result, seen: set[tuple[int, int]]) -> int:
    name = info.st_dev, info.st_ino
    if name in seen:
        return 0
    seen.add(name)
    return info.st_size
