"""Sources that are on this machine: a file that an installed package carries, or a file.

All others are asked by `pulling`. A package is located, never imported: importing would run its code and cost seconds.
"""

import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path, PurePosixPath

from brandhouse_shared.brands import Brand
from brandhouse_shared.declarations import FileSource, PackageSource, Source
from brandhouse_shared.errors import DatasetError


def is_on_this_machine(source: Source) -> bool:
    """Whether a source's bytes lie here, to be compared with the pointer whenever they are needed."""
    return isinstance(source, PackageSource | FileSource)


def find_source(brand: Brand, dataset: str) -> Path:
    """Return the file that a dataset of the brand is taken from; it exists and is not empty.

    Raises:
        DatasetError: If it is missing, empty, outside the package, inside another brand's folder, or not on this machine.
    """
    source = brand.config.datasets[dataset].source
    subject = f"{brand.name}/{dataset}"
    if not isinstance(source, PackageSource | FileSource):
        raise DatasetError(f"{subject}: its source is no file on this machine, but {source.kind}; `brandhouse ingest` brings it in")
    path = _in_package(brand, subject, source) if isinstance(source, PackageSource) else _on_disk(brand, subject, source)
    if path.stat().st_size == 0:
        raise DatasetError(f"{subject}: the source {source.path} is empty; restore the file")
    return path


def _in_package(brand: Brand, subject: str, source: PackageSource) -> Path:
    if not source.package.isidentifier():
        raise DatasetError(f"{subject}: {source.package[:80]!r} is no package; allowed: a top-level import name, such as dmba")
    if source.package.startswith(("brand_", "brandhouse_")) and source.package != f"brand_{brand.name}":
        raise DatasetError(f"{subject}: the source is package {source.package}; a brand may not read another brand or the platform")
    inside = PurePosixPath(source.path)
    if inside.is_absolute() or ".." in inside.parts:
        raise DatasetError(f"{subject}: {source.path!r} leaves package {source.package}; allowed: a path inside it, without ..")
    for folder in _package_folders(subject, source.package):
        path = (folder / inside).resolve()
        if path.is_file() and path.is_relative_to(folder.resolve()):
            return path
    raise DatasetError(f"{subject}: package {source.package} has no file {source.path!r}; compare its version with the lock")


def _package_folders(subject: str, package: str) -> list[Path]:
    try:
        spec: ModuleSpec | None = importlib.util.find_spec(package)
    except ValueError:  # a module without a spec, such as __main__
        spec = None
    if spec is None or spec.submodule_search_locations is None:
        raise DatasetError(
            f"{subject}: package {package} is not installed; add it to the brand's pyproject.toml and install the workspace's environment"
        )
    return [Path(location) for location in spec.submodule_search_locations]


def _on_disk(brand: Brand, subject: str, source: FileSource) -> Path:
    path = (brand.folder / source.path).resolve()
    if path.is_relative_to(brand.folder.parent.resolve()) and not path.is_relative_to(brand.folder.resolve()):
        raise DatasetError(f"{subject}: the source {source.path} lies in another brand's folder; a brand reads only its own")
    if not path.is_file():
        raise DatasetError(f"{subject}: the source {source.path} does not exist; relative paths start at the brand's folder")
    return path
