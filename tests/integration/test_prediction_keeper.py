"""The prediction log as processes: writers and keepers that are killed at any moment, and readers who never notice."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
from serving_house import CASA, STIL, wait_until

from brandhouse_serving.conversion import convert_all
from brandhouse_serving.journal import find_segments, is_closed, read_entries
from brandhouse_shared.names import ModelKey

pytestmark = pytest.mark.alone

COMMON = """
import os, pathlib, random, signal, sys, time
from pydantic import SecretStr
from brandhouse_serving import conversion, journal, keeper, keeper_process, prediction_ids, prediction_table
from brandhouse_serving.prediction_log import Answer, JournaledPredictionLog, LogRule
from brandhouse_shared.names import ModelKey
from brandhouse_shared.settings import Settings

home = pathlib.Path(sys.argv[1])
versions = [ModelKey("casa", "price").version(1), ModelKey("stil", "taste").version(2)]


def answer(log, version, rows=1):
    at_ms = time.time_ns() // 1_000_000
    ids = prediction_ids.make_many(version, at_ms, rows)
    log.append(Answer(version, ids, [{"area": 1}] * rows, [1.5] * rows, None, at_ms, 0.25, "production", LogRule(True, ("area",), (), ())))
    return ids


def say(*words):
    os.write(1, (" ".join(words) + "\\n").encode())
"""
WRITER = """
journal.SEGMENT_SECONDS = 0.1
log = JournaledPredictionLog(home)
while True:
    ids = [identifier for _ in range(10) for version in versions for identifier in answer(log, version, random.randint(1, 3))]
    log.flush()
    say(*ids)
    time.sleep(0.05)
"""
KILLED_KEEPERS = """
import pandas, pyarrow.pandas_compat, pyarrow.parquet  # before the forks, once; they start no thread before they are used
prediction_table.FULL_ROWS = 100
conversion.BATCH_BYTES = 20_000
keeper.FIRST_PAUSE_SECONDS = keeper.SHORTEST_PAUSE_SECONDS = 0.01
parent = os.getpid()
while True:
    child = os.fork()
    if child == 0:
        keeper.Keeper(home, home / "brands", lambda seconds: time.sleep(0.01) or os.getppid() != parent).run()
        os._exit(0)
    time.sleep(random.choice((0.02, 0.05, 0.1, 0.2, 1.0)))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    say("killed")
"""
GATEWAY = """
journal.SEGMENT_SECONDS = 0.2
settings = Settings(root=home, home=home, ledger_url=SecretStr("sqlite://"))
log = JournaledPredictionLog(home)
with keeper_process.running_keeper(settings):
    for line in sys.stdin:
        ids = [identifier for version in versions for identifier in answer(log, version, 3)]
        log.flush()
        say(*ids)
    log.close()
