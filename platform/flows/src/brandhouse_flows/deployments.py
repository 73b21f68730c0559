"""What Prefect must know about the brands: pools, queues and deployments, derived from `brand.toml` and kept equal to it.

`desired_deployments` is pure; `register` makes the server match and says what it changed. `run_deployments` starts runs
and follows them.
"""

import hashlib
import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
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

from brandhouse_flows.flow_parameters import score_parameters, train_parameters
from brandhouse_shared.brands import Brand
from brandhouse_shared.config import Isolation, Schedule
from brandhouse_shared.errors import BrandhouseError, join_bounded
from brandhouse_shared.names import ModelKey
from brandhouse_shared.settings import Settings

SHARED_POOL = "brandhouse-pool"
SILO_POOL_PREFIX = "brandhouse-silo-"
OURS = "brandhouse"
"""Tag of all deployments that this module made, and may remove."""

WORKER_TYPE = "brandhouse-warm"
CONCURRENCY = 8
PAGE = 200
RUNS_PER_BRAND = 2
"""At once, so that an ingest need not wait for a long training."""

FOLLOW_SECONDS = 0.3
"""Between two looks at a followed run; at several runs we look less often, for the server has to tell about all of them."""

LONGEST_FOLLOW_SECONDS = 1.0

FIXED_PARAMETERS = ("brand", "model", "dataset")
"""What a deployment is for; a run may not change it."""

_JSON_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string"}


