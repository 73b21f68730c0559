"""Answers that a log holds twice, and such as only look alike."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from brandhouse_aftercare.answers import read_answers
from brandhouse_serving.prediction_table import add_rows, day_folder
from brandhouse_shared.config import InputField
from brandhouse_shared.names import ModelKey

KEY = ModelKey("mole", "price")
NOON = datetime(2027, 3, 10, 12, tzinfo=UTC)
FIELDS = {"x": InputField.model_validate({"type": "number", "nullable": True})}


def log_rows(home: Path, batch: str, ids: list[str], **others: list[Any]) -> None:
    at = int(NOON.timestamp() * 1000)
    rows: dict[str, list[Any]] = {
        "id": ids,
        "at": [at] * len(ids),
        "brand": [KEY.brand] * len(ids),
        "model": [KEY.model] * len(ids),
        "version": [1] * len(ids),
        "served_by": ["production"] * len(ids),
        "latency_ms": [1.0] * len(ids),
        "request_rows": [1] * len(ids),
        "inputs": [f'{{"x":{place}}}' for place in range(len(ids))],
        "withheld": [[]] * len(ids),
        "prediction": ["1.0"] * len(ids),
        "value": [float(place) for place in range(len(ids))],
        "probabilities": [None] * len(ids),
    }
    add_rows(day_folder(home, KEY, at), rows | others, batch)


def read(home: Path) -> Any:
    return read_answers(home, KEY, FIELDS, NOON - timedelta(hours=1), NOON + timedelta(hours=1))


def test_ids_with_equal_ends_are_different_answers(tmp_path: Path) -> None:
    log_rows(tmp_path, "one", [f"mole.price.v1.{place:011x}.AAAAAAAAAAAAAAAA" for place in range(5)])

    assert (read(tmp_path).rows, read(tmp_path).duplicates) == (5, 0)


def test_short_ids_are_compared_whole(tmp_path: Path) -> None:
    log_rows(tmp_path, "one", ["a", "b", "a", "a-longer-one"])

    assert (read(tmp_path).rows, read(tmp_path).duplicates) == (3, 1)


def test_an_answer_that_is_there_twice_counts_once_in_every_column(tmp_path: Path) -> None:
    ids = [f"mole.price.v1.{place:011x}.AAAAAAAAAAAA{place:04x}" for place in range(6)]
    log_rows(tmp_path, "one", [*ids[:4], ids[1]])
    log_rows(tmp_path, "two", [ids[4], ids[0], ids[5]])

    answers = read(tmp_path)

    assert (answers.rows, answers.duplicates) == (6, 2)
    assert sorted(answers.ids.to_pylist()) == ids
    assert answers.inputs["x"].values.tolist() == answers.value.tolist() == [0, 1, 2, 3, 0, 2]


def test_rows_without_inputs_are_missing_everywhere(tmp_path: Path) -> None:
    ids = [f"mole.price.v1.{place:011x}.AAAAAAAAAAAA{place:04x}" for place in range(3)]
    log_rows(tmp_path, "one", ids, inputs=['{"x":7}', None, '{"x":null}'])

    answers = read(tmp_path)

    assert answers.has_inputs.tolist() == [True, False, True]
    assert answers.inputs["x"].missing.tolist() == [False, True, True]
