"""The commands for what happens after a deployment. Declarations only; the work is in modules of their own."""

import typer


def add_to(app: typer.Typer) -> None:
    """Declare the commands."""