@dataclass(frozen=True, slots=True)
class DeploymentSpec:
    """One deployment as it should be."""

    flow: str
    name: str
    entrypoint: str
    parameters: Mapping[str, Any]
    pool: str
    queue: str
    queue_limit: int
    tags: tuple[str, ...]
    cron: str | None = None
    timezone: str | None = None
    description: str = ""

    @property
    def full_name(self) -> str:
        """`flow/deployment`, as Prefect shows it."""
        return f"{self.flow}/{self.name}"

    @property
    def digest(self) -> str:
        """Hash of everything that is registered; an equal one needs no call."""
        return hashlib.sha256(json.dumps([asdict(self), _parameter_schema(self)], sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Diff:
    """What a registration changed, as full names."""

    created: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    unchanged: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether there was nothing to do."""
        return not (self.created or self.updated or self.removed)

    def __str__(self) -> str:
        lines = [f"{sign} {name}" for sign, names in (("+", self.created), ("~", self.updated), ("-", self.removed)) for name in names]
        changes = f"{len(self.created)} created, {len(self.updated)} updated, {len(self.removed)} removed, {self.unchanged} unchanged"
        return "\n".join([*lines, "nothing to do" if self.is_empty else changes])


def train_deployment(key: ModelKey) -> str:
    """Full name of the deployment that trains a model."""
    return f"train/{key.dotted}"


def score_deployment(key: ModelKey) -> str:
    """Full name of the deployment that scores files with a model."""
    return f"score/{key.dotted}"


def ingest_deployment(brand: str) -> str:
    """Full name of the deployment that ingests a brand's datasets."""
    return f"ingest/{brand}"


def pool_of(brand: Brand) -> str:
    """The pool in which a brand's runs execute: the shared one, or its own."""
    return f"{SILO_POOL_PREFIX}{brand.name}" if brand.config.isolation is Isolation.SILO else SHARED_POOL


def desired_deployments(brands: Iterable[Brand], settings: Settings) -> list[DeploymentSpec]:
    """The deployments of all brands, sorted by full name: `ingest` a brand and a scheduled dataset, `train` and `score` a model."""
    specs = [spec for brand in brands for spec in _specs_of(brand, settings)]
    return sorted(specs, key=lambda spec: spec.full_name)


def _specs_of(brand: Brand, settings: Settings) -> list[DeploymentSpec]:
    ingest = _spec(brand, settings, "ingest", brand.name, "brandhouse_flows.ingesting:ingest_brand", {"brand": brand.name}, None)
    scheduled = [
        _dataset_spec(brand, settings, name, dataset.schedule) for name, dataset in brand.config.datasets.items() if dataset.schedule
    ]
    of_models = [spec(brand, settings, key) for key in brand.model_keys for spec in (_train_spec, _score_spec)]
    return [ingest, *scheduled, *of_models]


def _dataset_spec(brand: Brand, settings: Settings, dataset: str, schedule: Schedule) -> DeploymentSpec:
    """Who declares that a dataset is ingested by itself has said yes to new data; the contract still decides."""
    parameters = {"brand": brand.name, "dataset": dataset, "accept_new": brand.config.capabilities.gets_new_data}
    return _spec(brand, settings, "ingest", f"{brand.name}.{dataset}", "brandhouse_flows.ingesting:ingest_brand", parameters, schedule)


def _train_spec(brand: Brand, settings: Settings, key: ModelKey) -> DeploymentSpec:
    schedule = brand.model(key.model).schedule
    return _spec(brand, settings, "train", key.dotted, "brandhouse_flows.training:train_model", train_parameters(key), schedule)


def _score_spec(brand: Brand, settings: Settings, key: ModelKey) -> DeploymentSpec:
    return _spec(brand, settings, "score", key.dotted, "brandhouse_flows.scoring:score_model", score_parameters(key), None)


def _spec(
    brand: Brand, settings: Settings, flow: str, name: str, entrypoint: str, parameters: Mapping[str, Any], schedule: Schedule | None
) -> DeploymentSpec:
    model = parameters.get("model")
    model_tags = (f"model:{model}",) if model else ()
    return DeploymentSpec(
        flow=flow,
        name=name,
        entrypoint=entrypoint,
        parameters=parameters,
        pool=pool_of(brand),
        queue=brand.name,
        queue_limit=max(1, min(RUNS_PER_BRAND, settings.concurrent_runs)),
        tags=(OURS, f"brand:{brand.name}", *model_tags, f"risk:{brand.config.risk}", f"template:{flow}"),
        cron=schedule.cron if schedule else None,
        timezone=schedule.timezone if schedule else None,
        description=f"{brand.config.title}: {brand.config.models[model].description or brand.config.story}"
        if model
        else brand.config.story,
    )


def _parameter_schema(spec: DeploymentSpec) -> dict[str, Any]:
    """JSON Schema of the parameters. The server refuses a run of one brand's deployment for another brand."""
    properties: dict[str, Any] = {}
    for position, (name, value) in enumerate(spec.parameters.items()):
        allowed = {"enum": [value]} if name in FIXED_PARAMETERS else {}
        properties[name] = {"title": name, "position": position, "default": value, "type": _JSON_TYPES[type(value)], **allowed}
    return {"title": "Parameters", "type": "object", "properties": properties, "required": []}


async def register(client: PrefectClient, specs: Sequence[DeploymentSpec]) -> Diff:
    """Make the server's pools, queues and deployments those of `specs`; removes only what an earlier call made."""
    found = await _registered(client)
    wanted = {spec.full_name: spec for spec in specs}
    created = [spec for name, spec in wanted.items() if name not in found]
    updated = [spec for name, spec in wanted.items() if name in found and found[name].version != spec.digest]
    removed = [one for name, one in found.items() if name not in wanted]
    await Registration(client).apply([*created, *updated], removed)
    return Diff(
        created=tuple(spec.full_name for spec in created),
        updated=tuple(spec.full_name for spec in updated),
        removed=tuple(one.full_name for one in removed),
        unchanged=len(wanted) - len(created) - len(updated),
    )


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
    deployments = await _read_all(client, "/deployments/filter", {"deployments": _ours().model_dump(mode="json")})
    flows = await _read_all(client, "/flows/filter", {"deployments": _ours().model_dump(mode="json")})
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


async def _read_all(client: PrefectClient, path: Any, body: dict[str, Any]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    while True:
        response = await client.request("POST", path, json={**body, "limit": PAGE, "offset": len(rows)})
        page = response.json()
        rows += page
        if len(page) < PAGE:
            return rows


@dataclass
class Registration:
    """Makes pools, queues and deployments: several requests at a time, each thing once."""

    client: PrefectClient
    _limiter: anyio.Semaphore = field(default_factory=lambda: anyio.Semaphore(CONCURRENCY))
    _flow_ids: dict[str, UUID] = field(default_factory=dict)

    async def apply(self, wanted: Sequence[DeploymentSpec], removed: Sequence[_Registered] = ()) -> None:
        """Create or update the wanted ones, and remove the others."""
        for pool in sorted({spec.pool for spec in wanted}):
            await self._ensure_pool(pool)
        for flow in sorted({spec.flow for spec in wanted}):
            self._flow_ids[flow] = await self.client.create_flow_from_name(flow)
        queues = {(spec.pool, spec.queue): spec.queue_limit for spec in wanted}
        await self._all(self._ensure_queue, [(pool, queue, limit) for (pool, queue), limit in queues.items()])
        await self._all(self._put, [(spec,) for spec in wanted])
        await self._all(self._remove, [(one,) for one in removed])

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
        await self.client.create_deployment(
            flow_id=self._flow_ids[spec.flow],
            name=spec.name,
            version=spec.digest,
            entrypoint=spec.entrypoint,
            parameters=dict(spec.parameters),
            parameter_openapi_schema=_parameter_schema(spec),
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
