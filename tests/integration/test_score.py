"""A file is scored with exactly the numbers of the online path, and a crash costs no row and doubles none."""

import gzip
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
from model_house import CLASSIFIERS, make_case, make_table
from serving_house import CASA, STIL, Gateway, House

from brandhouse_flows.batch_journal import OtherScoringError, ScoringBusyError, held_work_folder
from brandhouse_flows.batch_scoring import score_file
from brandhouse_flows.batch_wishes import Progress, Scored, Wish
from brandhouse_shared.brands import find_brand, unload_brand
from brandhouse_shared.errors import ContractViolationError, DatasetError
from brandhouse_shared.names import ModelKey

pytestmark = pytest.mark.alone

MOLEN = ModelKey("molen", "price")
COMMAND = Path(sys.executable).with_name("brandhouse")
HOMES = 'Area m2,garden,"note, x"\n80,yes,"a ""q"" b"\n5000,,x\n,no,y\n12.5,,NA\nabc,true,z\n'


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    """A compiled version of plain arithmetic, a python one with linear algebra, and a compiled one with linear algebra."""
    house = House(tmp_path_factory.mktemp("house"))
    house.register_casa(2.0)
    house.register_stil()
    case = make_case(house.root / "brands")
    folder = house.root / "package"
    folder.mkdir()
    assert case.package(folder, CLASSIFIERS["LogisticRegression"][0]()).manifest.runtime == "compiled"
    house.register_package(folder)
    unload_brand("molen")
    return house


def score(house: House, key: ModelKey, source: Path, output: Path, **options: Any) -> Scored:
    brand = find_brand(house.settings.brands_dir, key.brand)
    told: list[Progress] = []
    wish = Wish(key, source, output, **options)
    return score_file(house.settings, brand, wish, house.ledger, house.store, told.append, str(uuid.uuid4()), "local")


def write_homes(path: Path, rows: int) -> Path:
    areas = np.random.default_rng(0).uniform(0, 1000, rows)
    path.write_text("number,Area m2,garden\n" + "".join(f"{index},{area!r},\n" for index, area in enumerate(areas.tolist())))
    return path


@pytest.fixture(scope="module")
def gateway(house: House) -> Iterator[Gateway]:
    with Gateway(house) as gateway:
        yield gateway


def readers(count: int) -> pd.DataFrame:
    random = np.random.default_rng(1)
    dates = pd.Series(pd.date_range("2017-01-01", periods=count, freq="40D")).dt.strftime("%Y-%m-%d")
    towns = random.choice(["Delft", ""], count)
    return pd.DataFrame({"visits": random.integers(0, 40, count).astype(str), "town": towns, "health": "", "since": dates})


@pytest.mark.parametrize("key", [CASA, STIL, MOLEN], ids=str)
def test_every_row_gets_the_number_of_a_request_at_any_chunk_size(house: House, gateway: Gateway, tmp_path: Path, key: ModelKey) -> None:
    homes = pd.DataFrame({"Area m2": np.random.default_rng(2).uniform(0, 1000, 24).astype(str), "garden": ["", "true", "no"] * 8})
    table = {CASA: homes, STIL: readers(24), MOLEN: make_table(24)[0]}[key]
    table.to_csv(tmp_path / "in.csv", index=False)
    contract = house.store.find(key, house.ledger.production(key).record.artifact_digest)  # type: ignore[union-attr]
    manifest = json.loads((contract / "manifest.json").read_text())
    from brandhouse_shared.artifacts import Manifest

    contract_of = Manifest.model_validate(manifest).contract
    instances = contract_of.instances_of(contract_of.parse_table(table, "test"))
    secret = house.add_key(key.brand)
    while gateway.predict(secret, key, instances[0])[0] == 401:
        time.sleep(0.05)
    online = [gateway.predict(secret, key, one)[2] for one in instances]

    outputs = [tmp_path / f"out-{rows}.csv" for rows in (1, 7, 1000)]
    for rows, output in zip((1, 7, 1000), outputs, strict=True):
        assert score(house, key, tmp_path / "in.csv", output, chunk_rows=rows).rows == 24
    assert len({output.read_bytes() for output in outputs}) == 1, "a chunk's size changes nothing"
    written = pd.read_csv(outputs[0], float_precision="round_trip")
    assert written["prediction"].tolist() == [one["predictions"][0] for one in online], "to the last bit"
    for label in manifest["classes"]:
        assert written[f"probability_{label}"].tolist() == [one["probabilities"][0][label] for one in online], "to the last bit"


