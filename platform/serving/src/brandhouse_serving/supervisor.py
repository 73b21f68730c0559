"""Several processes behind one port: the parent starts them, starts again what dies, and ends them together.

The parent binds the port and serves nothing itself, so it stays small and nothing that a client sends can hurt it. Each
worker is a fresh process, not a fork: threads, event loops and ONNX sessions do not survive a fork.
"""

import contextlib
import logging
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from brandhouse_serving.silo_supervisor import SiloSupervisor
from brandhouse_shared.errors import BrandhouseError
from brandhouse_shared.settings import Settings, environment_of

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 30.0
HEALTHY_SECONDS = 60.0
"""A worker that lived so long starts its pauses anew when it ends."""

STOP_SECONDS = 4.5
"""How long the workers may take to end when asked, before they are forced: longer than a worker's own grace."""

LOOK_SECONDS = 0.2
"""How often the parent looks whether a pause is over; ends of workers wake it at once."""

READY = b"ready"

logger = logging.getLogger(__name__)


@dataclass
class _Worker:
    """One place, and the process that has it.

    Attributes:
        failures: Ends since it was last healthy.
        next_start: When it may be started again, monotonic seconds.
        reports: The end of the pipe on which the process says that it is ready.
    """

    number: int
    process: subprocess.Popen[bytes] | None = None
    reports: int = -1
    models: int | None = None
    started: float = 0.0
    failures: int = 0
    next_start: float = 0.0
    was_ready: bool = field(default=False)


class Supervisor:
    """The parent of a gateway's workers."""

    def __init__(self, settings: Settings, brands: Collection[str], listener: socket.socket, folder: Path, count: int) -> None:
        self._settings = settings
        self._brands = brands
        self._listener = listener
        self._folder = folder
        self._workers = [_Worker(number) for number in range(count)]
        self._silos = SiloSupervisor(settings.home, folder)
        self._selector = selectors.DefaultSelector()
        self._is_stopping = False
        self._is_announced = False

    def run(self, announce: Callable[[int], None]) -> None:
        """Keep the workers running until SIGTERM or Ctrl-C.

        Args:
            announce: Called once, with the number of models, when all workers answer.

        Raises:
            BrandhouseError: If a worker ends before all were ready once; the others are ended, too.
        """
        with _signals(self._selector, self._note_stop):
            try:
                self._silos.start()
                while not self._is_stopping:
                    for worker in self._workers:
                        self._attend(worker)
                    self._announce_once(announce)
                    self._wait()
            finally:
                self._end_all()
                self._silos.stop()

    def _note_stop(self, number: int, frame: object) -> None:
        self._is_stopping = True

    def _attend(self, worker: _Worker) -> None:
        now = time.monotonic()
        if worker.process is not None and worker.process.poll() is not None:
            self._note_end(worker, worker.process.returncode, now)
        if worker.process is None and now >= worker.next_start and not self._is_stopping:
            self._start(worker, now)

    def _start(self, worker: _Worker, now: float) -> None:
        reports, status = os.pipe()
        try:
            worker.process = subprocess.Popen(
                self._command(worker.number, status),
                env={**os.environ, **environment_of(self._settings)},
                pass_fds=[self._listener.fileno(), status],
                stdin=subprocess.DEVNULL,
                # Ctrl-C in a terminal goes to the parent alone, which ends them in order.
                start_new_session=True,
            )
        finally:
            os.close(status)
        worker.reports, worker.models, worker.started = reports, None, now
        self._selector.register(reports, selectors.EVENT_READ, worker)

    def _command(self, number: int, status: int) -> Sequence[str]:
        options = {
            "number": number,
            "count": len(self._workers),
            "listener": self._listener.fileno(),
            "status": status,
            "folder": self._folder,
            "parent": os.getpid(),
        }
        pairs = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        return [sys.executable, "-m", "brandhouse_serving.worker", *pairs, *self._brands]

    def _note_end(self, worker: _Worker, code: int, now: float) -> None:
        self._forget_reports(worker)
        worker.process = worker.models = None
        if not self._is_announced:
            raise BrandhouseError(f"gateway process {worker.number} ended with code {code} before it answered; the reason is above")
        worker.failures = 1 if now - worker.started > HEALTHY_SECONDS else worker.failures + 1
        pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** (worker.failures - 1))
        worker.next_start = now + pause
        logger.error("gateway process %d ended with code %d; starting again in %.1f s", worker.number, code, pause)

    def _announce_once(self, announce: Callable[[int], None]) -> None:
        models = [worker.models for worker in self._workers]
        if not self._is_announced and None not in models:
            self._is_announced = True
            announce(max(filter(None, models), default=0))

    def _wait(self) -> None:
        for key, _ in self._selector.select(LOOK_SECONDS):
            if key.data is None:
                os.read(key.fd, 4096)  # a signal came: its handler has run
            else:
                self._read_report(key.data)

    def _read_report(self, worker: _Worker) -> None:
        word, _, number = os.read(worker.reports, 100).strip().partition(b" ")
        if word == READY:
            worker.models = int(number)
        else:
            self._forget_reports(worker)  # the other end is closed: the process ends

    def _forget_reports(self, worker: _Worker) -> None:
        if worker.reports >= 0:
            self._selector.unregister(worker.reports)
            os.close(worker.reports)
            worker.reports = -1

    def _end_all(self) -> None:
        processes = [worker.process for worker in self._workers if worker.process is not None]
        for process in processes:
            process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=max(0.0, deadline - time.monotonic()))
        for process in processes:
            if process.poll() is None:
                logger.error("gateway process %d did not end within %.1f s and is forced to", process.pid, STOP_SECONDS)
                process.kill()
                process.wait()
        for worker in self._workers:
            self._forget_reports(worker)


@contextlib.contextmanager
def _signals(selector: selectors.BaseSelector, stop: Callable[[int, object], None]) -> Iterator[None]:
    """Have signals wake the selector: SIGTERM and Ctrl-C stop, and the end of a child is seen at once."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    selector.register(reading, selectors.EVENT_READ)
    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
    old = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(old)
        for number, handler in before.items():
            signal.signal(number, handler)
        selector.unregister(reading)
        os.close(reading)
        os.close(writing)
