"""The gateway's application: the lean lane for predict, and FastAPI for everything else.

Listings, feedback, health, metrics and the API's description are here; answering is in `lane` and `replies`.
"""

import asyncio
import contextlib
import ipaddress
import secrets
from collections.abc import AsyncIterator, Collection
from datetime import UTC, datetime
from importlib import resources
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from brandhouse_serving.bodies import check_headers, parse_json, read_body
from brandhouse_serving.failures import VersionFailedError
from brandhouse_serving.feedback import LabelStore, check_label
from brandhouse_serving.keys import Scope, permit
from brandhouse_serving.lane import PredictLane
from brandhouse_serving.loading import LoadedVersion
from brandhouse_serving.parts import Parts, build_parts
from brandhouse_serving.problems import Headers, build_body, build_problem
from brandhouse_serving.replies import UnavailableError
from brandhouse_serving.router import Route
from brandhouse_serving.schemas import build_openapi, error_responses, row_schema
from brandhouse_shared.artifacts import Manifest
from brandhouse_shared.errors import BrandhouseError, ContractViolationError
from brandhouse_shared.names import ModelKey
from brandhouse_shared.settings import Settings

DESCRIPTION = "Predictions of one brand's models. With a brand's key, `/openapi.json` also describes that brand's models, field by field."

_AUTH_ERRORS = {"401": "No key, or an unknown, expired or revoked one", "403": "The key belongs to another brand or lacks the scope"}
_FEEDBACK_ERRORS = {
    **_AUTH_ERRORS,
    "404": "No such model, or no such prediction of it",
    "409": "It has a label already",
    "422": "The label cannot be one of this model",
}


def create_app(settings: Settings, brands: Collection[str] | None = None) -> PredictLane:
    """Build the gateway, an ASGI application.

    Args:
        settings: Where this process runs.
        brands: Names of the brands to serve; None: all that have a folder.

    Raises:
        UnknownBrandError: If a named brand does not exist.
        LedgerVersionError: If the ledger is of another release.
    """
    parts = build_parts(settings, brands)
    app = FastAPI(title="Brandhouse", description=DESCRIPTION, version="1", openapi_url=None, lifespan=_lifespan(parts))
    _add_error_handlers(app)
    _add_health(app, parts, settings)
    _add_brand_routes(app, parts, LabelStore(settings.home, parts.log))
    _add_description(app, parts)
    return PredictLane(app, parts)


def _lifespan(parts: Parts) -> Any:
    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(parts.keys.refresh)
        await parts.router.refresh()
        tasks = [asyncio.create_task(parts.router.follow(parts.keys.refresh)), asyncio.create_task(parts.router.warm_up())]
        yield
        # No request is left here: uvicorn has answered all of them. What they left to be written is written now.
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await parts.close()

    return lifespan


def _add_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(BrandhouseError)
    async def refused(_: Request, error: BrandhouseError) -> Response:
        return _respond(*build_problem(error))

    @app.exception_handler(HTTPException)
    async def not_routed(_: Request, error: HTTPException) -> Response:
        codes = {404: "not_found", 405: "method_not_allowed"}
        body = build_body(codes.get(error.status_code, "refused"), f"{error.detail}; the calls are described at /docs")
        return Response(body, error.status_code, headers=dict(error.headers or {}), media_type="application/json")

    @app.exception_handler(Exception)
    async def failed(_: Request, __: Exception) -> Response:
        return Response(build_body("internal", "the gateway failed; the request was not answered"), 500, media_type="application/json")


def _add_health(app: FastAPI, parts: Parts, settings: Settings) -> None:
    @app.get("/healthz", tags=["health"], summary="Whether the process lives")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz", tags=["health"], summary="Whether predictions are answered from an up-to-date routing table")
    async def readyz(response: Response) -> dict[str, Any]:
        state = {"models_loaded": parts.router.is_warm, "ledger_current": parts.router.is_current, "log_alive": parts.log.is_alive}
        response.status_code = 200 if all(state.values()) else 503
        return {"status": "ready" if all(state.values()) else "not ready", **state}

    @app.get("/metrics", tags=["health"], summary="Prometheus metrics: all from this machine, one brand's with its key")
    async def metrics(request: Request) -> Response:
        token = settings.metrics_token.get_secret_value() if settings.metrics_token else None
        brand = None if _may_see_all_metrics(request, token) else _caller_brand(parts, request)
        return Response(parts.metrics.render(brand), media_type="text/plain; version=0.0.4; charset=utf-8")


def _may_see_all_metrics(request: Request, token: str | None) -> bool:
    """Whether the caller holds the platform's token, or is this machine itself and not a proxy in front of it."""
    authorization = request.headers.get("authorization")
    if authorization is not None:
        return token is not None and secrets.compare_digest(authorization.encode(), f"Bearer {token}".encode())
    if request.client is None or any(name in request.headers for name in ("forwarded", "x-forwarded-for", "x-real-ip", "via")):
        return False
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(request.client.host).is_loopback
    return False


