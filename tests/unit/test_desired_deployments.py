"""The deployments that follow from what brands declare."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from brandhouse_flows.deployments import Diff, desired_deployments, ingest_deployment, run_name, score_deployment, train_deployment
from brandhouse_shared.brands import Brand
from brandhouse_shared.config import BrandConfig, Schedule
from brandhouse_shared.names import ModelKey
from brandhouse_shared.settings import Settings

SETTINGS = Settings(root=Path("/w"), home=Path("/w/.h"), ledger_url=SecretStr("sqlite://"))


def brand_of(name: str, isolation: str = "pool", **model: Any) -> Brand:
    declared = {
        "name": name,
        "title": name.title(),
        "story": "an invented brand",
        "owner": "team@example.org",
        "risk": "low",
        "isolation": isolation,
        "budget_eur_month": 1,
        "datasets": {"rows": {"file": "data/rows.csv", "source": {"kind": "file", "path": "rows.csv"}}},
        "models": {
            "price": {
                "entrypoint": f"brand_{name}.price",
                "dataset": "rows",
                "task": "regression",
                "target": "y",
                "metric": "mae",
                "inputs": {"x": {"type": "number"}},
                **model,
            }
        },
    }
    return Brand(Path("/w/brands") / name, BrandConfig.model_validate(declared))


def test_each_brand_gets_ingest_and_one_training_and_one_scoring_a_model() -> None:
    specs = desired_deployments([brand_of("zebra"), brand_of("apple")], SETTINGS)
    of_models = ["score/apple.price", "score/zebra.price", "train/apple.price", "train/zebra.price"]
    assert [spec.full_name for spec in specs] == ["ingest/apple", "ingest/zebra", *of_models]
    apple = ModelKey("apple", "price")
    names = [ingest_deployment("apple"), score_deployment(apple), train_deployment(apple)]
    assert [specs[place].full_name for place in (0, 2, 4)] == names


def test_training_carries_tags_parameters_queue_and_schedule() -> None:
    [_, _, train] = desired_deployments([brand_of("apple", schedule={"cron": "0 4 * * 1", "timezone": "Europe/Amsterdam"})], SETTINGS)
    assert train.entrypoint == "brandhouse_flows.training:train_model"
    assert train.parameters == {
        "brand": "apple",
        "model": "price",
        "force": False,
        "estimator": "",
        "params": "",
        "sample": "",
        "dry_run": False,
    }, "all the flow takes: the server refuses a run with others"
    assert (train.pool, train.queue, train.cron, train.timezone) == ("brandhouse-pool", "apple", "0 4 * * 1", "Europe/Amsterdam")
    assert set(train.tags) == {"brandhouse", "brand:apple", "model:price", "risk:low", "template:train"}


def test_a_dataset_with_a_schedule_is_ingested_by_itself() -> None:
    brand = brand_of("apple")
    dataset = brand.config.datasets["rows"].model_copy(update={"schedule": Schedule(cron="15 * * * *")})
    scheduled = Brand(brand.folder, brand.config.model_copy(update={"datasets": {"rows": dataset}}))
    specs = {spec.full_name: spec for spec in desired_deployments([scheduled], SETTINGS)}

    assert list(specs) == ["ingest/apple", "ingest/apple.rows", "score/apple.price", "train/apple.price"]
    spec = specs["ingest/apple.rows"]
    assert (spec.cron, spec.timezone) == ("15 * * * *", "Europe/Amsterdam")
    assert spec.parameters == {"brand": "apple", "dataset": "rows", "accept_new": True}, "a brand that gets new data takes them"
    assert specs["ingest/apple"].parameters == {"brand": "apple"} and specs["ingest/apple"].cron is None


def test_silo_brand_has_a_pool_of_its_own() -> None:
    pools = {spec.pool for spec in desired_deployments([brand_of("apple", isolation="silo")], SETTINGS)}
    assert pools == {"brandhouse-silo-apple"}


def test_digest_changes_with_what_is_registered_and_only_then() -> None:
    before = desired_deployments([brand_of("apple")], SETTINGS)[-1].digest
    assert before == desired_deployments([brand_of("apple")], SETTINGS)[-1].digest
    assert before != desired_deployments([brand_of("apple", schedule={"cron": "0 4 * * *"})], SETTINGS)[-1].digest


@pytest.mark.parametrize(
    ("diff", "text"),
    [
        (Diff(unchanged=3), "nothing to do"),
        (Diff(created=("a/b",), removed=("c/d",)), "+ a/b\n- c/d\n1 created, 0 updated, 1 removed, 0 unchanged"),
    ],
)
def test_diff_prints_what_changed(diff: Diff, text: str) -> None:
    assert str(diff) == text


def test_run_name_is_readable() -> None:
    assert run_name("train/apple.price").startswith("train apple/price ")
