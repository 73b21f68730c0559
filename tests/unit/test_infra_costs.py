"""Costs: what a brand pays as it is and as it would be, that nothing is quietly free, and the comparison with its budget."""

import dataclasses
from datetime import date
from pathlib import Path

import pytest
from tests.fixtures.infra_house import aws_platform, aws_stack, read_house, write_brand, write_house

from brandhouse_infra.costs.comparison import as_markdown, cost_of
from brandhouse_infra.costs.estimates import Resource, UnknownRegionError, estimate, resources_of_plan
from brandhouse_infra.costs.prices import read_prices
from brandhouse_infra.targets.aws import AwsTarget

REGION = "eu-central-1"


def test_tasks_cost_their_cores_and_memory_for_a_month() -> None:
    task = Resource("aws_ecs_task_definition", "gateway", {"cpu": "1024", "memory": "2048"})
    service = Resource("aws_ecs_service", "gateway", {"desired_count": 3})
    prices = read_prices().model_copy(
        update={"hours_month": 100.0, "eur_per_usd": 0.5, "regions": {"x": {"fargate_vcpu_hour": 1.0, "fargate_gb_hour": 0.25}}}
    )
    assert estimate([task, service], "x", prices).eur == 3 * (1 + 2 * 0.25) * 100 * 0.5


def test_a_type_without_a_price_is_named_and_not_quietly_free() -> None:
    found = estimate([Resource("aws_sagemaker_endpoint", "x", {}), Resource("aws_kms_key", "own", {})], REGION)
    assert found.unpriced == ("aws_sagemaker_endpoint",)
    assert found.eur > 0


def test_all_that_our_stacks_are_made_of_has_a_price_or_is_free(tmp_path: Path) -> None:
    brands, environment = read_house(write_house(tmp_path / "work"))
    for resources in (*(aws_stack(brand, environment) for brand in brands.values()), aws_platform(environment)):
        assert estimate(resources, REGION).unpriced == ()


def test_a_silo_costs_more_than_the_pool_and_both_are_told(tmp_path: Path) -> None:
    brands, environment = read_house(write_house(tmp_path / "work"))
    costs = {name: cost_of(brand, environment, AwsTarget(), aws_stack(brand, environment), 3) for name, brand in brands.items()}
    assert costs["auto"].eur == costs["auto"].pool_eur and costs["auto_deals"].eur == costs["auto_deals"].silo_eur
    assert costs["auto"].silo_eur == costs["auto_deals"].silo_eur > costs["auto"].pool_eur + 20


def test_the_budget_is_compared_with_the_whole_cost(tmp_path: Path) -> None:
    settings = write_house(tmp_path / "work")
    brands, environment = read_house(settings)
    needed = cost_of(brands["auto"], environment, AwsTarget(), aws_stack(brands["auto"], environment), 3).eur
    for budget, fits in ((needed, True), (needed - 0.5, False)):
        write_brand(settings.root, "auto", budget=budget)
        brand = read_house(settings)[0]["auto"]
        cost = cost_of(brand, environment, AwsTarget(), aws_stack(brand, environment), 3)
        assert cost.fits is fits, cost
        assert ("above the budget" in as_markdown([cost], [("auto", "27 to add")])) is not fits


def test_more_brands_bear_less_of_the_platform_each(tmp_path: Path) -> None:
    brands, environment = read_house(write_house(tmp_path / "work"))
    shares = [cost_of(brands["auto"], environment, AwsTarget(), [], count).share_eur for count in (1, 10, 100)]
    assert shares == sorted(shares, reverse=True) and shares[0] > 9 * shares[1], shares


def test_a_plan_is_priced_by_what_would_be_there(tmp_path: Path) -> None:
    planned = {
        "planned_values": {
            "root_module": {
                "resources": [{"mode": "managed", "type": "aws_kms_key", "name": "own", "address": "aws_kms_key.own", "values": {}}]
            }
        }
    }
    assert estimate(resources_of_plan(planned), REGION).declared_eur == round(read_prices().eur_per_usd, 2)


def test_the_table_says_when_and_where_from_and_is_refused_for_an_unknown_region() -> None:
    prices = read_prices()
    assert date(2026, 1, 1) < prices.date and "Frankfurt" in prices.source and prices.rate_source
    with pytest.raises(UnknownRegionError, match="eu-central-1"):
        estimate([], "eu-north-1")


def test_an_estimate_tells_what_rests_on_assumed_use() -> None:
    found = estimate([Resource("aws_s3_bucket", "data", {}), Resource("aws_kms_key", "own", {})], REGION)
    assert {item.what: item.assumed for item in found.items} == {"objects in the store": True, "keys": False}
    assert found.declared_eur < found.eur
    assert dataclasses.replace(found, items=()).eur == 0
