"""From journals to Parquet: each row once, whatever is killed when, and readable at any moment."""

import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import orjson
import pandas as pd
import pyarrow.parquet as pq
import pytest

from brandhouse_serving import conversion, prediction_ids, prediction_table
from brandhouse_serving.conversion import adopt_earlier_records, convert_all, convert_brand, locked
from brandhouse_serving.failures import DuplicateLabelError, UnknownPredictionError
from brandhouse_serving.feedback import LabelStore
from brandhouse_serving.journal import find_segments, journal_folder
from brandhouse_serving.keeper import Keeper
from brandhouse_serving.labels import adopt_all_earlier, labels_file, read_labels
from brandhouse_serving.prediction_log import Answer, JournaledPredictionLog, LogRule
from brandhouse_serving.prediction_records import StoredPredictionRecords, find_record, read
from brandhouse_serving.retention import expire_all
from brandhouse_shared.config import FieldType, InputField, Privacy
from brandhouse_shared.names import ModelKey

CASA, STIL = ModelKey("casa", "price"), ModelKey("stil", "taste")
NOON_MS = int(datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp() * 1000)
DAY_MS = 86_400_000
OPEN = LogRule(True, ("area",), (), ())
SILENT = LogRule(False, ("area",), (), ())


def log_answers(
    home: Path, key: ModelKey = CASA, rows: int = 1, at_ms: int = NOON_MS, rule: LogRule = OPEN, requests: int = 1, **answer: Any
) -> list[str]:
    """Leave closed journals, as a process that has ended does; return the ids."""
    log = JournaledPredictionLog(home)
    made = []
    for _ in range(requests):
        ids = prediction_ids.make_many(key.version(3), at_ms, rows)
        inputs = answer.get("inputs", [{"area": 80.5, "Tuin?": None}] * rows)
        predictions, shares = answer.get("predictions", [1.5] * rows), answer.get("probabilities")
        log.append(Answer(key.version(3), ids, inputs, predictions, shares, at_ms, 0.25, "production", rule))
        made += ids
    log.close()
    return made


def parquet_ids(home: Path, key: ModelKey = CASA) -> list[str]:
    return sorted(pd.read_parquet(home / "predictions" / key.brand / key.model)["id"])


def test_all_days_and_versions_of_a_model_are_read_in_one_line_and_hold_nothing_of_another_brand(tmp_path: Path) -> None:
    first, second = log_answers(tmp_path, rows=2), log_answers(tmp_path, at_ms=NOON_MS + DAY_MS)
    shares = {"predictions": ["yes", "no"], "probabilities": [[0.2, 0.8], [0.9, 0.1]]}
    other = log_answers(tmp_path, STIL, rows=2, inputs=[{"visits": 1}, {"visits": 2}], **shares)
    LabelStore(tmp_path, Known()).add(CASA, first[0], 2.0, datetime.now(UTC))
    convert_all(tmp_path)
    answers = pd.read_parquet(tmp_path / "predictions/casa/price")
    assert sorted(answers["id"]) == sorted([*first, *second]) and set(answers["brand"]) == {"casa"}
    assert list(answers.columns) == list(prediction_table.COLUMNS)
    assert answers["at"].dtype == "datetime64[ms, UTC]" and set(answers["at"].dt.day) == {1, 2}
    assert answers["inputs"].map(orjson.loads).tolist() == [{"area": 80.5, "Tuin?": None}] * 3
    assert answers["prediction"].tolist() == ["1.5"] * 3 and answers["value"].tolist() == [1.5] * 3
    classes = pd.read_parquet(tmp_path / "predictions/stil/taste")
    assert classes["id"].tolist() == other and classes["prediction"].tolist() == ["yes", "no"] and classes["value"].isna().all()
    assert [list(shares) for shares in classes["probabilities"]] == [[0.2, 0.8], [0.9, 0.1]]
    assert len(pd.read_parquet(tmp_path / "predictions")) == 5, "both brands, one schema"
    assert not find_segments(tmp_path, "casa") and not find_segments(tmp_path, "stil")


class Known:
    def find(self, prediction_id: str) -> object:
        return prediction_id


def test_the_schema_is_the_same_for_any_answer(tmp_path: Path) -> None:
    log_answers(tmp_path, rule=SILENT)
    log_answers(tmp_path, STIL, predictions=[True], probabilities=[[0.5, 0.5]])
    convert_all(tmp_path)
    parts = sorted((tmp_path / "predictions").rglob("*.parquet"))
    assert [pq.read_schema(part).equals(prediction_table.schema()) for part in parts] == [True, True]
    assert {part.stat().st_mode & 0o777 for part in parts} == {0o600}
    (silent,) = pd.read_parquet(parts[0]).to_dict("records")
    assert (silent["version"], silent["served_by"], silent["request_rows"]) == (3, "production", 1)
    assert all(silent[name] is None or silent[name] != silent[name] for name in list(prediction_table.COLUMNS)[8:])


