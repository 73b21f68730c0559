"""The `alerts` flow: looks at one brand's budget and sends what waits. It runs as the brand: only then its secrets are there."""

from datetime import UTC, datetime
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed

from brandhouse_aftercare.alert_signals import AlertState
from brandhouse_aftercare.alerting import tell
from brandhouse_aftercare.cost_report import budget_signals
from brandhouse_shared.brands import find_brand
from brandhouse_shared.ledger import open_ledger
from brandhouse_shared.settings import load_settings


@flow(name="alerts", flow_run_name="{brand}")
def send_alerts(brand: str) -> State[Any]:
    """Tell a brand of its budget, and what it was not told yet: what waited for the end of a silence, for a group or for a route.

    Args:
        brand: Name of a folder below `brands/`.
    """
    settings = load_settings()
    run = FlowRunContext.get()
    run_id = str(run.flow_run.id) if run and run.flow_run else None
    ledger = open_ledger(settings.ledger_url.get_secret_value())
    declared, now = find_brand(settings.brands_dir, brand), datetime.now(UTC)
    entries = tell(ledger, declared, budget_signals(ledger, declared, now), now=now, run_id=run_id)
    outcomes = [entry for entry in entries if entry.state in (AlertState.SENT, AlertState.FAILED, AlertState.GIVEN_UP)]
    for entry in outcomes:
        get_run_logger().info(f"{entry.model} {entry.name}: {entry.state}")
    undelivered = [entry for entry in outcomes if entry.state != AlertState.SENT]
    if undelivered:
        return Failed(
            name="NotDelivered", message=f"{len(undelivered)} of {len(outcomes)} alerts were not taken; see docs/runbooks/alerts.md"
        )
    return Completed(name="Sent" if outcomes else "NothingToSend", message=f"{len(outcomes)} alerts sent")
