"""The gateway's side of the brands' own processes: start on demand, supervise, ask, stop.

One process per brand. A process that ends is started again after a growing pause; a request that meets it meanwhile
is told so at once and answered by another version.
"""

import asyncio
import contextlib
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import orjson

from brandhouse_serving.failures import VersionFailedError
from brandhouse_shared.names import ModelKey

if TYPE_CHECKING:
    import httpx

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 30.0
HEALTHY_SECONDS = 60.0
"""A process that lived so long starts its pauses anew when it ends."""

START_SECONDS = 30.0
"""How long a starting process may take until its first answer: importing scikit-learn and BentoML on a busy machine."""

STOP_SECONDS = 2.0
"""How long a process may take to end when asked, before it is forced. It holds nothing that could be lost."""

LONGEST_SECONDS = 300.0
"""No request to a process waits longer, whatever its brand declares."""

POLL_SECONDS = 0.05
STUCK_AFTER = 5
"""So many time-outs in a row, and the process is taken for stuck and ended: a handler that hangs never comes back."""

PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "VIRTUAL_ENV")
"""What a silo may know of the gateway's environment. Everything else, above all secrets, stays here."""

logger = logging.getLogger(__name__)


@dataclass
class _Silo:
    """One brand's process as the supervisor sees it.

    Attributes:
        folder: Private folder with the socket; also the working folder.
        failures: Ends since it was last healthy.
        next_start: When it may be started again, monotonic seconds.
        timeouts: Requests in a row that were not answered in time.
    """

    brand: str
    folder: Path
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    failures: int = 0
    next_start: float = 0.0
    timeouts: int = 0
    client: "httpx.AsyncClient | None" = None

    @property
    def socket(self) -> Path:
        return self.folder / "s"

    @property
    def is_first_start(self) -> bool:
        """Whether it is still on its way up and never failed: then waiting is better than another version's answer."""
        return self.failures == 0 and time.monotonic() - self.started < START_SECONDS


