"""The deployments that follow from what brands declare."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from brandhouse_flows.automations import desired_automations
from brandhouse_flows.deployment_specs import (
    desired_deployments,
    ingest_deployment,
    retrain_deployment,
    score_deployment,
    train_deployment,
)
from brandhouse_flows.deployments import run_name
from brandhouse_flows.registration_changes import Diff
from brandhouse_shared.brands import Brand
from brandhouse_shared.config import Alerts, BrandConfig, Schedule
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


def test_each_brand_gets_ingest_and_each_model_its_flows_and_the_house_one_that_moves_on() -> None:
    specs = desired_deployments([brand_of("zebra"), brand_of("apple")], SETTINGS)
    flows = ("cost", "drill", "ingest", "monitor", "progress", "retrain", "score", "train", "watch")
    names = {flow: [f"{flow}/{brand}.price" for brand in ("apple", "zebra")] for flow in flows}
    names |= {"ingest": ["ingest/apple", "ingest/zebra"], "progress": ["progress/house"], "cost": ["cost/house"], "watch": ["watch/house"]}
    assert [spec.full_name for spec in specs] == [name for flow in flows for name in names[flow]]
    apple = ModelKey("apple", "price")
    of_apple = {ingest_deployment("apple"), score_deployment(apple), train_deployment(apple), retrain_deployment(apple)}
    assert of_apple < {spec.full_name for spec in specs}


def test_training_carries_tags_parameters_and_queue_and_its_schedule_asks_for_a_retraining() -> None:
    brand = brand_of("apple", schedule={"cron": "0 4 * * 1", "timezone": "Europe/Amsterdam"})
    specs = {spec.flow: spec for spec in desired_deployments([brand], SETTINGS)}
    train, retrain = specs["train"], specs["retrain"]
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
    assert (train.pool, train.queue, train.cron, train.timezone) == ("brandhouse-pool", "apple", None, None)
    assert (retrain.pool, retrain.queue, retrain.cron, retrain.timezone) == ("brandhouse-pool", "apple", "0 4 * * 1", "Europe/Amsterdam")
    assert retrain.entrypoint == "brandhouse_aftercare.retrain_flow:retrain_model"
    assert retrain.parameters == {"brand": "apple", "model": "price", "trigger": "schedule", "reason": "its schedule"}
    assert set(train.tags) == {"brandhouse", "brand:apple", "model:price", "risk:low", "template:train"}


def test_a_dataset_with_a_schedule_is_ingested_by_itself() -> None:
    brand = brand_of("apple")
    dataset = brand.config.datasets["rows"].model_copy(update={"schedule": Schedule(cron="15 * * * *")})
    scheduled = Brand(brand.folder, brand.config.model_copy(update={"datasets": {"rows": dataset}}))
    specs = {spec.full_name: spec for spec in desired_deployments([scheduled], SETTINGS)}

    assert {name for name in specs if name.startswith("ingest")} == {"ingest/apple", "ingest/apple.rows"}
    spec = specs["ingest/apple.rows"]
    assert (spec.cron, spec.timezone) == ("15 * * * *", "Europe/Amsterdam")
    assert spec.parameters == {"brand": "apple", "dataset": "rows", "accept_new": True}, "a brand that gets new data takes them"
    assert specs["ingest/apple"].parameters == {"brand": "apple"} and specs["ingest/apple"].cron is None


def test_a_brand_with_routes_sends_hourly_what_waits() -> None:
    silent, brand = brand_of("apple"), brand_of("zebra")
    alerts = Alerts.model_validate({"routes": {"team": {"kind": "slack", "url_env": "BRANDHOUSE_SECRET_ZEBRA_TEAM"}}})
    loud = Brand(brand.folder, brand.config.model_copy(update={"alerts": alerts}))
    (spec,) = [spec for spec in desired_deployments([silent, loud], SETTINGS) if spec.flow == "alerts"]
    assert (spec.full_name, spec.parameters, spec.queue) == ("alerts/zebra", {"brand": "zebra"}, "zebra")
    assert spec.cron is not None and spec.cron.endswith(" * * * *")


def test_silo_brand_has_a_pool_of_its_own() -> None:
    specs = desired_deployments([brand_of("apple", isolation="silo")], SETTINGS)
    assert {spec.pool for spec in specs if spec.name != "house"} == {"brandhouse-silo-apple"}


def test_digest_changes_with_what_is_registered_and_only_then() -> None:
    def digest(**model: Any) -> str:
        [retrain] = [spec for spec in desired_deployments([brand_of("apple", **model)], SETTINGS) if spec.flow == "retrain"]
        return retrain.digest

    assert digest() == digest()
    assert digest() != digest(schedule={"cron": "0 4 * * *"})
    off = {"schedule": {"cron": "0 4 * * *"}, "retraining": {"triggers": ["hand"]}}
    assert digest(**off) == digest(), "a trigger that is off has no schedule"
    assert "drill" not in {spec.flow for spec in desired_deployments([brand_of("apple", retraining={"drill": False})], SETTINGS)}


def test_a_models_own_events_start_its_own_retraining() -> None:
    brands = [
        brand_of("zebra"),
        brand_of("apple", retraining={"triggers": ["hand", "drift"]}),
        brand_of("mute", retraining={"triggers": []}),
    ]
    apple, zebra = desired_automations(brands)
    assert (apple.name, apple.deployment, apple.triggers) == ("brandhouse retrain apple.price", "retrain/apple.price", ("drift",))
    assert zebra.triggers == ("snapshot", "drift", "quality", "staleness")
    assert zebra.resources == ("brandhouse.model.zebra.price", "brandhouse.dataset.zebra.rows")


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
