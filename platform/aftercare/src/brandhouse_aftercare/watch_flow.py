"""The `watch` flow: did all monitors of the house run? Once an hour, for all brands, from the ledger alone."""

from datetime import UTC, datetime
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State as RunState
from prefect.context import FlowRunContext
from prefect.logging import get_run_logger
from prefect.states import Completed

from brandhouse_aftercare.checks import State
from brandhouse_aftercare.dead_man import tell_missed, watch_the_watch
from brandhouse_shared.brands import discover_brands
from brandhouse_shared.ledger import open_ledger
from brandhouse_shared.settings import load_settings


@flow(name="watch")
def watch_monitors() -> RunState[Any]:
    """See that every check of every deployed model ran when it should have; no brand's code is run."""
    settings, now = load_settings(), datetime.now(UTC)
    run = FlowRunContext.get()
    run_id = str(run.flow_run.id) if run and run.flow_run else None
    brands, _ = discover_brands(settings.brands_dir)
    with open_ledger(settings.ledger_url.get_secret_value()) as ledger:
        entries = watch_the_watch(ledger, brands, now, run_id=run_id)
        tell_missed(ledger, brands, entries, now, run_id=run_id)
    red = [f"{entry.brand}/{entry.model}: {entry.detail}" for entry in entries if entry.state == State.RED]
    for line in red:
        get_run_logger().warning(line)
    if red:
        return Completed(name="Red", message="; ".join(red)[:1000])
    return Completed(name="AllRan", message=f"monitors of {len(entries)} deployed models ran")
