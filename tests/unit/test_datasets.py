import bz2
import gzip
import zipfile
from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from brandhouse_flows.datasets import read_table
from brandhouse_shared.config import Dataset, FileSource
from brandhouse_shared.errors import DatasetError


def declared(**options: object) -> Dataset:
    return Dataset.model_validate({"file": "data/table", "source": FileSource(kind="file", path="x"), **options})


def written(tmp_path: Path, name: str, content: bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(content)
    return path


def test_every_cell_is_a_text_and_keeps_its_characters(tmp_path: Path) -> None:
    path = written(tmp_path, "t.csv", b"post code ,price\n0123,1.50\n0456,2\n")

    table = read_table(declared(), path)

    assert list(table.columns) == ["post code ", "price"], "a column keeps its own name, trailing blank included"
    assert table.to_dict("list") == {"post code ": ["0123", "0456"], "price": ["1.50", "2"]}, "nothing may be guessed or rounded"


def test_declared_missing_cells_become_none_and_no_others(tmp_path: Path) -> None:
    path = written(tmp_path, "t.csv", b"a,b\n?,NA\n,None\n")

    table = read_table(declared(missing=["?"]), path)

    assert table["a"].tolist() == [None, ""], "only the declared marks mean missing"
    assert table["b"].tolist() == ["NA", "None"], "pandas' own list of missing marks must not be used"


@pytest.mark.parametrize(("name", "pack"), [("t.csv.gz", gzip.compress), ("t.csv.bz2", bz2.compress), ("t.csv", bytes)])
def test_packed_tables_are_unpacked_by_their_ending(tmp_path: Path, name: str, pack: object) -> None:
    assert callable(pack)
    path = written(tmp_path, name, pack(b"a;b\n1;2\n"))

    assert read_table(declared(separator=";"), path).to_dict("list") == {"a": ["1"], "b": ["2"]}, name


def test_a_table_without_header_takes_the_declared_names(tmp_path: Path) -> None:
    path = written(tmp_path, "t.csv", b"1,first\n-1,second\n")

    table = read_table(declared(header=["accepted", "text"]), path)

    assert table["text"].tolist() == ["first", "second"], "the first row is data"


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    path = written(tmp_path, "t.csv", "\ufeffid,näme\n1,ä\n".encode())

    assert list(read_table(declared(), path).columns) == ["id", "näme"], "the default encoding drops the mark"


def test_decimal_commas_become_points_in_numeric_columns_only(tmp_path: Path) -> None:
    path = written(tmp_path, "t.csv", b'price;sizes;n\n1,5;"1,5 and 2,5";3\n;"3";-2,25\n')

    table = read_table(declared(separator=";", decimal=","), path)

    assert table["price"].tolist() == ["1.5", None], "a number gets a point"
    assert table["n"].tolist() == ["3", "-2.25"], "whole and negative numbers too"
    assert table["sizes"].tolist() == ["1,5 and 2,5", "3"], "a text keeps its commas"


def test_parquet_values_read_like_those_of_a_csv(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    frame = pd.DataFrame(
        {
            "n": pd.array([3, None], dtype="Int64"),
            "x": [0.1, 3.0],
            "ok": [True, False],
            "day": [date(2024, 2, 29), None],
            "kind": pd.Categorical(["a", "NA"]),
        }
    )
    frame.to_parquet(path)

    table = read_table(declared(format="parquet"), path)

    assert table.to_dict("list") == {
        "n": ["3", None],
        "x": ["0.1", "3"],
        "ok": ["true", "false"],
        "day": ["2024-02-29", None],
        "kind": ["a", None],
    }, "a whole number stays whole although one is missing"


def test_a_zip_of_texts_has_one_row_a_file(tmp_path: Path) -> None:
    path = tmp_path / "t.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("posts/boats/2", "caf\u00e9 sails".encode("latin-1"))
        archive.writestr("posts/boats/", b"")
        archive.writestr("posts/bikes/1", b"wheels")

    table = read_table(declared(format="zip-text", encoding="latin-1"), path)

    assert table.to_dict("records") == [
        {"file": "1", "folder": "bikes", "text": "wheels"},
        {"file": "2", "folder": "boats", "text": "caf\u00e9 sails"},
    ], "folders are no rows, order is by path"


GOOD_GZIP = gzip.compress(b"a,b\n" + b"1,2\n" * 5000, mtime=0)
GOOD_BZ2 = bz2.compress(b"a,b\n" + b"1,2\n" * 5000)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("t.csv", b"", "empty"),
        ("t.csv", b"\n\n", "no table"),
        ("t.csv", b"a,b\n", "no row"),
        ("t.csv.gz", GOOD_GZIP[:-20], "truncated or damaged"),
        ("t.csv.gz", GOOD_GZIP[:30] + bytes(20) + GOOD_GZIP[50:], "damaged"),
        ("t.csv.gz", b"a,b\n1,2\n", "cannot be read|damaged"),
        ("t.csv.bz2", GOOD_BZ2[:-10], "truncated or damaged"),
        ("t.csv", b"a,b\n1,\xe9\n", "byte .* is not utf-8-sig; set `encoding`"),
        ("t.csv", b"a,b,a\n1,2,3\n", "columns of the same name: a"),
        ("t.csv", b"a,b\n1,2,3\n1,2,3\n", "more cells"),
        ("t.csv", b"a,b\n1,2\n1,2,3\n", "do not fit"),
    ],
)
def test_an_unreadable_table_says_why(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    path = written(tmp_path, name, content)

    with pytest.raises(DatasetError, match=says) as caught:
        read_table(declared(), path)

    assert name in str(caught.value), "the message names the file"


@pytest.mark.parametrize(
    ("form", "name", "content", "says"),
    [
        ("parquet", "t.parquet", b"PAR1 and nothing more", "no whole Parquet"),
        ("zip-text", "t.zip", b"PK\x03\x04 and nothing more", "damaged"),
    ],
)
def test_other_formats_say_why_too(tmp_path: Path, form: str, name: str, content: bytes, says: str) -> None:
    with pytest.raises(DatasetError, match=says):
        read_table(declared(format=form), written(tmp_path, name, content))


def test_a_missing_file_names_the_command_that_brings_it(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"does not exist; fetch it with `brandhouse ingest`"):
        read_table(declared(), tmp_path / "absent.csv")


def test_an_unknown_encoding_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="unknown encoding 'latin-99'"):
        read_table(declared(encoding="latin-99"), written(tmp_path, "t.csv", b"a\n1\n"))


