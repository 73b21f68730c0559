"""Starts and stops a worker of this machine as a process of its own."""

import os
import select
import signal
import sys
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from brandhouse_flows.processes import ManagedProcess, plain_environment
from brandhouse_flows.server import server_environment
from brandhouse_shared.errors import RetryableError
from brandhouse_shared.settings import Settings

START_SECONDS = 120.0
STOP_SECONDS = 12.0


class WorkerProcess:
    """One worker on one pool. A context manager.

    It ends with this process; the runs it started are asked to stop and reported.
    """

    def __init__(
        self, settings: Settings, port: int, pool: str, limit: int, options: Sequence[str] = (), variables: Mapping[str, str] | None = None
    ) -> None:
        environment = {
            **plain_environment(os.environ),
            **{name: value for name, value in os.environ.items() if name.startswith(("BRANDHOUSE_", "AWS_"))},
            "BRANDHOUSE_ROOT": str(settings.root),
            "BRANDHOUSE_HOME": str(settings.home),
            **server_environment(settings, port),
            **(variables or {}),
        }
        self._command = [sys.executable, "-m", "brandhouse_flows.worker", "--pool", pool, "--limit", str(limit), *options]
        self._environment = environment
        self._log_file = settings.home / "logs" / f"worker-{pool}.log"
        self._process: ManagedProcess | None = None

    @property
    def pid(self) -> int:
        """Its process id; 0 when it is not running."""
        return self._process.pid if self._process else 0

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.is_alive

    def launch(self) -> Self:
        """Start it and return at once; `wait_until_ready` says when it accepts runs."""
        self._ready, told = os.pipe()
        command = [*self._command, "--ready-fd", str(told)]
        self._process = ManagedProcess(command, self._environment, self._log_file, signal.SIGTERM)
        try:
            self._process.start(pass_fds=[told])
        finally:
            os.close(told)
        return self

    def wait_until_ready(self) -> Self:
        """Wait until it accepts runs.

        Raises:
            RetryableError: If it does not within two minutes, or ended; holds the end of its log.
        """
        readable, _, _ = select.select([self._ready], [], [], START_SECONDS)
        answer = os.read(self._ready, 16) if readable else b""
        os.close(self._ready)
        if not answer:
            lines = self._process.last_lines() if self._process else "it was not launched"
            self.stop()
            raise RetryableError(f"the worker did not become ready; the end of {self._log_file}:\n{lines}")
        return self

    def stop(self) -> None:
        """Stop it; its runs are asked to stop first and reported truly."""
        if self._process is not None:
            self._process.stop(STOP_SECONDS)
            self._process = None

    def kill(self) -> None:
        """End it without warning; its runs go on. For tests."""
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGKILL)
            self._process.stop(STOP_SECONDS)
            self._process = None

    def __enter__(self) -> Self:
        return self.launch().wait_until_ready()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
