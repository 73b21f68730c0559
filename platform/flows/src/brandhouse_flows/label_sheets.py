"""The CSV that goes to a person and comes back: row ids, what the person needs to see, and an empty column for the label.

Made to be opened in a spreadsheet. A cell that a spreadsheet would run as a formula gets an apostrophe in front; a sheet
that comes back with other separators, in another encoding or with decimal commas is understood.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brandhouse_flows.content import write_whole
from brandhouse_shared.errors import BrandhouseError, join_bounded

ID_COLUMN, LABEL_COLUMN = "row_id", "label"
MAX_SHEET_BYTES = 50_000_000

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


class LabelSheetError(BrandhouseError):
    """A sheet came back that cannot be taken; nothing of it was.

    Attributes:
        problems: One sentence each, with the line; never a value of a row.
    """

    def __init__(self, subject: object, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        lines = "".join(f"\n  - {problem}" for problem in self.problems[:20])
        more = f"\n  - and {len(self.problems) - 20} more" if len(self.problems) > 20 else ""
        super().__init__(f"{subject}: {len(self.problems)} problem(s), nothing was taken:{lines}{more}")


@dataclass(frozen=True, slots=True)
class FilledRow:
    """One line of a sheet that came back.

    Attributes:
        line: In the file, the header is line 1.
        label: As typed; empty: not labelled.
    """

    line: int
    row_id: str
    label: str


def write_sheet(path: Path, rows: Sequence[tuple[str, Mapping[str, Any]]], fields: Sequence[str]) -> None:
    """Write one line a row: its id, the fields, an empty label.

    Args:
        path: Replaced as a whole.
        rows: Id and values by field.
        fields: What a person sees, in this order.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    names = [f"{name} (input)" if name in (ID_COLUMN, LABEL_COLUMN) else name for name in fields]
    writer.writerow([ID_COLUMN, *(safe_cell(name) for name in names), LABEL_COLUMN])
    for row_id, values in rows:
        writer.writerow([row_id, *(safe_cell(values.get(name)) for name in fields), ""])
    write_whole(path, "\ufeff" + text.getvalue())  # the mark tells spreadsheets that it is UTF-8


def safe_cell(value: Any) -> str:
    """One value as a cell that no spreadsheet runs: a text that begins like a formula gets an apostrophe; numbers stay."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    if not isinstance(value, str) or not text.lstrip(" ").startswith(_FORMULA_STARTS):
        return text
    return text if _is_number(text) else f"'{text}"


def read_sheet(path: Path, subject: object) -> list[FilledRow]:
    """Read a sheet that came back.

    Raises:
        LabelSheetError: If it is no such sheet.
    """
    if not path.is_file():
        raise LabelSheetError(subject, [f"{path} does not exist"])
    if path.stat().st_size > MAX_SHEET_BYTES:
        raise LabelSheetError(subject, [f"{path.name} has {path.stat().st_size} bytes; allowed: {MAX_SHEET_BYTES}"])
    text = _decoded(path.read_bytes())
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text))
    try:
        return _filled(reader, path, subject)
    except csv.Error as error:
        raise LabelSheetError(subject, [f"{path.name} is no CSV: {error}; save the sheet as CSV"]) from None


def _filled(reader: Any, path: Path, subject: object) -> list[FilledRow]:
    header = [name.strip() for name in next(reader, [])]
    lacking = [name for name in (ID_COLUMN, LABEL_COLUMN) if header.count(name) != 1]
    if lacking:
        what = f"{path.name} lacks the column {join_bounded(lacking)}, or has it twice"
        raise LabelSheetError(subject, [f"{what}; send back the sheet that `label --pick` wrote"])
    places = header.index(ID_COLUMN), header.index(LABEL_COLUMN)
    rows = []
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue  # spreadsheets leave empty lines at the end
        row_id, label = (cells[place].strip() if place < len(cells) else "" for place in places)
        rows.append(FilledRow(reader.line_num, row_id, label))
    return rows


def _decoded(content: bytes) -> str:
    """UTF-8, UTF-16 with its mark, or what spreadsheets of western Europe write otherwise."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def _delimiter(text: str) -> str:
    header = text.partition("\n")[0]
    return max(",;\t", key=header.count)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
