"""Retraining for real: decided, trained by the template, tried beside production, moved on or left to people. Two brands at once."""

import re
import subprocess
import sys
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest

from brandhouse_aftercare import trial_progress
from brandhouse_aftercare.approvals_waiting import waiting_versions
from brandhouse_aftercare.retrain_due import due_retrainings
from brandhouse_aftercare.retrain_run import Retrained, retrain
from brandhouse_flows.planning import plan_training
from brandhouse_flows.steps import call_step
from brandhouse_shared.errors import ApprovalError, BrandhouseError
from brandhouse_shared.ledger.records import Entry, EntryKind, StageChange
from brandhouse_shared.ledger.stages import Stage
from brandhouse_shared.names import ModelKey
from brandhouse_shared.operation import Trigger

CASA = ModelKey("casa", "price")
VILLA = ModelKey("villa", "sold")
TOML = "brands/casa/brand.toml"
CODE = "brands/casa/src/brand_casa/price.py"


def later(**passed: float) -> datetime:
    return datetime.now(UTC) + timedelta(**passed)


def ask(workspace: Any, trigger: Trigger = "snapshot", key: ModelKey = CASA, now: datetime | None = None) -> Retrained:
    plan = plan_training(workspace.settings, key, str(uuid.uuid4()), "local")
    return retrain(plan, workspace.ledger, workspace.store, call_step, trigger=trigger, reason="a test", now=now or later(days=2))


def change_prices(workspace: Any, make_tables: Any, seed: int = 9) -> None:
    """Homes cost another thing now: a model of before is far off."""
    table = make_tables.casa(seed=seed)
    workspace.write_table("casa", "homes", table.assign(price=500_000 - table["price"] * 0.4))


def decisions(workspace: Any, name: str = "retraining") -> list[Entry]:
    return workspace.ledger.entries(EntryKind.DECISION, "casa", "price", name, oldest_first=True)  # type: ignore[no-any-return]


def gate(outcome: Any, name: str) -> Any:
    return next(item for item in outcome.gates if item.name == name)


def step_on(workspace: Any, now: datetime) -> list[trial_progress.Moved]:
    return trial_progress.move_on(workspace.ledger, workspace.home, workspace.brand("casa"), CASA, now)


def test_a_better_version_goes_by_itself_from_shadow_over_canary_to_production(workspace: Any, make_tables: Any) -> None:
    workspace.train()
    workspace.train(VILLA)
    change_prices(workspace, make_tables)
    done = ask(workspace, "snapshot")
    assert done.outcome is not None, done.detail
    assert (done.outcome.kind, done.outcome.stage) == ("registered", Stage.SHADOW)
    assert gate(done.outcome, "production").limit == 0.0 and gate(done.outcome, "production").passed
    for day, stage in ((3, Stage.SHADOW), (8, Stage.CANARY), (10, Stage.CANARY), (17, Stage.PRODUCTION)):
        step_on(workspace, later(days=day))
        assert workspace.ledger.find_version(done.outcome.version).stage is stage, f"on day {day}"
    events = workspace.ledger.stage_events(CASA)
    assert [(str(event.to), event.actor) for event in events if event.version.number == 2] == [
        ("candidate", "tester"),
        ("shadow", "training template"),
        ("canary", "trial progress"),
        ("production", "trial progress"),
    ]
    assert [entry.state for entry in decisions(workspace, "trial")] == ["waiting", "moved", "waiting", "moved"]
    assert workspace.ledger.production(VILLA).number == 1 and not workspace.ledger.entries(EntryKind.DECISION, "villa")


