"""Every surface that serving has: read from the gateway's own routes and from what lies below the home.

Nothing here is a list of what should be there: a call that somebody adds tomorrow is a surface tomorrow, and without a probe it
is a failure of the matrix.
"""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from brandhouse_shared.settings import Settings

PER_BRAND = (
    *("arrivals", "bentoml", "erasures", "experiments", "imports", "labels", "predictions", "quarantine", "remotes", "snapshots"),
    "trials",
)
"""Entries of the home in which each brand has a folder of its own."""

OF_THE_PLATFORM = {
    "cache": "what ingest and check keep, a folder a brand; serving reads none of it",
    "followers": "how far each gateway process has followed the ledger; no brand's data",
    "gateways": "sockets of running gateways",
    "infra": "stacks, plans and credentials of whoever operates; no brand is served from it",
    "ledger.db": "no serving surface: read by the platform's own processes",
    "locks": "empty files that keep two trainings of a model apart",
    "logs": "read by operators",
    "prefect": "the flow server's own state",
    "reports": "written for operators",
    "runs": "what trainings measured, a folder a brand; serving reads none of it",
    "secrets": "one file a brand; read by the gateway",
    "site": "this documentation",
    "stack.json": "addresses of what runs",
    "tmp": "folders of runs that are executed now",
}
"""Entries that hold nothing a brand is served from, and why."""


def served_calls(lane: Any) -> list[str]:
    """Name every call that the gateway answers: its lane's dialects, its routes, and what is mounted.

    Args:
        lane: The gateway's application.
    """
    from brandhouse_serving.lane import DIALECTS

    return sorted({*(f"lane {prefix.decode()}" for prefix in DIALECTS), *_routes(lane.inner.routes)})


def _routes(routes: Collection[Any]) -> Iterator[str]:
    from fastapi.routing import APIRoute
    from starlette.routing import Mount

    from brandhouse_serving.bento_mount import CALLS, BentoMount

    for route in routes:
        if isinstance(route, APIRoute):
            yield from (f"{method} {route.path}" for method in route.methods or ())
        elif isinstance(route, Mount) and isinstance(route.app, BentoMount):
            yield from (f"{method} {route.path}/{{brand}}/{{model}}/{call}" for call, method in CALLS.items())
        else:
            yield f"{type(route).__name__} {getattr(route, 'path', '?')}"


def build_lane(settings: Settings) -> Any:
    """Build the gateway's application, only to look at it."""
    from brandhouse_serving.gateway import create_app

    return create_app(settings)


def home_entries(home: Path) -> list[str]:
    """Entries below the home, as surfaces; copies and side files of the ledger are the ledger."""
    names = {path.name for path in home.iterdir()} if home.is_dir() else set()
    return sorted({"ledger.db" if name.startswith("ledger.db") else name for name in names})
