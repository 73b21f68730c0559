"""The `monitor` flow: all checks of one model under Prefect, with what they found as artifacts, events and alerts."""

from datetime import UTC, datetime
from typing import Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State as RunState
from prefect.context import FlowRunContext
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed

from brandhouse_aftercare.checks import Finding, State
from brandhouse_aftercare.monitor_plots import draw_monitor
from brandhouse_aftercare.monitoring import MonitorReport, run_monitor
from brandhouse_aftercare.telling import tell_findings
from brandhouse_flows.plots import Plot
from brandhouse_flows.prefect_steps import RETRYABLE_FAILURE, run_as_task
from brandhouse_flows.run_urls import url_of_run
from brandhouse_flows.run_usage import metered
from brandhouse_shared.brands import Brand, find_brand
from brandhouse_shared.errors import RetryableError
from brandhouse_shared.ledger import open_ledger
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import Entry
from brandhouse_shared.names import ModelKey
from brandhouse_shared.settings import load_settings

SIGNS = {State.RED: "🔴", State.GREEN: "🟢", State.UNKNOWN: "⚪", State.NOT_APPLICABLE: "➖"}


@flow(name="monitor", flow_run_name="{brand}/{model}")
def monitor_model(brand: str, model: str) -> RunState[Any]:
    """Look at one model after its deployment.

    A red finding is no failed run: the state's name says what was found. A run fails if the looking itself does.

    Args:
        brand: Name of a folder below `brands/`.
        model: Name of a model in its `brand.toml`.
    """
    settings, now = load_settings(), datetime.now(UTC)
    run = FlowRunContext.get()
    run_id = str(run.flow_run.id) if run and run.flow_run else "unknown"
    declared = find_brand(settings.brands_dir, brand)
    with (
        open_ledger(settings.ledger_url.get_secret_value()) as ledger,
        metered(ledger, ModelKey(brand, model), "monitor", run_id, settings.actor),
    ):
        try:
            report = run_as_task("look", lambda: run_monitor(settings, ledger, declared, model, now, run_id=run_id))
            run_as_task("publish", publish_report, report)
            run_as_task("tell", _tell, ledger, declared, report, run_id)
        except RetryableError as error:
            return Failed(name=RETRYABLE_FAILURE, message=str(error))
    message = summarise(report)
    get_run_logger().info(message)
    return Completed(name=str(report.worst).replace("_", " ").title().replace(" ", ""), message=message)


def _tell(ledger: Ledger, brand: Brand, report: MonitorReport, run_id: str) -> list[Entry]:
    return tell_findings(ledger, brand, report, run_id=run_id, link=url_of_run(run_id))


def publish_report(report: MonitorReport) -> None:
    """Create the artifact of one run; its key is the model's, so that all runs of a model are its history."""
    key = f"{report.key.brand}-{report.key.model}-monitor".replace("_", "-")
    create_markdown_artifact(key=key, markdown=as_markdown(report), description=summarise(report))


def summarise(report: MonitorReport) -> str:
    """One line: the red checks if there are any, else how many are green."""
    if report.red:
        return "; ".join(f"{finding.name}: {finding.detail}" for finding in report.red)
    counts = {state: sum(finding.state is state for finding in report.findings) for state in State}
    return ", ".join(f"{count} {str(state).replace('_', ' ')}" for state, count in counts.items() if count)


def as_markdown(report: MonitorReport) -> str:
    """The findings as a table, and their pictures."""
    version = "no version in production" if report.number is None else f"v{report.number}"
    head = [f"# {report.key} ({version})", "", f"Looked at {report.now:%Y-%m-%d %H:%M} UTC.", ""]
    table = ["| | check | value | limit | rows | |", "|---|---|---|---|---|---|", *(_line(finding) for finding in report.findings)]
    pictures = [line for plot in draw_monitor(report.findings) for line in _picture(plot)]
    return "\n".join([*head, *table, *pictures, ""])


def _picture(plot: Plot) -> tuple[str, ...]:
    return "", f"## {plot.title}", "", f"![{plot.caption}]({plot.data_uri})", "", plot.caption


def _line(finding: Finding) -> str:
    cells = [SIGNS[finding.state], finding.name, _number(finding.value), _number(finding.limit), _number(finding.rows), finding.detail]
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
