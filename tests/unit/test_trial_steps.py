"""What happens next to a retrained version on trial, for each class of risk."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from brandhouse_aftercare.trial_steps import TrialFacts, TrialStep, next_step
from brandhouse_shared.config import Risk
from brandhouse_shared.ledger.stages import Stage
from brandhouse_shared.operation import Retraining

NOON = datetime(2026, 12, 15, 12, tzinfo=UTC)
ENOUGH = TrialFacts(
    version="v8",
    stage=Stage.SHADOW,
    since=NOON - timedelta(hours=30),
    now=NOON,
    risk=Risk.LOW,
    rules=Retraining(),
    requests=120,
    requests_needed=100,
)


def step(**facts: Any) -> TrialStep:
    return next_step(replace(ENOUGH, **facts))


@pytest.mark.parametrize("risk", [Risk.LOW, Risk.MEDIUM])
def test_enough_without_harm_goes_from_shadow_to_canary_to_production(risk: Risk) -> None:
    assert step(risk=risk).to is Stage.CANARY
    done = step(risk=risk, stage=Stage.CANARY)
    assert (done.state, done.to, done.reason) == ("moved", Stage.PRODUCTION, "no harm in 120 requests and 30.0 hours as canary")


@pytest.mark.parametrize(("risk", "state"), [(Risk.LOW, "moved"), (Risk.MEDIUM, "waiting")])
def test_only_medium_risk_waits_for_the_canarys_minimum(risk: Risk, state: str) -> None:
    young = NOON - timedelta(hours=2)
    assert step(risk=risk, stage=Stage.CANARY, since=young).state == state


@pytest.mark.parametrize("stage", [Stage.SHADOW, Stage.CANARY])
def test_too_few_requests_wait_and_then_go_on_only_with_low_risk(stage: Stage) -> None:
    few: dict[str, Any] = {"stage": stage, "requests": 3}
    assert (step(**few).state, step(**few).reason) == ("waiting", f"its {stage} has seen 3 of 100 requests")
    old: dict[str, Any] = {**few, "since": NOON - timedelta(days=8)}
    assert step(**old).state == "moved" and "low risk" in step(**old).reason
    assert step(**old, risk=Risk.MEDIUM).state == "stuck"


def test_declared_requests_can_only_ask_for_more() -> None:
    assert step(rules=Retraining(trial_requests=121)).state == "waiting"
    assert step(rules=Retraining(trial_requests=1), requests=99).state == "waiting"


def test_high_risk_waits_for_people_even_when_the_trial_is_complete() -> None:
    high: dict[str, Any] = {"risk": Risk.HIGH, "people_needed": 2}
    for facts in ({}, {"requests": 0}, {"stage": Stage.CANARY}, {"people": ("anna",)}, {"since": NOON - timedelta(days=99), "requests": 0}):
        assert step(**high, **facts).state == "approval" and step(**high, **facts).to is None
    assert step(**high, people=("anna",)).reason.startswith("1 of 2 people agreed (anna)")
    assert step(**high, people=("anna", "ben")).to is Stage.CANARY


@pytest.mark.parametrize("risk", Risk)
def test_harm_a_load_that_fails_and_somebody_elses_decision_stop_everything(risk: Risk) -> None:
    old = NOON - timedelta(days=99)
    assert step(risk=risk, harm="disagrees").state == "stopped"
    assert step(risk=risk, is_ours=False, since=old, newer="v9 (shadow)").state == "stopped"
    assert step(risk=risk, problem="no file", since=old).state == "stuck"
    assert all(step(risk=risk, since=old, **bad).to is None for bad in ({"harm": "h"}, {"is_ours": False}, {"problem": "p"}))


def test_a_newer_version_takes_its_place_and_another_canary_its_room() -> None:
    assert (step(newer="v9 (shadow)").to, step(newer="v9 (shadow)").state) == (Stage.RETIRED, "superseded")
    blocked = step(other_canary="v6")
    assert (blocked.state, blocked.reason) == ("waiting", "v6 is canary, and a model has one at most")
