"""The table of prices: `prices.toml`, dated, with its source."""

import functools
from datetime import date
from pathlib import Path

import tomli
from pydantic import Field

from brandhouse_shared.config import Declared

FILE = Path(__file__).parent.parent / "prices.toml"


class Prices(Declared):
    """Prices of one day, in dollars without tax, as the cloud bills."""

    date: date
    """When they were looked up."""
    source: str
    """Where."""
    eur_per_usd: float = Field(gt=0)
    """Euro for a dollar on that day."""
    rate_source: str
    """Where the rate is from."""
    hours_month: float = Field(gt=0)
    """Hours in a month, as the cloud counts them."""
    usage: dict[str, float]
    """What a stack uses that no declaration says, a month."""
    regions: dict[str, dict[str, float]]
    """By region and unit, such as `fargate_vcpu_hour`."""


@functools.cache
def read_prices() -> Prices:
    """Read the table that is part of this release."""
    return Prices.model_validate(tomli.loads(FILE.read_text(encoding="utf-8")))
