"""The `ingest` flow: the intake of one brand under Prefect."""

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed

from brandhouse_flows.intake import ingest
from brandhouse_flows.prefect_steps import RETRYABLE_FAILURE, run_as_task
from brandhouse_shared.brands import find_brand
from brandhouse_shared.errors import RetryableError
from brandhouse_shared.ledger import open_ledger
from brandhouse_shared.settings import load_settings


@flow(name="ingest", flow_run_name="{brand}")
def ingest_brand(brand: str, accept_new: bool = False) -> State[Any]:
    """Bring all datasets of one brand in.

    Args:
        brand: Name of a folder below `brands/`.
        accept_new: Take bytes that differ from the pointer as a new snapshot.
    """
    settings = load_settings()
    ledger = open_ledger(settings.ledger_url.get_secret_value())
    try:
        ingested = ingest(settings, find_brand(settings.brands_dir, brand), ledger, run_as_task, accept_new=accept_new)
    except RetryableError as error:
        return Failed(name=RETRYABLE_FAILURE, message=str(error))
    detail = "; ".join(f"{item.snapshot.file} {item.snapshot.hash_md5[:12]}" for item in ingested)
    get_run_logger().info(detail)
    return Completed(name="Ingested", message=detail)
