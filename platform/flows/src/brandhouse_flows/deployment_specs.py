"""The pools, queues and deployments that follow from what brands declare. Pure: nothing here talks to a server.

A template of another package is named by its entry point only: the worker imports it when it runs.
"""

import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from brandhouse_flows.flow_parameters import retrain_parameters, score_parameters, train_parameters
from brandhouse_shared.brands import Brand
from brandhouse_shared.config import Isolation, ModelConfig, Schedule
from brandhouse_shared.names import ModelKey
from brandhouse_shared.settings import Settings

SHARED_POOL = "brandhouse-pool"
SILO_POOL_PREFIX = "brandhouse-silo-"
OURS = "brandhouse"
"""Tag of everything on the server that the platform made, and may remove."""

RUNS_PER_BRAND = 2
"""At once, so that an ingest need not wait for a long training."""

HOUSE_QUEUE = "brandhouse-house"
"""Queue of runs that are about no single brand. No brand's name has a dash."""

PROGRESS_CRON = "*/10 * * * *"
"""How often it is looked whether a version on trial may go on, and whether a retraining that waits may begin."""

WATCH_CRON = "17 * * * *"
"""How often it is looked whether all monitors ran."""

COST_CRON = "55 5,11,17,23 * * *"
"""How often use is measured; the last of a day falls into that day, so that months are whole."""

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
        return hashlib.sha256(json.dumps([asdict(self), parameter_schema(self)], sort_keys=True).encode()).hexdigest()[:16]


def train_deployment(key: ModelKey) -> str:
    """Full name of the deployment that trains a model."""
    return f"train/{key.dotted}"


def score_deployment(key: ModelKey) -> str:
    """Full name of the deployment that scores files with a model."""
    return f"score/{key.dotted}"


def retrain_deployment(key: ModelKey) -> str:
    """Full name of the deployment that decides whether a model is trained again, and does it."""
    return f"retrain/{key.dotted}"


def ingest_deployment(brand: str) -> str:
    """Full name of the deployment that ingests a brand's datasets."""
    return f"ingest/{brand}"


def pool_of(brand: Brand) -> str:
    """The pool in which a brand's runs execute: the shared one, or its own."""
    return f"{SILO_POOL_PREFIX}{brand.name}" if brand.config.isolation is Isolation.SILO else SHARED_POOL


def desired_deployments(brands: Iterable[Brand], settings: Settings) -> list[DeploymentSpec]:
    """All deployments, sorted by full name.

    Of a brand `ingest`, also of each scheduled dataset, and `alerts` if it has routes; of a model `train`, `score`, and after its
    deployment `monitor`, `retrain` and `drill`; of the house `cost`, `progress` and `watch`.
    """
    specs = [spec for brand in brands for spec in _specs_of(brand, settings)]
    return sorted([*specs, *(_house_specs(settings) if specs else [])], key=lambda spec: spec.full_name)


def _specs_of(brand: Brand, settings: Settings) -> list[DeploymentSpec]:
    ingest = _spec(brand, settings, "ingest", brand.name, "brandhouse_flows.ingesting:ingest_brand", {"brand": brand.name}, None)
    scheduled = [
        _dataset_spec(brand, settings, name, dataset.schedule) for name, dataset in brand.config.datasets.items() if dataset.schedule
    ]
    of_models = [spec for key in brand.model_keys for spec in _specs_of_model(brand, settings, key)]
    return [ingest, *scheduled, *of_models, *_alert_specs(brand, settings)]


def _alert_specs(brand: Brand, settings: Settings) -> list[DeploymentSpec]:
    """What waits to be told is sent hourly, spread over the hour. The log, the only route without declaration, is always there."""
    if not brand.config.alerts.routes:
        return []
    hourly = Schedule(cron=f"{zlib.crc32(brand.name.encode()) % 60} * * * *", timezone="UTC")
    return [_spec(brand, settings, "alerts", brand.name, "brandhouse_aftercare.alert_flow:send_alerts", {"brand": brand.name}, hourly)]


