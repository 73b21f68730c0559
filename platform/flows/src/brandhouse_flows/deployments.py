"""Makes the Prefect server's pools, queues, deployments and automations those that the brands declare, and starts runs.

What they should be is in `deployment_specs` and `automations`. `register` makes the server match and says what it changed;
`run_deployments` starts runs and follows them.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import anyio
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags, FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions, FlowRun
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

from brandhouse_flows.automations import AutomationSpec, register_automations
from brandhouse_flows.deployment_specs import OURS, DeploymentSpec, parameter_schema
from brandhouse_flows.registration_changes import PAGE, Diff, read_all
from brandhouse_shared.errors import BrandhouseError, join_bounded

WORKER_TYPE = "brandhouse-warm"
CONCURRENCY = 8

FOLLOW_SECONDS = 0.3
"""Between two looks at a followed run; at several runs we look less often, for the server has to tell about all of them."""

LONGEST_FOLLOW_SECONDS = 1.0


async def register(client: PrefectClient, specs: Sequence[DeploymentSpec], automations: Sequence[AutomationSpec] = ()) -> Diff:
    """Make the server's pools, queues, deployments and automations those asked for; removes only what an earlier call made."""
    found = await _registered(client)
    wanted = {spec.full_name: spec for spec in specs}
    created = [spec for name, spec in wanted.items() if name not in found]
    updated = [spec for name, spec in wanted.items() if name in found and found[name].version != spec.digest]
    removed = [one for name, one in found.items() if name not in wanted]
    made = await Registration(client).apply([*created, *updated], removed)
    changed = Diff(
        created=tuple(spec.full_name for spec in created),
        updated=tuple(spec.full_name for spec in updated),
        removed=tuple(one.full_name for one in removed),
        unchanged=len(wanted) - len(created) - len(updated),
    )
    return changed + await register_automations(client, automations, {**{name: one.id for name, one in found.items()}, **made})


@dataclass(frozen=True, slots=True)
class _Registered:
    """A deployment of ours that the server has."""

    id: UUID
    full_name: str
    version: str
    pool: str | None
    queue: str | None


async def _registered(client: PrefectClient) -> dict[str, _Registered]:
    """Read what the server has, as plain values: building Prefect's objects for thousands takes longer than asking for them."""
    deployments = await read_all(client, "/deployments/filter", {"deployments": _ours().model_dump(mode="json")})
    flows = await read_all(client, "/flows/filter", {"deployments": _ours().model_dump(mode="json")})
    flow_names = {flow["id"]: flow["name"] for flow in flows}
    found = [
        _Registered(
            UUID(one["id"]), f"{flow_names[one['flow_id']]}/{one['name']}", one["version"], one["work_pool_name"], one["work_queue_name"]
        )
        for one in deployments
        if one["flow_id"] in flow_names
    ]
    return {one.full_name: one for one in found}


def _ours() -> DeploymentFilter:
    return DeploymentFilter(tags=DeploymentFilterTags(all_=[OURS]))


@dataclass
class Registration:
    """Makes pools, queues and deployments: several requests at a time, each thing once."""

    client: PrefectClient
    _limiter: anyio.Semaphore = field(default_factory=lambda: anyio.Semaphore(CONCURRENCY))
    _flow_ids: dict[str, UUID] = field(default_factory=dict)
    _made: dict[str, UUID] = field(default_factory=dict)

    async def apply(self, wanted: Sequence[DeploymentSpec], removed: Sequence[_Registered] = ()) -> Mapping[str, UUID]:
        """Create or update the wanted ones, and remove the others. Returns the wanted ones' ids by full name."""
        for pool in sorted({spec.pool for spec in wanted}):
            await self._ensure_pool(pool)
        for flow in sorted({spec.flow for spec in wanted}):
            self._flow_ids[flow] = await self.client.create_flow_from_name(flow)
        queues = {(spec.pool, spec.queue): spec.queue_limit for spec in wanted}
        await self._all(self._ensure_queue, [(pool, queue, limit) for (pool, queue), limit in queues.items()])
        await self._all(self._put, [(spec,) for spec in wanted])
        await self._all(self._remove, [(one,) for one in removed])
        return self._made

    async def _all(self, call: Any, arguments: Iterable[tuple[Any, ...]]) -> None:
        async def limited(*values: Any) -> None:
            async with self._limiter:
                await call(*values)

        async with anyio.create_task_group() as tasks:
            for values in arguments:
                tasks.start_soon(limited, *values)

    async def _ensure_pool(self, name: str) -> None:
        with suppress(ObjectAlreadyExists):
            from brandhouse_flows.warm_worker import WarmWorker  # only where it is needed: it loads what a worker is made of

            template = WarmWorker.get_default_base_job_template()
            await self.client.create_work_pool(WorkPoolCreate(name=name, type=WORKER_TYPE, base_job_template=template))

    async def _ensure_queue(self, pool: str, name: str, limit: int) -> None:
        try:
            await self.client.create_work_queue(name=name, work_pool_name=pool, concurrency_limit=limit)
        except ObjectAlreadyExists:
            queue = await self.client.read_work_queue_by_name(name, work_pool_name=pool)
            if queue.concurrency_limit != limit:
                await self.client.update_work_queue(queue.id, concurrency_limit=limit)

    async def _put(self, spec: DeploymentSpec) -> None:
        schedules = (
            [DeploymentScheduleCreate(schedule=CronSchedule(cron=spec.cron, timezone=spec.timezone), active=True)] if spec.cron else []
        )
        self._made[spec.full_name] = await self.client.create_deployment(
            flow_id=self._flow_ids[spec.flow],
            name=spec.name,
            version=spec.digest,
            entrypoint=spec.entrypoint,
            parameters=dict(spec.parameters),
            parameter_openapi_schema=parameter_schema(spec),
            enforce_parameter_schema=True,
            work_pool_name=spec.pool,
            work_queue_name=spec.queue,
            tags=list(spec.tags),
            schedules=schedules,
            description=spec.description,
            concurrency_limit=1,
            concurrency_options=_ONE_AT_A_TIME,
        )

    async def _remove(self, one: _Registered) -> None:
        with suppress(ObjectNotFound):
            await self.client.delete_deployment(one.id)


