"""The `cost` flow: measures what serving and files of all brands use, and tells those brands of their budgets that only the log hears."""

from datetime import UTC, datetime
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed

from brandhouse_aftercare.alerting import tell
from brandhouse_aftercare.cost_measuring import measure
from brandhouse_aftercare.cost_report import budget_signals
from brandhouse_shared.brands import discover_brands
from brandhouse_shared.ledger import open_ledger
from brandhouse_shared.settings import load_settings


@flow(name="cost")
def measure_cost() -> State[Any]:
    """Measure what serving and files of all brands used since the last time."""
    settings = load_settings()
    ledger = open_ledger(settings.ledger_url.get_secret_value())
    brands, broken = discover_brands(settings.brands_dir)
    now = datetime.now(UTC)
    entries = measure(settings, ledger, brands, now, actor=settings.actor)
    for brand in brands:
        # A brand with routes is told by its own hourly flow: this one has no brand's secrets.
        if not brand.config.alerts.routes:
            tell(ledger, brand, budget_signals(ledger, brand, now), now=now)
    get_run_logger().info(f"{len(entries)} entries for {len(brands)} brands")
    if broken:
        return Failed(name="PartlyMeasured", message=f"not measured: {', '.join(error.brand for error in broken)}; see `brandhouse check`")
    return Completed(name="Measured", message=f"{len(brands)} brands")
