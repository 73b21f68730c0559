"""What a connection may cost before a request is complete: time for the head, its size, time without a request, their number.

The web server has no time-out for a request's head and no limit of its size. Both are kept here without a timer per
request: a connection notes since when it owes something, and a sweep every second cuts those that owe it for too long.
"""

import logging
import resource
from collections.abc import Callable, Iterable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from brandhouse_serving.problems import build_body

HEAD_SECONDS = 10.0
"""How long a client may take to send a request's head, from its first byte. As for a body."""

IDLE_SECONDS = 30.0
"""How long a connection stays open without a request."""

CROWDED_IDLE_SECONDS = 5.0
"""The same when three quarters of all connections are taken."""

UNREAD_SECONDS = 30.0
"""How long a client may leave its answer unread, once the system's buffers are full."""

MAX_HEAD_BYTES = 32_768
"""Most bytes of a request's head."""

MAX_HEADERS = 100

MAX_CONNECTIONS = 8_000
"""Most connections of one process; fewer where it may not open so many files."""

RESERVED_FILES = 200
"""Files that a process needs besides its connections."""

_CUT_LINE = b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n%s\r\n%s"

logger = logging.getLogger(__name__)


class Connection(HttpToolsProtocol):
    """One client's connection."""

    limit = MAX_CONNECTIONS
    on_cut: Callable[[str], None] = staticmethod(lambda _: None)
    """Called with the cause when a connection is cut."""

    on_lost: Callable[[], None] = staticmethod(lambda: None)
    """Called when a connection has ended, however."""

    head_since: float | None = None
    """Since when a head has been begun and is not complete."""
    idle_since: float | None = None
    """Since when there is no request; None while there is one."""
    unread_since: float | None = None
    """Since when the client reads nothing."""
    _head_bytes = 0
    _piece_bytes = 0
    """Size of the piece being read: a head that came in one small piece need not be measured."""

    def connection_made(self, transport: Any) -> None:
        """Take a connection, or refuse it if there are too many."""
        super().connection_made(transport)
        self.idle_since = self.loop.time()
        if len(self.connections) > self.limit:
            self.cut(b"503 Service Unavailable", "connections", "unavailable", "too many connections; come again", b"retry-after: 1\r\n")

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end."""
        self.on_lost()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes; refuse a head without end."""
        self._piece_bytes = len(data)
        super().data_received(data)
        if self.head_since is not None:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self.cut(b"431 Request Header Fields Too Large", "head_size", "head_too_large", f"the head is above {MAX_HEAD_BYTES} bytes")

    def on_message_begin(self) -> None:
        """Note that a head has begun."""
        super().on_message_begin()
        self.head_since = self.loop.time()
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        """Begin a request, unless it has too many headers."""
        self.head_since = self.idle_since = None
        if self.transport.is_closing():
            return
        if len(self.headers) > MAX_HEADERS:
            self.cut(b"431 Request Header Fields Too Large", "head_size", "head_too_large", f"there are more than {MAX_HEADERS} headers")
            return
        if self._piece_bytes > MAX_HEAD_BYTES and sum(len(name) + len(value) for name, value in self.headers) > MAX_HEAD_BYTES:
            self.cut(b"431 Request Header Fields Too Large", "head_size", "head_too_large", f"the head is above {MAX_HEAD_BYTES} bytes")
            return
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of a body; what follows a refused head is not read."""
        if not self.transport.is_closing():
            super().on_body(body)

    def on_message_complete(self) -> None:
        """See `on_body`."""
        if not self.transport.is_closing():
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Go on to the next request, if it has come already."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
        else:
            self.idle_since = self.loop.time()

    def pause_writing(self) -> None:
        """Note that the client reads nothing."""
        self.unread_since = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        """Note that it reads again."""
        self.unread_since = None
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP."""
        self.cut(b"400 Bad Request", "no_http", "bad_request", "this is no valid HTTP request")

    def cut(self, status: bytes, cause: str, code: str, message: str, headers: bytes = b"") -> None:
        """Say why, and close the connection."""
        if self.transport.is_closing():
            return
        self.on_cut(cause)
        body = build_body(code, message)
        if self.cycle is None or self.cycle.response_complete:  # else the text would be taken for a part of another answer
            self.transport.write(_CUT_LINE % (status, len(body), headers, body))
        self.transport.close()


def sweep(connections: Iterable[Any], now: float, limit: int) -> None:
    """Cut the connections that owe something for too long."""
    present = list(connections)
    idle_seconds = CROWDED_IDLE_SECONDS if len(present) > limit * 3 // 4 else IDLE_SECONDS
    for connection in present:
        _check(connection, now, idle_seconds)


def _check(connection: Connection, now: float, idle_seconds: float) -> None:
    if connection.transport.is_closing():
        if _is_due(connection.idle_since, now, idle_seconds + UNREAD_SECONDS) or _is_due(connection.unread_since, now, UNREAD_SECONDS):
            connection.transport.abort()  # it was closed before, and its client does not take the rest
    elif _is_due(connection.unread_since, now, UNREAD_SECONDS):
        connection.on_cut("unread")
        connection.transport.abort()
    elif _is_due(connection.head_since, now, HEAD_SECONDS):
        connection.cut(b"408 Request Timeout", "slow_head", "timeout", f"the head did not arrive within {HEAD_SECONDS:g} s")
    elif connection.head_since is None and _is_due(connection.idle_since, now, idle_seconds):
        connection.transport.close()


def _is_due(since: float | None, now: float, seconds: float) -> bool:
    return since is not None and now - since > seconds


def raise_file_limit() -> int:
    """Allow this process as many open files as it may have, and return how many connections fit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_CONNECTIONS + RESERVED_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return MAX_CONNECTIONS if soft == resource.RLIM_INFINITY else min(MAX_CONNECTIONS, soft - RESERVED_FILES)
