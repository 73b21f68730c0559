"""Whether the gateway lives, is ready, and what it has counted."""

import asyncio
import contextlib
import ipaddress
import secrets
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import PlainTextResponse

from brandhouse_serving.callers import caller_brand
from brandhouse_serving.parts import Parts
from brandhouse_serving.schemas import AUTH_ERRORS, documented
from brandhouse_shared.settings import Settings


def add_health_calls(app: FastAPI, parts: Parts, settings: Settings) -> None:
    """Add the calls that ask how the gateway is."""

    @app.get("/healthz", tags=["health"], summary="Whether the process lives")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    not_ready: dict[int | str, dict[str, Any]] = {503: {"description": "Not ready; the answer says what is missing"}}

    @app.get("/readyz", tags=["health"], summary="Whether predictions are answered from an up-to-date routing table", responses=not_ready)
    async def readyz(response: Response) -> dict[str, Any]:
        state = {"models_loaded": parts.router.is_warm, "ledger_current": parts.router.is_current, "log_alive": parts.log.is_alive}
        response.status_code = 200 if all(state.values()) else 503
        return {"status": "ready" if all(state.values()) else "not ready", **state}

    @app.get(
        "/metrics",
        tags=["health"],
        summary="Prometheus metrics: all from this machine, one brand's with its key",
        response_class=PlainTextResponse,
        responses=documented(AUTH_ERRORS),
    )
    async def metrics(request: Request) -> Response:
        token = settings.metrics_token.get_secret_value() if settings.metrics_token else None
        brand = None if _may_see_all_metrics(request, token) else caller_brand(parts, request)
        # With many models the text takes a while: requests are answered meanwhile.
        text = await asyncio.to_thread(lambda: parts.metrics.render(brand, parts.checks.series()))
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


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
