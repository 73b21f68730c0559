"""`/bento/{brand}/{model}/...`: each model's own BentoML service, the one a Bento has, run inside the gateway (ADR 0018).

BentoML describes and checks the call; its method hands the request as it came to the gateway's lane. So key, limits,
stages, fallbacks, prediction log and metrics are those of every other prediction, and brand code stays in the brand's own
process. BentoML is imported with the first such call, and a few services are kept.
"""

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI

from brandhouse_serving.bento_service import Answer, AsgiApp, Ask, Asked, Send, accept, build_service, send_problem
from brandhouse_serving.bodies import ClientGoneError, Receive, read_headers
from brandhouse_serving.failures import UnavailableError
from brandhouse_serving.keys import Scope, permit
from brandhouse_serving.parts import Parts
from brandhouse_serving.problems import RequestRefusedError, status_of
from brandhouse_shared.errors import BrandhouseError
from brandhouse_shared.names import ModelKey

CALLS: Mapping[str, str] = {"predict": "POST", "schema.json": "GET", "docs.json": "GET", "livez": "GET", "readyz": "GET"}
"""What of BentoML's service can be reached, by which method. Its `/metrics` would show the whole process, all brands."""

KEPT_SERVICES = 4
"""Running services; the one that was not asked for longest is ended first."""

logger = logging.getLogger(__name__)


def mount_bentos(app: FastAPI, parts: Parts, lane: AsgiApp) -> None:
    """Mount the services below `/bento`, and end them before the application ends.

    Args:
        app: The gateway's application.
        parts: What it is made of.
        lane: What answers predictions.
    """
    bentos = BentoMount(parts, lane)
    app.mount("/bento", bentos)
    outer = app.router.lifespan_context

    @contextlib.asynccontextmanager
    async def lifespan(started: Any) -> AsyncIterator[Any]:
        async with outer(started) as state:
            try:
                yield state
            finally:
                await bentos.close()

    app.router.lifespan_context = lifespan


class BentoMount:
    """ASGI application that finds the service a path names, for callers who may."""

    def __init__(self, parts: Parts, lane: AsgiApp, kept: int = KEPT_SERVICES) -> None:
        self._parts = parts
        self._services = _Services(lane, kept)

    async def close(self) -> None:
        """End the services. No request may be left."""
        await self._services.close()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1000})
            return
        key: ModelKey | None = None
        try:
            key, call = _find_call(scope["raw_path"])
            headers = self._admit(key, scope)
            receive = await self._check(key, call, scope["method"], headers, receive)
            async with self._services.lease(key) as service:
                await service(_inner_scope(scope, call), receive, send)
        except ClientGoneError:
            return
        except BrandhouseError as error:
            self._count(key, error)
            await send_problem(send, error)

    def _admit(self, key: ModelKey, scope: Mapping[str, Any]) -> Mapping[bytes, bytes]:
        headers = read_headers(scope["headers"])
        needed = Scope.READ if scope["method"] == "GET" else Scope.PREDICT
        permit(self._parts.keys.authenticate(headers.get(b"authorization")), key.brand, needed)
        return headers

    async def _check(self, key: ModelKey, call: str, method: str, headers: Mapping[bytes, bytes], receive: Receive) -> Receive:
        if call not in CALLS:
            raise RequestRefusedError(404, "not_found", f"there is no such call; below /bento/{key} there are {', '.join(CALLS)}")
        route = self._parts.find_route(key)
        if method != CALLS[call]:
            raise RequestRefusedError(405, "method_not_allowed", f"{call} is asked for with {CALLS[call]}")
        return await accept(headers, receive, route.config.serving.max_rows) if method == "POST" else receive

    def _count(self, key: ModelKey | None, error: BrandhouseError) -> None:
        status, code = status_of(error)
        known = key is not None and status not in (401, 403) and key in self._parts.router.table
        self._parts.metrics.count_error(key.brand if known and key else "", key.model if known and key else "", code)


def _find_call(path: bytes) -> tuple[ModelKey, str]:
    """Read a path as it was sent: an escaped letter is another name, an escaped slash no slash.

    Raises:
        RequestRefusedError: 404 if it has not exactly the four parts.
    """
    parts = path.decode("latin-1").split("/")
    if len(parts) != 5 or parts[1] != "bento":
        raise RequestRefusedError(404, "not_found", f"there is no such call; /bento/BRAND/MODEL/ and one of {', '.join(CALLS)}")
    return ModelKey(parts[2], parts[3]), parts[4]


