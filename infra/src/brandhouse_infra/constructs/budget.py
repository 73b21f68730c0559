"""What a brand may cost, as the cloud's own budget: it tells, it stops nothing."""

from brandhouse_infra.blocks import Blocks
from brandhouse_infra.costs.prices import read_prices
from brandhouse_infra.site import BrandPlace

ALERTS = (("FORECASTED", 100), ("ACTUAL", 80), ("ACTUAL", 100))
"""Told when the month's forecast passes the budget, and when 80 and 100 % of it are spent."""

LEAST_USD = 0.01
"""The smallest budget that can be declared: a brand that may cost nothing is told of its first cent."""


def add_budget(blocks: Blocks, place: BrandPlace) -> None:
    """Add the month's budget of everything that carries the brand's tag."""
    usd = max(place.config.budget_eur_month / read_prices().eur_per_usd, LEAST_USD)
    blocks.resource(
        "aws_budgets_budget",
        "month",
        tagged=True,
        name=place.dashed,
        budget_type="COST",
        time_unit="MONTHLY",
        # The cloud bills in dollars; the rate is the price table's.
        limit_amount=f"{usd:.2f}",
        limit_unit="USD",
        cost_filter=[{"name": "TagKeyValue", "values": [f"user:brand${place.tenant}"]}],
        notification=[_told(place, kind, percent) for kind, percent in ALERTS],
    )


def _told(place: BrandPlace, kind: str, percent: int) -> dict[str, object]:
    whom: dict[str, object] = {"subscriber_sns_topic_arns": [place.arn("sns", f"{place.platform.dashed}-alerts")]}
    if "@" in place.owner:
        whom["subscriber_email_addresses"] = [place.owner]
    return {"comparison_operator": "GREATER_THAN", "notification_type": kind, "threshold": percent, "threshold_type": "PERCENTAGE", **whom}
