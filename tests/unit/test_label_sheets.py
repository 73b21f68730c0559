"""The CSV that goes to a person's spreadsheet and comes back."""

import csv
import io
from pathlib import Path

import pytest

from brandhouse_flows.label_sheets import LabelSheetError, read_sheet, safe_cell, write_sheet


@pytest.mark.parametrize("evil", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "  =1", "＝1+1", "\n=1"])
def test_no_text_is_run_as_a_formula(evil: str) -> None:
    assert safe_cell(evil) == f"'{evil}"


@pytest.mark.parametrize(
    ("value", "cell"), [(-5, "-5"), ("-5.2", "-5.2"), ("+31", "+31"), (None, ""), (True, "true"), ("a=b", "a=b"), (1.5, "1.5")]
)
def test_numbers_and_plain_texts_stay_as_they_are(value: object, cell: str) -> None:
    assert safe_cell(value) == cell


def test_a_sheet_comes_back_as_it_went_with_names_and_texts_of_any_kind(tmp_path: Path) -> None:
    path = tmp_path / "sheet.csv"
    fields = ["=evil", "label", "row_id", 'naïve, "quoted"']
    write_sheet(path, [("casa.price.row.1", dict.fromkeys(fields, "a;b\n=c")), ("casa.price.row.2", {})], fields)
    rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline="")))
    assert rows[0] == ["row_id", "'=evil", "label (input)", "row_id (input)", 'naïve, "quoted"', "label"]
    assert [(row.row_id, row.label) for row in read_sheet(path, "casa/price")] == [("casa.price.row.1", ""), ("casa.price.row.2", "")]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
def test_what_spreadsheets_make_of_it_is_understood(tmp_path: Path, delimiter: str, encoding: str) -> None:
    path = tmp_path / "sheet.csv"
    lines = [["row_id", "tówn", "label"], ["a.b.row.1", "Zürich", " ja "], ["", "", ""], ["a.b.row.2", "x"]]
    path.write_text("\r\n".join(delimiter.join(cells) for cells in lines), encoding=encoding, newline="")
    assert [(row.line, row.row_id, row.label) for row in read_sheet(path, "a/b")] == [(2, "a.b.row.1", "ja"), (4, "a.b.row.2", "")]


@pytest.mark.parametrize(("text", "message"), [("", "lacks the column row_id, label"), ("row_id,x\n1,2\n", "lacks the column label")])
def test_another_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(LabelSheetError, match=message):
        read_sheet(tmp_path / "x.csv", "a/b")
    with pytest.raises(LabelSheetError, match="does not exist"):
        read_sheet(tmp_path / "none.csv", "a/b")
