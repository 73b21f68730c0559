"""The commands of `brandhouse notebook`: names and options. What they do is in the module each imports."""

from typing import Annotated

import typer

from brandhouse_console.arguments import AsJson, BrandArguments


def add_to(app: typer.Typer) -> None:
    """Add the group to the `brandhouse` command."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Notebooks of brands: runnable, and their outputs out of Git.")
    group.command("check")(check)
    group.command("clean")(clean)
    group.command("filter")(install_filter)
    app.add_typer(group, name="notebook")


def check(
    brand: BrandArguments = None,
    run: Annotated[bool, typer.Option("--run", help="Also execute each from top to bottom; needs the brand's data.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say whether brands' notebooks are valid, without outputs, and keep to their own brand: file, cell and fix."""
    from brandhouse_console import notebooks

    notebooks.check(brand or [], run=run, as_json=as_json)


def clean(
    brand: BrandArguments = None,
    stream: Annotated[bool, typer.Option("--stream", help="From standard input to standard output, as Git's filter calls it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take outputs and execution counts out of brands' notebooks."""
    from brandhouse_console import notebooks

    if stream:
        notebooks.clean_stream()
    else:
        notebooks.clean(brand or [], as_json=as_json)


def install_filter() -> None:
    """Make Git leave outputs out whenever notebooks are staged in this clone; your files keep them."""
    from brandhouse_console import notebooks

    notebooks.install_filter()
