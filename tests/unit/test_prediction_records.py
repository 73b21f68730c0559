"""What was answered in the last days, read back for labelling."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from brandhouse_serving import prediction_ids, prediction_records
from brandhouse_serving.feedback import LabelStore
from brandhouse_serving.prediction_log import Answer, JournaledPredictionLog, LogRule
from brandhouse_serving.prediction_records import StoredPredictionRecords
from brandhouse_shared.names import ModelKey

CASA, VILLA = ModelKey("casa", "price"), ModelKey("villa", "price")
NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
OPEN = LogRule(True, ("area",), (), ())


def write(home: Path, key: ModelKey = CASA, days_ago: int = 0, rule: LogRule = OPEN, rows: int = 2) -> Any:
    at_ms = int((NOW - timedelta(days=days_ago)).timestamp() * 1000)
    version = key.version(3)
    ids = prediction_ids.make_many(version, at_ms, rows)
    log = JournaledPredictionLog(home)
    log.append(Answer(version, ids, [{"area": 80, "name": "Vermeer"}] * rows, [1.5] * rows, None, at_ms, 0.25, "production", rule))
    log.close()
    return ids


def ids_of(home: Path, key: ModelKey = CASA, days: int = 5) -> set[str]:
    return {record.id for record in StoredPredictionRecords(home).unlabelled(key, days, NOW)}


def test_answers_of_the_last_days_without_a_label_are_found_by_brand_and_model(tmp_path: Path) -> None:
    first, other, old = write(tmp_path), write(tmp_path, VILLA), write(tmp_path, days_ago=9)
    assert ids_of(tmp_path) == set(first)
    assert ids_of(tmp_path, VILLA) == set(other)
    assert ids_of(tmp_path, days=10) == {*first, *old}

    class Known:
        def find(self, prediction_id: str) -> object:
            return prediction_id

    LabelStore(tmp_path, Known()).add(CASA, first[0], 2.0, NOW)
    assert ids_of(tmp_path) == {first[1]}


def test_a_record_says_what_is_kept_and_what_is_withheld(tmp_path: Path) -> None:
    write(tmp_path, rule=LogRule(True, ("area",), ("name",), ("health",)), rows=1)
    (record,) = StoredPredictionRecords(tmp_path).unlabelled(CASA, 1, NOW)
    assert (record.version, record.prediction, record.probabilities, record.withheld) == (3, 1.5, None, ("name", "health"))
    assert record.inputs["area"] == 80 and record.inputs["name"].startswith("hmac:")


def test_records_without_inputs_and_torn_lines_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, rule=LogRule(False, (), (), ()))
    assert ids_of(tmp_path) == set()
    kept = write(tmp_path, rows=5)
    for file in tmp_path.rglob("*.jsonl"):
        file.write_bytes(file.read_bytes() + b'[["casa.price.v3')
    assert ids_of(tmp_path) == set(kept)
    monkeypatch.setattr(prediction_records, "MAX_RECORDS", 3)
    assert len(ids_of(tmp_path)) == 3