_ONE_AT_A_TIME = ConcurrencyOptions(collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW)


@dataclass(frozen=True, slots=True)
class RunChange:
    """A state that a followed run has come to."""

    deployment: str
    """Full name of its deployment."""

    flow_run_id: UUID
    name: str
    state: str
    message: str
    is_final: bool
    is_completed: bool
    seconds: float
    """Run time so far."""


async def run_deployments(
    client: PrefectClient, names: Sequence[str], parameters: Mapping[str, Any] | None = None
) -> AsyncIterator[RunChange]:
    """Start one run of each deployment and yield every change of state until all have ended.

    A crashed run whose retry is scheduled has ended; the retry is another run.

    Args:
        client: A connected client of the server.
        names: Full names, `train/autoplein.price`.
        parameters: On top of each deployment's own.

    Raises:
        BrandhouseError: If a deployment is not registered; nothing was started then.
    """
    ids = await _deployment_ids(client, names)
    started = await _start(client, ids, parameters or {})
    seen: dict[UUID, str] = {}
    while started:
        for run in await _read_runs(client, list(started)):
            change = _change(started[run.id], run)
            if seen.get(run.id) != change.state:
                seen[run.id] = change.state
                yield change
            if change.is_final:
                del started[run.id]
        if started:
            await anyio.sleep(min(FOLLOW_SECONDS * len(started), LONGEST_FOLLOW_SECONDS))


async def _deployment_ids(client: PrefectClient, names: Sequence[str]) -> dict[str, UUID]:
    found = await _registered(client)
    unknown = [name for name in names if name not in found]
    if unknown:
        raise BrandhouseError(f"not registered with the Prefect server: {join_bounded(unknown)}; register the deployments first")
    return {name: found[name].id for name in names}


async def _start(client: PrefectClient, ids: Mapping[str, UUID], parameters: Mapping[str, Any]) -> dict[UUID, str]:
    started: dict[UUID, str] = {}
    limiter = anyio.Semaphore(CONCURRENCY)

    async def start(name: str, deployment_id: UUID) -> None:
        async with limiter:
            run = await client.create_flow_run_from_deployment(deployment_id, parameters=dict(parameters), name=run_name(name))
            started[run.id] = name

    async with anyio.create_task_group() as tasks:
        for name, deployment_id in ids.items():
            tasks.start_soon(start, name, deployment_id)
    return started


def run_name(deployment: str) -> str:
    """`train autoplein/price 14:03:27` for `train/autoplein.price`; local time."""
    flow, _, name = deployment.partition("/")
    return f"{flow} {name.replace('.', '/')} {datetime.now():%H:%M:%S}"


async def _read_runs(client: PrefectClient, ids: list[UUID]) -> list[FlowRun]:
    pages = [ids[start : start + PAGE] for start in range(0, len(ids), PAGE)]
    read = [await client.read_flow_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=page)), limit=PAGE) for page in pages]
    return [run for page in read for run in page]


def _change(deployment: str, run: FlowRun) -> RunChange:
    state = run.state
    return RunChange(
        deployment=deployment,
        flow_run_id=run.id,
        name=run.name,
        state=(state.name if state else None) or "Scheduled",
        message=(state.message if state else None) or "",
        is_final=state is not None and state.is_final(),
        is_completed=state is not None and state.is_completed(),
        seconds=run.estimated_run_time.total_seconds(),
    )
