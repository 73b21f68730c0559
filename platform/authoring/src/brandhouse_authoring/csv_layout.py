"""The layout of a CSV file, told by its first lines: separator, lines before the table, header or not, usable names."""

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from brandhouse_shared.errors import DatasetError, join_bounded

_COMMON = (";", "\t", "|", ",")
"""In this order of preference where several fit: a comma also stands inside numbers and texts."""

_RARE = ("^", "~", ":", " ")
_STEADY_SHARE = 0.9
"""Of the lines that must have as many cells as most have."""

_MAX_PREAMBLE = 20
_LINES = 300
_NUMBER = re.compile(r"\s*[+-]?[\d.,]*\d[\d.,]*(?:[eE][+-]?\d+)?\s*%?\s*")


@dataclass(frozen=True, slots=True)
class Layout:
    """How the lines make a table.

    Attributes:
        separator: Between cells.
        names: Column names, each once.
        skip_rows: Lines before the header; or, if `declares_names`, before the first row of data.
        declares_names: Whether the file's own header is missing or unusable, so that `names` must be declared.
        remark: What is unusual, for a person; empty if nothing is.
    """

    separator: str
    names: tuple[str, ...]
    skip_rows: int = 0
    declares_names: bool = False
    remark: str = ""


def find_layout(text: str, is_whole: bool, target: str, header: Sequence[str] | None, file: str) -> Layout:
    """Tell the layout.

    Args:
        text: The file's beginning.
        is_whole: Whether that is the whole file; else its last line may be cut.
        target: A name that a header row would hold.
        header: Names that a person gave.
        file: Name of the file for messages.

    Raises:
        DatasetError: If the lines make no table of at least two columns, or names do not fit.
    """
    separator = _separator(text, is_whole)
    rows, ends = _rows(text, separator, is_whole)
    if not rows:
        raise DatasetError(f"{file}: the file holds no line of text; there is nothing to learn from")
    width = _width(rows)
    if width < 2:
        raise DatasetError(f"{file}: the lines have one cell only, whatever the separator; a table needs a target and at least one input")
    start = _first_of_table(rows, width)
    before = _lines_before(text, rows[start], ends[start])
    first, data = rows[start], rows[start + 1 :]
    is_header = _is_header(first, data, target)
    if header is not None:
        return _with_given_names(separator, header, width, ends[start] if _is_header(first, data, "") else before, file)
    if not is_header:
        names = tuple(f"column_{position}" for position in range(1, width + 1))
        return Layout(separator, names, before, True, "the first line looks like data, so columns are named by their position")
    return _with_own_names(separator, first, data, width, before, ends[start])


def _separator(text: str, is_whole: bool) -> str:
    for candidates in (_COMMON, _RARE):
        steadiness = {candidate: _steadiness(text, candidate, is_whole) for candidate in candidates}
        best = max(steadiness, key=lambda candidate: steadiness[candidate])
        if steadiness[best] >= _STEADY_SHARE or (steadiness[best] > 0 and candidates is _COMMON):
            return best
    return ","


def _steadiness(text: str, separator: str, is_whole: bool) -> float:
    """Share of the lines that have as many cells as most have; 0 if that is one, or if the header has fewer."""
    rows, _ = _rows(text, separator, is_whole)
    width = _width(rows) if rows else 0
    if width < 2:
        return 0.0
    share = sum(len(row) == width for row in rows) / len(rows)
    heads = {len(row) for row in rows[: _MAX_PREAMBLE if len(rows) > _MAX_PREAMBLE else 1]}
    return round(share, 2) if heads & {width, width - 1, width + 1} else 0.0


def _rows(text: str, separator: str, is_whole: bool) -> tuple[list[list[str]], list[int]]:
    """The lines as cells without blank lines, and how many lines of the file had been read after each."""
    rows, ends = [], []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                rows.append(row)
                ends.append(reader.line_num)
            if len(rows) > _LINES:
                break
        else:
            if not is_whole and len(rows) > 1:
                rows.pop()
                ends.pop()
    except csv.Error:  # a cell of many thousand signs: a quote that was opened and never closed
        pass
    return rows, ends


def _width(rows: Sequence[Sequence[str]]) -> int:
    return Counter(len(row) for row in rows).most_common(1)[0][0]


def _first_of_table(rows: Sequence[Sequence[str]], width: int) -> int:
    """Position of the header, or of the first row where there is none; what is before it is a title or the like."""
    for position, row in enumerate(rows[:_MAX_PREAMBLE]):
        if len(row) == width or (len(row) == width - 1 > 1 and position + 1 < len(rows) and len(rows[position + 1]) == width):
            return position
    return 0


def _lines_before(text: str, row: Sequence[str], end: int) -> int:
    """Lines before a row; none if all are empty, since those are skipped anyway."""
    count = end - 1 - sum(cell.count("\n") for cell in row)
    return count if any(line.strip() for line in text.split("\n", count)[:count]) else 0


def _is_header(first: Sequence[str], data: Sequence[Sequence[str]], target: str) -> bool:
    names = [cell.strip() for cell in first]
    if target.strip() and target.strip().casefold() in {name.casefold() for name in names}:
        return True
    if any(_NUMBER.fullmatch(name) for name in names):
        return False
    # A header's cells are of another kind than what stands below them, or at least do not come again there.
    for position, name in enumerate(names):
        below = [row[position].strip() for row in data if position < len(row) and row[position].strip()]
        if name and below and sum(bool(_NUMBER.fullmatch(cell)) for cell in below) > len(below) * 0.5:
            return True
    return not any(name and name in [row[position].strip() for row in data if position < len(row)] for position, name in enumerate(names))


def _with_given_names(separator: str, header: Sequence[str], width: int, skip: int, file: str) -> Layout:
    twice = sorted({name for name in header if list(header).count(name) > 1})
    if twice:
        raise DatasetError(f"{file}: the given header names {join_bounded(twice)} twice; name every column once")
    if len(header) != width:
        raise DatasetError(f"{file}: the given header has {len(header)} names, the rows have {width} cells; name every column once")
    return Layout(separator, tuple(header), skip, True, "columns are named as given")


def _with_own_names(separator: str, first: Sequence[str], data: Sequence[Sequence[str]], width: int, before: int, after: int) -> Layout:
    names, remarks = list(first), []
    if len(names) == width - 1:
        has_no_last = all(not row[-1].strip() for row in data if len(row) == width)
        names = [*names, ""] if has_no_last else ["row", *names]
        remarks.append("the header has one name fewer than the rows have cells")
    if any(not name.strip() for name in names):
        remarks.append("columns without a name are named by their position")
    if len(set(names)) < len(names):
        remarks.append("columns of the same name are numbered")
    if not remarks:
        return Layout(separator, tuple(names), before)
    return Layout(separator, _distinct(names), after, True, "; ".join(remarks))


def _distinct(names: Sequence[str]) -> tuple[str, ...]:
    """Give each column a name of its own: the second `Price` becomes `Price_2`."""
    given: list[str] = []
    for position, name in enumerate(names, start=1):
        wanted = name if name.strip() else f"column_{position}"
        unique, number = wanted, 1
        while unique in given or (unique != name and unique in names):
            number += 1
            unique = f"{wanted}_{number}"
        given.append(unique)
    return tuple(given)
