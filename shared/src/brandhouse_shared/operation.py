"""What a model declares about its life after training: the limits of its API, trials beside production, monitoring."""

from typing import Literal

from pydantic import Field

from brandhouse_shared.declarations import Declared, Share

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

    drift_effect: float = Field(default=0.2, gt=0)
    """Declared; nothing reads it yet."""
    max_age_days: int = Field(default=90, ge=1)
    """Declared; nothing reads it yet."""
    min_rows: int = Field(default=200, ge=1)
