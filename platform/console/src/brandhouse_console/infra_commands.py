"""The commands of infrastructure: synth, plan, apply, drift, destroy. Declarations only; the work is in modules of their own."""

import typer


def add_to(app: typer.Typer) -> None:
    """Declare the commands."""