def test_a_day_grows_in_one_file_until_that_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction_table, "FULL_ROWS", 4)
    monkeypatch.setattr(prediction_table, "PARTS_PER_SIZE", 2)
    ids = []
    for _ in range(10):
        ids += log_answers(tmp_path, rows=2)
        convert_all(tmp_path)
    parts = sorted((tmp_path / "predictions/casa/price/2026-03-01").iterdir())
    assert [part.name for part in parts] == ["part-0001.parquet", "part-0002.parquet", "part-0003.parquet"]
    assert [pq.read_metadata(part).num_rows for part in parts] == [4, 8, 8]
    assert parquet_ids(tmp_path) == sorted(ids)
    assert all(find_record(tmp_path, identifier) for identifier in ids)


def test_a_large_backlog_is_converted_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversion, "BATCH_BYTES", 1)
    ids = [identifier for _ in range(3) for identifier in log_answers(tmp_path)]
    assert convert_brand(tmp_path, "casa") == 3 and parquet_ids(tmp_path) == sorted(ids)


def test_a_journal_that_is_written_to_is_left_alone_and_yet_read(tmp_path: Path) -> None:
    log = JournaledPredictionLog(tmp_path)
    (identifier,) = prediction_ids.make_many(CASA.version(3), NOON_MS, 1)
    log.append(Answer(CASA.version(3), [identifier], [{"area": 1}], [1.5], None, NOON_MS, 0.25, "production", OPEN))
    log.flush()
    assert convert_all(tmp_path) == 0
    day = datetime(2026, 3, 1, tzinfo=UTC)
    assert find_record(tmp_path, identifier) and len(read(tmp_path, CASA, day, day.replace(day=2))) == 1
    assert [record.id for record in StoredPredictionRecords(tmp_path).unlabelled(CASA, 1, day)] == [identifier]
    log.close()
    assert convert_all(tmp_path) == 1
    assert (find_record(tmp_path, identifier) or {})["inputs"] == {"area": 1}


def test_two_keepers_do_not_convert_the_same_brand(tmp_path: Path) -> None:
    log_answers(tmp_path)
    with locked(tmp_path, "casa") as is_mine:
        assert is_mine and convert_brand(tmp_path, "casa") == 0
    assert convert_brand(tmp_path, "casa") == 1


def test_a_disk_that_refuses_one_brand_does_not_keep_another_waiting(tmp_path: Path) -> None:
    log_answers(tmp_path)
    log_answers(tmp_path, STIL)
    (tmp_path / "predictions/casa/price").write_text("a file in the way")
    with pytest.raises(OSError, match="casa"):
        convert_all(tmp_path)
    assert len(parquet_ids(tmp_path, STIL)) == 1
    (tmp_path / "predictions/casa/price").unlink()
    convert_all(tmp_path)
    assert len(parquet_ids(tmp_path)) == 1, "the batch is gone on with"


KILLED_AT_EACH_STEP = """
import os, pathlib, shutil, signal, sys
import pandas, pyarrow.pandas_compat, pyarrow.parquet  # before the forks, once; they start no thread before they are used
from brandhouse_serving.conversion import convert_all

STEPS = ("open", "os.rename", "os.remove", "os.mkdir", "fcntl.flock")


def killed_at(step, home):
    child = os.fork()
    if child == 0:
        left = step
        def count(event, arguments):
            nonlocal left
            if event in STEPS and str(home) in str(arguments[0]):
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(count)
        convert_all(home)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


template, work = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
step, more = 0, True
while more:
    step += 1
    home = work / f"{step:03d}"
    shutil.copytree(template, home)
    more = killed_at(step, home)
    killed_at(step % 9 + 1, home)  # and once more, soon after it has gone on
    assert not killed_at(10_000, home)
print(step)
"""