def _specs_of_model(brand: Brand, settings: Settings, key: ModelKey) -> list[DeploymentSpec]:
    model = brand.model(key.model)
    templates = [_Template("train", "brandhouse_flows.training:train_model", train_parameters(key))]
    templates += [_Template("score", "brandhouse_flows.scoring:score_model", score_parameters(key)), *_aftercare_templates(model, key)]
    return [_spec(brand, settings, one.flow, key.dotted, one.entrypoint, one.parameters, one.schedule) for one in templates]


@dataclass(frozen=True, slots=True)
class _Template:
    """One flow of a model."""

    flow: str
    entrypoint: str
    parameters: Mapping[str, Any]
    schedule: Schedule | None = None


def _aftercare_templates(model: ModelConfig, key: ModelKey) -> list[_Template]:
    """What a model's life after its deployment consists of. A schedule asks for a retraining, which is decided like any other."""
    named = {"brand": key.brand, "model": key.model}
    scheduled = model.schedule if "schedule" in model.retraining.triggers else None
    templates = [
        _Template("monitor", "brandhouse_aftercare.monitor_flow:monitor_model", named, model.monitoring.schedule_of(key)),
        _Template("retrain", "brandhouse_aftercare.retrain_flow:retrain_model", retrain_parameters(key), scheduled),
    ]
    if model.retraining.drill:
        templates.append(
            _Template("drill", "brandhouse_aftercare.drill_flow:rollback_drill", named, model.retraining.drill_schedule_of(key))
        )
    return templates


def _house_specs(settings: Settings) -> list[DeploymentSpec]:
    """Each one for the whole house: they read the ledger and run no brand's code, and most of the time find nothing to do."""
    what = "Moves versions on trial on, and begins retrainings that had to wait."
    progress = _house_spec(settings, "progress", "progress_flow:move_on", {"only": ""}, PROGRESS_CRON, what)
    what = "Sees that every check of every deployed model ran when it should have."
    watch = _house_spec(settings, "watch", "watch_flow:watch_monitors", {}, WATCH_CRON, what)
    what = "Measures what serving and files use, and tells brands of their budgets."
    return [progress, watch, _house_spec(settings, "cost", "cost_flow:measure_cost", {}, COST_CRON, what)]


def _house_spec(
    settings: Settings, flow: str, entrypoint: str, parameters: Mapping[str, Any], cron: str, description: str
) -> DeploymentSpec:
    return DeploymentSpec(
        flow=flow,
        name="house",
        entrypoint=f"brandhouse_aftercare.{entrypoint}",
        parameters=parameters,
        pool=SHARED_POOL,
        queue=HOUSE_QUEUE,
        queue_limit=max(1, min(RUNS_PER_BRAND, settings.concurrent_runs)),
        tags=(OURS, f"template:{flow}"),
        cron=cron,
        timezone="UTC",
        description=description,
    )


def _dataset_spec(brand: Brand, settings: Settings, dataset: str, schedule: Schedule) -> DeploymentSpec:
    """Who declares that a dataset is ingested by itself has said yes to new data; the contract still decides."""
    parameters = {"brand": brand.name, "dataset": dataset, "accept_new": brand.config.capabilities.gets_new_data}
    return _spec(brand, settings, "ingest", f"{brand.name}.{dataset}", "brandhouse_flows.ingesting:ingest_brand", parameters, schedule)


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


def parameter_schema(spec: DeploymentSpec) -> dict[str, Any]:
    """JSON Schema of the parameters. The server refuses a run of one brand's deployment for another brand."""
    properties: dict[str, Any] = {}
    for position, (name, value) in enumerate(spec.parameters.items()):
        allowed = {"enum": [value]} if name in FIXED_PARAMETERS else {}
        properties[name] = {"title": name, "position": position, "default": value, "type": _JSON_TYPES[type(value)], **allowed}
    return {"title": "Parameters", "type": "object", "properties": properties, "required": []}
