"""Commands around a brand's data: names and options. What they do is in the module each imports."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from brandhouse_console.arguments import AsJson, BrandArgument, ModelArgument, complete_brand

DatasetArgument = Annotated[str, typer.Argument(metavar="BRAND[/DATASET]", autocompletion=complete_brand)]
HtmlFile = Annotated[Path | None, typer.Option("--html", help="Write a page to this file.", dir_okay=False)]
ShowUndeclared = Annotated[
    bool, typer.Option("--show-undeclared", help="Show values of columns that no model declares; else only counts. Never personal ones.")
]

WHICH = "Beginning of a hash, a version such as v3, current, previous or first."
SnapshotOption = Annotated[str, typer.Option("--snapshot", help=WHICH)]

data_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Snapshots of a brand's data: list, fetch, compare, describe.")


def add_to(app: typer.Typer) -> None:
    """Add the commands to the `brandhouse` command."""
    app.add_typer(data_app, name="data")
    app.command("label")(label)


@data_app.command("quarantine")
def data_quarantine(brand: BrandArgument, as_json: AsJson = False) -> None:
    """List the rows of the present snapshots that contradict an input schema: how many, why, and the file that holds them."""
    from brandhouse_console import ingestion

    ingestion.show_quarantine(brand, as_json=as_json)


@data_app.command("log")
def data_log(target: DatasetArgument, as_json: AsJson = False) -> None:
    """List snapshots, newest first: hash, rows, size, when, source, and the versions trained on each."""
    from brandhouse_console import snapshots

    snapshots.log(target, as_json=as_json)


@data_app.command("pull")
def data_pull(
    target: DatasetArgument,
    snapshot: SnapshotOption = "current",
    to: Annotated[Path | None, typer.Option("--to", help="Folder to copy it to. Default: print where it is kept.", file_okay=False)] = None,
) -> None:
    """Fetch a snapshot by its hash from the brand's cache or remote, verified, and print its path."""
    from brandhouse_console import snapshots

    snapshots.pull(target, snapshot=snapshot, to=to)


@data_app.command("diff")
def data_diff(
    target: DatasetArgument,
    before: Annotated[str, typer.Argument(metavar="A", help=WHICH)] = "previous",
    after: Annotated[str, typer.Argument(metavar="B", help="The same, of the newer one.")] = "current",
    key: Annotated[
        str | None, typer.Option("--key", help="Column that identifies a row. Default: one whose name and values say so.")
    ] = None,
    show_undeclared: ShowUndeclared = False,
    html: HtmlFile = None,
    as_json: AsJson = False,
) -> None:
    """Compare two snapshots: columns, rows, and the distribution of every column."""
    from brandhouse_console import snapshots

    snapshots.diff(target, before, after, key=key, show_undeclared=show_undeclared, as_json=as_json, html=html)


@data_app.command("report")
def data_report(
    target: DatasetArgument,
    snapshot: SnapshotOption = "current",
    show_undeclared: ShowUndeclared = False,
    html: HtmlFile = None,
    as_json: AsJson = False,
) -> None:
    """Describe the columns of a snapshot on one page; kept beside the snapshot unless --html says where."""
    from brandhouse_console import snapshots

    snapshots.report(target, snapshot=snapshot, show_undeclared=show_undeclared, html=html, as_json=as_json)


def label(
    model: ModelArgument,
    pick: Annotated[int | None, typer.Option("--pick", min=1, help="Pick this many rows worth labelling.")] = None,
    by: Annotated[
        Literal["uncertainty", "disagreement", "random"], typer.Option("--by", help="What makes a row worth it.")
    ] = "uncertainty",
    random_share: Annotated[
        float, typer.Option("--random-share", min=0, max=1, help="Share of the rows picked at random, so that quality can be estimated.")
    ] = 0.2,
    source: Annotated[
        Path | None, typer.Option("--from", help="Unlabelled table, in the dataset's format. Default: the prediction log.", dir_okay=False)
    ] = None,
    days: Annotated[int, typer.Option("--days", min=1, help="Days of the prediction log to look at.")] = 30,
    out: Annotated[Path | None, typer.Option("--out", help="CSV to write. Default: <brand>-<model>-labels.csv.", dir_okay=False)] = None,
    personal: Annotated[
        bool, typer.Option("--with-personal", help="With --from: show fields declared personal too. Sensitive ones never.")
    ] = False,
    take: Annotated[Path | None, typer.Option("--take", help="Take a filled CSV back.", dir_okay=False)] = None,
    by_whom: Annotated[str | None, typer.Option("--by-whom", help="Who labelled it. Default: BRANDHOUSE_ACTOR or your login.")] = None,
    beyond_range: Annotated[bool, typer.Option("--beyond-range", help="Take numbers far outside what the model was trained on.")] = False,
    export: Annotated[
        Path | None, typer.Option("--export", help="Write the labelled rows as a table like the dataset's.", dir_okay=False)
    ] = None,
    with_snapshot: Annotated[
        bool, typer.Option("--with-snapshot", help="Export the dataset's present rows too, before the labelled ones.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Pick rows worth labelling, take the labels back, export them; without an option, say what is labelled."""
    if sum(option is not None for option in (pick, take, export)) > 1:
        raise typer.BadParameter("give one of them", param_hint="--pick / --take / --export")
    from brandhouse_console import labelling

    if pick is not None:
        labelling.pick(model, labelling.Wish(pick, by, random_share, source, days, out, personal), as_json=as_json)
    elif take is not None:
        labelling.take(model, take, by_whom=by_whom, beyond_range=beyond_range, as_json=as_json)
    elif export is not None:
        labelling.export(model, export, with_snapshot=with_snapshot, as_json=as_json)
    else:
        labelling.status(model, as_json=as_json)
