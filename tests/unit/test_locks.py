"""One training of a model at a time; a lock ends with its process and tells who died holding it."""

import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from brandhouse_flows.locks import training_lock
from brandhouse_shared.errors import AlreadyRunningError
from brandhouse_shared.names import ModelKey

CASA, VILLA = ModelKey("casa", "price"), ModelKey("villa", "sold")


def test_second_holder_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    with training_lock(tmp_path, CASA, "run-1"):
        holder = rf"casa/price: a training is already running \(process {os.getpid()}, run run-1\)"
        with pytest.raises(AlreadyRunningError, match=holder), training_lock(tmp_path, CASA, "run-2"):
            pytest.fail("the lock was given twice")
        with training_lock(tmp_path, VILLA, "run-3") as abandoned:
            assert abandoned is None, "another model has a lock of its own"


def test_lock_is_free_after_an_orderly_end(tmp_path: Path) -> None:
    for run in ("run-1", "run-2"):
        with training_lock(tmp_path, CASA, run) as abandoned:
            assert abandoned is None


def test_run_that_raised_keeps_its_name_in_case_its_end_was_not_recorded(tmp_path: Path) -> None:
    with pytest.raises(ValueError), training_lock(tmp_path, CASA, "run-1"):
        raise ValueError
    with training_lock(tmp_path, CASA, "run-2") as abandoned:
        assert abandoned == "run-1"


def _hold(home: Path, ready: Any) -> None:
    with training_lock(home, CASA, "run-1"):
        ready.send(None)
        signal.pause()


def test_lock_of_a_killed_process_is_free_and_names_its_run(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_hold, args=(tmp_path, theirs))
    process.start()
    ours.recv()
    with pytest.raises(AlreadyRunningError), training_lock(tmp_path, CASA, "run-2"):
        pytest.fail("the lock was given twice")
    process.kill()
    process.join()
    with training_lock(tmp_path, CASA, "run-2") as abandoned:
        assert abandoned == "run-1"
