"""The lean way for `POST /v1/{brand}/{model}/predict`: from bytes to bytes, past routing, models and dependencies.

Everything else goes through to the application behind it. Order of the checks: key, brand, scope, model, rate, headers,
body, contract. Until the key has been found to be the brand's, nothing is looked up: another brand's name, an unknown
one and a misspelt model of it get the same answer in the same time.
"""

import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson

from brandhouse_serving.bodies import ClientGoneError, Receive, check_headers, instances_of, parse_json, read_body, refuse_repeated_fields
from brandhouse_serving.keys import Scope, permit
from brandhouse_serving.parts import Parts
from brandhouse_serving.problems import JSON_TYPE, Headers, RequestRefusedError, build_problem, status_of
from brandhouse_serving.replies import PRODUCTION, Reply
from brandhouse_serving.router import Route
from brandhouse_shared.errors import BrandhouseError
from brandhouse_shared.names import ModelKey

AsgiScope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[AsgiScope, Receive, Send], Awaitable[None]]

FALLBACK_HEADER = b"x-brandhouse-fallback"

logger = logging.getLogger(__name__)


class PredictLane:
    """The gateway as an ASGI application: answers predict requests itself and passes everything else on.

    It is outside of the framework, not a middleware of it, which alone would cost as much as a compiled model.
    """

    def __init__(self, app: App, parts: Parts) -> None:
        self._app = app
        self._parts = parts

    @property
    def model_count(self) -> int:
        """How many models have a version in production."""
        return len(self._parts.router.table)

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Answer a predict call; pass on everything else."""
        if scope["type"] == "http":
            path = scope["path"].split("/")
            if len(path) == 5 and path[4] == "predict" and path[1] == "v1":
                await self._respond(ModelKey(path[2], path[3]), scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _respond(self, key: ModelKey, scope: AsgiScope, receive: Receive, send: Send) -> None:
        try:
            if scope["method"] != "POST":
                raise RequestRefusedError(405, "method_not_allowed", "predictions are asked for with POST")
            status, headers, body = await self._predict(key, dict(scope["headers"]), receive)
        except ClientGoneError:
            return
        except BrandhouseError as error:
            status, headers, body = self._refuse(key, error)
        except Exception:  # the outermost place of a request: an unforeseen fault is said, recorded, and ends nothing else
            logger.exception("%s: a request failed", key)
            status, headers, body = self._refuse(key, BrandhouseError("unforeseen"))
        headers.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _predict(self, key: ModelKey, headers: dict[bytes, bytes], receive: Receive) -> tuple[int, Headers, bytes]:
        permit(self._parts.keys.authenticate(headers.get(b"authorization")), key.brand, Scope.PREDICT)
        route = self._route(key)
        check_headers(headers)
        body = await read_body(receive)
        started = time.perf_counter()
        rows = instances_of(parse_json(body), route.config.serving.max_rows)
        reply = await self._parts.answerer.answer(route, rows)
        refuse_repeated_fields(body, rows)
        document = self._parts.record(reply, rows, started)
        return 200, _headers_of(reply), orjson.dumps(document)

    def _route(self, key: ModelKey) -> Route:
        """The model's route, with a request's worth of its rate taken."""
        route = self._parts.find_route(key)
        wait = route.bucket.take() if route.bucket is not None else 0
        if wait:
            limit = f"{route.config.serving.rate_per_second:g}"
            raise RequestRefusedError(429, "rate_limited", f"{key} takes {limit} requests a second; come again in {wait} s", wait)
        return route

    def _refuse(self, key: ModelKey, error: BrandhouseError) -> tuple[int, Headers, bytes]:
        status, code = status_of(error)
        known = key in self._parts.router.table and status not in (401, 403)
        self._parts.metrics.count_error(key.brand if known else "", key.model if known else "", code)
        return build_problem(error)


def _headers_of(reply: Reply) -> Headers:
    if reply.served_by == PRODUCTION:
        return [JSON_TYPE]
    return [JSON_TYPE, (FALLBACK_HEADER, f"{reply.served_by}; {reply.reason}".encode("latin-1", "replace"))]
