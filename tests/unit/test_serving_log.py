"""The prediction log: complete after a stop, readable after a kill, and silent about what a brand may not keep."""

import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from brandhouse_serving import journal, prediction_ids, prediction_log
from brandhouse_serving.dialects import V1, Call
from brandhouse_serving.durable_files import append_durably
from brandhouse_serving.failures import DuplicateLabelError, UnknownPredictionError
from brandhouse_serving.feedback import LabelStore
from brandhouse_serving.journal import Entry, JournalWriter, find_segments, is_closed, read_entries
from brandhouse_serving.prediction_log import Answer, JournaledPredictionLog, LogRule, build_log_rule
from brandhouse_serving.prediction_records import find_record
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
    row = {"area": 80} if rule is OPEN else ROW  # the contract lets declared fields pass only
    return Answer(version, ids, [row] * rows, [1.5] * rows, None, at_ms, 0.25, "production", rule)


def logged(home: Path, *brands: str) -> list[str]:
    entries: list[Entry] = []
    for brand in brands or ("casa", "stil"):
        entries += [entry for segment in find_segments(home, brand) for entry in read_entries(segment)]
    return [identifier for entry in entries for identifier in entry.ids]


@pytest.fixture
def log(tmp_path: Path) -> Any:
    log = JournaledPredictionLog(tmp_path)
    yield log
    log.close()


def test_rows_that_came_as_json_are_recorded_as_they_came_and_only_if_nothing_of_them_is_withheld(log: JournaledPredictionLog) -> None:
    came = b'[ {"area": 8.0e1} ]'
    open_, careful, silent = answer(), answer(STIL, CAREFUL), answer(STIL, SILENT)
    for one in (open_, careful, silent):
        one.rows_json = came
        log.append(one)
    kept = log.find(open_.ids[0])
    assert kept is not None and kept["inputs"] == {"area": 80.0}
    hashed, nothing = log.find(careful.ids[0]), log.find(silent.ids[0])
    assert hashed is not None and hashed["inputs"].keys() == {"area", "name"} and hashed["inputs"]["name"].startswith("hmac:")
    assert nothing is not None and "inputs" not in nothing


def test_a_body_over_several_lines_is_no_line_of_the_journal() -> None:
    def rows_json(body: bytes) -> bytes | None:
        return V1().rows_json(Call("casa", "price", body=body))

    assert rows_json(b'{"instances":[{"area":"]["},{"area":"x"}] }') == b'[{"area":"]["},{"area":"x"}]'
    assert rows_json(b'{"instances": [\n{"area": 1}\n]}') is None and rows_json(b'{"instances": [\r{"area": 1}]}') is None


def test_a_record_holds_what_was_asked_and_answered_and_is_found_by_id(log: JournaledPredictionLog) -> None:
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


def test_each_row_of_a_request_is_a_record_of_its_own(log: JournaledPredictionLog) -> None:
    one = answer(rows=3)
    log.append(one)
    records = [log.find(identifier) for identifier in one.ids]
    assert [record and record["id"] for record in records] == list(one.ids)


def test_personal_values_are_hashed_by_brand_and_sensitive_ones_dropped(log: JournaledPredictionLog, tmp_path: Path) -> None:
    first, again, other = answer(rule=CAREFUL), answer(rule=CAREFUL), answer(STIL, CAREFUL)
    for one in (first, again, other):
        log.append(one)
    inputs = [record["inputs"] for one in (first, again, other) if (record := log.find(one.ids[0]))]
    assert inputs[0] == inputs[1] and inputs[0]["name"].startswith("hmac:") and "health" not in inputs[0]
    assert inputs[0]["name"] != inputs[2]["name"], "two brands cannot be joined by their readers"
    assert (log.find(first.ids[0]) or {})["withheld"] == ["name", "health"]
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "secrets").iterdir()} == {0o600}


def test_a_brand_that_may_not_store_keeps_provenance_only(log: JournaledPredictionLog) -> None:
    one = answer(rule=SILENT)
    log.append(one)
    record = log.find(one.ids[0])
    assert record is not None and record["version"] == 3 and not {"inputs", "prediction", "probabilities"} & record.keys()


