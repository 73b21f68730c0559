"""Tell of a monitor's findings: alerts to whom the brand named, events to whatever waits for them on the Prefect server.

The ledger has the findings before anybody is told. An event that cannot be sent is no failure of the monitor: what it was
to start is found from the ledger (`retraining`).
"""

import logging

from brandhouse_aftercare.alert_signals import Signal
from brandhouse_aftercare.alerting import tell
from brandhouse_aftercare.checks import Finding, State
from brandhouse_aftercare.monitoring import MonitorReport
from brandhouse_flows.events import emit_check
from brandhouse_shared.brands import Brand
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import Entry

logger = logging.getLogger(__name__)


def tell_findings(
    ledger: Ledger, brand: Brand, report: MonitorReport, *, run_id: str | None = None, link: str | None = None
) -> list[Entry]:
    """Tell of all red and green findings of one run.

    Args:
        ledger: Where it is recorded who was told.
        brand: Whose model it is.
        report: The run's.
        run_id: Of the flow run.
        link: Address of the flow run's page.

    Returns:
        What the alerts recorded.
    """
    for finding in (*report.red, *report.recovered):
        _emit(report, finding)
    signals = [_signal(report, finding, link) for finding in report.findings if finding.state in (State.RED, State.GREEN)]
    return tell(ledger, brand, signals, now=report.now, run_id=run_id)


def _emit(report: MonitorReport, finding: Finding) -> None:
    import httpx

    key, state = report.key, str(finding.state)
    try:
        emit_check(key.brand, key.model, finding.name, state=state, detail=finding.detail, value=finding.value, limit=finding.limit)
    except (httpx.HTTPError, OSError) as error:  # the server is gone: the ledger has it
        logger.warning("%s: the event of %s could not be sent: %s", key, finding.name, type(error).__name__)


def _signal(report: MonitorReport, finding: Finding, link: str | None) -> Signal:
    return Signal(
        check=finding.name,
        state="red" if finding.state is State.RED else "green",
        detail=finding.detail,
        model=report.key.model,
        number=report.number,
        value=finding.value,
        limit=finding.limit,
        link=link,
    )