@pytest.mark.slow
def test_every_decision_is_on_record_with_its_facts(workspace: Any, make_tables: Any) -> None:
    workspace.train()
    assert ask(workspace, "schedule").decision.action == "skip"
    assert ask(workspace, "drift").decision.is_helpless
    change_prices(workspace, make_tables)
    assert ask(workspace, "snapshot", now=later(hours=3)).decision.action == "wait"
    skipped, helpless, waits = decisions(workspace)
    assert [entry.state for entry in (skipped, helpless, waits)] == ["skip", "skip", "wait"]
    assert waits.facts["trigger"] == "snapshot" and waits.facts["snapshot_is_new"] is True and waits.facts["asked_because"] == "a test"
    assert float(str(waits.facts["seconds_this_month"])) > 0
    told = workspace.ledger.entries(EntryKind.ALERT, "casa", "price")
    assert {(entry.name, "cannot help" in entry.detail) for entry in told} == {("retrain", True)}, "drift without new data is told"


@pytest.mark.slow
def test_a_version_that_is_only_as_good_is_refused_unless_a_person_trains_it(workspace: Any, make_tables: Any) -> None:
    workspace.train()
    workspace.append("requirements.lock", "numpy==2.0\n")
    done = ask(workspace, "schedule")
    assert done.outcome is not None and done.outcome.kind == "gates_failed"
    assert "on 100 rows that are new to both" in gate(done.outcome, "production").detail
    assert "a retraining must be better" in gate(done.outcome, "production").detail
    assert workspace.ledger.find_version(done.outcome.version).stage is Stage.CANDIDATE
    assert [entry.state for entry in decisions(workspace, "retraining.outcome")] == ["gates_failed"]
    assert not workspace.ledger.entries(EntryKind.ALERT, "casa", "price"), "a quiet week is no news"
    assert ask(workspace, "schedule").decision.reason.startswith("nothing is new"), "it is not tried again and again"


@pytest.mark.slow
def test_rows_that_production_learned_from_do_not_count(workspace: Any, make_tables: Any) -> None:
    """Boosted trees know their training rows by heart: on those, nothing ever beats the version in production."""
    workspace.edit(CODE, "n_estimators=60", "n_estimators=400")
    workspace.train()
    first = make_tables.casa(seed=1)
    grown = pd.concat([first, make_tables.casa(rows=200, seed=5)], ignore_index=True)
    workspace.write_table("casa", "homes", grown)
    done = ask(workspace)
    assert done.outcome is not None
    detail = gate(done.outcome, "production").detail
    rows = int(re.search(r"on ([\d,]+) rows that are new to both", detail).group(1))  # type: ignore[union-attr]
    learned = 300 * 0.25
    assert 600 * 0.25 - learned - 25 < rows < 600 * 0.25 - learned + 25, detail
    workspace.write_table("casa", "homes", pd.concat([first, first.head(20).assign(agent=99)], ignore_index=True))
    refused = ask(workspace, now=later(days=30))
    assert refused.outcome is not None and gate(refused.outcome, "production").outcome in ("failed", "unknown")


@pytest.mark.slow
def test_an_erasure_needs_no_better_version(workspace: Any) -> None:
    workspace.train()
    workspace.append("requirements.lock", "numpy==2.0\n")
    done = ask(workspace, "erasure", now=later(minutes=1))
    assert done.outcome is not None and done.outcome.stage is Stage.SHADOW


@pytest.mark.slow
def test_a_high_risk_brands_retraining_is_tried_and_then_waits_for_two_people(workspace: Any, make_tables: Any) -> None:
    workspace.train()
    workspace.edit(TOML, 'risk = "low"', 'risk = "high"')
    change_prices(workspace, make_tables)
    done = ask(workspace, "snapshot")
    assert done.outcome is not None and done.outcome.stage is Stage.SHADOW
    version = done.outcome.version
    for day in (3, 40):
        (moved,) = step_on(workspace, later(days=day))
        assert (moved.step.state, moved.step.to) == ("approval", None)
    assert [entry.name for entry in workspace.ledger.entries(EntryKind.ALERT, "casa", "price") if entry.name == "approval"]
    (waiting,) = waiting_versions(workspace.ledger, [workspace.brand("casa"), workspace.brand("villa")])
    assert (waiting.version.key, waiting.agreed, waiting.needed) == (version, (), 2)
    # One person edits the declaration and tries again.
    workspace.edit(TOML, 'risk = "high"', 'risk = "low"')
    step_on(workspace, later(days=41))
    assert workspace.ledger.find_version(version).stage is Stage.SHADOW, "what was trained under the stricter rule keeps it"
    wish = StageChange(version=version, to=Stage.PRODUCTION, actor="anna", reason="looks good")
    with pytest.raises(ApprovalError):
        workspace.ledger.change_stage(wish)
    assert workspace.ledger.approve(wish).missing == 1
    assert workspace.ledger.approve(wish.model_copy(update={"actor": "ben"})).event is not None
    assert workspace.ledger.production(CASA).key == version


