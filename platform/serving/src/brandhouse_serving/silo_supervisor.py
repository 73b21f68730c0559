"""Starts the brands' own processes, starts again what ends, and ends them all with the gateway.

One for a whole gateway, however many processes that has: they leave wishes in a folder (`silo_places`), this one thread
reads them. A process that ends is started again after a growing pause.
"""

import contextlib
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from brandhouse_serving.silo_places import SiloPlace, Wish, idle_seconds, wished_places

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 30.0
HEALTHY_SECONDS = 60.0
"""A process that lived so long starts its pauses anew when it ends."""

IDLE_SECONDS = 1800.0
"""A process that nobody has asked for so long is ended; the next request to its brand starts it again."""

STOP_SECONDS = 2.0
"""How long a process may take to end when asked, before it is forced. It holds nothing that could be lost."""

POLL_SECONDS = 0.05

PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "VIRTUAL_ENV")
"""What a silo may know of the gateway's environment. Everything else, above all secrets, stays here."""

logger = logging.getLogger(__name__)


@dataclass
class _Silo:
    """One brand's process.

    Attributes:
        failures: Ends since it was last healthy.
        next_start: When it may be started again, monotonic seconds.
        old: What it replaces and what still answers until the new one listens, with the socket that it has.
    """

    wish: Wish
    place: SiloPlace
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    failures: int = 0
    next_start: float = 0.0
    old: tuple[subprocess.Popen[bytes], int] | None = None


class SiloSupervisor:
    """All brands' own processes of one gateway."""

    def __init__(self, home: Path, base: Path, idle_seconds: float = IDLE_SECONDS) -> None:
        """`base` is the folder that the gateway's processes share; `home` holds artifacts and logs."""
        self._home = home
        self._base = base
        self._idle_seconds = idle_seconds
        self._silos: dict[Path, _Silo] = {}
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to follow the wishes. No effect if it was called before."""
        if self._thread is None:
            # The kernel ends a silo with the *thread* that started it: one thread starts all and lives as long as the process.
            self._thread = threading.Thread(target=self._supervise, name="silo-supervisor", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End all processes: asked first, then forced."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def process_ids(self) -> dict[str, int]:
        """Brand to process id, of those that run."""
        silos = list(self._silos.values())
        return {silo.wish.brand: silo.process.pid for silo in silos if silo.process and silo.process.poll() is None}

    def _supervise(self) -> None:
        pause = POLL_SECONDS
        while not self._stopping.wait(pause):
            began = time.monotonic()
            try:
                for place, wish in wished_places(self._base):
                    self._attend(place, wish)
            except OSError as error:  # no process or no disk for the moment: what runs goes on, and it is tried again
                logger.error("silos cannot be attended: %s", error)
            pause = max(POLL_SECONDS, 10 * (time.monotonic() - began))  # with very many brands: a tenth of a core at most
        self._end_all()

    def _attend(self, place: SiloPlace, wish: Wish) -> None:
        silo = self._silos.setdefault(place.folder, _Silo(wish, place))
        if silo.process is not None and silo.process.poll() is not None:
            self._note_end(silo, silo.process.returncode)
        elif silo.process is not None and place.stuck.exists():
            logger.error("silo of %s does not answer: ending process %d", wish.brand, silo.process.pid)
            silo.process.kill()
        elif idle_seconds(wish) > self._idle_seconds:
            self._end_idle(silo)
            return
        elif silo.process is not None and silo.wish.memory_mib != wish.memory_mib:
            self._replace(silo)
        self._retire_replaced(silo)
        silo.wish = wish
        if silo.process is None and time.monotonic() >= silo.next_start:
            place.stuck.unlink(missing_ok=True)
            silo.started = time.monotonic()
            silo.process = self._spawn(silo)

    def _note_end(self, silo: _Silo, code: int) -> None:
        now = time.monotonic()
        silo.failures = 1 if now - silo.started > HEALTHY_SECONDS else silo.failures + 1
        pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** (silo.failures - 1))
        logger.warning("silo of %s ended with code %d; starting again in %.1f s", silo.wish.brand, code, pause)
        silo.place.failure.touch()
        silo.next_start = now + pause
        silo.process = None

    def _end_idle(self, silo: _Silo) -> None:
        silo.place.clear()
        del self._silos[silo.place.folder]
        if silo.process is not None:
            logger.warning("silo of %s was not asked for %.0f s and is ended", silo.wish.brand, self._idle_seconds)
            _end([silo.process])

    def _replace(self, silo: _Silo) -> None:
        """Start a process with another memory limit; the present one answers until the new one listens in its place."""
        if silo.process is None or silo.old is not None or not silo.place.socket.exists():
            return
        silo.old = (silo.process, silo.place.socket.stat().st_ino)
        silo.process = None

    def _retire_replaced(self, silo: _Silo) -> None:
        if silo.old is None:
            return
        process, inode = silo.old
        if process.poll() is not None or (silo.place.socket.exists() and silo.place.socket.stat().st_ino != inode):
            process.terminate()  # it answers what it has begun, and ends
            threading.Thread(target=_end, args=([process],), daemon=True).start()
            silo.old = None

    def _end_all(self) -> None:
        silos = list(self._silos.values())
        _end([silo.process for silo in silos if silo.process is not None] + [silo.old[0] for silo in silos if silo.old])
        for silo in silos:
            shutil.rmtree(silo.place.folder, ignore_errors=True)

    def _spawn(self, silo: _Silo) -> subprocess.Popen[bytes]:
        brand, place = silo.wish.brand, silo.place
        command = [sys.executable, "-I", "-m", "brandhouse_serving.silo", "--brand", brand, "--socket", str(place.socket)]
        command += ["--home", str(self._home), "--memory-mib", str(silo.wish.memory_mib), "--parent", str(os.getpid())]
        with self._open_log(brand) as log:
            return subprocess.Popen(
                command,
                cwd=place.folder,
                env=self._environment(silo),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _environment(self, silo: _Silo) -> dict[str, str]:
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        # One brand's arithmetic must not take the cores of all: one thread a process.
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        bentoml_home = self._home / "bentoml" / silo.wish.brand
        return environment | threads | {"HOME": str(silo.place.folder), "BENTOML_HOME": str(bentoml_home), "BENTOML_DO_NOT_TRACK": "true"}

    def _open_log(self, brand: str) -> IO[bytes]:
        path = self._home / "logs" / "silo" / f"{brand}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab")


def _end(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + STOP_SECONDS
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=max(0.0, deadline - time.monotonic()))
        process.kill()
        process.wait()
