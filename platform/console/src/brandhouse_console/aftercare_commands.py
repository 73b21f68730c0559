"""The commands of after deployment: monitor, replay, lineage, forget, readiness, cost, dashboards. Declarations only; the work is in modules of their own."""

import typer


def add_to(app: typer.Typer) -> None:
    """Declare the commands."""
