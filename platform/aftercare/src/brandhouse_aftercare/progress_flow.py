"""The `progress` flow: moves retrained versions on, and starts the retrainings that are owed. One run for the whole house."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from prefect import flow, get_client
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed

from brandhouse_aftercare.house_progress import Progress, move_house_on
from brandhouse_aftercare.retrain_due import Due
from brandhouse_flows.deployment_specs import retrain_deployment
from brandhouse_shared.ledger import open_ledger
from brandhouse_shared.settings import load_settings


@flow(name="progress")
def move_on(only: str = "") -> State[Any]:
    """Move versions on trial on and begin retrainings that are owed.

    Args:
        only: Name of one brand; empty: all.
    """
    settings = load_settings()
    run = FlowRunContext.get()
    run_id = str(run.flow_run.id) if run and run.flow_run else None
    ledger = open_ledger(settings.ledger_url.get_secret_value())
    progress = move_house_on(settings, ledger, datetime.now(UTC), only=only, run_id=run_id)
    problems = [*progress.problems, *_start(progress.due)]
    logger = get_run_logger()
    for line in [*_said(progress), *problems]:
        logger.info(line)
    if problems:
        return Failed(name="PartlyMoved", message="; ".join(problems)[:1000])
    return Completed(name="Moved" if progress.moved or progress.due else "NothingToMove", message="; ".join(_said(progress))[:1000])


def _said(progress: Progress) -> list[str]:
    moved = [f"{one.version.key}: {one.step.state}: {one.step.reason}" for one in progress.moved]
    return [*moved, *(f"{one.key}: retraining is due: {one.reason}" for one in progress.due)]


def _start(due: Sequence[Due]) -> list[str]:
    """Start the retrain deployments, whose limit and decision see to it that nothing runs twice; return what could not be started."""
    problems = []
    with get_client(sync_client=True) as client:
        for one in due:
            try:
                deployment = client.read_deployment_by_name(retrain_deployment(one.key))
                client.create_flow_run_from_deployment(deployment.id, parameters={"trigger": one.trigger, "reason": one.reason[:500]})
            except ObjectNotFound:
                problems.append(f"{one.key}: a retraining is due, but it has no deployment; run `brandhouse register`")
    return problems
