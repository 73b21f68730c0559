"""The reference of the command as Markdown: one section a command, from its declaration."""

from collections.abc import Iterator
from typing import Any

import typer

from brandhouse_console.main import app

INTRODUCTION = """# Reference: the command

Generated from the command's own declarations by `make format`; `make lint` fails if it is stale. `brandhouse` stands for
`.venv/bin/brandhouse`. Exit status: 0 done, 1 failed, 2 wrong usage. `--json` prints for machines; progress and messages go to
standard error.
"""


def command_reference() -> str:
    """Markdown of all commands, in alphabetical order."""
    root = typer.main.get_command(app)
    context = typer.Context(root, info_name="brandhouse")
    return "\n".join([INTRODUCTION, *(_section(*found) for found in _commands(root, context))])


def _commands(command: Any, context: typer.Context) -> Iterator[tuple[Any, typer.Context]]:
    # Typer carries a click of its own without public types.
    for name in sorted(getattr(command, "commands", {})):
        below = command.commands[name]
        inner = typer.Context(below, info_name=name, parent=context)
        if hasattr(below, "commands"):
            yield from _commands(below, inner)
        else:
            yield below, inner


def _section(command: Any, context: typer.Context) -> str:
    usage = " ".join(piece for piece in command.collect_usage_pieces(context) if piece != "[OPTIONS]")
    rows = [_row(parameter, context) for parameter in command.params if parameter.param_type_name == "option"]
    table = ["| option | meaning | default |", "|---|---|---|", *rows, ""] if rows else []
    lines = [f"## {context.command_path}", "", (command.help or "").strip(), "", f"`{context.command_path} {usage}`".replace(" `", "`"), ""]
    return "\n".join([*lines, *table])


def _row(parameter: Any, context: typer.Context) -> str:
    option, help_text = parameter.get_help_record(context) or ("", "")
    text = help_text.partition("  [")[0].partition(" [default")[0].replace("|", "\\|").strip()
    default = parameter.get_default(context)
    shown = f"`{getattr(default, 'value', default)}`" if default not in (None, False, (), []) and not callable(default) else ""
    return f"| `{option.replace('|', ' ')}` | {text} | {shown} |"
