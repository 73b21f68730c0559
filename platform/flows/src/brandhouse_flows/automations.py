"""What the Prefect server does by itself when an event comes: automations, derived from `brand.toml` and kept equal to it.

One a model: its own events start its own `retrain` deployment, whose parameters fix brand and model. Nothing else starts anything.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

import anyio
from prefect.client.orchestration import PrefectClient
from prefect.events.actions import RunDeployment
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.exceptions import ObjectNotFound

from brandhouse_flows.deployment_specs import OURS, retrain_deployment
from brandhouse_flows.events import CHECK_RED, SNAPSHOT_NEW, TRIGGER_LABEL, dataset_resource, model_resource
from brandhouse_flows.registration_changes import Diff, read_all
from brandhouse_shared.brands import Brand
from brandhouse_shared.names import ModelKey

CONCURRENCY = 8
EVENT_TRIGGERS = ("snapshot", "drift", "quality", "staleness")
"""Those that come as events; the others are asked for by a schedule, a person, or who erased data."""


@dataclass(frozen=True, slots=True)
class AutomationSpec:
    """One automation as it should be."""

    name: str
    resources: tuple[str, ...]
    triggers: tuple[str, ...]
    deployment: str
    """Full name of the deployment that an event starts."""

    def digest(self, deployment_id: UUID) -> str:
        """Hash of everything that is registered; an equal one needs no call."""
        return hashlib.sha256(json.dumps([asdict(self), str(deployment_id)], sort_keys=True).encode()).hexdigest()[:16]


def desired_automations(brands: Iterable[Brand]) -> list[AutomationSpec]:
    """The automations of all brands, sorted by name."""
    specs = [spec for brand in brands for key in brand.model_keys if (spec := _spec(brand, key)) is not None]
    return sorted(specs, key=lambda spec: spec.name)


def _spec(brand: Brand, key: ModelKey) -> AutomationSpec | None:
    model = brand.model(key.model)
    triggers = tuple(trigger for trigger in EVENT_TRIGGERS if trigger in model.retraining.triggers)
    if not triggers:
        return None
    resources = (model_resource(key.brand, key.model), dataset_resource(key.brand, model.dataset))
    return AutomationSpec(f"brandhouse retrain {key.dotted}", resources, triggers, retrain_deployment(key))


async def register_automations(client: PrefectClient, specs: Sequence[AutomationSpec], deployments: Mapping[str, UUID]) -> Diff:
    """Make the server's automations those of `specs`; removes only what an earlier call made.

    Args:
        client: A connected client of the server.
        specs: As they should be.
        deployments: Full name to id of the registered deployments.
    """
    found = {row["name"]: row for row in await read_all(client, "/automations/filter", {"automations": {"tags": {"all_": [OURS]}}})}
    wanted = {spec.name: spec for spec in specs}
    created = [spec for name, spec in wanted.items() if name not in found]
    known = [spec for name, spec in wanted.items() if name in found]
    changed = [spec for spec in known if found[spec.name]["description"] != _describe(spec, deployments[spec.deployment])]
    removed = [row for name, row in found.items() if name not in wanted]
    calls = [_Call(client, "POST", "/automations/", _document(spec, deployments)) for spec in created]
    calls += [_Call(client, "PUT", f"/automations/{found[spec.name]['id']}", _document(spec, deployments)) for spec in changed]
    calls += [_Call(client, "DELETE", f"/automations/{row['id']}", None) for row in removed]
    await _make(calls)
    return Diff(
        created=tuple(spec.name for spec in created),
        updated=tuple(spec.name for spec in changed),
        removed=tuple(row["name"] for row in removed),
        unchanged=len(wanted) - len(created) - len(changed),
    )


@dataclass(frozen=True, slots=True)
class _Call:
    client: PrefectClient
    method: Any
    path: Any
    body: dict[str, Any] | None

    async def make(self) -> None:
        with suppress(ObjectNotFound):  # removed by somebody else meanwhile
            await self.client.request(self.method, self.path, **({} if self.body is None else {"json": self.body}))


async def _make(calls: Sequence[_Call]) -> None:
    limiter = anyio.Semaphore(CONCURRENCY)

    async def limited(call: _Call) -> None:
        async with limiter:
            await call.make()

    async with anyio.create_task_group() as tasks:
        for call in calls:
            tasks.start_soon(limited, call)


def _document(spec: AutomationSpec, deployments: Mapping[str, UUID]) -> dict[str, Any]:
    deployment_id = deployments[spec.deployment]
    automation = AutomationCore(
        name=spec.name,
        description=_describe(spec, deployment_id),
        tags=[OURS],
        trigger=EventTrigger(
            posture=Posture.Reactive,
            expect={CHECK_RED, SNAPSHOT_NEW},
            match={"prefect.resource.id": list(spec.resources), TRIGGER_LABEL: list(spec.triggers)},
            threshold=1,
        ),
        actions=[
            RunDeployment(
                source="selected",
                deployment_id=deployment_id,
                # Only the event's own facts: which brand and model is fixed by the deployment, and refused otherwise.
                parameters={"trigger": "{{ event.payload.trigger }}", "reason": "{{ event.payload.detail }}"},
            )
        ],
    )
    return automation.model_dump(mode="json", exclude={"owner_resource"})  # which an update refuses


def _describe(spec: AutomationSpec, deployment_id: UUID) -> str:
    return f"{', '.join(spec.triggers)} of its own model starts {spec.deployment}; {spec.digest(deployment_id)}"
