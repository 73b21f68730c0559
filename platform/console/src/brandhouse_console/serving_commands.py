"""Commands around serving: what each is called and takes. What it does is in the module it imports when it is run."""

from pathlib import Path
from typing import Annotated

import typer

from brandhouse_console.arguments import AsJson, ModelArgument, TargetArguments


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("bento")(bento)
    app.command("score")(score)
    app.command("isolation")(isolation)
    app.command("trial")(trial)


def bento(
    target: ModelArgument,
    version: Annotated[str | None, typer.Option("--version", help="Such as v3. Default: the one in production.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", help="Also write it, with its model, into this file; it ends in .bento.", dir_okay=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Build a Bento of a version: a folder that `bentoml serve` and `bentoml containerize` take, without the platform."""
    from brandhouse_console import bentos

    bentos.bento(target, version=version, output=output, as_json=as_json)


def score(
    target: ModelArgument,
    source: Annotated[Path, typer.Option("--input", help="File to score: .csv (also .gz, .bz2) or .parquet.", dir_okay=False)],
    output: Annotated[Path, typer.Option("--output", help="File to write; its ending says how.", dir_okay=False)],
    version: Annotated[str | None, typer.Option("--version", help="Such as v3. Default: the one in production.")] = None,
    keep: Annotated[
        list[str] | None, typer.Option("--keep", metavar="COL", help="Column of the input to write; repeatable. Default: all.")
    ] = None,
    separator: Annotated[str | None, typer.Option("--separator", help="Of a CSV input. Default: the dataset's.")] = None,
    encoding: Annotated[str | None, typer.Option("--encoding", help="Of a CSV input. Default: the dataset's.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first row that gets no prediction.")] = False,
    restart: Annotated[bool, typer.Option("--restart", help="Forget what was begun under this output's name.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an output that exists.")] = False,
    chunk_rows: Annotated[int | None, typer.Option("--chunk-rows", min=1, help="Rows in memory at once. Default: as fits.")] = None,
    server: Annotated[bool, typer.Option("--server", help="Run through the Prefect server of `brandhouse up`.")] = False,
    as_json: AsJson = False,
) -> None:
    """Score a file with exactly the numbers of the API; the same command again goes on after a crash."""
    from brandhouse_console import scoring_command

    asked = scoring_command.Asked(version, tuple(keep or ()), separator, encoding, strict, restart, overwrite, chunk_rows)
    scoring_command.score(target, source=source, output=output, server=server, asked=asked, as_json=as_json)


def trial(
    target: TargetArguments = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page with plots to this file.", dir_okay=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what shadows and canaries have shown: requests, failures, slowness, disagreement, evidence, verdict."""
    from brandhouse_console import trials

    trials.trial(target or [], html=html, as_json=as_json)


def isolation(
    url: Annotated[str | None, typer.Option("--url", help="Try this running gateway instead of one of its own.")] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Where the report goes. Default: reports/ below the home.", dir_okay=False)
    ] = None,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="How often each kind of refusal is timed.")] = 500,
    as_json: AsJson = False,
) -> None:
    """Try every brand against every other on every surface of serving; exit 1 if anything was open or could not be tried."""
    from brandhouse_console import isolation as matrix

    matrix.isolation(url=url, html=html, rounds=rounds, as_json=as_json)