def test_a_kill_at_any_step_neither_loses_nor_doubles_a_row(tmp_path: Path) -> None:
    template, work = tmp_path / "template", tmp_path / "work"
    ids = [*log_answers(template, rows=3), *log_answers(template, at_ms=NOON_MS + DAY_MS)]
    convert_all(template)
    ids += [*log_answers(template, rows=2), *log_answers(template, at_ms=NOON_MS + DAY_MS)]
    other = log_answers(template, STIL)
    done = subprocess.run(
        [sys.executable, "-c", KILLED_AT_EACH_STEP, str(template), str(work)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    homes = sorted(work.iterdir())
    assert len(homes) == int(done.stdout) > 15, "as many kills as there are steps"
    for home in homes:
        assert parquet_ids(home) == sorted(ids), home.name
        assert parquet_ids(home, STIL) == other, home.name
        assert not find_segments(home, "casa") and not find_segments(home, "stil")


def test_find_reads_the_right_row_of_large_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction_table, "ROW_GROUP_ROWS", 50)
    ids = [identifier for second in range(4) for identifier in log_answers(tmp_path, rows=60, at_ms=NOON_MS + 1000 * second)]
    convert_all(tmp_path)
    assert [(find_record(tmp_path, ids[place]) or {})["id"] for place in (0, 61, 239)] == [ids[0], ids[61], ids[239]]
    assert find_record(tmp_path, prediction_ids.make_many(CASA.version(3), NOON_MS + 500, 1)[0]) is None


def test_rows_of_some_time_are_read_as_a_typed_frame_with_their_labels(tmp_path: Path) -> None:
    fields = {
        "area": InputField(type=FieldType.NUMBER),
        "garden": InputField(type=FieldType.BOOLEAN, nullable=True),
        "since": InputField(type=FieldType.DATE, nullable=True),
        "id": InputField(type=FieldType.INTEGER, privacy=Privacy.PERSONAL),
    }
    inputs = [{"area": 80, "garden": True, "since": "2019-05-01", "id": "hmac:ab"}, {"area": 1.5, "garden": None}]
    first = log_answers(tmp_path, rows=2, inputs=inputs)
    convert_all(tmp_path)
    later = log_answers(tmp_path, inputs=inputs[:1], at_ms=NOON_MS + 1000)
    log_answers(tmp_path, at_ms=NOON_MS + DAY_MS)
    LabelStore(tmp_path, Known()).add(CASA, first[1], 7.0, datetime(2026, 4, 1, tzinfo=UTC))
    rows = read(tmp_path, CASA, datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC), fields)
    assert rows["id"].tolist() == [*first, *later], "what was answered a moment ago, too"
    assert rows["inputs.area"].tolist() == [80, 1.5, 80] and rows["inputs.garden"].isna().tolist() == [False, True, False]
    assert [str(rows[f"inputs.{name}"].dtype)[:8] for name in fields] == ["float64", "float64", "datetime", "str"]
    assert rows["label"].tolist()[1] == 7.0 and rows["label"].isna().tolist() == [True, False, True]
    assert rows["label_at"][1] == pd.Timestamp("2026-04-01", tz="UTC")
    none = read(tmp_path, CASA, datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 1, 2, tzinfo=UTC))
    assert none.empty and {"id", "value", "label"} <= set(none.columns)
    plain = read(tmp_path, STIL, datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC), fields)
    assert plain.empty and "inputs.area" in plain.columns, "nothing of another brand"


def test_a_label_may_come_after_the_rows_have_become_parquet(tmp_path: Path) -> None:
    (identifier,) = log_answers(tmp_path)
    convert_all(tmp_path)
    log = JournaledPredictionLog(tmp_path)
    LabelStore(tmp_path, log).add(CASA, identifier, 2.0, datetime.now(UTC))
    with pytest.raises(DuplicateLabelError):
        LabelStore(tmp_path, log).add(CASA, identifier, 2.0, datetime.now(UTC))
    log.close()
    assert not list(StoredPredictionRecords(tmp_path).unlabelled(CASA, 1, datetime(2026, 3, 1, tzinfo=UTC)))


def write_brand(brands: Path, brand: str, days: int | None, story: str = "Homes.") -> None:
    retention = "" if days is None else f"\n[retention]\npredictions_days = {days}\n"
    (brands / brand).mkdir(parents=True, exist_ok=True)
    toml = f"""name = "{brand}"\ntitle = "T"\nstory = "{story}"\nowner = "team"\nrisk = "low"\nbudget_eur_month = 1
{retention}
[datasets.homes]\nfile = "data/d.csv"\nsource = {{ kind = "file", path = "d.csv" }}
[models.price]\nentrypoint = "brand_{brand}.price"\ndataset = "homes"\ntask = "regression"\ntarget = "t"\nmetric = "rmse"
inputs = {{ area = {{ type = "number" }} }}\n"""
    (brands / brand / "brand.toml").write_text(toml)


def days_of(home: Path, brand: str) -> list[str]:
    return sorted(path.name for path in (home / "predictions" / brand / "price").glob("????-??-??"))


