"""The gateway's side of the brands' own processes: wish for one, wait for its start, ask it.

One process per brand, started and kept up by `silo_supervisor`, here or in the gateway's parent. A request that meets a
process that ended is told so at once and answered by another version.
"""

import asyncio
import contextlib
import logging
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from brandhouse_serving.failures import VersionFailedError
from brandhouse_serving.silo_batches import TIMEOUT, Batcher, BatchRefusedError, Columns
from brandhouse_serving.silo_places import TOUCH_SECONDS, SiloPlace, place_of
from brandhouse_serving.silo_supervisor import SiloSupervisor
from brandhouse_shared.names import ModelKey

if TYPE_CHECKING:
    import httpx

START_SECONDS = 30.0
"""How long a starting process may take until its first answer: importing scikit-learn and BentoML on a busy machine."""

LONGEST_SECONDS = 300.0
"""No request to a process waits longer, whatever its brand declares."""

POLL_SECONDS = 0.02
STUCK_AFTER = 5
"""So many calls in a row without an answer in time, and the process is taken for stuck and ended: a handler that hangs never comes back."""

MAX_BATCHERS = 8
"""Versions of one brand whose calls are kept apart; more are few at a time, and the least recently asked is forgotten."""

logger = logging.getLogger(__name__)


@dataclass
class _Silo:
    """One brand's process as seen from here.

    Attributes:
        wished_at: When it was wanted, monotonic seconds; again when it had been ended for not being asked.
        renewed_at: When the wish was last renewed.
        has_answered: Whether it has answered anything since it was wanted.
        timeouts: Calls in a row that were not answered in time.
        batchers: By model and digest, for versions that answer together as alone.
    """

    brand: str
    place: SiloPlace
    memory_mib: int
    wished_at: float
    renewed_at: float
    has_answered: bool = False
    timeouts: int = 0
    client: "httpx.AsyncClient | None" = None
    batchers: dict[tuple[str, str], Batcher] = field(default_factory=dict)

    @property
    def is_first_start(self) -> bool:
        """Whether it is still on its way up and never failed: then waiting is better than another version's answer."""
        return time.monotonic() - self.wished_at < START_SECONDS and not self.place.failure.exists()


