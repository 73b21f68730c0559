"""What a connection may cost before a request is complete; on a real event loop, with the clock given by the test."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from brandhouse_serving.connections import (
    CROWDED_IDLE_SECONDS,
    HEAD_SECONDS,
    IDLE_SECONDS,
    MAX_HEAD_BYTES,
    MAX_HEADERS,
    UNREAD_SECONDS,
    Connection,
    sweep,
)

REQUEST = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"
LARGE = 4_000_000


class Server:
    """Connections of one loop."""

    def __init__(self, limit: int) -> None:
        self.state = ServerState()
        self.cuts: list[str] = []
        self.limit = limit
        self.port = 0

    def build(self) -> Connection:
        connection = Connection(uvicorn.Config(answer, log_level="error", ws="none", interface="asgi3"), self.state, {})
        connection.limit = self.limit
        connection.on_cut = self.cuts.append  # type: ignore[method-assign]
        return connection

    def sweep(self, seconds_later: float) -> None:
        sweep(self.state.connections, asyncio.get_running_loop().time() + seconds_later, self.limit)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)


async def answer(scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
    body = b"x" * LARGE if scope["path"] == "/large" else b"well"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body[:-1], "more_body": True})
    await send({"type": "http.response.body", "body": body[-1:]})


@asynccontextmanager
async def serving(limit: int = 100) -> AsyncIterator[Server]:
    server = Server(limit)
    listener = await asyncio.get_running_loop().create_server(server.build, "127.0.0.1", 0)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for connection in list(server.state.connections):
            connection.transport.abort()


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    length = next(int(line.split(b":")[1]) for line in head.splitlines() if line.lower().startswith(b"content-length"))
    return int(head.split(b" ")[1]), await asyncio.wait_for(reader.readexactly(length), 5)


def code_of(body: bytes) -> str:
    code: str = json.loads(body)["error"]["code"]
    return code


def test_a_head_that_dribbles_is_cut_though_bytes_keep_coming() -> None:
    async def run() -> None:
        async with serving() as server:
            reader, writer = await server.connect()
            for part in (b"GET / HT", b"TP/1.1\r\nHo", b"st: he"):
                writer.write(part)
                await asyncio.sleep(0.02)
                server.sweep(HEAD_SECONDS - 1)
            server.sweep(HEAD_SECONDS + 1)
            status, body = await read_answer(reader)
            assert (status, code_of(body), server.cuts) == (408, "timeout", ["slow_head"])
            assert await reader.read() == b"", "the connection is closed"

    asyncio.run(run())


def test_a_running_request_and_a_fresh_connection_are_left_alone() -> None:
    async def run() -> None:
        async with serving() as server:
            reader, writer = await server.connect()
            for _ in range(3):
                writer.write(REQUEST)
                assert await read_answer(reader) == (200, b"well")
                server.sweep(IDLE_SECONDS - 1)
            assert server.cuts == []

    asyncio.run(run())


@pytest.mark.parametrize("before", [b"", REQUEST], ids=["never-asked", "asked-before"])
def test_a_connection_without_a_request_is_closed_after_a_while(before: bytes) -> None:
    async def run() -> None:
        async with serving() as server:
            reader, writer = await server.connect()
            writer.write(before)
            if before:
                await read_answer(reader)
            await asyncio.sleep(0.02)
            server.sweep(IDLE_SECONDS + 1)
            assert await asyncio.wait_for(reader.read(), 5) == b""

    asyncio.run(run())


def test_when_connections_get_scarce_idle_ones_go_sooner() -> None:
    async def run() -> None:
        async with serving(limit=4) as server:
            clients = [await server.connect() for _ in range(4)]
            await asyncio.sleep(0.02)
            server.sweep(CROWDED_IDLE_SECONDS + 1)
            assert [await asyncio.wait_for(reader.read(), 5) for reader, _ in clients] == [b""] * 4

    asyncio.run(run())


def test_one_connection_too_many_is_told_so_and_the_others_stay() -> None:
    async def run() -> None:
        async with serving(limit=2) as server:
            clients = [await server.connect() for _ in range(2)]
            await asyncio.sleep(0.02)
            reader, _ = await server.connect()
            status, body = await read_answer(reader)
            assert (status, code_of(body), server.cuts) == (503, "unavailable", ["connections"])
            for reader, writer in clients:
                writer.write(REQUEST)
                assert await read_answer(reader) == (200, b"well")

    asyncio.run(run())


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost: here\r\nLong: " + b"x" * (MAX_HEAD_BYTES + 1),
        b"GET / HTTP/1.1\r\nHost: here\r\n" + b"A: b\r\n" * (MAX_HEADERS + 1) + b"\r\n",
    ],
    ids=["bytes", "headers"],
)
def test_a_head_that_is_too_large_is_refused(head: bytes) -> None:
    async def run() -> None:
        async with serving() as server:
            reader, writer = await server.connect()
            writer.write(head)
            status, body = await read_answer(reader)
            assert (status, code_of(body), server.cuts) == (431, "head_too_large", ["head_size"])

    asyncio.run(run())


@pytest.mark.parametrize("sent", [b"\x16\x03\x01 hello\r\n\r\n", b"GET http://[/ HTTP/1.1\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"])
def test_what_is_no_http_gets_400_in_the_shape_of_every_error(sent: bytes) -> None:
    async def run() -> None:
        async with serving() as server:
            reader, writer = await server.connect()
            writer.write(sent)
            status, body = await read_answer(reader)
            assert (status, code_of(body), server.cuts) == (400, "bad_request", ["no_http"])

    asyncio.run(run())


def test_a_client_that_does_not_read_its_answer_is_cut() -> None:
    async def run() -> None:
        async with serving() as server:
            _, writer = await server.connect()
            writer.write(b"GET /large HTTP/1.1\r\nHost: here\r\n\r\n")
            for _ in range(100):
                await asyncio.sleep(0.01)
                if any(connection.unread_since is not None for connection in server.state.connections):
                    break
            server.sweep(UNREAD_SECONDS - 1)
            assert len(server.state.connections) == 1
            server.sweep(UNREAD_SECONDS + 1)
            await asyncio.sleep(0.02)
            assert server.cuts == ["unread"] and not server.state.connections

    asyncio.run(run())


def test_requests_sent_one_behind_the_other_are_answered_in_order() -> None:
    async def run() -> None:
        async with serving() as server:
            reader, writer = await server.connect()
            writer.write(REQUEST * 3)
            assert [await read_answer(reader) for _ in range(3)] == [(200, b"well")] * 3

    asyncio.run(run())
