"""How the command prints: tables for people, JSON for machines."""

import json
import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from datetime import datetime
from itertools import zip_longest
from typing import Any

from pydantic import BaseModel

GAP = "  "
MIN_FOLDED = 16
"""Narrowest a folded column may become, in characters."""


def print_json(value: Any) -> None:
    """Print a value as JSON; records and times become plain values."""
    print(json.dumps(value, default=_plain, ensure_ascii=False, indent=2))


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, title: str | None = None, empty: str = "nothing to show") -> None:
    """Print rows under column names; numbers are aligned to the right.

    On a terminal that is too narrow the widest column of texts is folded. Written here, since a table of a thousand rows
    takes the usual renderer seconds.
    """
    if not rows:
        print(empty)
        return
    cells = [[" ".join(format_cell(cell).split()) for cell in row] for row in rows]
    numeric = [all(isinstance(row[index], int | float | None) for row in rows) for index in range(len(columns))]
    widths = [max(len(name), *(len(row[index]) for row in cells)) for index, name in enumerate(columns)]
    _narrow(widths, numeric)
    if title:
        print(title)
    print(_emphasise(_line(columns, widths, numeric)))
    print(GAP.join("─" * width for width in widths))
    for row in cells:
        for line in zip_longest(*(_fold(cell, width) for cell, width in zip(row, widths, strict=True)), fillvalue=""):
            print(_line(line, widths, numeric))


def _line(cells: Sequence[str], widths: Sequence[int], numeric: Sequence[bool]) -> str:
    aligned = (cell.rjust(width) if right else cell.ljust(width) for cell, width, right in zip(cells, widths, numeric, strict=True))
    return GAP.join(aligned).rstrip()


def _narrow(widths: list[int], numeric: Sequence[bool]) -> None:
    """Take from the widest text column what exceeds the terminal; a pipe or a file is as wide as need be."""
    if not sys.stdout.isatty() or all(numeric):
        return
    excess = sum(widths) + len(GAP) * (len(widths) - 1) - shutil.get_terminal_size().columns
    widest = max((index for index, right in enumerate(numeric) if not right), key=lambda index: widths[index])
    widths[widest] = max(min(widths[widest], MIN_FOLDED), widths[widest] - max(0, excess))


def _fold(text: str, width: int) -> list[str]:
    return [text] if len(text) <= width else textwrap.wrap(text, width)


def _emphasise(text: str) -> str:
    return f"\033[1m{text}\033[0m" if sys.stdout.isatty() and "NO_COLOR" not in os.environ else text


def format_cell(value: Any) -> str:
    """Format one cell: four significant digits, `-` for nothing, local minutes for times."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
    if isinstance(value, datetime):
        return value.astimezone().strftime("%Y-%m-%d %H:%M")
    return str(value)


def say_stage(stage: str, share: float | None) -> str:
    """A stage for a table, with the share of a canary."""
    return str(stage) if share is None else f"{stage} {100 * share:.3g} %"
