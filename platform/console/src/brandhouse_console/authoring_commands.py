"""Commands of a brand team that begins and keeps a folder: names and options. What they do is in the module each imports."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from brandhouse_console import notebook_commands
from brandhouse_console.arguments import AsJson, complete_brand


def add_to(app: typer.Typer) -> None:
    """Add the commands to the `brandhouse` command."""
    app.command()(new)
    app.command()(upgrade)
    notebook_commands.add_to(app)


def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the brand: lower-case letters, digits and underscores.")],
    target: Annotated[str, typer.Option("--target", metavar="COLUMN", help="Column to predict, by its own name.")],
    table: Annotated[Path | None, typer.Option("--from", metavar="FILE", help="CSV (also .gz, .bz2) or Parquet.")] = None,
    sql: Annotated[
        str | None, typer.Option("--sql", metavar="env:VARIABLE", help="Environment variable with a database's URL, instead of a file.")
    ] = None,
    sql_env: Annotated[str | None, typer.Option("--sql-env", metavar="VARIABLE", help="The same, by the variable's name.")] = None,
    query: Annotated[str | None, typer.Option("--query", metavar="SELECT", help="With --sql: the rows to learn from.")] = None,
    task: Annotated[
        Literal["regression", "binary", "multiclass"] | None,
        typer.Option("--task", help="What is learned. Default: told from the target's values."),
    ] = None,
    model: Annotated[str | None, typer.Option("--model", help="Name of the model. Default: made from the target.")] = None,
    owner: Annotated[str | None, typer.Option("--owner", help="Who answers for the brand. Default: this machine's Git user.")] = None,
    title: Annotated[str | None, typer.Option("--title", help="The brand's name for people.")] = None,
    header: Annotated[
        str | None, typer.Option("--header", metavar="A,B,C", help="Column names of a file without a header row, or with a useless one.")
    ] = None,
    keep: Annotated[
        list[str] | None, typer.Option("--keep", metavar="COLUMN", help="Keep this column as an input; may be repeated.")
    ] = None,
    leave_out: Annotated[list[str] | None, typer.Option("--leave-out", metavar="COLUMN", help="Leave it out; may be repeated.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing; what would be asked is flagged.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a complete brand folder from a table: types, task, split, estimator and gates are proposed and written down to be edited."""
    from brandhouse_console import beginning

    variable = beginning.find_variable(name, sql, sql_env)
    if (table is None) == (variable is None):
        raise typer.BadParameter("give a file, or a database and a query", param_hint="--from / --sql")
    if (variable is None) != (query is None):
        raise typer.BadParameter("a database and a query belong together", param_hint="--sql / --query")
    wanted = beginning.Wanted(
        name=name,
        target=target,
        table=table,
        url_env=variable,
        query=query,
        task=task,
        model=model,
        owner=owner,
        title=title,
        header=None if header is None else tuple(header.split(",")),
        keep=tuple(keep or ()),
        leave_out=tuple(leave_out or ()),
    )
    beginning.new(wanted, yes=yes, as_json=as_json)


def upgrade(
    brand: Annotated[str | None, typer.Argument(metavar="BRAND", autocompletion=complete_brand)] = None,
    ring: Annotated[
        Literal["one", "three", "all"] | None,
        typer.Option("--ring", help="Several brands, tried in copies first; written only if no gate is lost."),
    ] = None,
    adopt: Annotated[bool, typer.Option("--adopt", help="Let a folder written by hand follow the template from now on.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and write nothing.")] = False,
    with_conflicts: Annotated[
        bool, typer.Option("--with-conflicts", help="Write conflicts too, with markers, to be resolved by hand.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Write without asking.")] = False,
    as_json: AsJson = False,
) -> None:
    """Bring later changes of the template to a brand's folder; what the brand edited stays."""
    from brandhouse_console import upgrading

    if (brand is None) == (ring is None):
        raise typer.BadParameter("name a brand, or give --ring", param_hint="BRAND / --ring")
    if ring is not None:
        if adopt or with_conflicts:
            raise typer.BadParameter("--adopt and --with-conflicts are for one brand", param_hint="--ring")
        upgrading.upgrade_ring(ring, dry_run=dry_run, as_json=as_json)
    elif adopt:
        upgrading.adopt(str(brand), as_json=as_json)
    else:
        upgrading.upgrade(str(brand), dry_run=dry_run, yes=yes, with_conflicts=with_conflicts, as_json=as_json)
