"""Scoring files: how cells are understood, which versions may be asked in blocks, and what a crash leaves behind."""

import bz2
import gzip
import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
from model_house import CLASSIFIERS, CODE, make_case

from brandhouse_flows.batch_input import open_source, raw_table
from brandhouse_flows.batch_journal import Job, Part, held_work_folder
from brandhouse_flows.row_independence import what_influences
from brandhouse_shared.config import Dataset, FieldType, InputField
from brandhouse_shared.contracts import Contract
from brandhouse_shared.errors import DatasetError

SOURCE = {"kind": "file", "path": "rows.csv"}
FIELDS = {"price": InputField(type=FieldType.NUMBER), "code": InputField(type=FieldType.CATEGORY), "word": InputField(type=FieldType.TEXT)}


def dataset(**declared: object) -> Dataset:
    return Dataset.model_validate({"file": "data/rows.csv", "source": SOURCE, **declared})


def read(path: Path, declared: Dataset, rows: int, start: int = 0) -> list[dict[str, list[str | None]]]:
    source = open_source(path, declared, None, None)
    return [raw_table(chunk, Contract(FIELDS), declared).to_dict("list") for chunk in source.chunks(rows, start)]  # type: ignore[misc]


@pytest.mark.parametrize("rows", [1, 2, 100])
def test_what_a_number_means_does_not_depend_on_the_rows_beside_it(tmp_path: Path, rows: int) -> None:
    (tmp_path / "in.csv").write_text("price;code;word\n€ 1.234,5;01;x\nno price;2;y\n7;NA;\n")
    found = read(tmp_path / "in.csv", dataset(separator=";", decimal=",", thousands=".", units=["€"]), rows)
    assert [text for chunk in found for text in chunk["price"]] == ["1234.5", "no price", "7"]
    assert [text for chunk in found for text in chunk["code"]] == ["01", "2", None], "a text is no number"


def test_reading_goes_on_with_any_row(tmp_path: Path) -> None:
    lines = [f'{index},c,"two\nlines {index}"' for index in range(10)]
    (tmp_path / "in.csv").write_text("price,code,word\n" + "\n".join(lines) + "\n")
    for rows in (1, 3, 4, 100):
        for start in (0, 1, 5, 9, 10):
            found = [price for chunk in read(tmp_path / "in.csv", dataset(), rows, start) for price in chunk["price"]]
            assert found == [str(index) for index in range(start, 10)], (rows, start)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("in.csv", b"", r"the file to score is empty \(0 bytes\)"),
        ("in.csv", b"a,a\n1,2\n", r"columns of the same name: a; name every column once"),
        ("in.csv", b"price,code,word\n1,2,3,4\n", r"the rows hold more cells than the 3 columns; give --separator"),
        ("in.csv", b"price,code,word\n1,2,3\n1,2,3,4\n", r"the rows do not fit the columns"),
        ("in.csv", b"price,code,word\n1,2,\xff\n", r"a byte is not utf-8; give --encoding"),
        ("in.csv.gz", b"\x1f\x8b\x08\x00", r"the file is truncated or damaged"),
        ("in.parquet", b"PAR1....", r"is no whole Parquet file"),
    ],
)
def test_a_damaged_file_is_named_and_none_of_its_values(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        read(tmp_path / name, dataset(), 10)


@pytest.mark.parametrize(
    ("name", "code", "influence"),
    [
        ("LogisticRegression", CODE, ""),
        ("GradientBoostingClassifier", CODE, ""),
        ("GaussianNB", CODE, "Pow, ReduceLogSumExp, ReduceSum"),
        ("CalibratedClassifierCV of a pipeline", CODE, "sklearn.calibration.CalibratedClassifierCV"),
    ],
)
def test_only_versions_that_answer_a_row_as_alone_are_asked_in_blocks(tmp_path: Path, name: str, code: str, influence: str) -> None:
    (tmp_path / "package").mkdir()
    package = make_case(tmp_path, code=code).package(tmp_path / "package", CLASSIFIERS[name][0]())
    found = what_influences(tmp_path / "package", package.manifest)
    assert found.startswith(influence) if influence else not found, found


def test_packed_files_are_read_like_plain_ones(tmp_path: Path) -> None:
    content = b"price,code,word\n1,2,3\n4,5,6\n"
    for name, pack in (("in.csv", bytes), ("in.csv.gz", gzip.compress), ("in.csv.bz2", bz2.compress)):
        (tmp_path / name).write_bytes(pack(content))
        assert [chunk["price"] for chunk in read(tmp_path / name, dataset(), 1)] == [["1"], ["4"]], name


def test_a_journal_whose_last_line_is_torn_goes_on_before_it(tmp_path: Path) -> None:
    job = Job("run", "casa/price/v1", "d", "i", 10, ("a",), (",", "utf-8"), alone=False)
    with held_work_folder(tmp_path / "out.csv") as work:
        work.begin(job)
        for number in (1, 2):
            path = work.part_path(number, ".csv")
            path.write_text("x")
            work.commit(Part(number, work.next_row, 5, 0, 0, 1), path)
    journal = tmp_path / ".out.csv.scoring" / "journal.jsonl"
    journal.write_bytes(journal.read_bytes() + json.dumps({"number": 3}).encode()[:7])
    with held_work_folder(tmp_path / "out.csv") as work:
        assert work.job == job and work.next_row == 10
        path = work.part_path(3, ".csv")
        path.write_text("x")
        work.commit(Part(3, 10, 5, 0, 0, 1), path)
    with held_work_folder(tmp_path / "out.csv") as work:
        assert [part.number for part in work.parts] == [1, 2, 3]


def test_a_table_refuses_what_a_request_refuses_of_large_numbers_and_far_dates() -> None:
    import pandas as pd

    fields = {"n": InputField(type=FieldType.INTEGER), "d": InputField(type=FieldType.DATE)}
    table = pd.DataFrame({"n": ["1", "9007199254740993", "1e300"], "d": ["9999-01-01", "2024-02-29", "0001-01-01"]}, dtype=object)
    _, refusals = Contract(fields).refuse_cells(table)
    found = {(refusal.field, tuple(refusal.rows.tolist())): refusal.reason for refusal in refusals}
    assert found["d", (True, False, True)].startswith("a date outside 1678 to 2261; allowed")
    assert ("n", (False, False, True)) in found and found["n", (False, False, True)].startswith("a number that is too large; allowed")
