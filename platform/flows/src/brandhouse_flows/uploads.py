"""Data that a person hands over: the file becomes the dataset's snapshot, for this machine and all others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from brandhouse_flows.arrivals import arriving_file
from brandhouse_flows.content import copy_whole
from brandhouse_flows.data_project import DataProject, Snapshot
from brandhouse_flows.datasets import read_table
from brandhouse_flows.snapshot_records import record_snapshot
from brandhouse_shared.brands import Brand
from brandhouse_shared.declarations import UploadSource
from brandhouse_shared.errors import DatasetError, join_bounded
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

PACKED = (".gz", ".bz2", ".xz", ".zip", ".zst")


def take_upload(
    settings: Settings,
    brand: Brand,
    dataset: str,
    path: Path,
    ledger: Ledger,
    accept: Callable[[Snapshot, pd.DataFrame], None] | None = None,
) -> Snapshot:
    """Make a file the dataset's snapshot: cache, remote, the brand's folder, pointer, ledger.

    The same bytes again change nothing. The file itself is only read.

    Args:
        settings: Of this process.
        brand: Whose data they are.
        dataset: One of its datasets, of source kind `upload`.
        path: The file handed over.
        ledger: Where the snapshot is recorded.
        accept: Looks at the bytes, and at the table they hold, before they are let in; raises if they must not.

    Raises:
        DatasetError: If the dataset takes no uploads, or the file is missing, empty, of another ending, or cannot be read.
        RetryableError: If the data project is locked, or the disk is full.
    """
    check_upload(brand, dataset, path)
    with arriving_file(settings, brand, dataset) as arrived:
        hash_md5 = copy_whole(path, arrived)
        table = read_table(brand.config.datasets[dataset], arrived)
        if accept is not None:
            file = brand.config.datasets[dataset].file
            accept(Snapshot(dataset, file, hash_md5, arrived.stat().st_size, arrived, changed=True), table)
        snapshot = DataProject(brand, settings).put(dataset, arrived)
    record_snapshot(ledger, brand, snapshot, source=f"upload of {path.name[:200]}", rows=len(table))
    return snapshot


def check_upload(brand: Brand, dataset: str, path: Path) -> None:
    """Refuse a file that cannot become the dataset's snapshot, before any work.

    Raises:
        DatasetError: If the dataset takes no uploads, or the file is missing, empty, or packed otherwise than declared.
    """
    subject = f"{brand.name}/{dataset}"
    declared = brand.config.datasets.get(dataset)
    if declared is None:
        raise DatasetError(f"{brand.name}: unknown dataset {dataset[:80]!r}; known: {join_bounded(brand.config.datasets)}")
    if not isinstance(declared.source, UploadSource):
        raise DatasetError(
            f"{subject}: its source is {declared.source.kind}, not a file handed over; to take files by hand, set "
            'source = { kind = "upload" } in brand.toml'
        )
    if not path.is_file():
        raise DatasetError(f"{subject}: {path} is no file")
    if path.stat().st_size == 0:
        raise DatasetError(f"{subject}: {path.name} is empty")
    if _packing(path.name) != _packing(declared.file):
        wanted = _packing(declared.file)
        allowed = f"packed as {wanted}" if wanted else "not packed"
        raise DatasetError(f"{subject}: {path.name} does not fit {declared.file}; allowed: a file that is {allowed}")


def _packing(name: str) -> str:
    ending = Path(name).suffix.lower()
    return ending if ending in PACKED else ""
