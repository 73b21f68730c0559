"""The reference of the serving API as Markdown, from the description that a gateway gives of itself without a key."""

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
from pydantic import SecretStr

from brandhouse_serving.gateway import create_app
from brandhouse_shared.settings import Settings

INTRODUCTION = """# Reference: the API

Generated from the gateway's own description by `make format`; `make lint` fails if it is stale. A running gateway shows it at
`/docs`, and with a brand's key also that brand's models, field by field. How to use it: [serving](../serving.md).
"""


def api_reference() -> str:
    """Markdown of all calls, in the order of their paths."""
    paths: dict[str, dict[str, Any]] = describe_api()["paths"]
    calls = [(method.upper(), path, call) for path, methods in sorted(paths.items()) for method, call in methods.items()]
    return "\n".join([INTRODUCTION, *(_section(*call) for call in calls)])


def describe_api() -> dict[str, Any]:
    """What a gateway without brands answers to `GET /openapi.json` without a key."""
    with TemporaryDirectory(prefix="brandhouse-reference-") as folder:
        home = Path(folder)
        (home / "brands").mkdir()
        settings = Settings(root=home, home=home, ledger_url=SecretStr(f"sqlite:///{home / 'ledger.db'}"))
        return asyncio.run(_ask(httpx.ASGITransport(create_app(settings))))


async def _ask(transport: httpx.ASGITransport) -> dict[str, Any]:
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        described: dict[str, Any] = (await client.get("/openapi.json")).raise_for_status().json()
        return described


def _section(method: str, path: str, call: dict[str, Any]) -> str:
    answers = sorted(call["responses"].items())
    rows = [f"| {status} | {answer['description']} |" for status, answer in answers]
    lines = [f"## {method} {path}", "", f"{call['summary']}.", "", *_headers(call), "| status | when |", "|---|---|", *rows, ""]
    return "\n".join(lines)


def _headers(call: dict[str, Any]) -> list[str]:
    headers = [parameter for parameter in call.get("parameters", ()) if parameter["in"] == "header"]
    return [line for header in headers for line in (f"Header `{header['name']}` (optional): {header['description']}", "")]