def test_the_rule_follows_the_privacy_of_the_fields() -> None:
    fields = {name: InputField(type=FieldType.TEXT, privacy=privacy) for name, privacy in zip("abc", Privacy, strict=True)}
    assert build_log_rule(Capabilities(may_store_predictions=False), fields) == LogRule(False, ("a",), ("b",), ("c",))


def test_a_brand_that_may_not_store_leaves_no_value_in_its_journal(log: JournaledPredictionLog, tmp_path: Path) -> None:
    for rule in (SILENT, CAREFUL):
        log.append(answer(rule=rule))
    log.close()
    (silent, careful) = b"".join(file.read_bytes() for file in find_segments(tmp_path, "casa")).splitlines()
    assert orjson.loads(silent)[1:] == [0.25, "production"], "beside the ids, which are random"
    assert b"80" in careful and not any(word in careful for word in (b"Vermeer", b"asthma"))


def test_journals_are_by_brand_and_for_the_owner_only(log: JournaledPredictionLog, tmp_path: Path) -> None:
    log.append(answer())
    log.append(answer(STIL, at_ms=NOON_MS + 86_400_000))
    log.flush()
    files = [*find_segments(tmp_path, "casa"), *find_segments(tmp_path, "stil")]
    folders = [file.parent.relative_to(tmp_path).as_posix() for file in files]
    assert folders == ["predictions/casa/_journal", "predictions/stil/_journal"]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "predictions").rglob("*") if path.is_dir()} == {0o700}


def test_closing_writes_everything(tmp_path: Path) -> None:
    log = JournaledPredictionLog(tmp_path)
    for _ in range(5_000):
        log.append(answer())
    log.close()
    assert len(logged(tmp_path)) == 5_000


def test_a_journal_is_closed_after_its_time_although_nothing_more_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "SEGMENT_SECONDS", 0.3)
    log = JournaledPredictionLog(tmp_path)
    log.append(answer())
    log.flush()
    (segment,) = find_segments(tmp_path, "casa")
    assert not is_closed(segment)
    while not is_closed(segment):
        time.sleep(0.02)
    log.append(answer())
    log.close()
    assert len(find_segments(tmp_path, "casa")) == 2 and len(logged(tmp_path)) == 2


def test_with_more_brands_than_files_may_be_open_the_oldest_journal_is_closed(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, most_open=2)
    for brand in ("aa", "bb", "cc"):
        writer.append(brand, b"line\n")
        writer.sync()
    assert [is_closed(find_segments(tmp_path, brand)[0]) for brand in ("aa", "bb", "cc")] == [True, False, False]
    writer.finish(everything=True)
    writer.sync()
    assert is_closed(find_segments(tmp_path, "cc")[0])


