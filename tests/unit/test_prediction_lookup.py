"""One prediction among many, found by its id with its whole request; and what is said when a file is damaged."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from brandhouse_serving import conversion, prediction_ids, prediction_lookup
from brandhouse_serving.feedback import LabelStore
from brandhouse_serving.prediction_counts import count_by_version
from brandhouse_serving.prediction_log import Answer, JournaledPredictionLog, LogRule
from brandhouse_serving.prediction_lookup import LogDamagedError, find_label, find_request
from brandhouse_serving.prediction_table import day_folder, find_parts
from brandhouse_shared.names import ModelKey

CASA, VILLA = ModelKey("casa", "price"), ModelKey("villa", "price")
NOON_MS = int(datetime(2026, 3, 10, 12, tzinfo=UTC).timestamp() * 1000)
RULE = LogRule(True, ("area",), (), ())


def write(home: Path, requests: Sequence[tuple[int, int, int]], key: ModelKey = CASA) -> list[list[str]]:
    """Log requests, each `(version, milliseconds after noon, rows)`; return their ids."""
    log = JournaledPredictionLog(home)
    made = []
    for number, after_ms, rows in requests:
        version, at_ms = key.version(number), NOON_MS + after_ms
        ids = prediction_ids.make_many(version, at_ms, rows)
        areas = [{"area": float(place)} for place in range(rows)]
        log.append(Answer(version, ids, areas, [1.5 * place for place in range(rows)], None, at_ms, 0.25, "production", RULE))
        made.append(ids)
    log.close()
    return made


def areas_of(home: Path, prediction_id: str) -> tuple[list[str], bool]:
    found = find_request(home, prediction_id)
    assert found is not None and found.row["id"] == prediction_id
    return [row["inputs"] for row in found.rows], found.is_whole


@pytest.mark.parametrize("is_parquet", [False, True])
def test_a_prediction_comes_with_the_rows_that_were_asked_together(
    tmp_path: Path, is_parquet: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("brandhouse_serving.prediction_table.ROW_GROUP_ROWS", 4)
    made = write(tmp_path, [(1, 0, 3), (1, 1, 1), (1, 2, 9), (2, 3, 2)])
    if is_parquet:
        conversion.convert_all(tmp_path)
    for ids in made:
        for identifier in ids:
            assert areas_of(tmp_path, identifier) == ([f'{{"area":{float(place)}}}' for place in range(len(ids))], True)
    assert find_request(tmp_path, prediction_ids.make_many(CASA.version(1), NOON_MS + 2, 1)[0]) is None


def test_two_requests_that_look_alike_are_never_taken_for_one(tmp_path: Path) -> None:
    first, second = write(tmp_path, [(1, 0, 2), (1, 0, 2)])
    conversion.convert_all(tmp_path)
    for identifier in first + second:
        found = find_request(tmp_path, identifier)
        assert found is not None and found.row["id"] == identifier
        assert not found.is_whole or {row["id"] for row in found.rows} in ({*first}, {*second})


def test_a_request_of_which_rows_were_taken_out_is_not_whole(tmp_path: Path) -> None:
    (ids,) = write(tmp_path, [(1, 0, 3)])
    conversion.convert_all(tmp_path)
    (part,) = find_parts(day_folder(tmp_path, CASA, NOON_MS))
    table = pq.read_table(part)
    pq.write_table(table.filter([True, False, True]), part)

    found = find_request(tmp_path, ids[2])
    assert found is not None and not found.is_whole and len(found.rows) == 2
    assert find_request(tmp_path, ids[1]) is None


def test_only_groups_of_its_time_are_read_although_versions_answer_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("brandhouse_serving.prediction_table.ROW_GROUP_ROWS", 10)
    made = write(tmp_path, [(1 + place % 2, place, 1) for place in range(200)])
    conversion.convert_all(tmp_path)
    read: list[int] = []
    original = pq.ParquetFile.read_row_group

    def counting(self: pq.ParquetFile, number: int, **options: object) -> object:
        read.append(number)
        return original(self, number, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", counting)
    assert find_request(tmp_path, made[101][0]) is not None
    assert set(read) == {10}, "20 groups hold ids of both versions; one holds this time"


def test_a_truncated_file_is_said_and_hides_nothing_that_is_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("brandhouse_serving.prediction_table.FULL_ROWS", 1)
    ((first,),) = write(tmp_path, [(1, 0, 1)])
    conversion.convert_all(tmp_path)
    ((second,),) = write(tmp_path, [(1, 5, 1)])
    conversion.convert_all(tmp_path)
    broken, _ = find_parts(day_folder(tmp_path, CASA, NOON_MS))
    broken.write_bytes(broken.read_bytes()[:-20])

    assert find_request(tmp_path, second) is not None
    with pytest.raises(LogDamagedError, match=r"casa/price: part-0001.parquet of 2026-03-10 cannot be read"):
        find_request(tmp_path, first)


def test_a_label_is_found_by_the_id_and_a_torn_one_is_none(tmp_path: Path) -> None:
    ((first,), (second,)) = write(tmp_path, [(1, 0, 1), (1, 1, 1)])
    assert find_label(tmp_path, first) is None

    class Known:
        def find(self, prediction_id: str) -> object:
            return prediction_id

    LabelStore(tmp_path, Known()).add(CASA, first, 2.5, datetime(2026, 3, 11, tzinfo=UTC))
    (file,) = tmp_path.rglob("_labels/*.jsonl")
    file.write_bytes(file.read_bytes() + f'{{"id":"{second}","la'.encode())
    found = find_label(tmp_path, first)
    assert found is not None and found["label"] == 2.5
    assert find_label(tmp_path, second) is None


def test_predictions_are_counted_by_version_in_journals_and_files(tmp_path: Path) -> None:
    write(tmp_path, [(1, 0, 3), (2, 1, 4)])
    write(tmp_path, [(1, 0, 7)], VILLA)
    conversion.convert_all(tmp_path)
    write(tmp_path, [(2, 2, 5)])
    assert count_by_version(tmp_path, CASA) == {1: 3, 2: 9}
    assert count_by_version(tmp_path, VILLA) == {1: 7}
    assert count_by_version(tmp_path, ModelKey("nobody", "price")) == {}
    assert not (tmp_path / "predictions" / "nobody").exists(), "asking leaves nothing behind"


def test_the_columns_that_are_looked_at_are_where_they_are_said_to_be() -> None:
    from brandhouse_serving.prediction_counts import VERSION_COLUMN
    from brandhouse_serving.prediction_table import COLUMNS

    names = list(COLUMNS)
    assert (names[prediction_lookup.ID_COLUMN], names[prediction_lookup.AT_COLUMN], names[VERSION_COLUMN]) == ("id", "at", "version")