"""


def start(code: str, home: Path, stdout: Any) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", COMMON + code, str(home)], stdin=subprocess.PIPE, stdout=stdout, text=True)


def parquet_ids(home: Path, key: ModelKey) -> list[str]:
    folder = home / "predictions" / key.brand / key.model
    answers = pd.read_parquet(folder) if folder.exists() else pd.DataFrame()
    return list(answers["id"]) if len(answers) else []  # until the first file is there, the folder has no columns either


@pytest.fixture
def begun() -> Iterator[list[subprocess.Popen[str]]]:
    processes: list[subprocess.Popen[str]] = []
    yield processes
    end(processes)


def end(processes: list[subprocess.Popen[str]]) -> None:
    for process in processes:
        process.kill()
        process.communicate()
    processes.clear()


def test_kills_of_writers_and_keepers_at_any_moment_lose_and_double_nothing_and_no_reader_fails(
    tmp_path: Path, begun: list[subprocess.Popen[str]]
) -> None:
    said, kills, home = [tmp_path / f"writer-{number}" for number in range(5)], tmp_path / "kills", tmp_path / "home"
    begun += [start(WRITER, home, path.open("w")) for path in said[:3]]
    begun += [start(KILLED_KEEPERS, home, kills.open("a")) for _ in range(2)]
    wait_until(lambda: parquet_ids(home, CASA), 60)
    kept = 0
    for read in range(40):
        seen = parquet_ids(home, CASA)
        assert len(seen) == len(set(seen)) >= kept, "each row once, and none that was there is away"
        kept = len(seen)
        if read in (10, 20):  # a process that ends in the middle of a write, and another in its place
            begun[read // 20].kill()
            begun.append(start(WRITER, home, said[2 + read // 10].open("w")))
    wait_until(lambda: len(kills.read_text().splitlines()) > 10, 60)
    end(begun)
    # The last keepers may be at it still.
    wait_until(lambda: convert_all(home) == 0 and not find_segments(home, "casa") and not find_segments(home, "stil"))
    found = parquet_ids(home, CASA), parquet_ids(home, STIL)
    written = [line.split() for path in said for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
    for key, ids in zip((CASA, STIL), found, strict=True):
        flushed = {identifier for line in written for identifier in line if identifier.startswith(key.dotted)}
        assert len(flushed) > 100 and flushed <= set(ids) and len(ids) == len(set(ids)), "each row that was written, once"
        assert all(identifier.startswith(f"{key.dotted}.v") for identifier in ids)


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    process = start(GATEWAY, tmp_path, subprocess.PIPE)
    yield tmp_path, process
    process.kill()
    process.communicate()


def ask(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    return process.stdout.readline().split()


def keeper_of(process: subprocess.Popen[str]) -> psutil.Process | None:
    for child in psutil.Process(process.pid).children():
        with contextlib.suppress(psutil.Error):  # it ended in this moment
            if "brandhouse_serving.keeper" in child.cmdline():
                return child
    return None


def test_a_keeper_that_is_killed_comes_back_and_one_whose_gateway_is_killed_converts_the_rest_and_ends(
    gateway: tuple[Path, subprocess.Popen[str]],
) -> None:
    home, process = gateway
    ids = ask(process)
    first = keeper_of(process)
    assert first is not None
    wait_until(lambda: len(parquet_ids(home, CASA)) == 3, 30)
    os.kill(first.pid, signal.SIGTERM)  # it ends with its gateway, not with whoever is told to end beside it
    ids += ask(process)
    wait_until(lambda: len(parquet_ids(home, CASA)) == 6, 30)
    assert first.is_running()
    first.kill()
    wait_until(lambda: (keeper_of(process) or first) != first, 30)
    second = keeper_of(process)
    assert second is not None
    ids += ask(process)
    process.kill()
    wait_until(lambda: not second.is_running() or second.status() == psutil.STATUS_ZOMBIE, 30)
    assert sorted(parquet_ids(home, CASA) + parquet_ids(home, STIL)) == sorted(ids)
    assert not find_segments(home, "casa")


def test_what_a_clean_stop_leaves_is_parquet_or_a_closed_journal(gateway: tuple[Path, subprocess.Popen[str]]) -> None:
    home, process = gateway
    ids = ask(process)
    keeper = keeper_of(process)
    process.communicate(timeout=20)
    assert keeper is None or not keeper.is_running()
    segments = find_segments(home, "casa")
    left = [identifier for segment in segments for entry in read_entries(segment) for identifier in entry.ids]
    assert {*left, *parquet_ids(home, CASA)} == {identifier for identifier in ids if identifier.startswith("casa.")}
    assert all(is_closed(segment) for segment in segments)


def test_without_a_gateway_the_keeper_is_run_once_by_hand(tmp_path: Path) -> None:
    writer = start("log = JournaledPredictionLog(home)\nanswer(log, versions[0])\nlog.close()\n", tmp_path / "home", None)
    writer.communicate()
    command = [sys.executable, "-m", "brandhouse_serving.keeper", "--once", "--home", str(tmp_path / "home")]
    subprocess.run([*command, "--brands-dir", str(tmp_path)], check=True)
    assert len(parquet_ids(tmp_path / "home", CASA)) == 1
