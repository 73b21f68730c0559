"""A dataset's snapshot, brought in and recorded in the ledger, once."""

from datetime import UTC, datetime

from brandhouse_flows.data_project import DataProject, Snapshot
from brandhouse_flows.datasets import read_table
from brandhouse_shared.brands import Brand
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import SnapshotRecord
from brandhouse_shared.settings import Settings


def take_snapshot(settings: Settings, brand: Brand, dataset: str, ledger: Ledger, *, accept_new: bool = False) -> Snapshot:
    """Bring one dataset in and record its snapshot, once.

    Raises:
        DatasetError: If the source is missing or its bytes are not those the pointer names.
        RetryableError: If the brand's data project is locked, or the disk is full.
    """
    snapshot = DataProject(brand, settings).import_source(dataset, accept_new=accept_new)
    record_snapshot(ledger, brand, snapshot)
    return snapshot


def record_snapshot(ledger: Ledger, brand: Brand, snapshot: Snapshot, *, source: str = "", rows: int | None = None) -> None:
    """Record a snapshot, once.

    Args:
        ledger: Where.
        brand: Whose.
        snapshot: What came.
        source: Where the bytes came from, without credentials. By default what the brand declares.
        rows: Its rows, where they are known already; else they are counted.
    """
    known = {(record.dataset, record.hash_md5) for record in ledger.snapshots(brand.name)}
    if (snapshot.dataset, snapshot.hash_md5) in known:
        return
    declared = brand.config.datasets[snapshot.dataset]
    ledger.record_snapshot(
        SnapshotRecord(
            brand=brand.name,
            dataset=snapshot.dataset,
            file=snapshot.file,
            hash_md5=snapshot.hash_md5,
            size_bytes=snapshot.size_bytes,
            rows=len(read_table(declared, snapshot.path)) if rows is None else rows,
            source=source or str(declared.source.model_dump(mode="json")),
            recorded_at=datetime.now(UTC),
        )
    )