class SiloPool:
    """All brands' processes, as one of the gateway's processes asks them."""

    def __init__(self, home: Path, memory_mib: int, base: Path | None = None, *, is_supervised: bool = False) -> None:
        """Start nothing yet.

        Args:
            home: The platform's state.
            memory_mib: Limit of a process whose brand declares none.
            base: Folder that the gateway's processes share; None: a folder of its own.
            is_supervised: Whether the gateway's parent supervises the processes; else this pool does.
        """
        self._own_base = None if base is not None else Path(tempfile.mkdtemp(prefix="brandhouse-silo-"))
        self._base = base or self._own_base or home
        self._memory_mib = memory_mib
        self._supervisor = None if is_supervised else SiloSupervisor(home, self._base)
        self._silos: dict[str, _Silo] = {}

    def start(self, brand: str, memory_mib: int | None = None) -> None:
        """Have the brand's process started, without waiting for it; with another limit than before, replaced without a gap.

        Args:
            brand: Whose process.
            memory_mib: What the process may write to; None: the setting's.
        """
        self._find(brand, memory_mib or self._memory_mib)

    def process_ids(self) -> dict[str, int]:
        """Brand to process id, of those that run; empty where the gateway's parent supervises them."""
        return {} if self._supervisor is None else self._supervisor.process_ids()

    async def load(self, key: ModelKey, digest: str, timeout_seconds: float = START_SECONDS) -> None:
        """Load a version in the brand's process before it is needed.

        Raises:
            VersionFailedError: If it cannot be loaded there.
        """
        silo = self._find(key.brand)
        answer = await self._ask(silo, "/load", key, {"model": key.model, "digest": digest}, timeout_seconds)
        self._note_batchable(silo, key, digest, answer)

    async def scores(self, key: ModelKey, digest: str, columns: Mapping[str, list[Any]], timeout_seconds: float) -> Sequence[Any]:
        """Return the scores of all rows, answered in the brand's process.

        Raises:
            VersionFailedError: If the process is not there, fails, or takes too long.
        """
        silo = self._find(key.brand)
        batcher = silo.batchers.get((key.model, digest))
        if batcher is not None:
            return await batcher.scores(columns, timeout_seconds)
        return await self._scores(silo, key, digest, columns, timeout_seconds)

    def stop(self) -> None:
        """End all processes that this pool supervises."""
        if self._supervisor is not None:
            self._supervisor.stop()
        if self._own_base is not None:
            shutil.rmtree(self._own_base, ignore_errors=True)

    async def _scores(self, silo: _Silo, key: ModelKey, digest: str, columns: Columns, timeout_seconds: float) -> Sequence[Any]:
        answer = await self._ask(silo, "/predict", key, {"model": key.model, "digest": digest, "columns": columns}, timeout_seconds)
        self._note_batchable(silo, key, digest, answer)
        scores: Sequence[Any] = answer["scores"]
        return scores

    def _note_batchable(self, silo: _Silo, key: ModelKey, digest: str, answer: Mapping[str, Any]) -> None:
        place = (key.model, digest)
        if not answer.get("batchable"):
            silo.batchers.pop(place, None)
        elif place not in silo.batchers:
            while len(silo.batchers) >= MAX_BATCHERS:
                del silo.batchers[next(iter(silo.batchers))]
            silo.batchers[place] = Batcher(
                lambda columns, seconds: self._scores(silo, key, digest, columns, seconds), f"{key} {digest[:12]}"
            )

    async def _ask(self, silo: _Silo, path: str, key: ModelKey, body: Mapping[str, Any], timeout_seconds: float) -> dict[str, Any]:
        await self._wait_for_first_start(silo)
        # The first answer imports scikit-learn: as much part of the start as the socket's appearing.
        is_starting = silo.is_first_start and not silo.has_answered
        seconds = max(timeout_seconds, START_SECONDS) if is_starting else min(timeout_seconds, LONGEST_SECONDS)
        try:
            answer = await asyncio.wait_for(self._post(silo, path, orjson.dumps(body)), seconds)
        except TimeoutError:
            self._note_timeout(silo)
            raise VersionFailedError(key, TIMEOUT) from None
        silo.timeouts = 0
        silo.has_answered = True
        if "error" in answer:
            raise BatchRefusedError(key, "runtime failed", str(answer["error"]))
        return answer

    async def _wait_for_first_start(self, silo: _Silo) -> None:
        """Wait while the process is on its way up: the brand's time-out is for answers, not for the start of the gateway."""
        now = time.monotonic()
        if now - silo.renewed_at > TOUCH_SECONDS:
            silo.renewed_at = now
            silo.place.renew_wish()
        if not silo.place.wish.exists():  # it was ended because nobody had asked for long
            self._wish(silo)
        while not silo.place.socket.exists() and silo.is_first_start:
            await asyncio.sleep(POLL_SECONDS)

    async def _post(self, silo: _Silo, path: str, body: bytes) -> dict[str, Any]:
        import httpx

        if silo.client is None:
            transport = httpx.AsyncHTTPTransport(uds=str(silo.place.socket), limits=httpx.Limits(max_connections=64))
            silo.client = httpx.AsyncClient(transport=transport, base_url="http://silo", timeout=LONGEST_SECONDS)
        process = _identity(silo.place.socket)
        try:
            response = await silo.client.post(path, content=body, headers={"content-type": "application/json"})
        except httpx.ConnectError as error:
            raise VersionFailedError(silo.brand, "its process is not running") from error
        except httpx.HTTPError as error:
            if process not in (None, _identity(silo.place.socket)):  # it was replaced by one that listens already
                return await self._post(silo, path, body)
            raise VersionFailedError(silo.brand, "its process ended", type(error).__name__) from error
        if response.status_code != 200:
            raise BatchRefusedError(silo.brand, "runtime failed", f"status {response.status_code}")
        answer: dict[str, Any] = orjson.loads(response.content)
        return answer

    def _note_timeout(self, silo: _Silo) -> None:
        silo.timeouts += 1
        if silo.timeouts >= STUCK_AFTER:
            logger.error("silo of %s: %d time-outs in a row", silo.brand, silo.timeouts)
            silo.timeouts = 0
            with contextlib.suppress(FileNotFoundError):
                silo.place.stuck.touch()

    def _find(self, brand: str, memory_mib: int | None = None) -> _Silo:
        silo = self._silos.get(brand)
        if silo is None:
            now = time.monotonic()
            silo = self._silos[brand] = _Silo(brand, place_of(self._base, brand), memory_mib or self._memory_mib, now, now)
            self._wish(silo)
        elif memory_mib is not None and memory_mib != silo.memory_mib:
            silo.memory_mib = memory_mib
            self._wish(silo)
        return silo

    def _wish(self, silo: _Silo) -> None:
        silo.wished_at = silo.renewed_at = time.monotonic()
        silo.has_answered = False
        silo.place.write_wish(silo.brand, silo.memory_mib)
        if self._supervisor is not None:
            self._supervisor.start()


def _identity(socket: Path) -> int | None:
    try:
        return socket.stat().st_ino
    except OSError:
        return None
