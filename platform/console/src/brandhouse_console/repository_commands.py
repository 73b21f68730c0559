"""Commands about the repository as a whole: names and options. What they do is in the module each imports."""

from typing import Annotated, Literal

import typer

from brandhouse_console.arguments import AsJson


def add_to(app: typer.Typer) -> None:
    """Add the commands to the `brandhouse` command."""
    app.command()(affected)
    app.command()(owners)


def affected(
    base: Annotated[str, typer.Option("--base", metavar="REF", help="Branch, tag or commit to compare with, such as origin/main.")],
    matrix: Annotated[
        Literal["test", "train", "deploy"] | None,
        typer.Option("--matrix", help="One line of JSON for a workflow's matrix: the brands that need this."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say which brands a change touches, whether to test, train or deploy them, and why. Counts what is not committed yet."""
    from brandhouse_authoring.touches import Action
    from brandhouse_console.affected import affected as show

    show(base, matrix=Action(matrix) if matrix else None, as_json=as_json)


def owners(
    write: Annotated[bool, typer.Option("--write", help="Write .github/CODEOWNERS.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Fail if .github/CODEOWNERS is stale.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say who approves a change of what; write or check the file by which code hosting asks them."""
    if write and check:
        raise typer.BadParameter("either write the file or check it", param_hint="--write / --check")
    from brandhouse_console.owners import owners as show

    show(write=write, check=check, as_json=as_json)
