"""The `train` flow: the training template under Prefect, each step a task, its results as artifacts in the UI."""

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed

from brandhouse_flows.learning import rehearse, train
from brandhouse_flows.planning import Plan, plan_training
from brandhouse_flows.prefect_steps import RETRYABLE_FAILURE, run_as_task
from brandhouse_flows.publishing import publish_outcome, publish_rehearsal
from brandhouse_flows.run_urls import url_of_run
from brandhouse_flows.wishes import read_wishes
from brandhouse_shared.artifacts import load_artifact_store
from brandhouse_shared.errors import RetryableError
from brandhouse_shared.ledger import open_ledger
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import RunOutcome
from brandhouse_shared.names import ModelKey
from brandhouse_shared.settings import load_settings

STATE_NAMES = {"registered": "Registered", "gates_failed": "GatesFailed", "unchanged": "Unchanged", "rehearsed": "Rehearsed"}


@flow(name="train", flow_run_name="{brand}/{model}")
def train_model(
    brand: str, model: str, force: bool = False, estimator: str = "", params: str = "", sample: str = "", dry_run: bool = False
) -> State[Any]:
    """Train, gate and register one model of one brand.

    Args:
        brand: Name of a folder below `brands/`.
        model: Name of a model in its `brand.toml`.
        force: Train although nothing changed since a registered version.
        estimator: Train this candidate of `brand.toml` only.
        params: Params instead of the declared ones, `name=value`, one a line.
        sample: Learn from this many rows, or this share of them; registers nothing.
        dry_run: Train and judge, and register nothing.
    """
    settings = load_settings()
    run = FlowRunContext.get()
    run_id = str(run.flow_run.id) if run and run.flow_run else "unknown"
    wishes = read_wishes([line for line in params.splitlines() if line.strip()], estimator, sample, dry=dry_run)
    plan = plan_training(settings, ModelKey(brand, model), run_id, url_of_run(run_id), wishes)
    ledger = open_ledger(settings.ledger_url.get_secret_value())
    logger = get_run_logger()
    try:
        kind, detail = _carry_out(plan, ledger, force)
    except RetryableError as error:
        return Failed(name=RETRYABLE_FAILURE, message=str(error))
    logger.info(detail)
    return Completed(name=STATE_NAMES[kind], message=detail)


def _carry_out(plan: Plan, ledger: Ledger, force: bool) -> tuple[RunOutcome, str]:
    store = load_artifact_store(plan.settings)
    if not plan.wishes.may_register:
        rehearsal = rehearse(plan, ledger, store, run_as_task)
        publish_rehearsal(plan, rehearsal)
        return "rehearsed", rehearsal.detail
    outcome = train(plan, ledger, store, run_as_task, force=force)
    publish_outcome(plan, outcome)
    return outcome.kind, outcome.detail