def test_rows_that_contradict_the_schema_get_the_reason_and_no_number(house: House, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(HOMES)
    scored = score(house, CASA, tmp_path / "in.csv", tmp_path / "out.csv.gz", chunk_rows=2)
    with gzip.open(tmp_path / "out.csv.gz", "rt") as stream:
        written = pd.read_csv(stream, keep_default_na=False)
    assert (scored.rows, scored.refused, scored.failed) == (5, 3, 0)
    assert list(written.columns) == ["Area m2", "garden", "note, x", "prediction", "version", "error"]
    assert written["note, x"].tolist() == ['a "q" b', "x", "y", "NA", "z"], "cells are written as they came"
    assert written["prediction"].tolist() == ["170.0", "", "", "35.0", ""]
    assert written["error"].tolist() == [
        "",
        "Area m2: a larger number; allowed: a number at least 0 and at most 1000",
        "Area m2: no value; allowed: a number at least 0 and at most 1000",
        "",
        "Area m2: something else; allowed: a number at least 0 and at most 1000",
    ]


def test_strict_stops_at_the_first_such_row_and_writes_no_output(house: House, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(HOMES)
    with pytest.raises(ContractViolationError, match=r"row 2: Area m2: a larger number; allowed"):
        score(house, CASA, tmp_path / "in.csv", tmp_path / "out.csv", strict=True)
    assert not (tmp_path / "out.csv").exists()
    assert house.ledger.runs(CASA, template="score")[0].outcome == "failed"


def test_a_row_that_the_version_cannot_answer_leaves_its_neighbours_alone(house: House, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("visits,town,health,since\n7,Delft,asthma,2019-05-01\n666,,,\n3,,,9999-01-01\n")
    scored = score(house, STIL, tmp_path / "in.csv", tmp_path / "out.csv", keep=("visits",))
    written = pd.read_csv(tmp_path / "out.csv", keep_default_na=False)
    assert (scored.refused, scored.failed) == (1, 1)
    assert list(written.columns) == ["visits", "prediction", "probability_no", "probability_yes", "version", "error"]
    assert written["prediction"].tolist() == ["yes", "", ""]
    assert written["error"].tolist()[1] == "the version cannot answer this row (EntrypointError)"
    assert written["error"].tolist()[2].startswith("since: a date outside 1678 to 2261")


def test_parquet_keeps_its_types_and_gives_the_numbers_of_csv(house: House, tmp_path: Path) -> None:
    source = pd.DataFrame({"Area m2": [80.5, 0.1, None], "garden": [True, None, False], "id": [1, 2, 3]})
    source.to_parquet(tmp_path / "in.parquet", row_group_size=2)
    source.to_csv(tmp_path / "in.csv", index=False)
    score(house, CASA, tmp_path / "in.parquet", tmp_path / "out.parquet", chunk_rows=2)
    score(house, CASA, tmp_path / "in.csv", tmp_path / "out.csv")
    written, texts = pd.read_parquet(tmp_path / "out.parquet"), pd.read_csv(tmp_path / "out.csv", float_precision="round_trip")
    assert written["id"].tolist() == [1, 2, 3] and written["prediction"].dtype == np.float64
    assert written["prediction"].tolist()[:2] == texts["prediction"].tolist()[:2] == [171.0, 10.2]
    assert written["error"].tolist()[2] == texts["error"].tolist()[2] and np.isnan(written["prediction"].tolist()[2])


def test_a_killed_scoring_goes_on_without_a_missing_or_double_row(house: House, tmp_path: Path) -> None:
    source = write_homes(tmp_path / "in.csv", 3000)
    score(house, CASA, source, tmp_path / "whole.csv")
    places = {"BRANDHOUSE_ROOT": str(house.root), "BRANDHOUSE_HOME": str(house.home), "BRANDHOUSE_LEDGER_URL": house.url}
    command = [str(COMMAND), "score", str(CASA), "--input", str(source), "--output", str(tmp_path / "out.csv"), "--chunk-rows", "5"]
    kills = 0
    for patience in (8, 25, 60):
        process = subprocess.Popen(command, env={**os.environ, **places}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        journal = tmp_path / ".out.csv.scoring" / "journal.jsonl"
        begun = len(journal.read_bytes().splitlines()) if journal.exists() else 0
        while process.poll() is None and (not journal.exists() or len(journal.read_bytes().splitlines()) < begun + patience):
            time.sleep(0.002)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.communicate(timeout=30)
    assert kills and not (tmp_path / "out.csv").exists()
    done = subprocess.run([*command[:-2], "--json"], env={**os.environ, **places}, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["rows"] == 3000 and document["resumed_rows"] > 0
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert document["output_sha256"] == hashlib.sha256((tmp_path / "out.csv").read_bytes()).hexdigest()
    assert not (tmp_path / ".out.csv.scoring").exists()
    runs = [run for run in house.ledger.runs(CASA, template="score") if run.record.run_id == document["run_id"]]
    assert [run.outcome for run in runs] == ["scored"], "all attempts are one run"
    assert document["input_sha256"] in str(runs[0].detail) and document["output_sha256"] in str(runs[0].detail)


class Stopped(Exception):
    """What a test stops a scoring with."""


def begin(house: House, source: Path, output: Path) -> None:
    """Leave a scoring behind that has done its first chunk."""

    def stop(_: Progress) -> None:
        raise Stopped

    brand = find_brand(house.settings.brands_dir, "casa")
    wish = Wish(CASA, source, output, chunk_rows=2)
    with pytest.raises(Stopped):
        score_file(house.settings, brand, wish, house.ledger, house.store, stop, str(uuid.uuid4()), "local")


def test_another_input_under_the_same_output_is_refused_and_restart_begins_anew(house: House, tmp_path: Path) -> None:
    begin(house, write_homes(tmp_path / "in.csv", 6), tmp_path / "out.csv")
    write_homes(tmp_path / "in.csv", 7)
    with pytest.raises(OtherScoringError, match=r"casa/price/v1 was begun under this name; the bytes of the input differ now"):
        score(house, CASA, tmp_path / "in.csv", tmp_path / "out.csv")
    assert score(house, CASA, tmp_path / "in.csv", tmp_path / "out.csv", restart=True).rows == 7
    with pytest.raises(OtherScoringError, match=r"out.csv exists; choose another name, or replace it with --overwrite"):
        score(house, CASA, tmp_path / "in.csv", tmp_path / "out.csv")
    assert score(house, CASA, tmp_path / "in.csv", tmp_path / "out.csv", overwrite=True).resumed_rows == 0


def test_two_processes_do_not_write_one_output(house: House, tmp_path: Path) -> None:
    source = write_homes(tmp_path / "in.csv", 3)
    with held_work_folder(tmp_path / "out.csv"), pytest.raises(ScoringBusyError, match="another process is scoring into this file"):
        score(house, CASA, source, tmp_path / "out.csv")


def test_files_of_another_brand_or_of_the_platform_are_neither_read_nor_written(house: House, tmp_path: Path) -> None:
    source = write_homes(tmp_path / "in.csv", 3)
    theirs = house.root / "brands" / "stil" / "rows.csv"
    theirs.write_text(source.read_text())
    (tmp_path / "link.csv").symlink_to(theirs)
    for path in (theirs, tmp_path / "link.csv"):
        with pytest.raises(DatasetError, match=r"casa: .* lies in another brand's folder"):
            score(house, CASA, path, tmp_path / "out.csv")
    for path in (house.root / "brands" / "stil" / "out.csv", house.home / "out.csv"):
        with pytest.raises(DatasetError, match=r"casa: .* lies in"):
            score(house, CASA, source, path)


def test_what_cannot_end_well_is_refused_before_any_work(house: House, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("area m2,garden\n1,\n")
    with pytest.raises(ContractViolationError, match=r"Area m2: the column is not in the data; did you mean 'area m2'\?"):
        score(house, CASA, tmp_path / "in.csv", tmp_path / "out.csv")
    (tmp_path / "in.csv").write_text("Area m2,garden,prediction\n1,,\n")
    with pytest.raises(DatasetError, match=r"named like those of the answer: prediction; name the columns to keep with --keep"):
        score(house, CASA, tmp_path / "in.csv", tmp_path / "out.csv")
    with pytest.raises(DatasetError, match=r"--keep names no column: gardne; columns: Area m2, garden, prediction"):
        score(house, CASA, tmp_path / "in.csv", tmp_path / "out.csv", keep=("gardne",))
    with pytest.raises(DatasetError, match=r"the ending says how a file is written; allowed: .csv"):
        score(house, CASA, tmp_path / "in.csv", tmp_path / "out.xlsx")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv"]


@pytest.mark.slow
def test_memory_stays_the_same_however_long_the_file(house: House, tmp_path: Path) -> None:
    places = {"BRANDHOUSE_ROOT": str(house.root), "BRANDHOUSE_HOME": str(house.home), "BRANDHOUSE_LEDGER_URL": house.url}
    program = "from brandhouse_console.main import app; app(standalone_mode=False)"
    program += "; import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    peaks = []
    for rows in (20_000, 600_000):
        source = tmp_path / f"in-{rows}.csv"
        note = "x" * 500
        with source.open("w") as stream:
            stream.write("Area m2,garden,note\n")
            for index in range(rows):
                stream.write(f"{index % 1000},,{note}\n")
        arguments = ["score", str(CASA), "--input", str(source), "--output", str(tmp_path / f"out-{rows}.csv")]
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments], env={**os.environ, **places}, capture_output=True, text=True, check=True
        )
        peaks.append(int(done.stdout.splitlines()[-1]) / 1024)
    size = (tmp_path / "in-600000.csv").stat().st_size / 2**20
    assert peaks[1] < peaks[0] + size / 4, f"{peaks} MiB for a file of {size:.0f} MiB"
