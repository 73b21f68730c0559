"""A file of unknown origin is read as the platform will read it from what was written down about it."""

import bz2
import gzip
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brandhouse_authoring.table_reading import TableReading, read_unknown
from brandhouse_authoring.text_encoding import guess_encoding
from brandhouse_flows.datasets import read_table
from brandhouse_shared.config import Dataset
from brandhouse_shared.errors import DatasetError

ROWS = [(f"{number}", f"K{number % 3}", f"{number * 7 % 11}") for number in range(30)]


def write(tmp_path: Path, content: str | bytes, name: str = "rows.csv", encoding: str = "utf-8") -> Path:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return path


def lines(separator: str = ",", header: Sequence[str] = ("area", "kind", "price")) -> str:
    return "".join(separator.join(row) + "\n" for row in [header, *ROWS])


def read(path: Path, target: str = "price", header: Sequence[str] | None = None) -> TableReading:
    """Read, and make sure that a training would see the very same cells."""
    reading = read_unknown(path, target, header)
    dataset = Dataset.model_validate({"file": f"data/{path.name}", "source": {"kind": "upload"}, **reading.data})
    again = read_table(dataset, path)
    assert list(again.columns) == list(reading.columns)
    for name, cells in reading.columns.items():
        assert cells.to_pylist() == again[name].tolist(), f"column {name!r} is read differently"
    return reading


def refusal(path: Path, target: str = "price", header: Sequence[str] | None = None) -> str:
    with pytest.raises(DatasetError) as caught:
        read_unknown(path, target, header)
    return str(caught.value)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|", "^"])
def test_any_separator_is_found(tmp_path: Path, separator: str) -> None:
    reading = read(write(tmp_path, lines(separator)))
    assert list(reading.columns) == ["area", "kind", "price"]
    assert reading.data.get("separator", ",") == separator
    assert reading.rows == 30


def test_decimal_commas_do_not_hide_the_semicolons(tmp_path: Path) -> None:
    rows = "".join(f"{number},5;{number},25\n" for number in range(20))
    assert read(write(tmp_path, "area;price\n" + rows)).data["separator"] == ";"


def test_commas_inside_quotes_do_not_count(tmp_path: Path) -> None:
    rows = "".join(f'"Delft, north; {number}",{number}\n' for number in range(20))
    reading = read(write(tmp_path, "town,price\n" + rows))
    assert reading.columns["town"][3].as_py() == "Delft, north; 3"


def test_line_breaks_and_quotes_inside_a_cell_are_kept(tmp_path: Path) -> None:
    rows = "".join(f'"first\nsecond ""{number}""",{number}\n' for number in range(20))
    assert read(write(tmp_path, "note,price\n" + rows)).columns["note"][1].as_py() == 'first\nsecond "1"'


@pytest.mark.parametrize(
    ("encoding", "declared"),
    [
        ("utf-8", None),
        ("utf-8-sig", None),
        ("cp1252", "cp1252"),
        ("mac-roman", "mac-roman"),
        ("utf-16", "utf-16"),
        ("utf-16-le", "utf-16-le"),
        ("utf-16-be", "utf-16-be"),
    ],
)
def test_the_encoding_is_found(tmp_path: Path, encoding: str, declared: str | None) -> None:
    text = "prijs,plaats\n" + "".join(f"{number},Café Überlingen één ñandú\n" for number in range(20))
    reading = read(write(tmp_path, text, encoding=encoding), "prijs")
    assert list(reading.columns) == ["prijs", "plaats"]
    assert reading.columns["plaats"][0].as_py() == "Café Überlingen één ñandú"
    assert reading.data.get("encoding") == declared


def test_bytes_that_no_windows_letter_has_are_latin_1() -> None:
    assert guess_encoding("façade één \x81 naïef".encode("latin-1")) == "latin-1"


def test_cyrillic_letters_are_recognised(tmp_path: Path) -> None:
    text = "price,town\n" + "".join(f"{number},Нижний Новгород и другие города России\n" for number in range(50))
    reading = read(write(tmp_path, text, encoding="cp1251"))
    assert reading.columns["town"][0].as_py().startswith("Нижний")


def test_a_letter_that_comes_late_still_decides_the_encoding(tmp_path: Path) -> None:
    text = "price,town\n" + "1,Delft\n" * 60_000 + "2,Curaçao\n"
    reading = read(write(tmp_path, text, encoding="cp1252"))
    assert reading.data["encoding"] == "cp1252"
    assert reading.columns["town"][60_000].as_py() == "Curaçao"


@pytest.mark.parametrize(("ending", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress)])
def test_packed_files_are_read(tmp_path: Path, ending: str, pack) -> None:  # type: ignore[no-untyped-def]
    assert read(write(tmp_path, pack(lines().encode()), f"rows.csv{ending}")).rows == 30


def test_a_packed_file_under_a_wrong_name_is_refused_with_the_right_one(tmp_path: Path) -> None:
    assert "rename the file to rows.csv.gz" in refusal(write(tmp_path, gzip.compress(lines().encode())))
    assert "rename the file to rows.csv" in refusal(write(tmp_path, lines(), "rows.csv.gz"))


def test_a_truncated_packed_file_is_refused(tmp_path: Path) -> None:
    assert "truncated or damaged" in refusal(write(tmp_path, gzip.compress(lines().encode())[:-20], "rows.csv.gz"))


