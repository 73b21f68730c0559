"""The API's description, with a key also of its brand's models, as JSON and as a page."""

from importlib import resources
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse
from fastapi.routing import APIRoute

from brandhouse_serving.callers import caller_brand, find_loaded, routes_of
from brandhouse_serving.parts import Parts
from brandhouse_serving.schemas import build_openapi


def add_description(app: FastAPI, parts: Parts) -> None:
    """Add the description as JSON and as a page. The last to be called: it describes the calls that are there."""
    from fastapi.openapi.utils import get_openapi

    routes = [route for route in app.routes if isinstance(route, APIRoute)]
    generic = get_openapi(title=app.title, version=app.version, description=app.description, routes=routes)

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi(request: Request) -> dict[str, Any]:
        """Without a key what every brand can call; with one, also the caller's models, typed."""
        if "authorization" not in request.headers:
            return build_openapi(generic, [])
        brand = caller_brand(parts, request)
        pairs = [(route, await find_loaded(route)) for route in routes_of(parts, brand)]
        return build_openapi(generic, [(route, loaded) for route, loaded in pairs if loaded is not None])

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(resources.files("brandhouse_serving").joinpath("docs.html").read_text("utf-8"))
