"""Where the template puts a version that passed its gates. The ledger is a real one; of the plan, only what is asked."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from brandhouse_flows.planning import Plan
from brandhouse_flows.registration import promote_if_allowed
from brandhouse_shared.config import Risk, Trial
from brandhouse_shared.ledger import open_ledger
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import StageChange, VersionRecord
from brandhouse_shared.ledger.stages import Stage
from brandhouse_shared.names import ModelKey, VersionKey

PRICE = ModelKey("kaasplein", "price")


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")


def register(ledger: Ledger, artifact: str) -> VersionKey:
    texts = {name: "x" for name, field in VersionRecord.model_fields.items() if field.annotation is str}
    numbers = dict.fromkeys(("score", "score_low", "score_high", "baseline_score", "trained_seconds"), 1.0)
    counts = dict.fromkeys(("rows_train", "rows_holdout", "seed"), 1)
    fixed = {"key": PRICE, "kind": "candidate", "runtime": "constant", "task": "regression", "production_score": None}
    own = {"artifact_digest": artifact, "created_at": "2026-03-01T12:00:00Z", "git_dirty": False, "gates_passed": True}
    documents = {"gates": [{"name": "threshold", "passed": True}], "params": {}, "slices": [], "feature_statistics": {"rows": 1}}
    return ledger.register_version_document(texts | numbers | counts | fixed | own | documents)


def stages(ledger: Ledger, first_stage: Any, count: int, risk: Risk = Risk.LOW, *, is_retraining: bool = False) -> list[str]:
    """The stage of each of some versions right after it passed its gates."""
    plan = plan_of(first_stage, risk, is_retraining=is_retraining)
    return [str(promote_if_allowed(plan, ledger, register(ledger, f"a{number}"), passed=True)) for number in range(count)]


def plan_of(first_stage: Any, risk: Risk, *, is_retraining: bool) -> Plan:
    brand = SimpleNamespace(config=SimpleNamespace(risk=risk))
    model = SimpleNamespace(trial=Trial(first_stage=first_stage))
    return cast(Plan, SimpleNamespace(key=PRICE, brand=brand, model=model, is_retraining=is_retraining))


@pytest.mark.parametrize(
    ("first_stage", "expected"),
    [
        ("production", ["production", "production", "production"]),
        ("shadow", ["production", "shadow", "shadow"]),
        ("canary", ["production", "canary", "shadow"]),
    ],
)
def test_a_version_begins_where_its_model_says_and_the_first_one_in_production(
    first_stage: str, expected: list[str], ledger: Ledger
) -> None:
    assert stages(ledger, first_stage, 3) == expected


def test_a_high_risk_brands_version_waits_for_a_person_wherever_it_would_begin(ledger: Ledger) -> None:
    assert stages(ledger, "canary", 2, Risk.HIGH) == ["candidate", "candidate"]


@pytest.mark.parametrize("first_stage", ["production", "canary"])
def test_a_retrained_version_begins_as_shadow_whatever_its_model_says(first_stage: str, ledger: Ledger) -> None:
    assert stages(ledger, first_stage, 3, is_retraining=True) == ["production", "shadow", "shadow"], "the first has nothing beside it"


def test_a_retrained_version_of_a_high_risk_brand_is_a_shadow_and_never_the_first_in_production(ledger: Ledger) -> None:
    assert stages(ledger, "production", 1, Risk.HIGH, is_retraining=True) == ["candidate"]
    ledger.change_stage(StageChange(version=PRICE.version(1), to=Stage.PRODUCTION, actor="anna", reason="the first"))
    plan = plan_of("production", Risk.HIGH, is_retraining=True)
    assert promote_if_allowed(plan, ledger, register(ledger, "b"), passed=True) is Stage.SHADOW
    assert promote_if_allowed(plan, ledger, register(ledger, "c"), passed=False) is Stage.CANDIDATE
