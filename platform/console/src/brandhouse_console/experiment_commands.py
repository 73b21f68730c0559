"""Commands about runs: list, compare, mirror. Names and options only; what they do is in the module each imports."""

from pathlib import Path
from typing import Annotated

import typer

from brandhouse_console.arguments import AsJson, ModelArgument, TargetArguments

mlflow_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="The mirror of runs on an MLflow server.")


def add_to(app: typer.Typer) -> None:
    """Add the commands to the `brandhouse` command."""
    app.command()(runs)
    app.add_typer(mlflow_app, name="mlflow")


def runs(
    model: ModelArgument,
    run: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RUN ...]", help="Runs to compare: v3, the start of a run's id, `production` or `newest`."),
    ] = None,
    compare: Annotated[bool, typer.Option("--compare", help="Compare the named runs; without names, the newest with production.")] = False,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a page with plots to this file.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Newest runs to list.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List a model's runs, newest first, or compare some: params, scores, slices, data, code, packages."""
    from brandhouse_console import experiments

    experiments.runs(model, run or [], compare=compare or bool(run), html=html, limit=limit, as_json=as_json)


@mlflow_app.command("sync")
def mlflow_sync(target: TargetArguments = None, as_json: AsJson = False) -> None:
    """Write to the MLflow server what it does not have yet; every run does this by itself, for its model."""
    from brandhouse_console import mirroring

    mirroring.sync(target or [], as_json=as_json)