def _add_brand_routes(app: FastAPI, parts: Parts, labels: LabelStore) -> None:
    @app.get("/v1/{brand}/models", tags=["models"], summary="The caller's models", responses=_documented(_AUTH_ERRORS))
    async def models(brand: str, request: Request) -> dict[str, Any]:
        permit(_authenticate(parts, request), brand, Scope.READ)
        return {"brand": brand, "models": [await _describe(parts, ModelKey(brand, name)) for name in _model_names(parts, brand)]}

    body = {"type": "object", "required": ["prediction_id", "label"], "additionalProperties": False}
    body["properties"] = {"prediction_id": {"type": "string"}, "label": {"type": ["string", "number", "boolean"]}}

    @app.post(
        "/v1/{brand}/{model}/feedback",
        tags=["models"],
        summary="Join the truth to a prediction, once",
        openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": body}}}},
        responses=_documented(_FEEDBACK_ERRORS),
    )
    async def feedback(brand: str, model: str, request: Request) -> dict[str, str]:
        permit(_authenticate(parts, request), brand, Scope.FEEDBACK)
        key = ModelKey(brand, model)
        route = parts.find_route(key)
        check_headers(dict(request.headers.raw))
        document = parse_json(await read_body(request.receive))
        prediction_id, label = _feedback_fields(document)
        check_label(await _manifest_of(route), label)
        await asyncio.to_thread(labels.add, key, prediction_id, label, datetime.now(UTC))
        return {"prediction_id": prediction_id, "status": "joined"}


def _feedback_fields(document: Any) -> tuple[str, Any]:
    if not isinstance(document, dict) or document.keys() != {"prediction_id", "label"}:
        raise ContractViolationError("feedback", ['body: allowed: an object {"prediction_id": ..., "label": ...}'])
    prediction_id = document["prediction_id"]
    if not isinstance(prediction_id, str):
        raise ContractViolationError("feedback", ["prediction_id: allowed: a text"])
    return prediction_id, document["label"]


def _add_description(app: FastAPI, parts: Parts) -> None:
    from fastapi.openapi.utils import get_openapi

    routes = [route for route in app.routes if isinstance(route, APIRoute)]
    generic = get_openapi(title=app.title, version=app.version, description=app.description, routes=routes)

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi(request: Request) -> dict[str, Any]:
        """Without a key what every brand can call; with one, also the caller's models, typed."""
        if "authorization" not in request.headers:
            return build_openapi(generic, [])
        brand = _caller_brand(parts, request)
        return build_openapi(generic, [pair for pair in [await _loaded(route) for route in _routes_of(parts, brand)] if pair is not None])

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(resources.files("brandhouse_serving").joinpath("docs.html").read_text("utf-8"))


def _authenticate(parts: Parts, request: Request) -> Any:
    header = request.headers.get("authorization")
    return parts.keys.authenticate(None if header is None else header.encode("latin-1"))


def _caller_brand(parts: Parts, request: Request) -> str:
    key = _authenticate(parts, request)
    permit(key, key.brand, Scope.READ)
    brand: str = key.brand
    return brand


def _model_names(parts: Parts, brand: str) -> list[str]:
    found = parts.directory.find(brand)
    return [] if found is None else list(found.config.models)


def _routes_of(parts: Parts, brand: str) -> list[Route]:
    keys = [ModelKey(brand, name) for name in _model_names(parts, brand)]
    return [parts.router.table[key] for key in keys if key in parts.router.table]


async def _loaded(route: Route) -> tuple[Route, LoadedVersion] | None:
    try:
        return route, route.production.loaded or await route.production.load(route.brand)
    except VersionFailedError:
        return None


async def _manifest_of(route: Route) -> Manifest:
    pair = await _loaded(route)
    if pair is None:
        raise UnavailableError(route.key, "its version in production cannot be loaded")
    return pair[1].manifest


async def _describe(parts: Parts, key: ModelKey) -> dict[str, Any]:
    """One row of the listing; a model without a version in production has none."""
    route = parts.router.table.get(key)
    pair = None if route is None else await _loaded(route)
    described: dict[str, Any] = {"model": key.model, "version": None, "stage": None, "task": None, "inputs": None}
    if route is not None:
        described |= {"version": str(route.production.version.key), "stage": "production", "task": route.config.task}
    if pair is not None:
        described |= {"target": pair[1].manifest.target, "runtime": pair[1].manifest.runtime, "inputs": row_schema(pair[1].manifest)}
    return described


def _documented(errors: dict[str, str]) -> dict[int | str, dict[str, Any]]:
    return dict(error_responses(errors).items())


def _respond(status: int, headers: Headers, body: bytes) -> Response:
    return Response(body, status, headers={name.decode(): value.decode() for name, value in headers})
