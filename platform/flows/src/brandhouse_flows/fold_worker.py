"""What a Dask worker does for a training: hand a fold to a process of that training, and its answer back.

A worker passes parcels on as bytes. It neither unpickles them nor imports brand code, so it needs no machine learning library
in its memory, and brands that share a cluster do not share a process.
"""

import json
import os
import subprocess
import sys
import threading
from typing import Any

from brandhouse_flows.frames import read_frame, write_frame
from brandhouse_flows.processes import plain_environment
from brandhouse_shared.errors import BrandhouseError

SINGLE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""A worker has as many threads as folds it fits at once; each fit shall keep to its own core."""

ENDED_IDLE = 0
_lock = threading.Lock()
_waiting: dict[str, list["FoldProcess"]] = {}


def score_fold_apart(parcel: bytes, training: str, job: dict[str, Any]) -> dict[str, Any]:
    """Let a process of the training fit one fold.

    Args:
        parcel: Pickled `fold_process.Parcel`.
        training: Id of the training; its process is kept for the next fold.
        job: Fields of a `fold_process.Job`.

    Returns:
        `score`, `seconds` and `refusal` of a `search.FoldScore`.

    Raises:
        BrandhouseError: If the process died, or what it was sent cannot be fitted here at all.
    """
    answer = _ask(_take_waiting(training), parcel, training, job) or _ask(FoldProcess(parcel), parcel, training, job)
    if answer is None:
        raise BrandhouseError("a process for a fold ended before its first job; look into the log of the Dask worker")
    if "fault" in answer:
        raise BrandhouseError(answer["fault"])
    return answer


def _ask(process: "FoldProcess | None", parcel: bytes, training: str, job: dict[str, Any]) -> dict[str, Any] | None:
    """The answer; None if there is no process, or it had just ended for want of jobs."""
    answer = process.ask(job) if process else None
    if process and answer is not None:
        with _lock:
            _waiting.setdefault(training, []).append(process)
    return answer


def _take_waiting(training: str) -> "FoldProcess | None":
    with _lock:
        for name in list(_waiting):  # those of other trainings, which end by themselves, are forgotten here
            _waiting[name] = [process for process in _waiting[name] if process.is_alive]
            if not _waiting[name]:
                del _waiting[name]
        return _waiting[training].pop() if training in _waiting else None


class FoldProcess:
    """A process that fits folds of one training, with an environment without secrets."""

    def __init__(self, parcel: bytes) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "brandhouse_flows.fold_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**SINGLE_THREAD, **plain_environment(os.environ)},
            cwd="/",
            bufsize=0,
        )
        self._parcel: bytes | None = parcel

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def ask(self, job: dict[str, Any]) -> dict[str, Any] | None:
        """Return the answer to a job; None if the process had ended for want of jobs.

        Raises:
            BrandhouseError: If it died.
        """
        assert self._process.stdin is not None  # noqa: S101 - for the type checker; both are pipes
        assert self._process.stdout is not None  # noqa: S101
        try:
            if self._parcel is not None:
                write_frame(self._process.stdin, self._parcel)
                self._parcel = None
            write_frame(self._process.stdin, json.dumps(job).encode())
            answer = read_frame(self._process.stdout)
        except BrokenPipeError:
            answer = None
        if answer is not None:
            document: dict[str, Any] = json.loads(answer)
            return document
        self._require_idle_end(job)
        return None

    def _require_idle_end(self, job: dict[str, Any]) -> None:
        status = self._process.wait()
        if status != ENDED_IDLE:
            how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
            raise BrandhouseError(
                f"the process that fitted candidate {job['candidate']!r} on a Dask worker {how}; signal 9 usually means too little "
                "memory: give the worker more, or fewer threads; its log says what the brand's code printed"
            )
