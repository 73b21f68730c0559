"""Commands around a brand's data: names and options. What they do is in the module each imports."""

import typer


def add_to(app: typer.Typer) -> None:
    """Add the commands to the `brandhouse` command."""
