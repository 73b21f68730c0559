"""The calls of the Open Inference Protocol beside `infer`: health, and what the server and a model are.

Health and the server's description need no key; whatever is about models does.
"""

from importlib.metadata import version as release_of
from typing import Any

from fastapi import FastAPI, Request, Response

from brandhouse_serving.callers import authenticate, find_loaded, manifest_of
from brandhouse_serving.keys import Scope, permit
from brandhouse_serving.open_inference import served_slot, served_slots
from brandhouse_serving.open_inference_schemas import METADATA_ERRORS, METADATA_SCHEMA, READY_SCHEMA, SERVER_SCHEMA
from brandhouse_serving.open_inference_schemas import documented_protocol as documented
from brandhouse_serving.open_inference_tensors import described_inputs, described_outputs
from brandhouse_serving.parts import Parts
from brandhouse_serving.router import Route
from brandhouse_shared.artifacts import Manifest, Runtime
from brandhouse_shared.names import ModelKey

EXTENSIONS = ("json_null",)
"""Beyond the protocol: null in `data` is a missing value."""

_PLATFORMS = {Runtime.COMPILED: "onnx_onnxv1", Runtime.PYTHON: "sklearn_skops", Runtime.CONSTANT: "brandhouse_constant"}
_TAGS: list[Any] = ["open inference protocol"]


def add_open_inference_calls(app: FastAPI, parts: Parts) -> None:
    """Add health and metadata under `/v2`."""
    _add_server_calls(app, parts)
    _add_model_calls(app, parts)


def _add_server_calls(app: FastAPI, parts: Parts) -> None:
    @app.get("/v2/", include_in_schema=False)
    @app.get("/v2", tags=_TAGS, summary="Name, release and extensions of the server", responses=documented(SERVER_SCHEMA, {}))
    async def server() -> dict[str, Any]:
        return {"name": "brandhouse", "version": release_of("brandhouse-serving"), "extensions": list(EXTENSIONS)}

    @app.get("/v2/health/live", tags=_TAGS, summary="Whether the process lives")
    async def live() -> dict[str, bool]:
        return {"live": True}

    @app.get("/v2/health/ready", tags=_TAGS, summary="As /readyz", responses={503: {"description": "Not ready"}})
    async def ready(response: Response) -> dict[str, bool]:
        is_ready = parts.router.is_warm and parts.router.is_current and parts.log.is_alive
        response.status_code = 200 if is_ready else 503
        return {"ready": is_ready}


def _add_model_calls(app: FastAPI, parts: Parts) -> None:
    described = documented(METADATA_SCHEMA, METADATA_ERRORS)

    @app.get("/v2/models/{name}", tags=_TAGS, summary="A model's tensors; name is BRAND.MODEL", responses=described)
    @app.get("/v2/models/{name}/versions/{version}", tags=_TAGS, summary="A version's tensors", responses=described)
    async def metadata(request: Request, name: str, version: str | None = None) -> dict[str, Any]:
        route = _permitted_route(parts, request, name)
        slot = served_slot(route, version)
        return _described(route, await manifest_of(route, slot))

    ready_or_not = documented(READY_SCHEMA, METADATA_ERRORS)

    @app.get("/v2/models/{name}/ready", tags=_TAGS, summary="Whether a model can answer", responses=ready_or_not)
    @app.get("/v2/models/{name}/versions/{version}/ready", tags=_TAGS, summary="Whether a version can answer", responses=ready_or_not)
    async def model_ready(request: Request, response: Response, name: str, version: str | None = None) -> dict[str, Any]:
        route = _permitted_route(parts, request, name)
        slot = served_slot(route, version)
        is_ready = await find_loaded(route, slot) is not None
        response.status_code = 200 if is_ready else 503
        error = {} if is_ready else {"error": f"{slot.version.key} cannot be loaded"}
        return {"name": route.key.dotted, "ready": is_ready, **error}


def _permitted_route(parts: Parts, request: Request, name: str) -> Route:
    """A name without a dot is a brand of that name and no model: answered as any other that is not the caller's."""
    brand, _, model = name.partition(".")
    permit(authenticate(parts, request), brand, Scope.READ)
    return parts.find_route(ModelKey(brand, model))


def _described(route: Route, manifest: Manifest) -> dict[str, Any]:
    return {
        "name": route.key.dotted,
        "versions": [f"v{number}" for number in served_slots(route)],
        "platform": _PLATFORMS[manifest.runtime],
        "inputs": described_inputs(manifest),
        "outputs": described_outputs(manifest),
    }
