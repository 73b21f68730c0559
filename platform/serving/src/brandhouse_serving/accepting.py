"""Several processes accept from one socket, each as many connections as the others.

Left alone, the process that wakes first takes all that wait: of sixteen connections, sometimes one process had sixteen and the
other none. Here a process that has more connections than another one lets that one go first, for a moment. A socket for each
process (`SO_REUSEPORT`) would spread them by chance, and a process that dies would take its waiting connections along.
"""

import asyncio
import errno
import logging
import mmap
import os
import socket
from collections.abc import Callable
from pathlib import Path

CELL_BYTES = 8
LOADS_FILE = "connections"

YIELD_SECONDS = 0.002
"""How long a process with more connections lets the others go first. One that is dead or busy costs no more than this."""

AT_ONCE = 32
"""Most connections taken before what they sent is looked at."""

EXHAUSTED_SECONDS = 0.5
"""Pause when the system has no more room for connections."""

_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

logger = logging.getLogger(__name__)


class SharedLoads:
    """How many connections each process of a gateway has, in shared memory; each writes its own."""

    def __init__(self, folder: Path, number: int, count: int) -> None:
        """Take the place of process `number` of `count`, with no connection."""
        size = count * CELL_BYTES
        descriptor = os.open(folder / LOADS_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, size)
            self._loads = memoryview(mmap.mmap(descriptor, size)).cast("d")
        finally:
            os.close(descriptor)
        self._number = number
        self._loads[number] = 0

    def add(self, change: int) -> None:
        """Note that this process has more, or fewer, connections."""
        self._loads[self._number] += change

    @property
    def is_above_others(self) -> bool:
        """Whether another process has fewer."""
        return self._loads[self._number] > min(self._loads)


class Acceptor:
    """Takes connections from a shared socket, in place of the event loop's own server."""

    def __init__(self, listener: socket.socket, build_protocol: Callable[[], asyncio.Protocol], loads: SharedLoads) -> None:
        """Begin to accept.

        Args:
            listener: Bound and listening; shared with other processes.
            build_protocol: Called once a connection.
            loads: The connections of all processes. Who ends a connection takes it off again.
        """
        self._listener = listener
        self._build_protocol = build_protocol
        self._loads = loads
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closed = False
        listener.setblocking(False)
        self._watch()

    def close(self) -> None:
        """Accept no more."""
        self._is_closed = True
        self._loop.remove_reader(self._listener)

    async def wait_closed(self) -> None:
        """Return when the last accepted connection has its protocol."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _watch(self) -> None:
        if not self._is_closed:
            self._loop.add_reader(self._listener, self._accept_some)

    def _pause(self, seconds: float, then: Callable[[], None]) -> None:
        self._loop.remove_reader(self._listener)
        self._loop.call_later(seconds, then)

    def _accept_some(self) -> None:
        for _ in range(AT_ONCE):
            if self._loads.is_above_others:
                self._pause(YIELD_SECONDS, self._accept_late)
                return
            if not self._accept_one():
                return

    def _accept_late(self) -> None:
        """The others had their time: take one, however many they have."""
        self._watch()
        if not self._is_closed:
            self._accept_one()

    def _accept_one(self) -> bool:
        """Take a connection. Return whether there was one."""
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False
        except OSError as error:
            if error.errno not in _EXHAUSTED:
                raise
            logger.error("no more connections can be taken: %s", error.strerror)
            self._pause(EXHAUSTED_SECONDS, self._watch)
            return False
        self._loads.add(1)
        task = self._loop.create_task(self._attach(connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def _attach(self, connection: socket.socket) -> None:
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.connect_accepted_socket(self._build_protocol, connection)
        except OSError:  # the client has gone already
            connection.close()
            self._loads.add(-1)
