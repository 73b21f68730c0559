"""A brand's cost as it is and as it would be in the other isolation, beside its budget."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from brandhouse_infra.costs.estimates import Estimate, Resource, estimate, resources_of_stack
from brandhouse_infra.costs.prices import read_prices
from brandhouse_infra.environments import Environment
from brandhouse_infra.stacks import BrandStack, PlatformStack
from brandhouse_infra.targets.target import Target
from brandhouse_shared.config import BrandConfig, Isolation


@dataclass(frozen=True, slots=True)
class BrandCost:
    """Euro a month of one brand.

    Attributes:
        brand: Its name.
        isolation: As declared.
        own_eur: Of its own stack.
        share_eur: Its part of the platform, in equal parts for all brands.
        pool_eur: All, in the pool.
        silo_eur: All, as a silo.
        budget_eur: As declared.
        unpriced: Types of resources without a price.
        date: Of the prices.
    """

    brand: str
    isolation: str
    own_eur: float
    share_eur: float
    pool_eur: float
    silo_eur: float
    budget_eur: float
    unpriced: tuple[str, ...]
    date: str

    @property
    def eur(self) -> float:
        """All, as declared."""
        return round(self.own_eur + self.share_eur, 2)

    @property
    def fits(self) -> bool:
        """Whether the budget covers it."""
        return self.eur <= self.budget_eur

    def as_document(self) -> dict[str, Any]:
        """For machines."""
        return {**asdict(self), "eur": self.eur, "fits": self.fits}


def cost_of(brand: BrandConfig, environment: Environment, target: Target, planned: Sequence[Resource], brands: int) -> BrandCost:
    """Count one brand.

    Args:
        brand: As declared.
        environment: Where.
        target: Its constructs are used for the other isolation.
        planned: What the plan would leave.
        brands: How many share the platform.
    """
    region = environment.region
    own = estimate(planned, region)
    shared = platform_share(environment, target, brands)
    by_isolation = {kind: _estimate_as(brand, kind, environment, target).eur for kind in Isolation}
    return BrandCost(
        brand=brand.name,
        isolation=brand.isolation.value,
        own_eur=own.eur,
        share_eur=shared,
        pool_eur=round(by_isolation[Isolation.POOL] + shared, 2),
        silo_eur=round(by_isolation[Isolation.SILO] + shared, 2),
        budget_eur=brand.budget_eur_month,
        unpriced=own.unpriced,
        date=str(read_prices().date),
    )


def platform_share(environment: Environment, target: Target, brands: int) -> float:
    """What one of so many brands pays of the platform."""
    if not target.has_platform:
        return 0.0
    shared = estimate(resources_of_stack(PlatformStack(environment, target).as_document()), environment.region)
    return round(shared.eur / max(brands, 1), 2)


def as_markdown(costs: Sequence[BrandCost], changes: Sequence[tuple[str, str]]) -> str:
    """A comment for a pull request: what would change, and what it costs."""
    prices = read_prices()
    told = dict(changes)
    head = "| brand | plan | isolation | € a month | as pool | as silo | budget | |\n|---|---|---|---:|---:|---:|---:|---|"
    rows = [
        f"| {cost.brand} | {told.get(cost.brand, '')} | {cost.isolation} | {cost.eur:.0f} | {cost.pool_eur:.0f} | {cost.silo_eur:.0f} "
        f"| {cost.budget_eur:.0f} | {'' if cost.fits else 'above the budget'} |"
        for cost in costs
    ]
    rate = f"{prices.eur_per_usd} euro for a dollar: {prices.rate_source}"
    note = f"Prices of {prices.date}: {prices.source}. {rate}. Each brand bears an equal part of the platform."
    unpriced = sorted({kind for cost in costs for kind in cost.unpriced})
    missing = f"\n\nWithout a price, so not counted: {', '.join(unpriced)}." if unpriced else ""
    return "\n".join(["### Infrastructure", "", head, *rows, "", note]) + missing + "\n"


def _estimate_as(brand: BrandConfig, isolation: Isolation, environment: Environment, target: Target) -> Estimate:
    other = brand.model_copy(update={"isolation": isolation})
    return estimate(resources_of_stack(BrandStack(other, environment, target).as_document()), environment.region)
