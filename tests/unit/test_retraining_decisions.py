"""Whether a model is trained again: every rule with its reason, and that a retrained version must be better."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest

from brandhouse_aftercare.retraining import Decision, Facts, decide, required_gain
from brandhouse_flows.gates import AgainstProduction
from brandhouse_shared.names import ModelKey
from brandhouse_shared.operation import Retraining, Trigger

NOON = datetime(2026, 12, 15, 12, tzinfo=UTC)
FACTS = Facts(ModelKey("kaasplein", "price"), "snapshot", Retraining(), NOON, production="v7", last_training=NOON - timedelta(days=9))
NOTHING_NEW = {"trained": "v7 (production)", "snapshot_is_new": False}


def decided(**facts: Any) -> Decision:
    return decide(replace(FACTS, **facts))


@pytest.mark.parametrize("trigger", get_args(Trigger))
def test_new_data_are_trained_on_whatever_asks(trigger: Trigger) -> None:
    decision = decided(trigger=trigger)
    assert (decision.action, decision.reason) == ("train", f"{trigger}: new data since v7")


def test_the_first_training_needs_no_other_reason() -> None:
    assert decided(production="", last_training=None).reason == "snapshot: nothing is in production"


def test_a_trigger_that_is_off_is_skipped_and_named() -> None:
    decision = decided(rules=Retraining(triggers=("hand",)))
    assert (decision.action, decision.reason) == ("skip", "the model's retraining.triggers leave out snapshot")


def test_a_running_training_is_not_started_twice() -> None:
    decision = decided(trigger="hand", running="process 7, run 3f0c")
    assert (decision.action, decision.reason) == ("skip", "it is being trained already (process 7, run 3f0c)")


@pytest.mark.parametrize("trigger", ["schedule", "snapshot", "erasure", "hand"])
def test_the_same_inputs_again_are_skipped(trigger: Trigger) -> None:
    decision = decided(trigger=trigger, **NOTHING_NEW)
    assert decision.action == "skip" and not decision.is_helpless
    assert decision.reason == "nothing is new: data, code, lock and declaration are those of v7 (production)"


@pytest.mark.parametrize("trigger", ["drift", "quality", "staleness"])
def test_a_symptom_without_new_data_is_told_because_training_again_cannot_help(trigger: Trigger) -> None:
    same = decided(trigger=trigger, **NOTHING_NEW)
    assert same.action == "skip" and same.is_helpless
    assert "training again cannot help; bring new data in" in same.reason
    new_code_only = decided(trigger=trigger, snapshot_is_new=False)
    assert new_code_only.is_helpless and "there are no new data since v7" in new_code_only.reason


def test_a_brand_that_gets_no_new_data_is_not_asked_for_them() -> None:
    decision = decided(trigger="drift", gets_new_data=False, **NOTHING_NEW)
    assert decision.reason.endswith("training again cannot help; the brand declares that it gets no new data")


def test_new_code_alone_is_trained_by_schedule_and_hand() -> None:
    assert decided(trigger="schedule", snapshot_is_new=False).reason == "schedule: new code, lock or declaration since v7"


def test_what_is_on_trial_is_not_overtaken_until_patience_ends() -> None:
    since = NOON - timedelta(days=3)
    decision = decided(on_trial="v8 (shadow)", trial_since=since)
    assert (decision.action, decision.until) == ("wait", since + timedelta(days=7))
    assert decided(on_trial="v8 (shadow)", trial_since=NOON - timedelta(days=7)).action == "train"
    assert decided(trigger="erasure", on_trial="v8 (shadow)", trial_since=since).action == "train"


def test_cool_down_says_until_when_and_does_not_hold_people_and_erasures_up() -> None:
    ended = NOON - timedelta(hours=5)
    decision = decided(last_training=ended)
    assert (decision.action, decision.until) == ("wait", ended + timedelta(hours=24))
    assert decision.reason == "the last training ended at 2026-12-15 07:00 UTC; the next may begin at 2026-12-16 07:00 UTC"
    assert decided(last_training=NOON - timedelta(hours=24)).action == "train"
    assert {decided(trigger=trigger, last_training=ended).action for trigger in ("hand", "erasure")} == {"train"}


def test_a_used_budget_waits_for_the_next_month() -> None:
    decision = decided(seconds_this_month=3600.0)
    assert (decision.action, decision.until) == ("wait", datetime(2027, 1, 1, tzinfo=UTC))
    assert decision.reason.startswith("3,600 of 3,600 seconds of training are used this month")
    assert decided(seconds_this_month=3599.9).action == "train"
    assert decided(trigger="hand", seconds_this_month=9e9).action == "train"
    assert decided(now=datetime(2026, 3, 31, 23, tzinfo=UTC), last_training=None, seconds_this_month=9e9).until == datetime(
        2026, 4, 1, tzinfo=UTC
    )


def test_the_expected_loss_of_age_is_said() -> None:
    assert decided(expected_loss_share=0.034).reason == "snapshot: new data since v7; at its age v7 is expected to be 3.4 % worse"


@pytest.mark.parametrize(
    ("trigger", "is_red", "against"),
    [
        ("schedule", False, AgainstProduction.BETTER),
        ("hand", False, AgainstProduction.BETTER),
        ("staleness", False, AgainstProduction.NOT_WORSE),
        ("snapshot", True, AgainstProduction.BETTER_OR_BROKEN),
        ("drift", False, AgainstProduction.BETTER_OR_BROKEN),
        ("quality", True, AgainstProduction.BETTER_OR_BROKEN),
        ("erasure", True, AgainstProduction.NOT_WORSE),
    ],
)
def test_what_a_retrained_version_must_show(trigger: Trigger, is_red: bool, against: AgainstProduction) -> None:
    assert required_gain(trigger, symptom_is_red=is_red) is against


def test_a_symptom_tells_nobody_while_the_newest_version_is_being_tried() -> None:
    tried = {"trained": "v8 (shadow)", "on_trial": "v8 (shadow)", "trial_since": NOON - timedelta(days=1)}
    decision = decided(trigger="drift", **tried)
    assert (decision.action, decision.is_helpless) == ("skip", False)
    assert decision.reason == "v8 (shadow) learned from the newest data and is being tried"
