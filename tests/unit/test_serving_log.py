"""The prediction log: complete after a stop, readable after a kill, and silent about what a brand may not keep."""

import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from brandhouse_serving import prediction_ids, prediction_log
from brandhouse_serving.feedback import DuplicateLabelError, LabelStore, UnknownPredictionError
from brandhouse_serving.prediction_log import Answer, JsonLinesPredictionLog, LogRule, append_all_durably, build_log_rule, find_record
from brandhouse_shared.config import Capabilities, FieldType, InputField, Privacy
from brandhouse_shared.errors import RetryableError
from brandhouse_shared.names import ModelKey

CASA = ModelKey("casa", "price").version(3)
STIL = ModelKey("stil", "price").version(3)
NOON_MS = int(datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp() * 1000)
OPEN = LogRule(True, ("area",), (), ())
CAREFUL = LogRule(True, ("area",), ("name",), ("health",))
SILENT = LogRule(False, ("area",), ("name",), ("health",))
ROW = {"area": 80, "name": "Vermeer", "health": "asthma"}


def answer(version: Any = CASA, rule: LogRule = OPEN, rows: int = 1, at_ms: int = NOON_MS) -> Answer:
    ids = prediction_ids.make_many(version, at_ms, rows)
    return Answer(version, ids, [ROW] * rows, [1.5] * rows, None, at_ms, 0.25, "production", rule)


@pytest.fixture
def log(tmp_path: Path) -> Any:
    log = JsonLinesPredictionLog(tmp_path)
    yield log
    log.close()


def test_a_record_holds_what_was_asked_and_answered_and_is_found_by_id(log: JsonLinesPredictionLog) -> None:
    one = answer()
    log.append(one)
    assert log.find(one.ids[0]) == {
        "id": one.ids[0],
        "at": "2026-03-01T12:00:00.000+00:00",
        "brand": "casa",
        "model": "price",
        "version": 3,
        "served_by": "production",
        "latency_ms": 0.25,
        "request_rows": 1,
        "inputs": {"area": 80},
        "withheld": [],
        "prediction": 1.5,
    }
    assert log.find(answer().ids[0]) is None


def test_each_row_of_a_request_is_a_record_of_its_own(log: JsonLinesPredictionLog) -> None:
    one = answer(rows=3)
    log.append(one)
    records = [log.find(identifier) for identifier in one.ids]
    assert [record and record["id"] for record in records] == list(one.ids)


def test_personal_values_are_hashed_by_brand_and_sensitive_ones_dropped(log: JsonLinesPredictionLog, tmp_path: Path) -> None:
    first, again, other = answer(rule=CAREFUL), answer(rule=CAREFUL), answer(STIL, CAREFUL)
    for one in (first, again, other):
        log.append(one)
    inputs = [record["inputs"] for one in (first, again, other) if (record := log.find(one.ids[0]))]
    assert inputs[0] == inputs[1] and inputs[0]["name"].startswith("hmac:") and "health" not in inputs[0]
    assert inputs[0]["name"] != inputs[2]["name"], "two brands cannot be joined by their readers"
    assert (log.find(first.ids[0]) or {})["withheld"] == ["name", "health"]
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "secrets").iterdir()} == {0o600}


def test_a_brand_that_may_not_store_keeps_provenance_only(log: JsonLinesPredictionLog) -> None:
    one = answer(rule=SILENT)
    log.append(one)
    record = log.find(one.ids[0])
    assert record is not None and record["version"] == 3 and not {"inputs", "prediction", "probabilities"} & record.keys()


def test_the_rule_follows_the_privacy_of_the_fields() -> None:
    fields = {name: InputField(type=FieldType.TEXT, privacy=privacy) for name, privacy in zip("abc", Privacy, strict=True)}
    assert build_log_rule(Capabilities(may_store_predictions=False), fields) == LogRule(False, ("a",), ("b",), ("c",))


def test_files_are_by_brand_model_and_day_and_for_the_owner_only(log: JsonLinesPredictionLog, tmp_path: Path) -> None:
    log.append(answer())
    log.append(answer(STIL, at_ms=NOON_MS + 86_400_000))
    log.flush()
    files = sorted((tmp_path / "predictions").rglob("*.jsonl"))
    folders = [file.parent.relative_to(tmp_path / "predictions").as_posix() for file in files]
    assert folders == ["casa/price/2026-03-01", "stil/price/2026-03-02"]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def test_closing_writes_everything(tmp_path: Path) -> None:
    log = JsonLinesPredictionLog(tmp_path)
    for _ in range(5_000):
        log.append(answer())
    log.close()
    assert sum(len(file.read_bytes().splitlines()) for file in tmp_path.rglob("*.jsonl")) == 5_000


