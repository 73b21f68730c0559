"""Registration and runs through the Prefect server of this machine.

Prefect reads where its server is from the environment when it is first imported, so that is set before.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brandhouse_shared.brands import Brand
from brandhouse_shared.errors import BrandhouseError
from brandhouse_shared.ledger import open_ledger
from brandhouse_shared.ledger.guarding import guard
from brandhouse_shared.names import ModelKey
from brandhouse_shared.settings import Settings

if TYPE_CHECKING:
    from brandhouse_flows.deployments import RunChange
    from brandhouse_flows.registration_changes import Diff

STACK_FILE = "stack.json"
"""Below the home: addresses of what `up` or `demo` keeps running."""

Watch = Callable[["RunChange"], None]

_OUTCOMES = {
    "Registered": "registered",
    "Unchanged": "unchanged",
    "GatesFailed": "gates_failed",
    "Rehearsed": "rehearsed",
    "Scored": "scored",
}
"""Name of a run's final state to how it ended; any other has failed."""


def stack_file(settings: Settings) -> Path:
    """Where the addresses of the running parts are written."""
    return settings.home / STACK_FILE


def find_server(settings: Settings) -> None:
    """Point this process's Prefect client at the running server.

    Raises:
        BrandhouseError: If none is known.
    """
    if os.environ.get("PREFECT_API_URL"):
        return
    from brandhouse_flows.server import server_environment

    try:
        port = json.loads(stack_file(settings).read_text())["prefect_port"]
    except (OSError, ValueError, KeyError):
        raise BrandhouseError(
            "no Prefect server of this workspace is running; start one with `brandhouse up`, or set PREFECT_API_URL"
        ) from None
    os.environ.update(server_environment(settings, port))


async def register_all(settings: Settings, brands: Sequence[Brand]) -> "Diff":
    """Make the server's deployments equal to what the brands declare, and record what was changed."""
    find_server(settings)
    from prefect.client.orchestration import get_client

    from brandhouse_flows.automations import desired_automations
    from brandhouse_flows.deployment_specs import desired_deployments
    from brandhouse_flows.deployments import register

    ledger = open_ledger(settings.ledger_url.get_secret_value())
    for brand in brands:
        guard(ledger, brand, settings.actor)
    specs = desired_deployments(brands, settings)
    async with get_client() as client:
        difference = await register(client, specs, desired_automations(brands))
    if not difference.is_empty:
        _record(settings, difference, {spec.full_name: spec.digest for spec in specs})
    return difference


async def run_trainings(
    settings: Settings, keys: Sequence[ModelKey], *, force: bool, asked: Mapping[str, Any] | None = None, watch: Watch | None = None
) -> list[dict[str, Any]]:
    """Run the `train` deployments of some models and return how each ended, in the order of `keys`.

    Args:
        settings: Of this process.
        keys: The models.
        force: Train although nothing changed.
        asked: Further parameters of the flow.
        watch: Told of every change of state.
    """
    find_server(settings)
    from prefect.client.orchestration import get_client

    from brandhouse_flows.deployment_specs import train_deployment
    from brandhouse_flows.deployments import run_deployments

    parameters = {**({"force": True} if force else {}), **(asked or {})}
    ended: dict[str, RunChange] = {}
    async with get_client() as client:
        async for change in run_deployments(client, [train_deployment(key) for key in keys], parameters):
            if watch is not None:
                watch(change)
            if change.is_final:
                ended[change.deployment] = change
    return [_result(key, ended[train_deployment(key)]) for key in keys]


async def run_scoring(settings: Settings, key: ModelKey, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Run the `score` deployment of a model and return how it ended. `parameters` are the flow's beside brand and model."""
    find_server(settings)
    from prefect.client.orchestration import get_client

    from brandhouse_flows.deployment_specs import score_deployment
    from brandhouse_flows.deployments import run_deployments

    async with get_client() as client:
        changes = [change async for change in run_deployments(client, [score_deployment(key)], parameters)]
    return _result(key, changes[-1])


async def run_retraining(settings: Settings, key: ModelKey, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Run the `retrain` deployment of a model and return how it ended. `parameters` are the flow's beside brand and model."""
    find_server(settings)
    from prefect.client.orchestration import get_client

    from brandhouse_flows.deployment_specs import retrain_deployment
    from brandhouse_flows.deployments import run_deployments

    async with get_client() as client:
        changes = [change async for change in run_deployments(client, [retrain_deployment(key)], parameters)]
    decision = {"Waits": "wait", "Skipped": "skip"}.get(changes[-1].state, "train")
    result = _result(key, changes[-1])
    return result | {"decision": decision, "outcome": None if decision != "train" else result["outcome"], "reason": changes[-1].message}


def _result(key: ModelKey, change: "RunChange") -> dict[str, Any]:
    outcome = _OUTCOMES.get(change.state, "failed")
    detail = change.message if change.is_completed else f"{key}: {change.state}: {change.message}"
    return {
        "brand": key.brand,
        "model": key.model,
        "outcome": outcome,
        "seconds": round(change.seconds, 3),
        "detail": detail,
        "flow_run_id": str(change.flow_run_id),
    }


def _record(settings: Settings, difference: "Diff", digests: dict[str, str]) -> None:
    from datetime import UTC, datetime

    from brandhouse_shared.ledger.records import DeploymentRecord

    ledger = open_ledger(settings.ledger_url.get_secret_value())
    for action, names in (("created", difference.created), ("updated", difference.updated), ("removed", difference.removed)):
        for name in names:
            ledger.record_deployment(
                DeploymentRecord(name=name, spec_hash=digests.get(name, "-"), action=action, at=datetime.now(UTC), actor=settings.actor)
            )