@pytest.mark.slow
def test_the_command_counts_people_and_lists_what_waits(workspace: Any) -> None:
    workspace.edit(TOML, 'risk = "low"', 'risk = "high"')
    workspace.train()
    alone = workspace.run("promote", "casa/price", "--reason", "card read")
    assert alone.returncode == 1 and "2 different people have agreed; so far: nobody" in alone.stderr
    agreed = workspace.run("promote", "casa/price", "--reason", "card read", "--approve")
    assert agreed.stdout == "casa/price/v1: tester agrees to production; 1 other person has to agree before it goes there\n"
    again = workspace.run("promote", "casa/price", "--reason", "really", "--approve", "--force", BRANDHOUSE_ACTOR=" Tester")
    assert again.returncode == 1 and "another person has to" in again.stderr
    listed = workspace.run("approvals", "--json")
    assert '"agreed": [\n      "tester"\n    ]' in listed.stdout and '"missing": 1' in listed.stdout, listed.stdout
    done = workspace.run("promote", "casa/price", "--reason", "card read", "--approve", BRANDHOUSE_ACTOR="ben")
    assert done.stdout.startswith("casa/price/v1: candidate -> production by ben: card read (approved by tester, ben)")
    assert workspace.run("approvals", "casa").stdout.strip() == "no version waits for people to agree"


@pytest.mark.slow
def test_what_a_person_put_on_trial_or_a_canary_that_stopped_is_left_to_people(workspace: Any, make_tables: Any) -> None:
    workspace.train()
    change_prices(workspace, make_tables)
    version = ask(workspace).outcome.version  # type: ignore[union-attr]
    step_on(workspace, later(days=9))
    canary = workspace.ledger.find_version(version)
    assert canary.stage is Stage.CANARY
    workspace.ledger.stop_canary(version, canary.trial_since(workspace.ledger.production(CASA)), "gateway", "stopped itself: harm")
    (moved,) = step_on(workspace, later(days=99))
    assert (moved.step.state, moved.step.to) == ("stopped", None)
    assert workspace.ledger.find_version(version).stage is Stage.SHADOW


@pytest.mark.slow
def test_a_killed_retraining_is_recorded_as_crashed_and_may_begin_again(workspace: Any, make_tables: Any) -> None:
    workspace.train()
    change_prices(workspace, make_tables)
    workspace.edit(CODE, "def build_features(rows):\n", "def build_features(rows):\n    import os\n    os.kill(os.getpid(), 9)\n")
    script = (
        "import sys, uuid; from datetime import UTC, datetime, timedelta\n"
        "from brandhouse_aftercare.retrain_run import retrain; from brandhouse_flows.planning import plan_training\n"
        "from brandhouse_flows.steps import call_step; from brandhouse_shared.ledger import open_ledger\n"
        "from brandhouse_shared.artifacts import load_artifact_store; from brandhouse_shared.names import ModelKey\n"
        "from brandhouse_shared.settings import load_settings\n"
        "s = load_settings(); plan = plan_training(s, ModelKey('casa', 'price'), 'killed', 'local')\n"
        "retrain(plan, open_ledger(s.ledger_url.get_secret_value()), load_artifact_store(s), call_step, trigger='snapshot', "
        "reason='a test', now=datetime.now(UTC) + timedelta(days=2))\n"
    )
    killed = subprocess.run([sys.executable, "-c", script], env=workspace.environment, capture_output=True, text=True, check=False)
    assert killed.returncode == -9, killed.stderr
    (run,) = [run for run in workspace.ledger.runs(CASA) if run.record.run_id == "killed"]
    assert run.outcome is None, "a killed process says nothing"
    workspace.edit(CODE, "    import os\n    os.kill(os.getpid(), 9)\n", "")
    assert ask(workspace, "snapshot").decision.action == "train", "a crash begins no cool-down"
    (run,) = [run for run in workspace.ledger.runs(CASA) if run.record.run_id == "killed"]
    assert run.outcome == "crashed"