def test_a_header_of_another_width_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="2 cells in the first row, 3 names"):
        read_table(declared(header=["a", "b", "c"]), written(tmp_path, "t.csv", b"1,2\n"))


def test_a_message_holds_no_cell(tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as caught:
        read_table(declared(), written(tmp_path, "t.csv", b"a,b\nsecretvalue,2,3\n1,2\n"))

    assert "secretvalue" not in str(caught.value), "cells may be personal"


def test_signs_between_thousands_are_dropped_in_numeric_columns_only(tmp_path: Path) -> None:
    path = written(tmp_path, "t.csv", b"price;version;e\n1.234,50;1.234.5;E5\n12;1.2;E6\n")

    table = read_table(declared(separator=";", decimal=",", thousands="."), path)

    assert table["price"].tolist() == ["1234.50", "12"]
    assert table["version"].tolist() == ["1.234.5", "1.2"], "what is no number in every row keeps its signs"
    assert table["e"].tolist() == ["E5", "E6"]


def test_thousands_by_comma_keep_the_decimal_point(tmp_path: Path) -> None:
    path = written(tmp_path, "t.csv", b'price\n"1,234.50"\n.5\n')

    assert read_table(declared(thousands=","), path)["price"].tolist() == ["1234.50", ".5"]


def test_lines_before_the_table_are_skipped(tmp_path: Path) -> None:
    path = written(tmp_path, "t.csv", b"Report, of 2024,,\n\na,b\n1,2\n")

    assert read_table(declared(skip_rows=2), path).to_dict("list") == {"a": ["1"], "b": ["2"]}
    assert read_table(declared(skip_rows=3, header=["x", "y"]), path).to_dict("list") == {"x": ["1"], "y": ["2"]}


def test_blanks_around_cells_are_dropped_where_declared_and_names_keep_theirs(tmp_path: Path) -> None:
    path = written(tmp_path, "t.csv", b"fuel ,n\n Petrol ,NA \n  ,3\n")

    table = read_table(declared(strip=True), path)

    assert table["fuel "].tolist() == ["Petrol", None]
    assert table["n"].tolist() == [None, "3"], "what means no value does so without its blanks"