class SiloPool:
    """All processes of brands that this gateway has started."""

    def __init__(self, home: Path, memory_mib: int) -> None:
        self._home = home
        self._memory_mib = memory_mib
        self._silos: dict[str, _Silo] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._supervisor: threading.Thread | None = None

    def start(self, brand: str) -> None:
        """Have the brand's process started, without waiting for it. No effect if it was asked for before."""
        self._find(brand)

    def process_ids(self) -> dict[str, int]:
        """Brand to process id, of those that run."""
        with self._lock:
            return {silo.brand: silo.process.pid for silo in self._silos.values() if silo.process and silo.process.poll() is None}

    async def load(self, key: ModelKey, digest: str, timeout_seconds: float = START_SECONDS) -> None:
        """Load a version in the brand's process before it is needed.

        Raises:
            VersionFailedError: If it cannot be loaded there.
        """
        await self._ask("/load", key, {"model": key.model, "digest": digest}, timeout_seconds)

    async def scores(self, key: ModelKey, digest: str, columns: Mapping[str, list[Any]], timeout_seconds: float) -> list[Any]:
        """Return the scores of all rows, answered in the brand's process.

        Raises:
            VersionFailedError: If the process is not there, fails, or takes too long.
        """
        answer = await self._ask("/predict", key, {"model": key.model, "digest": digest, "columns": columns}, timeout_seconds)
        scores: list[Any] = answer["scores"]
        return scores

    def stop(self) -> None:
        """End all processes: asked first, then forced."""
        self._stopping.set()
        if self._supervisor is not None:
            self._supervisor.join(timeout=5)

    async def _ask(self, path: str, key: ModelKey, body: Mapping[str, Any], timeout_seconds: float) -> dict[str, Any]:
        silo = self._find(key.brand)
        await self._wait_for_first_start(silo)
        try:
            async with asyncio.timeout(timeout_seconds):
                answer = await self._post(silo, path, orjson.dumps(body))
        except TimeoutError:
            self._note_timeout(silo)
            raise VersionFailedError(key, "timeout") from None
        silo.timeouts = 0
        if "error" in answer:
            raise VersionFailedError(key, "runtime failed", str(answer["error"]))
        return answer

    async def _wait_for_first_start(self, silo: _Silo) -> None:
        """Wait while the process is on its way up: the brand's time-out is for answers, not for the start of the gateway."""
        while not silo.socket.exists() and silo.is_first_start:
            await asyncio.sleep(POLL_SECONDS)

    async def _post(self, silo: _Silo, path: str, body: bytes) -> dict[str, Any]:
        import httpx

        if silo.client is None:
            transport = httpx.AsyncHTTPTransport(uds=str(silo.socket), limits=httpx.Limits(max_connections=64))
            silo.client = httpx.AsyncClient(transport=transport, base_url="http://silo", timeout=LONGEST_SECONDS)
        try:
            response = await silo.client.post(path, content=body, headers={"content-type": "application/json"})
        except httpx.ConnectError as error:
            raise VersionFailedError(silo.brand, "its process is not running") from error
        except httpx.HTTPError as error:
            raise VersionFailedError(silo.brand, "its process ended", type(error).__name__) from error
        if response.status_code != 200:
            raise VersionFailedError(silo.brand, "runtime failed", f"status {response.status_code}")
        answer: dict[str, Any] = orjson.loads(response.content)
        return answer

    def _note_timeout(self, silo: _Silo) -> None:
        silo.timeouts += 1
        if silo.timeouts >= STUCK_AFTER and silo.process is not None:
            logger.error("silo of %s: %d time-outs in a row, ending process %d", silo.brand, silo.timeouts, silo.process.pid)
            silo.timeouts = 0
            silo.process.kill()

    def _find(self, brand: str) -> _Silo:
        silo = self._silos.get(brand)
        if silo is None:
            with self._lock:
                silo = self._silos.get(brand)
                if silo is None:
                    folder = Path(tempfile.mkdtemp(prefix=f"{_FOLDER_PREFIX}{os.getpid()}-"))
                    silo = self._silos[brand] = _Silo(brand, folder, started=time.monotonic())
                if self._supervisor is None:
                    _sweep_abandoned_folders()
                    # The kernel ends a silo with the *thread* that started it: one thread starts all and lives as long as the process.
                    self._supervisor = threading.Thread(target=self._supervise, name="silo-supervisor", daemon=True)
                    self._supervisor.start()
        return silo

    def _supervise(self) -> None:
        while not self._stopping.wait(POLL_SECONDS):
            with self._lock:
                silos = list(self._silos.values())
            for silo in silos:
                self._attend(silo)
        self._end_all()

    def _end_all(self) -> None:
        running = [silo.process for silo in self._silos.values() if silo.process is not None]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for process in running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=max(0.0, deadline - time.monotonic()))
            process.kill()
            process.wait()
        for silo in self._silos.values():
            shutil.rmtree(silo.folder, ignore_errors=True)

    def _attend(self, silo: _Silo) -> None:
        now = time.monotonic()
        if silo.process is not None and silo.process.poll() is not None:
            self._note_end(silo, silo.process.returncode, now)
        if silo.process is None and now >= silo.next_start:
            silo.started = now
            silo.process = self._spawn(silo)

    def _note_end(self, silo: _Silo, code: int, now: float) -> None:
        silo.failures = 1 if now - silo.started > HEALTHY_SECONDS else silo.failures + 1
        pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** (silo.failures - 1))
        logger.warning("silo of %s ended with code %d; starting again in %.1f s", silo.brand, code, pause)
        silo.next_start = now + pause
        silo.process = None

    def _spawn(self, silo: _Silo) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-I", "-m", "brandhouse_serving.silo", "--brand", silo.brand, "--socket", str(silo.socket)]
        command += ["--home", str(self._home), "--memory-mib", str(self._memory_mib), "--parent", str(os.getpid())]
        environment = self._environment(silo)
        with self._open_log(silo.brand) as log:
            return subprocess.Popen(
                command, cwd=silo.folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def _environment(self, silo: _Silo) -> dict[str, str]:
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        # One brand's arithmetic must not take the cores of all: one thread a process.
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        bentoml_home = self._home / "bentoml" / silo.brand
        return environment | threads | {"HOME": str(silo.folder), "BENTOML_HOME": str(bentoml_home), "BENTOML_DO_NOT_TRACK": "true"}

    def _open_log(self, brand: str) -> IO[bytes]:
        path = self._home / "logs" / "silo" / f"{brand}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab")


_FOLDER_PREFIX = "brandhouse-silo-"


def _sweep_abandoned_folders() -> None:
    """Remove socket folders of gateways that were killed hard."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDER_PREFIX}*"):
        pid = folder.name.removeprefix(_FOLDER_PREFIX).split("-")[0]
        if pid.isdigit() and not Path("/proc", pid).exists():
            shutil.rmtree(folder, ignore_errors=True)
