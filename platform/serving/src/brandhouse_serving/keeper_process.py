"""The gateway's side of its keeper: start it, start it again if it dies, stop it last."""

import contextlib
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

from brandhouse_shared.settings import Settings

STOP_SECONDS = 1.5
"""How long the keeper may take to convert the rest at a stop. What is left stays in journals until the next start."""

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def running_keeper(settings: Settings) -> Iterator[None]:
    """Have a gateway's keeper running; once around all that answers."""
    keeper = KeeperProcess(settings)
    try:
        yield
    finally:
        keeper.stop()


class KeeperProcess:
    """A keeper that is started again whenever it ends. Answers are written and found with or without it."""

    def __init__(self, settings: Settings) -> None:
        places = ["--home", str(settings.home), "--brands-dir", str(settings.brands_dir)]
        self._command = [sys.executable, "-m", "brandhouse_serving.keeper", *places]
        self._stopping = threading.Event()
        self._process = self._start()
        self._supervisor = threading.Thread(target=self._supervise, name="keeper", daemon=True)
        self._supervisor.start()

    @property
    def process_id(self) -> int:
        """Of the process that runs, or ran last."""
        return self._process.pid

    def stop(self) -> None:
        """Let it convert the rest and end; force it after `STOP_SECONDS`. All that write must have ended."""
        self._stopping.set()
        process = self._process
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()  # at any instruction: the next keeper goes on where this one was
            process.wait()
        self._supervisor.join(timeout=1)

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True)

    def _supervise(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            started = time.monotonic()
            code = self._process.wait()
            if time.monotonic() - started > LONGEST_PAUSE_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            if self._stopping.wait(pause):
                return
            logger.error("the keeper of the prediction log ended with code %d and is started again", code)
            pause = min(LONGEST_PAUSE_SECONDS, pause * 2)
            self._process = self._start()
