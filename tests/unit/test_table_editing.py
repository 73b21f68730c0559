"""A file without some rows: everything else stays byte by byte, and what cannot be done with certainty is refused."""

import bz2
import gzip
import io
import zipfile
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from brandhouse_flows.datasets import read_table
from brandhouse_flows.table_editing import NoSuchColumnError, drop_rows, find_rows
from brandhouse_shared.config import Dataset
from brandhouse_shared.errors import DatasetError


def dataset(**options: object) -> Dataset:
    return Dataset.model_validate({"file": "data/t.csv", "source": {"kind": "upload"}, **options})


def without(folder: Path, declared: Dataset, content: bytes, name: str, column: str, value: str) -> tuple[bytes, int]:
    source, target = folder / name, folder / f"new-{name}"
    source.write_bytes(content)
    left = drop_rows(declared, source, target, find_rows(declared, source, column, [value]))
    return (target.read_bytes() if left else b""), left


def test_other_lines_keep_their_quotes_line_ends_and_blank_lines(tmp_path: Path) -> None:
    content = b'who,text\r\nann,"a ""quoted"", one"\r\n\r\nbob,"two\nlines"\r\n ann ,3\r\n"cem",4'
    kept, left = without(tmp_path, dataset(), content, "t.csv", "who", "ann")
    assert kept == b'who,text\r\n\r\nbob,"two\nlines"\r\n"cem",4' and left == 2


def test_a_row_over_several_lines_goes_as_a_whole(tmp_path: Path) -> None:
    kept, left = without(tmp_path, dataset(), b'who,text\nann,"two\nlines, and ""more"""\nbob,x\n', "t.csv", "who", "ann")
    assert (kept, left) == (b"who,text\nbob,x\n", 1)


@pytest.mark.parametrize(
    ("name", "pack", "unpack"), [("t.csv.gz", gzip.compress, gzip.decompress), ("t.csv.bz2", bz2.compress, bz2.decompress)]
)
def test_packed_files_are_packed_again_and_the_same_each_time(tmp_path: Path, name: str, pack: object, unpack: object) -> None:
    first, _ = without(tmp_path, dataset(), pack(b"who,n\nann,1\nbob,2\n"), name, "who", "ann")  # type: ignore[operator]
    second, _ = without(tmp_path, dataset(), pack(b"who,n\nann,1\nbob,2\n"), name, "who", "ann")  # type: ignore[operator]
    assert unpack(first) == b"who,n\nbob,2\n" and first == second  # type: ignore[operator]


def test_marks_encodings_separators_headers_and_skipped_lines_stay(tmp_path: Path) -> None:
    marked, _ = without(tmp_path, dataset(), b"\xef\xbb\xbfwho;n\nann;1\nb\xc3\xb6b;2\n".replace(b";", b","), "t.csv", "who", "ann")
    assert marked == b"\xef\xbb\xbfwho,n\nb\xc3\xb6b,2\n"
    latin = dataset(encoding="latin-1", separator=";", header=["who", "n"], skip_rows=1, decimal=",")
    kept, _ = without(tmp_path, latin, "made by é\nann;1,5\nbörn;2,5\n".encode("latin-1"), "u.csv", "who", "ann")
    assert kept == "made by é\nbörn;2,5\n".encode("latin-1")


def test_numbers_are_compared_as_they_are_written(tmp_path: Path) -> None:
    declared = dataset(thousands=".", decimal=",")
    kept, left = without(tmp_path, declared, b'who,n\n"1.000","1,5"\n"x",2\n', "t.csv", "who", "1.000")
    assert (kept, left) == (b'who,n\n"x",2\n', 1)


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    table = pa.table({"who": pa.array([7, 8, None], pa.int64()), "when": pa.array([1, 2, 3], pa.timestamp("ms"))})
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    kept, left = without(tmp_path, dataset(format="parquet"), buffer.getvalue(), "t.parquet", "who", "7")
    found = pq.read_table(io.BytesIO(kept))
    assert left == 2 and found.schema.equals(table.schema) and found["who"].to_pylist() == [8, None]


def test_texts_in_a_zip_go_by_their_name(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in ("ann.txt", "bob.txt"):
            archive.writestr(f"letters/{name}", f"from {name}")
    kept, left = without(tmp_path, dataset(format="zip-text"), buffer.getvalue(), "t.zip", "file", "ann.txt")
    assert left == 1 and zipfile.ZipFile(io.BytesIO(kept)).namelist() == ["letters/bob.txt"]


def test_with_no_row_left_nothing_is_written(tmp_path: Path) -> None:
    assert without(tmp_path, dataset(), b"who,n\nann,1\n", "t.csv", "who", "ann") == (b"", 0)
    assert not (tmp_path / "new-t.csv").exists()


def test_a_file_without_the_column_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"name,n\nann,1\n")
    with pytest.raises(NoSuchColumnError, match="no column 'who'"):
        find_rows(dataset(), tmp_path / "t.csv", "who", ["ann"])


def test_rows_that_cannot_be_taken_out_with_certainty_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def other_rows(declared: Dataset, path: Path) -> pd.DataFrame:
        table = read_table(declared, path)
        return table.iloc[::-1].reset_index(drop=True) if path.name.startswith("new") else table

    monkeypatch.setattr("brandhouse_flows.table_editing.read_table", other_rows)
    with pytest.raises(DatasetError, match="cannot be taken out of it with certainty"):
        without(tmp_path, dataset(), b"who,n\nann,1\nbob,2\ncem,3\n", "t.csv", "who", "ann")
    assert not (tmp_path / "new-t.csv").exists()
