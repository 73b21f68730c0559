"""The `retrain` flow: the decision about a retraining, and the training that may follow, under Prefect."""

from datetime import UTC, datetime
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed

from brandhouse_aftercare.retrain_run import retrain
from brandhouse_aftercare.retraining_facts import check_trigger
from brandhouse_flows.planning import plan_training
from brandhouse_flows.prefect_steps import RETRYABLE_FAILURE, run_as_task
from brandhouse_flows.publishing import publish_outcome
from brandhouse_flows.run_urls import url_of_run
from brandhouse_flows.training import STATE_NAMES
from brandhouse_shared.artifacts import load_artifact_store
from brandhouse_shared.errors import RetryableError
from brandhouse_shared.ledger import open_ledger
from brandhouse_shared.names import ModelKey
from brandhouse_shared.settings import load_settings

DECIDED = {"wait": "Waits", "skip": "Skipped"}


@flow(name="retrain", flow_run_name="{brand}/{model}")
def retrain_model(brand: str, model: str, trigger: str = "schedule", reason: str = "its schedule") -> State[Any]:
    """Decide whether a model is trained again, and train it.

    Args:
        brand: Name of a folder below `brands/`.
        model: Name of a model in its `brand.toml`.
        trigger: What asks: schedule, snapshot, drift, quality, staleness, erasure or hand.
        reason: Why, for people.
    """
    settings = load_settings()
    run = FlowRunContext.get()
    run_id = str(run.flow_run.id) if run and run.flow_run else "unknown"
    plan = plan_training(settings, ModelKey(brand, model), run_id, url_of_run(run_id))
    ledger, store = open_ledger(settings.ledger_url.get_secret_value()), load_artifact_store(settings)
    asked = check_trigger(trigger)
    try:
        done = retrain(plan, ledger, store, run_as_task, trigger=asked, reason=reason, now=datetime.now(UTC))
    except RetryableError as error:
        return Failed(name=RETRYABLE_FAILURE, message=str(error))
    get_run_logger().info(done.detail)
    if done.outcome is None:
        return Completed(name=DECIDED[done.decision.action], message=done.decision.reason)
    publish_outcome(plan, done.outcome)
    return Completed(name=STATE_NAMES[done.outcome.kind], message=done.outcome.detail)
