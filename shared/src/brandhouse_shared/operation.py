"""What a model declares about its life after training: the limits of its API, trials beside production, monitoring."""

import zlib
from typing import Literal, Self

from pydantic import Field, model_validator

from brandhouse_shared.declarations import Declared, Schedule, Share
from brandhouse_shared.metrics import Task
from brandhouse_shared.names import ModelKey

DEFAULT_MAX_BODY_BYTES = 2_000_000
"""1,000 rows of 50 fields are about 1 MB."""


class Serving(Declared):
    """Limits of the model's API."""

    rate_per_second: float | None = Field(default=None, gt=0)
    """Requests a second of the brand for this model. None: no limit."""
    concurrency: int | None = Field(default=None, ge=1)
    """Requests of the brand for this model that are answered at once; one more gets 429. None: no limit."""
    max_rows: int = Field(default=1_000, ge=1)
    """Rows in one request."""
    timeout_seconds: float = Field(default=5.0, gt=0)
    """After this another version answers."""
    latency_budget_ms: float | None = Field(default=None, gt=0)
    """Median milliseconds one row may take in the packaged runtime; a gate if set."""


class Trial(Declared):
    """Where a new version begins, when it disagrees with the one in production, and how much of that is harm."""

    first_stage: Literal["production", "shadow", "canary"] = "production"
    """Where the template puts a version that passed its gates, while another one is in production. `risk = "high"`: nowhere."""
    max_disagreement_share: Share = 0.3
    """Share of the compared rows whose answers may differ; a canary that shows more is stopped."""
    tolerance: float | None = Field(default=None, ge=0)
    """Difference of two numbers up to which they agree, in the target's unit. None: by `tolerance_share`."""
    tolerance_share: float = Field(default=0.1, ge=0)
    """The same as a share of production's number, or of the training data's median if that is greater. Classes must be equal."""


class Monitoring(Declared):
    """Thresholds of what is watched after deployment."""

    schedule: Schedule | None = None
    """When the monitor runs. None: every morning between four and seven, at a minute of the model's own. It cannot be switched off."""
    window_days: int = Field(default=28, ge=1, le=366)
    """A monitor looks at the newest days that together have enough rows, at most at so many. Default: four whole weeks."""
    drift_effect: float = Field(default=0.2, gt=0, lt=1)
    """Share of the rows that would have to be other rows for a field, or the predictions, to look as in training. What has
    drifted further is red. Default: about what a shift by half a standard deviation is."""
    max_age_days: int = Field(default=90, ge=1)
    """A version in production that was trained longer ago is red. Not where the brand gets no new data."""
    min_labels: int = Field(default=100, ge=1)
    """Answers with a truth that it takes to say how good a model is. Default: fewer give intervals that hide any usual loss."""
    quality_loss_share: float = Field(default=0.05, gt=0, lt=1)
    """How much worse than on the hold-out a model may be, as a share of that score; more, and more than chance explains, is red."""
    min_rows: int = Field(default=200, ge=1)
    """With fewer rows nothing is said but "not enough data". Where it takes more rows to see what is looked for, those count."""
    max_missing_rise: float = Field(default=0.05, gt=0, lt=1)
    """By how much the share of missing values of a field may exceed that of training."""
    max_unusual_share: float = Field(default=0.05, gt=0, lt=1)
    """Share of a field's values that training did not have: beyond its smallest and greatest number, or another category."""
    max_refused_share: float = Field(default=0.1, gt=0, lt=1)
    """Share of the requests that may contradict the input schema."""
    max_volume_factor: float = Field(default=5.0, gt=1)
    """How many times more or less traffic than on the same days of earlier weeks is still usual."""
    silence_hours: float = Field(default=24.0, gt=0)
    """A model that had traffic and gets none for so long is red; with little traffic later, when silence says something."""

    def schedule_of(self, key: ModelKey) -> Schedule:
        """When the monitor of a model runs. Spread by default: a house of many models does not begin all at once."""
        minute = zlib.crc32(str(key).encode()) % 180
        return self.schedule or Schedule(cron=f"{minute % 60} {4 + minute // 60} * * *")


FairnessMetric = Literal["selection_rate", "true_positive_rate", "false_positive_rate", "error_rate", "absolute_error", "mean_error"]
"""Binary tasks: how often the positive class is predicted; of those whose truth it is, and is not. Classes: how often wrong.
Numbers: how far off in the target's unit, and how much too high."""


