"""Which runbook page says what to do about a check."""

INDEX = "index"

PAGES = {
    # Families of rules of Prometheus are here, too.
    "alerts": "alerts",
    "approval": "approval-waiting",
    "budget": "budget",
    "canary": "canary-stopped",
    "fallback": "fallback",
    "gateway": "gateway",
    "monitoring": "check-red",
    "drill": "drill-failed",
    "retrain": "retrain-refused",
    "trial": "canary-stopped",
    "data_quality": "data-quality",
    "drift": "drift",
    "log": "data-quality",
    "prediction_drift": "drift",
    "volume": "silence",
    "estimated_quality": "quality-dropped",
    "labels": "quality-dropped",
    "monitor_runs": "monitor-silent",
    "quality": "quality-dropped",
    "skew": "skew",
    "staleness": "stale-model",
    "traffic": "silence",
}
"""The first part of a check's name, up to a dot, to a page of docs/runbooks without its ending."""


def runbook_page(check: str) -> str:
    """Name of the page for a check, without its ending; the index for one that has none of its own."""
    return PAGES.get(check.partition(".")[0], INDEX)


def runbook_place(check: str, runbooks_url: str | None) -> str:
    """Where the page is: an address, if the house serves its docs, or else the file in the repository."""
    page = runbook_page(check)
    return f"docs/runbooks/{page}.md" if runbooks_url is None else f"{runbooks_url.rstrip('/')}/{page}.html"