def test_appending_never_waits_for_the_disk(log: JsonLinesPredictionLog) -> None:
    one = answer()
    started = time.perf_counter()
    for _ in range(1_000):
        log.append(one)
    assert (time.perf_counter() - started) / 1_000 < 0.001


def test_a_torn_last_line_is_passed_over(log: JsonLinesPredictionLog, tmp_path: Path) -> None:
    one, lost = answer(), answer()
    log.append(one)
    log.flush()
    (file,) = tmp_path.rglob("*.jsonl")
    file.write_bytes(file.read_bytes() + f'{{"id":"{lost.ids[0]}","at'.encode())
    assert find_record(tmp_path, one.ids[0]) is not None and find_record(tmp_path, lost.ids[0]) is None


def test_a_disk_that_refuses_keeps_files_whole_and_answers_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction_log, "RETRY_SECONDS", 0.05)
    log = JsonLinesPredictionLog(tmp_path)
    (tmp_path / "predictions").write_text("a file in the way")
    ones = [answer(), answer(STIL)]
    for one in ones:
        log.append(one)
    time.sleep(0.3)
    assert log.is_alive
    (tmp_path / "predictions").unlink()
    assert all(log.find(one.ids[0]) for one in ones), "written as soon as the disk takes it again"
    log.close()
    assert sum(len(file.read_bytes().splitlines()) for file in tmp_path.rglob("*.jsonl")) == 2


def test_several_files_are_written_all_or_none(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"before\n")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="directory"):
        append_all_durably({tmp_path / "a": b"after\n", tmp_path / "folder": b"x"})
    assert (tmp_path / "a").read_bytes() == b"before\n"


def test_when_too_much_is_unwritten_no_more_is_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction_log, "MAX_PENDING_ROWS", 10)
    monkeypatch.setattr(prediction_log, "RETRY_SECONDS", 0.05)
    (tmp_path / "predictions").write_text("a file in the way")
    log = JsonLinesPredictionLog(tmp_path)
    log.append(answer(rows=11))
    with pytest.raises(RetryableError, match="cannot be recorded at present and are therefore not made"):
        log.append(answer())
    (tmp_path / "predictions").unlink()
    log.close()


def test_a_hash_key_made_by_two_processes_at_once_is_one(tmp_path: Path) -> None:
    code = "import sys, pathlib\nfrom brandhouse_serving.prediction_log import load_hash_key\n"
    code += "print(load_hash_key(pathlib.Path(sys.argv[1]), 'casa').hex())"
    running = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) for _ in range(3)]
    assert len({process.communicate()[0] for process in running}) == 1
    assert [path.name for path in (tmp_path / "secrets").iterdir()] == ["casa.log-key"]


def test_a_label_is_joined_once_over_all_processes(log: JsonLinesPredictionLog, tmp_path: Path) -> None:
    one = answer()
    log.append(one)
    now = datetime.now(UTC)
    stores = [LabelStore(tmp_path, log) for _ in range(4)]
    outcomes: list[str] = []

    def report(store: LabelStore) -> None:
        try:
            store.add(CASA.model_key, one.ids[0], 2.0, now)
            outcomes.append("joined")
        except DuplicateLabelError as error:
            outcomes.append(str(error))

    threads = [threading.Thread(target=report, args=[store]) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["casa/price already has a label for that prediction; the first one stays"] * 3 + ["joined"]
    (labels,) = tmp_path.rglob("labels.jsonl")
    assert orjson.loads(labels.read_bytes())["label"] == 2.0


def test_a_label_for_what_was_never_predicted_is_refused(log: JsonLinesPredictionLog, tmp_path: Path) -> None:
    one = answer(STIL)
    log.append(one)
    store = LabelStore(tmp_path, log)
    for identifier in (one.ids[0], answer().ids[0], "nonsense"):
        with pytest.raises(UnknownPredictionError, match="casa/price made no prediction of that id"):
            store.add(CASA.model_key, identifier, 2.0, datetime.now(UTC))
