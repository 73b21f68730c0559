"""The worker's side of the warm parent: start it, ask it for a process, start it anew when it is gone or its code is old."""

import json
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO

import anyio
import anyio.to_thread

import brandhouse_flows
import brandhouse_shared
from brandhouse_flows.processes import ProcessIdentity
from brandhouse_flows.warm_child import ForkRequest
from brandhouse_shared.errors import RetryableError

START_SECONDS = 120.0

SINGLE_THREAD_VARIABLES = {
    # OpenBLAS starts its threads when it is loaded; with as many runs as cores, one thread a run is also the fastest.
    "OPENBLAS_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    "MPLBACKEND": "Agg",
}
"""With these, importing what is preloaded starts no thread. A fork of a process with threads may hang."""


class WarmParent:
    """One warm parent. Not for concurrent use: the caller asks for one process at a time."""

    def __init__(self, environment: Mapping[str, str], is_lean: bool = False) -> None:
        """Prepare, without starting it.

        Args:
            environment: Its whole environment; the runs get one each.
            is_lean: Preload Prefect only, no numeric library: quick to start, for pools that run no training.
        """
        self._arguments = ["lean"] if is_lean else []
        self._environment = {**SINGLE_THREAD_VARIABLES, **environment}
        self._socket: socket.socket | None = None
        self._lines: IO[bytes] | None = None
        self._code_stamp = ""
        self._lock = anyio.Lock()

    async def fork(self, request: ForkRequest) -> ProcessIdentity:
        """Start a process for one flow run.

        Raises:
            RetryableError: If the warm parent cannot be started.
        """
        async with self._lock:
            return await anyio.to_thread.run_sync(self._fork, request)

    async def warm_up(self) -> None:
        """Start it now, so that the first run need not wait.

        Raises:
            RetryableError: If it cannot be started.
        """
        async with self._lock:
            await anyio.to_thread.run_sync(self._ensure_started)

    def close(self) -> None:
        """Let it go. It stays until its last run has ended, to note how it did."""
        if self._lines is not None:
            self._lines.close()
        if self._socket is not None:
            self._socket.close()
        self._socket = self._lines = None

    def _fork(self, request: ForkRequest) -> ProcessIdentity:
        for _ in range(2):  # the second time with a new parent, should the first have been killed
            self._ensure_started()
            with suppress(OSError, ValueError, KeyError):
                assert self._socket is not None
                self._socket.sendall(request.as_line())
                return ProcessIdentity.of(self._answer()["pid"])
            self.close()
        raise RetryableError("the warm parent of the worker ends as soon as it is asked; see the worker's log")

    def _ensure_started(self) -> None:
        stamp = _code_stamp()
        if self._socket is not None and stamp in (self._code_stamp, ""):
            return
        self.close()
        self._start()
        self._code_stamp = stamp

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", "brandhouse_flows.warm_child", str(theirs.fileno()), *self._arguments]
            subprocess.Popen(
                command, env=self._environment, cwd="/", stdin=subprocess.DEVNULL, pass_fds=(theirs.fileno(),), start_new_session=True
            )
        ours.settimeout(START_SECONDS)
        self._socket, self._lines = ours, ours.makefile("rb")
        try:
            threads = self._answer()["threads"]
        except (OSError, ValueError, KeyError) as error:
            self.close()
            raise RetryableError("the warm parent of the worker did not start; see the worker's log") from error
        if threads != 1:
            print(f"warning: a preloaded module starts {threads - 1} thread(s); runs forked from it may hang", file=sys.stderr)

    def _answer(self) -> dict[str, int]:
        assert self._lines is not None
        answer: dict[str, int] = json.loads(self._lines.readline() or b"null") or {}
        return answer


def _code_stamp() -> str:
    """Changes when a file of the platform's preloaded packages does."""
    folders = [Path(package.__file__ or "").parent for package in (brandhouse_flows, brandhouse_shared)]
    with suppress(FileNotFoundError):  # a file is being replaced; the next look sees what it became
        changed = [path.stat().st_mtime_ns for folder in folders for path in folder.rglob("*.py")]
        return f"{len(changed)}:{max(changed)}"
    return ""
