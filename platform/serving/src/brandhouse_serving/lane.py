"""The lean way for prediction requests: from bytes to bytes, past routing, models and dependencies.

Everything else goes through to the application behind it. Order of the checks: method, headers sent twice, key, brand,
scope, model, rate, headers, body, contract. Until the key has been found to be the brand's, nothing is looked up: another
brand's name, an unknown one and a misspelt model of it get the same answer in the same time. What differs between the
protocols spoken is in `dialects`; here is one way for all.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any

from brandhouse_serving.answer_threads import is_large
from brandhouse_serving.bodies import ClientGoneError, Receive, read_body, read_headers
from brandhouse_serving.dialects import V1, Call, Dialect
from brandhouse_serving.explanations import asks_why, require_few
from brandhouse_serving.keys import Scope, permit
from brandhouse_serving.metrics import Metrics, ModelSeries
from brandhouse_serving.open_inference import OpenInference, served_slot
from brandhouse_serving.parts import Parts
from brandhouse_serving.problems import JSON_TYPE, Headers, RequestRefusedError, status_of
from brandhouse_serving.replies import Reply
from brandhouse_serving.router import Route
from brandhouse_shared.errors import BrandhouseError, RetryableError
from brandhouse_shared.names import ModelKey

AsgiScope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[AsgiScope, Receive, Send], Awaitable[None]]

FALLBACK_HEADER = b"x-brandhouse-fallback"

DIALECTS: dict[bytes, Dialect] = {b"/v1/": V1(), b"/v2/": OpenInference()}
"""By the first four bytes of a path."""

UNKNOWN_CALLER = (400, 401, 403, 405)
"""Statuses given before a key has been found to be the brand's: they are counted without a name."""

logger = logging.getLogger(__name__)


