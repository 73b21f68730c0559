"""One process that answers: the application, its web server, and how the process is set up for it."""

import asyncio
import functools
import gc
import signal
import socket
from collections.abc import Callable, Collection
from types import FrameType
from typing import Any

import uvicorn

from brandhouse_serving.accepting import Acceptor, SharedLoads
from brandhouse_serving.connections import Connection, raise_file_limit, sweep
from brandhouse_serving.gateway import create_app
from brandhouse_serving.lane import PredictLane
from brandhouse_serving.worker_place import WorkerPlace
from brandhouse_shared.errors import BrandhouseError
from brandhouse_shared.settings import Settings

GRACE_SECONDS = 3
"""How long running requests may take to end after SIGTERM; together with the rest a stop takes less than 5 s."""

LAST_SECONDS = 8
"""A process that has not ended so long after it was told to is ended by the system."""

GC_THRESHOLDS = (50_000, 20, 100)
"""Fewer and larger looks for cycles: requests make none that grow."""

TICKS_A_SECOND = 10
"""How often the web server looks after itself."""


def serve(
    settings: Settings, brands: Collection[str] | None, listener: socket.socket, place: WorkerPlace, announce: Callable[[int], None]
) -> None:
    """Answer requests until SIGTERM or Ctrl-C.

    Args:
        settings: Where this process runs.
        brands: Names of the brands to serve; None: all that have a folder.
        listener: The bound socket; other processes may accept from it, too.
        place: This process's place in its gateway.
        announce: Called with the number of models when requests are answered.

    Raises:
        BrandhouseError: If it could not start.
    """
    Connection.limit = raise_file_limit()
    gateway = create_app(settings, brands, place)
    Connection.on_cut = staticmethod(gateway.metrics.count_cut_connection)
    # uvicorn raises the signal again after its clean stop; a clean stop shall be exit code 0.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    server = _Server(_config(gateway), gateway, place, announce)
    server.run(sockets=[listener])
    signal.alarm(0)
    gateway.metrics.close()
    if not server.started:
        raise BrandhouseError("the gateway could not start; the reason is above")


def _config(gateway: PredictLane) -> uvicorn.Config:
    return uvicorn.Config(
        gateway,
        loop="uvloop",
        http=Connection,
        ws="none",
        interface="asgi3",
        lifespan="on",
        # What a client can cause is counted, not logged: garbage must not fill the disk.
        log_level="error",
        access_log=False,
        server_header=False,
        # No header may say who calls: `forwarded` headers are believed by nobody here, and looking for them costs time.
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )


class _Server(uvicorn.Server):
    """A web server that says when it is ready, and looks after connections and memory."""

    def __init__(self, config: uvicorn.Config, gateway: PredictLane, place: WorkerPlace, announce: Callable[[int], None]) -> None:
        super().__init__(config)
        self._place = place
        self._gateway = gateway
        self._announce = announce
        self._is_settled = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        # A single process lets the event loop accept; several share the socket fairly.
        await super().startup(sockets if self._place.count == 1 else [])
        if self.started and self._place.count > 1 and sockets:
            self._share(sockets[0], self._place)
        if self.started:
            self._announce(self._gateway.model_count)

    async def on_tick(self, counter: int) -> bool:
        if counter % TICKS_A_SECOND == 0:
            sweep(self.server_state.connections, asyncio.get_running_loop().time(), Connection.limit)
            self._gateway.note_memory()
            self._settle()
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        signal.alarm(LAST_SECONDS)
        super().handle_exit(sig, frame)

    def _share(self, listener: socket.socket, place: WorkerPlace) -> None:
        if place.folder is None:
            raise TypeError("several processes share a folder")
        loads = SharedLoads(place.folder, place.number, place.count)
        Connection.on_lost = staticmethod(functools.partial(loads.add, -1))
        state = self.lifespan.state
        build = functools.partial(Connection, config=self.config, server_state=self.server_state, app_state=state)
        self.servers: list[Any] = [Acceptor(listener, build, loads)]

    def _settle(self) -> None:
        """Once everything is loaded, take it out of the garbage collector's sight: its full runs would stop all requests."""
        if not self._is_settled and self._gateway.is_warm:
            self._is_settled = True
            gc.collect()
            gc.freeze()
            gc.set_threshold(*GC_THRESHOLDS)
