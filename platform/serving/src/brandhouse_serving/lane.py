"""The lean way for `POST /v1/{brand}/{model}/predict`: from bytes to bytes, past routing, models and dependencies.

Everything else goes through to the application behind it. Order of the checks: key, brand, scope, model, rate, headers,
body, contract. Until the key has been found to be the brand's, nothing is looked up: another brand's name, an unknown
one and a misspelt model of it get the same answer in the same time.
"""

import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

import orjson

from brandhouse_serving import prediction_ids
from brandhouse_serving.bodies import ClientGoneError, Receive, check_headers, instances_of, parse_json, read_body, refuse_repeated_fields
from brandhouse_serving.brand_directory import BrandDirectory
from brandhouse_serving.keys import KeyRing, Scope, permit
from brandhouse_serving.metrics import Metrics
from brandhouse_serving.prediction_log import Answer, PredictionLog
from brandhouse_serving.problems import JSON_TYPE, Headers, RequestRefusedError, build_problem, status_of
from brandhouse_serving.replies import PRODUCTION, Answerer, Reply, UnavailableError
from brandhouse_serving.router import Route, Router
from brandhouse_shared.errors import BrandhouseError, UnknownModelError
from brandhouse_shared.names import ModelKey

AsgiScope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[AsgiScope, Receive, Send], Awaitable[None]]

FALLBACK_HEADER = b"x-brandhouse-fallback"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Parts:
    """What the gateway is made of; built once a process."""

    router: Router
    answerer: Answerer
    keys: KeyRing
    directory: BrandDirectory
    log: PredictionLog
    metrics: Metrics


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
        return self._record(reply, rows, started)

    def _route(self, key: ModelKey) -> Route:
        """The model's route, with a request's worth of its rate taken."""
        route = self._parts.router.table.get(key)
        if route is None:
            raise self._absent(key)
        wait = route.bucket.take() if route.bucket is not None else 0
        if wait:
            limit = f"{route.config.serving.rate_per_second:g}"
            raise RequestRefusedError(429, "rate_limited", f"{key} takes {limit} requests a second; come again in {wait} s", wait)
        return route

    def _absent(self, key: ModelKey) -> BrandhouseError:
        brand = self._parts.directory.find(key.brand)
        models = [] if brand is None else list(brand.config.models)
        if key.model in models:
            return UnavailableError(key, "no version is in production")
        return UnknownModelError(key.brand, key.model, models)

    def _record(self, reply: Reply, rows: list[Any], started: float) -> tuple[int, Headers, bytes]:
        """Write the answer down, count it and put it into words."""
        version = reply.loaded.key
        now_ms = time.time_ns() // 1_000_000
        ids = prediction_ids.make_many(version, now_ms, len(rows))
        document: dict[str, Any] = {"model": str(version), "predictions": reply.predictions, "prediction_ids": ids}
        if reply.probabilities is not None:
            names = [str(label) for label in reply.loaded.manifest.classes]
            document["probabilities"] = [dict(zip(names, shares, strict=True)) for shares in reply.probabilities]
        headers: Headers = [JSON_TYPE]
        if reply.served_by != PRODUCTION:
            headers.append((FALLBACK_HEADER, f"{reply.served_by}; {reply.reason}".encode("latin-1", "replace")))
            self._parts.metrics.count_fallback(version.brand, version.model, version.number, reply.served_by)
        body = orjson.dumps(document)
        seconds = time.perf_counter() - started
        self._parts.log.append(
            Answer(version, ids, rows, reply.predictions, reply.probabilities, now_ms, seconds * 1000, reply.served_by, reply.loaded.rule)
        )
        self._parts.metrics.count_answer(version.brand, version.model, version.number, len(rows), seconds)
        return 200, headers, body

    def _refuse(self, key: ModelKey, error: BrandhouseError) -> tuple[int, Headers, bytes]:
        status, code = status_of(error)
        known = key in self._parts.router.table and status not in (401, 403)
        self._parts.metrics.count_error(key.brand if known else "", key.model if known else "", code)
        return build_problem(error)
