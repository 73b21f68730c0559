"""The worker's side of the warm parent: start it, ask it for a process, start it anew when it is gone or its code is old."""

import json
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
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
    # Gradient boosting's threads wait actively for each other: two such runs on two cores take five times as long.
    "OMP_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    "MPLBACKEND": "Agg",
}
"""With these, importing what is preloaded starts no thread. A fork of a process with threads may hang."""


@dataclass(frozen=True, slots=True)
class _Connection:
    """A started warm parent."""

    socket: socket.socket
    lines: IO[bytes]

    def answer(self) -> dict[str, int]:
        """What it says; empty if it has gone."""
        return json.loads(self.lines.readline() or b"{}")  # type: ignore[no-any-return]

    def close(self) -> None:
        self.lines.close()
        self.socket.close()


class WarmParent:
    """One warm parent, started when it is first needed."""

    def __init__(self, environment: Mapping[str, str], is_lean: bool = False) -> None:
        """Prepare, without starting it.

        Args:
            environment: Its whole environment; the runs get one each.
            is_lean: Preload Prefect only, no numeric library: quick to start, for pools that run no training.
        """
        self._arguments = ["lean"] if is_lean else []
        self._environment = {**SINGLE_THREAD_VARIABLES, **environment}
        self._connection: _Connection | None = None
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
            await anyio.to_thread.run_sync(self._started)

    def close(self) -> None:
        """Let it go. It stays until its last run has ended, to note how it did."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _fork(self, request: ForkRequest) -> ProcessIdentity:
        for _ in range(2):  # the second time with a new parent, should the first have been killed
            connection = self._started()
            with suppress(OSError, ValueError, KeyError):
                connection.socket.sendall(request.as_line())
                return ProcessIdentity.of(connection.answer()["pid"])
            self.close()
        raise RetryableError("the warm parent of the worker ends as soon as it is asked; see the worker's log")

    def _started(self) -> _Connection:
        stamp = _code_stamp()
        if self._connection is None or stamp not in (self._code_stamp, ""):
            self.close()
            self._connection = self._start()
            self._code_stamp = stamp
        return self._connection

    def _start(self) -> _Connection:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", "brandhouse_flows.warm_child", str(theirs.fileno()), *self._arguments]
            subprocess.Popen(
                command,
                env=self._environment,
                cwd="/",
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        ours.settimeout(START_SECONDS)
        connection = _Connection(ours, ours.makefile("rb"))
        try:
            threads = connection.answer()["threads"]
        except (OSError, ValueError, KeyError) as error:
            connection.close()
            raise RetryableError("the warm parent of the worker did not start; see the worker's log") from error
        if threads != 1:
            sys.stderr.write(f"warning: a preloaded module starts {threads - 1} thread(s); runs forked from it may hang\n")
        return connection


def _code_stamp() -> str:
    """Changes when a file of the platform's preloaded packages does."""
    folders = [Path(package.__file__ or "").parent for package in (brandhouse_flows, brandhouse_shared)]
    with suppress(FileNotFoundError):  # a file is being replaced; the next look sees what it became
        changed = [path.stat().st_mtime_ns for folder in folders for path in folder.rglob("*.py")]
        return f"{len(changed)}:{max(changed)}"
    return ""
