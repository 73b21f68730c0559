"""Numbers of one process that others can read: what survives which end, and what adds up."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from brandhouse_serving.counter_files import CHUNK_CELLS, CounterFile, read_series


def sums(folder: Path) -> dict[tuple[str, ...], float]:
    found: dict[tuple[str, ...], float] = {}
    for series in read_series(folder):
        found[series.family, *series.labels] = found.get((series.family, *series.labels), 0.0) + sum(series.values)
    return found


def test_what_one_process_counts_another_reads_at_once(tmp_path: Path) -> None:
    first, second = CounterFile(tmp_path, 0), CounterFile(tmp_path, 1)
    first.cells("seen", ("casa",), 1)[0] += 2
    second.cells("seen", ("casa",), 1)[0] += 3
    second.cells("seen", ("stil",), 1)[0] += 0.5
    assert sums(tmp_path) == {("seen", "casa"): 5.0, ("seen", "stil"): 0.5}


def test_the_same_series_has_the_same_cells(tmp_path: Path) -> None:
    file = CounterFile(tmp_path, 0)
    file.cells("seen", ("casa",), 2)[1] = 7
    assert file.cells("seen", ("casa",), 2)[1] == 7
    assert file.cells("seen", ("stil",), 2)[1] == 0


def test_series_stay_valid_when_the_file_grows(tmp_path: Path) -> None:
    file = CounterFile(tmp_path, 0)
    early = file.cells("seen", ("first",), 3)
    many = [file.cells("seen", (str(number),), 3) for number in range(CHUNK_CELLS)]
    early[0] += 1
    for number, cells in enumerate(many):
        cells[2] = number
    found = sums(tmp_path)
    assert found["seen", "first"] == 1
    assert all(found["seen", str(number)] == number for number in range(CHUNK_CELLS))


KILLED = """
import os, signal, sys
from pathlib import Path
from brandhouse_serving.counter_files import CounterFile
cells = CounterFile(Path(sys.argv[1]), 0).cells("seen", ("casa",), 1)
for _ in range(1000):
    cells[0] += 1
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_counted_stays_and_its_successor_goes_on_from_there(tmp_path: Path) -> None:
    process = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert process.returncode == -signal.SIGKILL
    (left,) = read_series(tmp_path)
    assert (left.values, left.of_living) == ((1000.0,), False), "counted by a process that is dead"
    successor = CounterFile(tmp_path, 0)
    successor.cells("seen", ("casa",), 1)[0] += 1
    (series,) = read_series(tmp_path)
    assert (series.values, series.of_living) == ((1001.0,), True)


def test_a_name_that_was_half_written_is_left_out_and_its_place_used_anew(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    with (tmp_path / "0.names").open("ab") as names:
        names.write(b'[1,1,"seen","st')
    assert sums(tmp_path) == {("seen", "casa"): 1000.0}
    CounterFile(tmp_path, 0).cells("seen", ("stil",), 1)[0] += 4
    assert sums(tmp_path) == {("seen", "casa"): 1000.0, ("seen", "stil"): 4.0}


def test_two_processes_cannot_have_one_place(tmp_path: Path) -> None:
    present = CounterFile(tmp_path, 0)
    with pytest.raises(BlockingIOError):
        CounterFile(tmp_path, 0)
    assert present.series() == []


def test_without_a_folder_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = CounterFile()
    file.cells("seen", ("casa",), 1)[0] += 2
    assert [series.values for series in file.series()] == [(2.0,)]
    assert not list(tmp_path.iterdir())