def _inner_scope(scope: Mapping[str, Any], call: str) -> dict[str, Any]:
    """The scope as if the service stood alone: nothing of the gateway's own routing is left in it."""
    names = ("type", "asgi", "http_version", "method", "scheme", "headers", "client", "server")
    kept = {name: scope[name] for name in names if name in scope}
    return {**kept, "path": f"/{call}", "raw_path": f"/{call}".encode(), "root_path": "", "query_string": b""}


@dataclass(slots=True, eq=False)
class _Running:
    """One service that has been started.

    Attributes:
        requests: How many it answers right now.
    """

    app: Any
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    requests: int = 0


class _Services:
    """The running services, the latest asked last."""

    def __init__(self, lane: AsgiApp, kept: int) -> None:
        self._lane = lane
        self._kept = kept
        self._running: OrderedDict[ModelKey, _Running] = OrderedDict()
        self._starting = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def lease(self, key: ModelKey) -> AsyncIterator[AsgiApp]:
        """The model's service, started if need be, and kept while it answers.

        Raises:
            UnavailableError: If it does not start.
        """
        running = self._running.get(key) or await self._start(key)
        self._running.move_to_end(key)
        running.requests += 1
        try:
            yield running.app
        finally:
            running.requests -= 1
            await self._drop_oldest()

    async def close(self) -> None:
        while self._running:
            await self._end(next(iter(self._running)))

    async def _start(self, key: ModelKey) -> _Running:
        async with self._starting:
            present = self._running.get(key)
            if present is None:
                try:
                    present = _Running(await asyncio.to_thread(_build_app, key, self._lane))
                    await _enter(present)
                except Exception as error:  # an engine that does not start costs this call, and nothing else
                    logger.exception("%s: its BentoML service does not start", key)
                    raise UnavailableError(key, "its BentoML service does not start") from error
                self._running[key] = present
            return present

    async def _drop_oldest(self) -> None:
        idle = [key for key, running in self._running.items() if not running.requests]
        for key in idle[: max(0, len(self._running) - self._kept)]:
            await self._end(key)

    async def _end(self, key: ModelKey) -> None:
        running = self._running.pop(key)
        running.ended.set()
        if running.task is not None:
            await asyncio.gather(running.task, return_exceptions=True)


def _build_app(key: ModelKey, lane: AsgiApp) -> Any:
    """BentoML's own application; slow the first time in a process, since BentoML is imported."""
    return build_service(key, lambda: _lane_asker(key, lane), metrics={"enabled": False}).to_asgi()


async def _enter(running: _Running) -> None:
    """Begin the application's life in a task of its own, in which it must also end."""
    started: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def live() -> None:
        try:
            async with running.app.router.lifespan_context(running.app):
                started.set_result(None)
                await running.ended.wait()
        except Exception as error:  # BentoML's own start or end failed; the caller of the start is told
            if started.done():
                logger.exception("a BentoML service did not end cleanly")
            else:
                started.set_exception(error)

    running.task = asyncio.create_task(live())
    await started


def _lane_asker(key: ModelKey, lane: AsgiApp) -> Ask:
    async def ask(_: Sequence[Any], asked: Asked) -> Answer:
        return await _ask_lane(lane, key, asked)

    return ask


async def _ask_lane(lane: AsgiApp, key: ModelKey, asked: Asked) -> Answer:
    """Ask the lane as a client would, with the request's own key: it checks, limits, counts and logs like any other."""
    path = f"/v1/{key}/predict"
    scope: dict[str, Any] = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http"}
    scope |= {"path": path, "raw_path": path.encode("latin-1"), "root_path": "", "query_string": b"", "client": None, "server": None}
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": asked.body, "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    await lane({**scope, "headers": list(asked.headers.items())}, receive, send)
    headers = [(name, value) for name, value in sent[0]["headers"] if name != b"content-length"]
    return sent[0]["status"], headers, b"".join(message.get("body", b"") for message in sent[1:])