def test_a_disk_that_is_full_in_the_middle_of_a_line_leaves_the_journal_as_before(tmp_path: Path) -> None:
    code = """
import pathlib, resource, signal, sys
from brandhouse_serving.journal import JournalWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
writer = JournalWriter(pathlib.Path(sys.argv[1]), 9)
writer.append("casa", b"a" * 79 + b"\\n")
try:
    writer.append("casa", b"b" * 79 + b"\\n")
except OSError as error:
    print(error.strerror)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
writer.append("casa", b"c" * 79 + b"\\n")
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout == "File too large\n"
    assert [line[0] for line in find_segments(tmp_path, "casa")[0].read_text().splitlines()] == ["a", "c"]


def test_appending_never_waits_for_the_disk(log: JournaledPredictionLog) -> None:
    one = answer()
    started = time.perf_counter()
    for _ in range(1_000):
        log.append(one)
    assert (time.perf_counter() - started) / 1_000 < 0.001


def test_torn_and_damaged_lines_are_passed_over(log: JournaledPredictionLog, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    one, lost = answer(), answer()
    log.append(one)
    log.close()
    (file,) = find_segments(tmp_path, "casa")
    short = f'[["{one.ids[0]}"],1,"production",[],[],[1.5],null]'
    file.write_bytes(b"\0\0\n[]\n{}\n" + short.encode() + b"\n" + file.read_bytes() + f'[["{lost.ids[0]}"],1,"prod'.encode())
    assert [entry.ids for entry in read_entries(file)] == [one.ids]
    assert "4 lines are damaged" in caplog.text
    assert find_record(tmp_path, one.ids[0]) is not None and find_record(tmp_path, lost.ids[0]) is None


def test_a_line_after_a_torn_one_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "labels.jsonl"
    append_durably(file, b'{"id":1}\n')
    file.write_bytes(file.read_bytes() + b'{"id"')
    append_durably(file, b'{"id":2}\n')
    assert file.read_bytes() == b'{"id":1}\n{"id":2}\n'


def test_a_disk_that_refuses_keeps_files_whole_and_answers_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction_log, "RETRY_SECONDS", 0.05)
    log = JournaledPredictionLog(tmp_path)
    (tmp_path / "predictions").write_text("a file in the way")
    ones = [answer(), answer(STIL)]
    for one in ones:
        log.append(one)
    time.sleep(0.3)
    assert log.is_alive
    (tmp_path / "predictions").unlink()
    assert all(log.find(one.ids[0]) for one in ones), "written as soon as the disk takes it again"
    log.close()
    assert sorted(logged(tmp_path)) == sorted(one.ids[0] for one in ones)


def test_when_too_much_of_a_brand_is_unwritten_it_alone_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction_log, "MAX_PENDING_BYTES", 500)
    monkeypatch.setattr(prediction_log, "RETRY_SECONDS", 0.05)
    (tmp_path / "predictions").mkdir()
    (tmp_path / "predictions" / "casa").write_text("a file in the way")
    log = JournaledPredictionLog(tmp_path)
    log.append(answer(rows=11))
    with pytest.raises(RetryableError, match="cannot be recorded at present and are therefore not made"):
        log.append(answer())
    for _ in range(9):
        log.append(answer(STIL))
        log.find("stil.price.v3.0199c2f0a1b.Zk3rT0q8Yw1xLm2P")
    (tmp_path / "predictions" / "casa").unlink()
    log.close()
    assert (len(logged(tmp_path, "casa")), len(logged(tmp_path, "stil"))) == (11, 9)


def test_a_hash_key_made_by_two_processes_at_once_is_one(tmp_path: Path) -> None:
    code = "import sys, pathlib\nfrom brandhouse_serving.prediction_log import load_hash_key\n"
    code += "print(load_hash_key(pathlib.Path(sys.argv[1]), 'casa').hex())"
    running = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) for _ in range(3)]
    assert len({process.communicate()[0] for process in running}) == 1
    assert [path.name for path in (tmp_path / "secrets").iterdir()] == ["casa.log-key"]


def test_a_label_is_joined_once_over_all_processes(log: JournaledPredictionLog, tmp_path: Path) -> None:
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
    labels = tmp_path / "predictions/casa/price/_labels/2026-03-01.jsonl"
    assert orjson.loads(labels.read_bytes())["label"] == 2.0


def test_a_label_for_what_was_never_predicted_is_refused(log: JournaledPredictionLog, tmp_path: Path) -> None:
    one = answer(STIL)
    log.append(one)
    store = LabelStore(tmp_path, log)
    for identifier in (one.ids[0], answer().ids[0], "nonsense"):
        with pytest.raises(UnknownPredictionError, match="casa/price made no prediction of that id"):
            store.add(CASA.model_key, identifier, 2.0, datetime.now(UTC))


def test_a_label_may_come_before_the_process_that_answered_has_written(tmp_path: Path) -> None:
    one = answer(at_ms=time.time_ns() // 1_000_000)
    answering, other = JournaledPredictionLog(tmp_path), JournaledPredictionLog(tmp_path)
    answering.append(one)
    LabelStore(tmp_path, other).add(CASA.model_key, one.ids[0], 2.0, datetime.now(UTC))
    answering.close()
    other.close()


def test_numpy_answers_are_taken_and_what_json_cannot_hold_fails_alone(log: JournaledPredictionLog) -> None:
    one = answer()
    one.predictions = np.array([2.5])
    log.append(one)
    bad = answer()
    bad.rows = [{"area": object()}]
    with pytest.raises(TypeError, match="not JSON serializable"):
        log.append(bad)
    assert (log.find(one.ids[0]) or {})["prediction"] == 2.5 and log.is_alive
