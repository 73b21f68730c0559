"""The `drill` flow: the rollback drill of one model under Prefect."""

from datetime import UTC, datetime
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed

from brandhouse_aftercare import drill
from brandhouse_flows.prefect_steps import RETRYABLE_FAILURE, run_as_task
from brandhouse_shared.brands import find_brand
from brandhouse_shared.errors import RetryableError
from brandhouse_shared.ledger import open_ledger
from brandhouse_shared.names import ModelKey
from brandhouse_shared.settings import load_settings

NAMES = {"green": "Practised", "unknown": "NotPractised", "not_applicable": "NothingToPractise"}


@flow(name="drill", flow_run_name="{brand}/{model}")
def rollback_drill(brand: str, model: str) -> State[Any]:
    """Practise the way back to the version before, without a user noticing.

    Args:
        brand: Name of a folder below `brands/`.
        model: Name of a model in its `brand.toml`.
    """
    settings = load_settings()
    run = FlowRunContext.get()
    run_id = str(run.flow_run.id) if run and run.flow_run else None
    ledger = open_ledger(settings.ledger_url.get_secret_value())
    declared = find_brand(settings.brands_dir, brand)
    key = ModelKey(brand, model)

    def practise() -> drill.Drill:
        return drill.rollback_drill(ledger, settings.home, declared, key, datetime.now(UTC), run_id=run_id)

    try:
        done = run_as_task("rollback drill", practise)
    except RetryableError as error:
        return Failed(name=RETRYABLE_FAILURE, message=str(error))
    get_run_logger().info(done.detail)
    return (
        Failed(name="DrillFailed", message=done.detail) if done.state == "red" else Completed(name=NAMES[done.state], message=done.detail)
    )