def test_expired_days_go_with_their_labels_brand_by_brand(tmp_path: Path) -> None:
    home, brands = tmp_path / "home", tmp_path / "brands"
    write_brand(brands, "casa", 30)
    write_brand(brands, "villa", None)
    old = {}
    for name in ("casa", "villa"):
        key = ModelKey(name, "price")
        for day in range(3):
            old[name, day] = log_answers(home, key, at_ms=NOON_MS + day * DAY_MS)
            LabelStore(home, Known()).add(key, old[name, day][0], 1.0, datetime.now(UTC))
    convert_all(home)
    assert expire_all(home, brands, date(2026, 4, 1)) == 1
    assert days_of(home, "casa") == ["2026-03-02", "2026-03-03"], "exactly 30 days before is kept"
    assert days_of(home, "villa") == ["2026-03-01", "2026-03-02", "2026-03-03"]
    assert not list((home / "predictions/casa/price/_labels").glob("2026-03-01.*"))
    log = JournaledPredictionLog(home)
    with pytest.raises(UnknownPredictionError):
        LabelStore(home, log).add(CASA, old["casa", 0][0], 1.0, datetime.now(UTC))
    log.close()
    assert expire_all(home, brands, date(2027, 4, 6)) == 2 + 1, "the default of 400 days"
    assert days_of(home, "villa") == ["2026-03-02", "2026-03-03"] and len(pd.read_parquet(home / "predictions/villa/price")) == 2


def test_a_brand_that_left_or_broke_keeps_as_long_as_it_last_said(tmp_path: Path) -> None:
    home, brands = tmp_path / "home", tmp_path / "brands"
    for name, days in (("casa", 30), ("stil", 30), ("villa", None)):
        write_brand(brands, name, days)
        log_answers(home, ModelKey(name, "price"))
    convert_all(home)
    expire_all(home, brands, date(2026, 3, 2))
    (brands / "casa/brand.toml").unlink()
    (brands / "stil/brand.toml").write_text("no toml =")
    assert expire_all(home, brands, date(2026, 5, 1)) == 2
    assert (days_of(home, "casa"), days_of(home, "stil"), len(days_of(home, "villa"))) == ([], [], 1)


def test_a_brand_that_is_broken_and_never_said_how_long_loses_nothing(tmp_path: Path) -> None:
    home, brands = tmp_path / "home", tmp_path / "brands"
    (brands / "casa").mkdir(parents=True)
    (brands / "casa/brand.toml").write_text("no toml =")
    log_answers(home)
    convert_all(home)
    assert expire_all(home, brands, date(2036, 1, 1)) == 0 and len(parquet_ids(home)) == 1


def test_files_of_an_earlier_release_become_parquet_once(tmp_path: Path) -> None:
    day = tmp_path / "predictions/casa/price/2026-03-01"
    (day / "labels").mkdir(parents=True)
    kept, bare, sorted_ = (prediction_ids.make_many(CASA.version(2), NOON_MS, 1)[0] for _ in range(3))
    shared = {"at": "2026-03-01T12:00:00.000+00:00", "brand": "casa", "model": "price", "version": 2, "served_by": "baseline"}
    shared |= {"latency_ms": 0.5, "request_rows": 1}
    rest = {"inputs": {"area": 80}, "withheld": ["name"], "prediction": 1.5}
    records = [{"id": kept, **shared, **rest}, {"id": bare, **shared}]
    records.append({"id": sorted_, **shared, **rest, "prediction": "yes", "probabilities": [0.1, 0.9]})
    torn = b'{"id":"casa.pri'
    (day / "123-abc.jsonl").write_bytes(b"".join(orjson.dumps(record) + b"\n" for record in records) + torn)
    (day / "labels/labels.jsonl").write_bytes(orjson.dumps({"id": kept, "label": 2.0, "at": "2026-03-02T00:00:00.000+00:00"}) + b"\n")
    (day / "labels/labels.lock").touch()
    Keeper(tmp_path, tmp_path / "brands", lambda _: True).look()
    assert parquet_ids(tmp_path) == sorted([kept, bare, sorted_]), "nothing else lies below what is read"
    assert find_record(tmp_path, kept) == records[0] and find_record(tmp_path, bare) == records[1]
    assert find_record(tmp_path, sorted_) == records[2]
    labels = labels_file(tmp_path, CASA, "2026-03-01")
    assert [label["label"] for label, _ in read_labels(labels)] == [2.0]
    with pytest.raises(DuplicateLabelError):
        LabelStore(tmp_path, Known()).add(CASA, kept, 3.0, datetime.now(UTC))
    adopt_earlier_records(tmp_path)
    adopt_all_earlier(tmp_path)
    assert not journal_folder(tmp_path, "casa").joinpath("batch.json").exists() and len(parquet_ids(tmp_path)) == 3
