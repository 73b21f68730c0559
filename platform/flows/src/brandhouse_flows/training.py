"""The `train` flow: the training template under Prefect, each step a task, its results as artifacts in the UI."""

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed

from brandhouse_flows.learning import train
from brandhouse_flows.planning import plan_training
from brandhouse_flows.prefect_steps import RETRYABLE_FAILURE, run_as_task
from brandhouse_flows.publishing import publish_outcome
from brandhouse_flows.run_urls import url_of_run
from brandhouse_shared.artifacts import load_artifact_store
from brandhouse_shared.errors import RetryableError
from brandhouse_shared.ledger import open_ledger
from brandhouse_shared.names import ModelKey
from brandhouse_shared.settings import load_settings

STATE_NAMES = {"registered": "Registered", "gates_failed": "GatesFailed", "unchanged": "Unchanged"}


@flow(name="train", flow_run_name="{brand}/{model}")
def train_model(brand: str, model: str, force: bool = False) -> State[Any]:
    """Train, gate and register one model of one brand.

    Args:
        brand: Name of a folder below `brands/`.
        model: Name of a model in its `brand.toml`.
        force: Train although nothing changed since a registered version.
    """
    settings = load_settings()
    run = FlowRunContext.get()
    run_id = str(run.flow_run.id) if run and run.flow_run else "unknown"
    plan = plan_training(settings, ModelKey(brand, model), run_id, url_of_run(run_id))
    ledger = open_ledger(settings.ledger_url.get_secret_value())
    logger = get_run_logger()
    try:
        outcome = train(plan, ledger, load_artifact_store(settings), run_as_task, force=force)
    except RetryableError as error:
        return Failed(name=RETRYABLE_FAILURE, message=str(error))
    logger.info(outcome.detail)
    publish_outcome(plan, outcome)
    return Completed(name=STATE_NAMES[outcome.kind], message=outcome.detail)
