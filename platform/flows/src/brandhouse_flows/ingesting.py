"""The `ingest` flow: the intake of one brand under Prefect."""

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed

from brandhouse_flows.events import emit_snapshot
from brandhouse_flows.intake import Ingested, ingest
from brandhouse_flows.prefect_steps import RETRYABLE_FAILURE, run_as_task
from brandhouse_flows.snapshot_artifacts import publish_snapshot
from brandhouse_shared.brands import find_brand
from brandhouse_shared.errors import RetryableError
from brandhouse_shared.ledger import open_ledger
from brandhouse_shared.settings import load_settings


@flow(name="ingest", flow_run_name="{brand}")
def ingest_brand(brand: str, accept_new: bool = False, dataset: str = "") -> State[Any]:
    """Bring all datasets of one brand in, or one.

    Args:
        brand: Name of a folder below `brands/`.
        accept_new: Take bytes that differ from the pointer as a new snapshot.
        dataset: One of its datasets; empty: all.
    """
    settings = load_settings()
    ledger = open_ledger(settings.ledger_url.get_secret_value())
    try:
        declared = find_brand(settings.brands_dir, brand)
        known = {(record.dataset, record.hash_md5) for record in ledger.snapshots(brand)}
        ingested = ingest(settings, declared, ledger, run_as_task, accept_new=accept_new, dataset=dataset or None)
    except RetryableError as error:
        return Failed(name=RETRYABLE_FAILURE, message=str(error))
    detail = "; ".join(_say(item) for item in ingested)
    get_run_logger().info(detail)
    for item in ingested:
        publish_snapshot(settings, declared, item.snapshot, ledger)
    for record in ledger.snapshots(brand):
        if (record.dataset, record.hash_md5) not in known:
            emit_snapshot(brand, record.dataset, record.hash_md5, record.rows)
    return Completed(name="Ingested", message=detail)


def _say(item: Ingested) -> str:
    """One dataset in one line, with what is in quarantine and what a source had to say."""
    quarantined = [f"{model}: {count} rows in quarantine" for model, count in item.quarantined.items()]
    return ", ".join([f"{item.snapshot.file} {item.snapshot.hash_md5[:12]}", *quarantined, *item.notes])