@pytest.mark.slow
def test_a_retraining_that_fails_is_told_and_a_second_one_beside_it_is_skipped(workspace: Any, make_tables: Any) -> None:
    workspace.train()
    change_prices(workspace, make_tables)
    inner: list[Retrained] = []

    def step(name: str, function: Any, *arguments: Any) -> Any:
        if name == "choose and fit":
            inner.append(ask(workspace, "hand"))
            raise BrandhouseError("no luck")
        return function(*arguments)

    plan = plan_training(workspace.settings, CASA, str(uuid.uuid4()), "local")
    with pytest.raises(BrandhouseError, match="no luck"):
        retrain(plan, workspace.ledger, workspace.store, step, trigger="snapshot", reason="a test", now=later(days=2))
    assert inner[0].decision.action == "skip" and "being trained already" in inner[0].decision.reason
    assert [entry.state for entry in decisions(workspace, "retraining.outcome")] == ["failed"]
    assert workspace.ledger.entries(EntryKind.ALERT, "casa", "price")[0].name == "retrain"


@pytest.mark.slow
def test_what_waited_or_was_lost_is_due_again(workspace: Any, make_tables: Any) -> None:
    workspace.train()
    brands = [workspace.brand("casa"), workspace.brand("villa")]
    assert due_retrainings(workspace.ledger, brands, later(days=2)) == []
    red = Entry(
        kind=EntryKind.CHECK, brand="casa", model="price", name="drift.area", state="red", detail="area drifts", actor="t", at=later()
    )  # fmt: skip
    workspace.ledger.record_entry(red)
    assert due_retrainings(workspace.ledger, brands, later(minutes=1)) == [], "its event may still come"
    (lost,) = due_retrainings(workspace.ledger, brands, later(minutes=9))
    assert (lost.key, lost.trigger, lost.reason) == (CASA, "drift", "area drifts (its event started nothing)")
    change_prices(workspace, make_tables)
    assert ask(workspace, "drift", now=later(hours=1)).decision.action == "wait"
    assert due_retrainings(workspace.ledger, brands, later(hours=2)) == []
    (waited,) = due_retrainings(workspace.ledger, brands, later(hours=25))
    assert (waited.key, waited.trigger) == (CASA, "drift") and waited.reason.startswith("waited since")


@pytest.mark.slow
def test_a_retraining_after_an_erasure_that_failed_is_due_again_and_others_are_not(workspace: Any) -> None:
    workspace.train()

    def fail(name: str, function: Any, *arguments: Any) -> Any:
        raise BrandhouseError("no luck")

    triggers: tuple[Trigger, ...] = ("schedule", "erasure")
    for trigger in triggers:
        workspace.append("requirements.lock", f"# {trigger}\n")
        plan = plan_training(workspace.settings, CASA, str(uuid.uuid4()), "local")
        with pytest.raises(BrandhouseError):
            retrain(plan, workspace.ledger, workspace.store, fail, trigger=trigger, reason="a test", now=later(days=2))
        due = [one.trigger for one in due_retrainings(workspace.ledger, [workspace.brand("casa")], later(days=4))]
        assert due == (["erasure"] if trigger == "erasure" else [])
    assert due_retrainings(workspace.ledger, [workspace.brand("casa")], later(days=2, hours=1)) == []