class Fairness(Declared):
    """A gate: a version that differs more between groups of people does not serve."""

    fields: tuple[str, ...] = Field(min_length=1)
    """Columns of the dataset by whose values people are grouped. They need not be inputs."""
    metric: FairnessMetric
    """What is compared between the groups of a column."""
    max_gap: float = Field(gt=0)
    """Greatest difference between two groups, in the metric's unit. The gate fails if the hold-out shows a greater one with
    `gates.confidence`, and blocks if no two groups have enough rows."""
    min_rows: int = Field(default=50, ge=2)
    """Hold-out rows a group needs to be judged; of a rate among one true class, rows of that class. Default: fewer show only gross gaps."""

    def problems(self, task: Task, target: str) -> list[str]:
        """What does not fit the model."""
        allowed = [metric for metric, tasks in _FAIRNESS_TASKS.items() if task in tasks]
        problems = (
            [] if self.metric in allowed else [f"fairness.metric {self.metric!r} does not fit a {task} task; allowed: {', '.join(allowed)}"]
        )
        if target in self.fields:
            problems.append(f"fairness.fields names the target {target!r}; allowed: columns that people are grouped by")
        return problems


_FAIRNESS_TASKS: dict[str, tuple[Task, ...]] = {
    "selection_rate": (Task.BINARY,),
    "true_positive_rate": (Task.BINARY,),
    "false_positive_rate": (Task.BINARY,),
    "error_rate": (Task.BINARY, Task.MULTICLASS),
    "absolute_error": (Task.REGRESSION,),
    "mean_error": (Task.REGRESSION,),
}


Trigger = Literal["schedule", "snapshot", "drift", "quality", "staleness", "erasure", "hand"]
"""What may ask for a retraining. Erasure: data it learned from were removed. Hand: a person asks."""


class Retraining(Declared):
    """When a model is trained again by itself, how a new version then gets to production, and the drill of the way back."""

    triggers: tuple[Trigger, ...] = ("schedule", "snapshot", "drift", "quality", "staleness", "erasure", "hand")
    """What may start a retraining; the others are recorded and skipped."""
    cooldown_hours: float = Field(default=24.0, ge=0)
    """After a training ended none begins for so long. Default: a day, so that what changed can be seen. Not for `hand` and `erasure`."""
    budget_seconds_month: float = Field(default=3_600.0, ge=0)
    """Seconds of training in a calendar month, UTC; then retrainings wait for the next. Not for `hand` and `erasure`."""
    trial_requests: int | None = Field(default=None, ge=1)
    """Requests that a trial must have seen. None: as many as its tests need to notice harm; fewer are never enough."""
    shadow_hours: float = Field(default=0.0, ge=0)
    """A shadow lasts at least so long."""
    canary_hours: float = Field(default=24.0, ge=0)
    """A canary lasts at least so long if `risk` is medium. Default: a day and its night."""
    canary_share: Share = 0.1
    """Share of the requests that a retrained version answers as canary."""
    patience_days: float = Field(default=7.0, gt=0)
    """After so long a trial with too few requests goes on without them if `risk` is low; else somebody is told."""
    drill: bool = True
    """Whether the way back to the version before is practised every week, without a user noticing."""
    drill_max_seconds: float = Field(default=5.0, gt=0)
    """A gateway that takes longer to follow a stage change is red. Default: it looks four times a second; loading takes the rest."""

    def drill_schedule_of(self, key: ModelKey) -> Schedule:
        """When a model's drill runs: weekly, spread over the nights of working days."""
        place = zlib.crc32(f"drill {key}".encode()) % 1_200
        return Schedule(cron=f"{place % 60} {2 + place // 60 % 4} * * {1 + place // 240}")


class Infra(Declared):
    """What the brand's stack is made of, where it has parts of its own. A brand in the pool has no tasks of its own."""

    cost_center: str = Field(default="", max_length=60, pattern=r"^[A-Za-z0-9 _.:/=+@-]*$")
    """Who pays, as a tag on everything. Empty: the brand's name."""
    cpu_units: Literal[256, 512, 1024, 2048, 4096] = 512
    """1,024 are one core; of the gateway and of the worker of a silo brand. Default: half a core, as forests of some thousand rows need."""
    memory_mib: int = Field(default=2048, ge=512, le=30_720, multiple_of=512)
    """Of each; the cloud sells only some sizes beside each number of cores. Default: what `BRANDHOUSE_SILO_MEMORY_MIB` allows."""
    gateways: int = Field(default=1, ge=1, le=20)
    """Tasks of a silo brand that answer at once. Default: one; a new one takes about a minute if it is lost."""

    @model_validator(mode="after")
    def _size_is_sold(self) -> Self:
        low, high = _SOLD_MEMORY_MIB[self.cpu_units]
        if not low <= self.memory_mib <= high or (self.memory_mib % 1024 and self.cpu_units > 256):
            raise ValueError(
                f"memory_mib {self.memory_mib} is not sold with cpu_units {self.cpu_units}; allowed: {low} to {high}, in 1024s"
            )
        return self


_SOLD_MEMORY_MIB = {256: (512, 2048), 512: (1024, 4096), 1024: (2048, 8192), 2048: (4096, 16_384), 4096: (8192, 30_720)}
"""Of AWS Fargate. With 256 units also 512 MiB."""
