"""The gateway's application: the lean lane for predictions, and FastAPI for everything else.

Put together here; each concern's calls have a module of their own (`*_calls`, `description`).
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from brandhouse_serving.bento_mount import mount_bentos
from brandhouse_serving.brand_calls import add_brand_calls
from brandhouse_serving.description import add_description
from brandhouse_serving.feedback import LabelStore
from brandhouse_serving.following import Follower
from brandhouse_serving.health_calls import add_health_calls
from brandhouse_serving.lane import App, PredictLane
from brandhouse_serving.open_inference import build_protocol_body, build_protocol_problem
from brandhouse_serving.open_inference_calls import add_open_inference_calls
from brandhouse_serving.parts import Parts, build_parts
from brandhouse_serving.problems import Headers, build_body, build_problem
from brandhouse_serving.provenance_calls import add_provenance_calls
from brandhouse_serving.worker_place import ALONE, WorkerPlace
from brandhouse_shared.errors import BrandhouseError
from brandhouse_shared.ledger import open_ledger
from brandhouse_shared.settings import Settings

DESCRIPTION = "Predictions of one brand's models. With a brand's key, `/openapi.json` also describes that brand's models, field by field."


def create_app(settings: Settings, brands: Collection[str] | None = None, place: WorkerPlace = ALONE) -> PredictLane:
    """Build the gateway, an ASGI application.

    Args:
        settings: Where this process runs.
        brands: Names of the brands to serve; None: all that have a folder.
        place: This process's place among the gateway's processes.

    Raises:
        UnknownBrandError: If a named brand does not exist.
        LedgerVersionError: If the ledger is of another release.
    """
    parts = build_parts(settings, brands, place)
    build_lane: Callable[[App, Any], PredictLane] = PredictLane
    if settings.traces_url is not None:
        from brandhouse_serving.traces import TracedLane, build_traced_parts

        parts, build_lane = build_traced_parts(parts, settings.traces_url, place), TracedLane
    app = FastAPI(title="Brandhouse", description=DESCRIPTION, version="1", openapi_url=None, lifespan=_lifespan(parts))
    _add_error_handlers(app)
    add_health_calls(app, parts, settings)
    add_brand_calls(app, parts, LabelStore(settings.home, parts.log))
    add_provenance_calls(app, parts, settings, open_ledger(settings.ledger_url.get_secret_value()))
    add_open_inference_calls(app, parts)
    add_description(app, parts)
    lane = build_lane(app, parts)
    mount_bentos(app, parts, lane)
    return lane


def _lifespan(parts: Parts) -> Any:
    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await asyncio.gather(asyncio.to_thread(parts.keys.refresh), parts.router.refresh(), parts.router.prepare())
        follower = Follower(parts.home, parts.trial_keeper.worker, parts.brands)
        works = (
            parts.router.follow(parts.keys.refresh),
            parts.router.warm_up(),
            parts.trial_keeper.follow(),
            follower.follow(parts.router),
        )
        tasks = [asyncio.create_task(work) for work in works]
        yield
        # No request is left here: uvicorn has answered all of them. What they left to be written is written now.
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        follower.close()
        await parts.close()

    return lifespan


def _add_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(BrandhouseError)
    async def refused(request: Request, error: BrandhouseError) -> Response:
        return _respond(*(build_protocol_problem(error) if _is_protocol(request) else build_problem(error)))

    @app.exception_handler(HTTPException)
    async def not_routed(request: Request, error: HTTPException) -> Response:
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "refused")
        body = _body(request, code, f"{error.detail}; the calls are described at /docs")
        return Response(body, error.status_code, headers=dict(error.headers or {}), media_type="application/json")

    @app.exception_handler(Exception)
    async def failed(request: Request, _: Exception) -> Response:
        return Response(_body(request, "internal", "the gateway failed; the request was not answered"), 500, media_type="application/json")


def _body(request: Request, code: str, message: str) -> bytes:
    return build_protocol_body(message) if _is_protocol(request) else build_body(code, message)


def _is_protocol(request: Request) -> bool:
    """Whether errors of this path have the shape of the Open Inference Protocol."""
    path: str = request.scope["path"]
    return path == "/v2" or path.startswith("/v2/")


def _respond(status: int, headers: Headers, body: bytes) -> Response:
    return Response(body, status, headers={name.decode(): value.decode() for name, value in headers})