def test_parquet_is_read_whatever_its_name(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pd.DataFrame({"area": [1.0, 2.5, None], "price": [3, 4, 5], "sold": [True, False, None]}).to_parquet(path)
    reading = read(path)
    assert reading.columns["area"].to_pylist() == ["1", "2.5", None]
    assert reading.columns["sold"].to_pylist() == ["true", "false", None]
    assert reading.data == {"format": "parquet"}


def test_parquet_with_lists_names_the_column(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pd.DataFrame({"tags": [["a"], ["b"]], "price": [3, 4]}).to_parquet(path)
    assert "column 'tags' holds lists or records" in refusal(path)


def test_damaged_parquet_is_refused(tmp_path: Path) -> None:
    assert "no whole Parquet file" in refusal(write(tmp_path, b"PAR1 and nothing more", "rows.parquet"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (b"PK\x03\x04rest", "spreadsheet"),
        (b"%PDF-1.7", "PDF"),
        (b'[{"price": 1, "area": 2}]', "JSON"),
        (b"price,area\n", "no row"),
        (b"price\n1\n2\n3\n", "one cell only"),
        (b"\n\n \n", "no line of text"),
    ],
)
def test_what_is_no_table_is_refused_with_a_reason(tmp_path: Path, content: bytes, said: str) -> None:
    assert said in refusal(write(tmp_path, content))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert "there is no such file" in refusal(tmp_path / "nothing.csv")


ODD_NAMES = ("Prijs / m² ", ' "quoted" name', "naïve café", "a,b", "50%", "x" * 90, "Ünïcode", "tab\there")


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_are_kept_as_they_stand(tmp_path: Path, name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    rows = "".join(f"{number},{number % 7}\n" for number in range(20))
    reading = read(write(tmp_path, f"{quoted},price\n{rows}"))
    assert list(reading.columns) == [name, "price"]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20).filter(lambda name: name.strip()))
def test_any_name_survives(tmp_path: Path, name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    rows = "".join(f"{number},{number % 7}\n" for number in range(20))
    reading = read(write(tmp_path, f"{quoted},the target\n{rows}"), "the target")
    assert list(reading.columns) == [name, "the target"]


def test_a_file_without_a_header_gets_names_by_position(tmp_path: Path) -> None:
    reading = read(write(tmp_path, lines().split("\n", 1)[1]), "column_3")
    assert list(reading.columns) == ["column_1", "column_2", "column_3"]
    assert reading.rows == 30
    assert any(decision.attention for decision in reading.decisions)


def test_given_names_are_taken_for_a_file_without_a_header(tmp_path: Path) -> None:
    reading = read(write(tmp_path, lines().split("\n", 1)[1]), header=["area", "kind", "price"])
    assert list(reading.columns) == ["area", "kind", "price"]
    assert reading.rows == 30


def test_given_names_replace_a_header(tmp_path: Path) -> None:
    reading = read(write(tmp_path, lines()), header=["a", "b", "price"])
    assert list(reading.columns) == ["a", "b", "price"]
    assert reading.rows == 30


def test_too_few_given_names_are_refused(tmp_path: Path) -> None:
    assert "has 2 names, the rows have 3 cells" in refusal(write(tmp_path, lines()), header=["area", "price"])


def test_names_that_come_twice_are_numbered_and_said(tmp_path: Path) -> None:
    reading = read(write(tmp_path, lines(header=("area", "area", "price"))))
    assert list(reading.columns) == ["area", "area_2", "price"]
    assert "numbered" in reading.decisions[1].why


def test_columns_without_a_name_get_one(tmp_path: Path) -> None:
    assert list(read(write(tmp_path, lines(header=("", "kind", "price")))).columns) == ["column_1", "kind", "price"]


def test_row_names_without_a_header_cell_get_one(tmp_path: Path) -> None:
    reading = read(write(tmp_path, lines(header=("kind", "price"))))
    assert list(reading.columns) == ["row", "kind", "price"]


def test_a_separator_at_the_end_of_every_row_makes_an_empty_column(tmp_path: Path) -> None:
    text = "".join(line + ("," if number else "") + "\n" for number, line in enumerate(lines().splitlines()))
    reading = read(write(tmp_path, text))
    assert list(reading.columns) == ["area", "kind", "price", "column_4"]
    assert reading.columns["column_4"].null_count == 30


def test_a_title_above_the_table_is_skipped(tmp_path: Path) -> None:
    reading = read(write(tmp_path, "Report of 2024\n\nMade by hand\n" + lines()))
    assert reading.data["skip_rows"] == 4 - 1
    assert reading.rows == 30


def test_empty_cells_above_the_table_are_skipped(tmp_path: Path) -> None:
    reading = read(write(tmp_path, ",,\n,,\n" + lines()))
    assert reading.data["skip_rows"] == 2
    assert list(reading.columns) == ["area", "kind", "price"]


def test_rows_with_too_few_cells_are_read_as_a_training_reads_them(tmp_path: Path) -> None:
    reading = read(write(tmp_path, lines() + "31,K1\n"))
    assert reading.rows == 31
    assert reading.columns["price"][30].as_py() is None


def test_carriage_returns_and_blank_lines_change_nothing(tmp_path: Path) -> None:
    assert read(write(tmp_path, lines().replace("\n", "\r\n\r\n"))).rows == 30
