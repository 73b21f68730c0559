"""Tiny flows that the warm worker's tests execute. Imported by the worker through PYTHONPATH, never collected."""

import json
import os
import time
from pathlib import Path

from prefect import flow, task

from brandhouse_shared.errors import RetryableError


def _note(folder: str, text: str) -> None:
    """Append one line, whole, whoever else appends."""
    with Path(folder, "notes.txt").open("a") as notes:
        notes.write(f"{text}\n")


@task
def look_around(folder: str) -> None:
    found = {"cwd": str(Path.cwd()), "environ": dict(os.environ), "proc_environ": Path("/proc/self/environ").read_text()}
    Path(folder, "found.json").write_text(json.dumps(found))


@flow(name="look")
def look(folder: str, brand: str) -> None:
    Path("left-behind.txt").write_text(brand)
    look_around(folder)


@flow(name="wait")
def wait(folder: str, seconds: float = 0.0, only_first_waits: bool = False) -> None:
    """Note the start and the end of every execution, and wait in between."""
    is_first = not Path(folder, "notes.txt").exists()
    _note(folder, f"start {os.getpid()}")
    deadline = time.monotonic() + (seconds if is_first or not only_first_waits else 0.0)
    while time.monotonic() < deadline:
        time.sleep(0.05)
    _note(folder, f"end {os.getpid()}")


@flow(name="stubborn")
def stubborn(folder: str) -> None:
    """Swallow every request to stop."""
    _note(folder, f"start {os.getpid()}")
    while True:
        try:
            time.sleep(0.05)
        except BaseException:
            continue


@flow(name="passing")
def passing(folder: str) -> None:
    """Fail for a passing reason the first time."""
    is_first = not Path(folder, "notes.txt").exists()
    _note(folder, "start")
    if is_first:
        raise RetryableError("a passing fault", retry_after_seconds=0.5)


@flow(name="broken")
def broken(folder: str) -> None:
    """Fail for good."""
    _note(folder, "start")
    raise ValueError("for good")