class PredictLane:
    """The gateway as an ASGI application: answers prediction requests itself and passes everything else on.

    It is outside of the framework, not a middleware of it, which alone would cost as much as a compiled model.
    """

    def __init__(self, app: App, parts: Parts) -> None:
        self._app = app
        self._parts = parts
        self._table: Mapping[ModelKey, Route] = {}
        self._found: dict[tuple[str, str], tuple[Route, ModelSeries]] = {}

    @property
    def inner(self) -> App:
        """The application behind it."""
        return self._app

    @property
    def model_count(self) -> int:
        """How many models have a version in production."""
        return len(self._parts.router.table)

    @property
    def is_warm(self) -> bool:
        """Whether what was in production at the start has been loaded, or tried."""
        return self._parts.router.is_warm

    def note_memory(self) -> None:
        """Bring the gauges of what is loaded, and the count of CPU seconds, up to date."""
        state = self._parts.residency.state
        self._parts.metrics.note_loaded(state.loaded, state.loaded_bytes)
        self._parts.metrics.note_cpu()

    @property
    def metrics(self) -> Metrics:
        """What this process counts."""
        return self._parts.metrics

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Answer a call for predictions; pass on everything else."""
        if scope["type"] == "http":
            # The path as it was sent: an escaped letter is another name here, and an escaped slash no slash.
            path: bytes = scope["raw_path"]
            dialect = DIALECTS.get(path[:4])
            call = None if dialect is None else dialect.find_call(path)
            if dialect is not None and call is not None:
                await self._respond(dialect, call, scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _respond(self, dialect: Dialect, call: Call, scope: AsgiScope, receive: Receive, send: Send) -> None:
        try:
            if scope["method"] != "POST":
                raise RequestRefusedError(405, "method_not_allowed", "predictions are asked for with POST")
            call.headers, call.query = read_headers(scope["headers"]), scope["query_string"]
            status, headers, body = await self._predict(dialect, call, receive)
        except ClientGoneError:
            return
        except BrandhouseError as error:
            status, headers, body = self._refuse(dialect, call, error)
        except Exception:  # the outermost place of a request: an unforeseen fault is said, recorded, and ends nothing else
            logger.exception("%.80s/%.80s: a request failed", call.brand, call.model)
            status, headers, body = self._refuse(dialect, call, BrandhouseError("unforeseen"))
        headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _predict(self, dialect: Dialect, call: Call, receive: Receive) -> tuple[int, Headers, bytes]:
        permit(self._parts.keys.authenticate(call.headers.get(b"authorization")), call.brand, Scope.PREDICT)
        route, series = self._find(call.brand, call.model)
        self._admit(call, route)
        dialect.check_headers(call)
        call.body = await read_body(receive, call.max_body_bytes)
        gate = route.gate
        if gate is not None and not gate.enter():
            raise _too_many_at_once(route)
        series.begin()
        try:
            return await self._answer(dialect, call, route)
        finally:
            series.end()
            if gate is not None:
                gate.leave()

    def _find(self, brand: str, model: str) -> tuple[Route, ModelSeries]:
        """The model's route and what is counted of it, kept by name until the routing table changes: hashing a key costs more."""
        table = self._parts.router.table
        if table is not self._table:
            self._table, self._found = table, {}
        found = self._found.get((brand, model))
        if found is None:
            route = self._parts.find_route(ModelKey(brand, model))
            found = self._found[brand, model] = route, self._parts.series_of(route.key)
        return found

    def _admit(self, call: Call, route: Route) -> None:
        """Take a request's worth of the model's rate. What is refused here costs next to nothing: no body is read."""
        if route.gate is not None and route.gate.is_full:
            raise _too_many_at_once(route)
        wait = route.bucket.take() if route.bucket is not None else 0
        if wait:
            limit = f"{route.config.serving.rate_per_second:g}"
            raise RequestRefusedError(429, "rate_limited", f"{route.key} takes {limit} requests a second; come again in {wait} s", wait)
        call.max_body_bytes = route.brand.config.max_body_bytes

    async def _answer(self, dialect: Dialect, call: Call, route: Route) -> tuple[int, Headers, bytes]:
        """Answer a call whose body is complete: what is limited at once, and counted as in flight, is this."""
        started = time.perf_counter()
        readers = self._parts.answerer.readers if is_large(call.body) else None
        rows = dialect.rows_of(call, route) if readers is None else await readers.run(call.brand, lambda: dialect.rows_of(call, route))
        is_explained = bool(call.query) and _is_explained(dialect, call, rows)
        reply = await (self._parts.answerer.answer(route, rows) if route.trial is None else self._choose(call, route, rows))
        if is_explained:
            asked = time.perf_counter()
            reply.explanations = await self._parts.explainer.explain(reply, route, rows)
            started += time.perf_counter() - asked  # what a version takes to answer is judged; this is no part of it
        ids, now_ms = self._parts.make_ids(reply, len(rows))
        if readers is None:
            body = dialect.answer_of(reply, ids, call)
        else:
            body = await readers.run(call.brand, lambda: dialect.answer_of(reply, ids, call))
        self._parts.record(reply, rows, ids, now_ms, started, dialect.rows_json(call))
        if route.trial is not None and call.version is None:
            self._parts.trials.note(route, call.body, reply, rows, ids)
        return 200, _headers_of(reply), body

    async def _choose(self, call: Call, route: Route, rows: Sequence[Any]) -> Reply:
        """Answer from the version asked for, or from the canary or production by the request's key."""
        if call.version is not None:
            return await self._parts.trials.answer_from(served_slot(route, call.version), route, rows)
        return await self._parts.trials.answer(route, rows, call.headers.get(b"x-request-key") or call.body)

    def _refuse(self, dialect: Dialect, call: Call, error: BrandhouseError) -> tuple[int, Headers, bytes]:
        status, code = status_of(error)
        known = status not in UNKNOWN_CALLER and ModelKey(call.brand, call.model) in self._parts.router.table
        self._parts.metrics.count_error(call.brand if known else "", call.model if known else "", code)
        if known and (status == 429 or isinstance(error, RetryableError)):
            self._parts.series_of(ModelKey(call.brand, call.model)).count_shed(code)
        return dialect.problem_of(error)


def _is_explained(dialect: Dialect, call: Call, rows: Sequence[Any]) -> bool:
    if not asks_why(call.query, takes_others=not dialect.explains):
        return False
    if not dialect.explains:
        raise RequestRefusedError(422, "cannot_explain", "answers are explained by POST /v1/{brand}/{model}/predict?explain=true only")
    require_few(rows)
    return True


def _too_many_at_once(route: Route) -> RequestRefusedError:
    most = route.config.serving.concurrency
    return RequestRefusedError(429, "too_many_at_once", f"{route.key} answers {most} requests at once; come again in 1 s", 1)


def _headers_of(reply: Reply) -> Headers:
    if not reply.reason:
        return [JSON_TYPE]
    return [JSON_TYPE, (FALLBACK_HEADER, f"{reply.served_by}; {reply.reason}".encode("latin-1", "replace"))]
