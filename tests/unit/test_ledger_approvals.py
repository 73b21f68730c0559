"""A version of a brand with high risk answers nobody before two different people agreed, whatever way is tried."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from brandhouse_shared.errors import ApprovalError, GateError, LedgerError, StageChangeError
from brandhouse_shared.ledger import open_ledger
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import Approval, Entry, EntryKind, StageChange
from brandhouse_shared.ledger.stages import Stage
from brandhouse_shared.metrics import Task
from brandhouse_shared.names import ModelKey, VersionKey

BIRTH = ModelKey("wiegje", "weight")
PRICE = ModelKey("kaasplein", "price")
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as opened:
        opened.require_people("wiegje", 2, "training template", "risk is high")
        yield opened


def register(ledger: Ledger, key: ModelKey = BIRTH, name: str = "a", *, passed: bool = True) -> VersionKey:
    texts = ("target", "snapshot_hash", "snapshot_dataset", "git_commit", "lock_hash", "code_digest", "template_version", "estimator")
    numbers = ("score", "score_low", "score_high", "baseline_score", "trained_seconds")
    document = {
        **dict.fromkeys((*texts, "candidate_name", "owner", "run_id"), "x"),
        **dict.fromkeys(numbers, 1.0),
        **dict.fromkeys(("rows_train", "rows_holdout", "seed"), 1),
        "key": str(key),
        "kind": "candidate",
        "fingerprint": name,
        "artifact_digest": name,
        "runtime": "compiled",
        "task": Task.REGRESSION,
        "metric": "mae",
        "production_score": None,
        "gates_passed": passed,
        "git_dirty": False,
        "gates": [{"name": "threshold", "passed": passed, "detail": "d"}],
        "params": {},
        "slices": [],
        "flow_run_url": "local",
        "feature_statistics": {"rows": 1},
        "created_at": NOON,
    }
    return ledger.register_version_document(document)


def change(version: VersionKey, actor: str = "anna", to: Stage = Stage.PRODUCTION, **more: object) -> StageChange:
    return StageChange.model_validate({"version": version, "to": to, "actor": actor, "reason": "read the card", **more})


def approve(ledger: Ledger, version: VersionKey, actor: str, to: Stage = Stage.PRODUCTION, **more: object) -> Approval:
    return ledger.approve(change(version, actor, to, **more))


def test_two_different_people_bring_a_version_into_production(ledger: Ledger) -> None:
    version = register(ledger)
    first = approve(ledger, version, "anna")
    assert (first.missing, first.event) == (1, None)
    assert ledger.find_version(version).stage is Stage.CANDIDATE, "one person moves nothing"
    second = approve(ledger, version, "ben")
    assert second.missing == 0 and second.event is not None
    assert second.event.reason == "read the card (approved by anna, ben)"
    assert ledger.production(BIRTH) is not None
    assert [entry.actor for entry in ledger.entries(EntryKind.APPROVAL, "wiegje", "weight")] == ["ben", "anna"]


@pytest.mark.parametrize("more", [{}, {"force": True}, {"automatic": True}, {"at": NOON}])
def test_no_single_change_gets_through(ledger: Ledger, more: dict[str, object]) -> None:
    version = register(ledger)
    with pytest.raises(ApprovalError, match="wiegje/weight/v1 may go to production when 2 different people have agreed; so far: nobody"):
        ledger.change_stage(change(version, **more))
    assert ledger.production(BIRTH) is None


@pytest.mark.parametrize("again", ["anna", "Anna", " anna ", "ANNA"])
def test_the_same_person_under_another_spelling_is_one(ledger: Ledger, again: str) -> None:
    version = register(ledger)
    approve(ledger, version, "anna")
    with pytest.raises(StageChangeError, match="has agreed to production already; another person has to"):
        approve(ledger, version, again)
    with pytest.raises(ApprovalError, match="so far: anna"):
        ledger.change_stage(change(version, again))


def test_a_canary_answers_users_too_and_a_larger_one_is_another_question(ledger: Ledger) -> None:
    version = register(ledger)
    with pytest.raises(ApprovalError):
        ledger.change_stage(change(version, to=Stage.CANARY, share=0.99))
    ledger.change_stage(change(version, to=Stage.SHADOW))  # answers nobody
    approve(ledger, version, "anna", Stage.CANARY, share=0.05)
    assert approve(ledger, version, "ben", Stage.CANARY, share=0.05).event is not None
    with pytest.raises(ApprovalError, match="nobody"):
        ledger.change_stage(change(version, to=Stage.CANARY, share=0.99))
    with pytest.raises(ApprovalError, match="nobody"):
        ledger.change_stage(change(version))
    ledger.change_stage(change(version, to=Stage.CANARY, share=0.01))


def test_agreement_is_for_one_version_and_is_used_up_by_a_promotion(ledger: Ledger) -> None:
    first, second = register(ledger), register(ledger, name="b")
    for actor in ("anna", "ben"):
        approve(ledger, first, actor)
    with pytest.raises(ApprovalError):
        ledger.change_stage(change(second))
    ledger.retire(BIRTH, "carl", "harmful")
    with pytest.raises(ApprovalError, match="nobody"):
        ledger.change_stage(change(first, "carl"))
    approve(ledger, first, "carl")
    with pytest.raises(StageChangeError):
        approve(ledger, first, "carl")


def test_one_person_may_roll_back_at_once_but_only_to_what_was_in_production(ledger: Ledger) -> None:
    first, second = register(ledger), register(ledger, name="b")
    for version in (first, second):
        for actor in ("anna", "ben"):
            approve(ledger, version, actor)
    third = register(ledger, name="c")
    with pytest.raises(StageChangeError, match="was never in production"):
        ledger.rollback(BIRTH, "anna", "try", to=third.number)
    event = ledger.rollback(BIRTH, "anna", "wrong weights")
    assert (event.version, event.actor) == (first, "anna")


def test_a_weaker_rule_frees_only_versions_that_are_registered_afterwards(ledger: Ledger) -> None:
    before = register(ledger)
    ledger.require_people("wiegje", 0, "anna", "risk is low now")
    with pytest.raises(ApprovalError):
        ledger.change_stage(change(before))
    after = register(ledger, name="b")
    ledger.change_stage(change(after))
    ledger.require_people("wiegje", 2, "ben", "risk is high again")
    assert ledger.people_needed(register(ledger, name="c")) == 2


def test_a_stricter_rule_holds_at_once_for_every_version_of_that_brand_only(ledger: Ledger) -> None:
    version = register(ledger, PRICE)
    assert ledger.people_needed(version) == 0
    ledger.require_people("kaasplein", 2, "anna", "risk is high now")
    assert ledger.require_people("kaasplein", 2, "anna", "said again") is None
    with pytest.raises(ApprovalError):
        ledger.change_stage(change(version))
    ledger.require_people("kaasplein", 0, "anna", "risk is low again")
    with pytest.raises(ApprovalError):
        ledger.change_stage(change(version))


def test_approvals_cannot_be_written_past_the_check(ledger: Ledger) -> None:
    version = register(ledger)
    facts = {"after_event": 999}
    loose = Entry(
        kind=EntryKind.APPROVAL, brand="wiegje", model="weight", number=1, name="production", state="approved", detail="d", actor="ben",
        facts=facts, at=NOON,
    )  # fmt: skip
    with pytest.raises(LedgerError, match="recorded by `approve` alone"):
        ledger.record_entry(loose)
    with pytest.raises(LedgerError, match="recorded by `approve` alone"):
        ledger.record_decided(EntryKind.ALERT, "wiegje", NOON - timedelta(days=1), lambda _: [loose])
    with pytest.raises(StageChangeError, match="only a person can agree"):
        approve(ledger, version, "ben", automatic=True)
    assert ledger.approvals(version) == []


def test_a_version_whose_gates_failed_cannot_be_agreed_to_unless_all_force_it(ledger: Ledger) -> None:
    version = register(ledger, passed=False)
    with pytest.raises(GateError):
        approve(ledger, version, "anna")
    assert ledger.approvals(version) == [], "what was refused is no agreement"
    approve(ledger, version, "anna", force=True)
    with pytest.raises(GateError):
        approve(ledger, version, "ben")
    event = approve(ledger, version, "ben", force=True).event
    assert event is not None and event.forced


def test_a_brand_without_the_rule_needs_nobody_and_may_still_be_approved(ledger: Ledger) -> None:
    version = register(ledger, PRICE)
    outcome = approve(ledger, version, "anna")
    assert outcome.missing == 0 and outcome.event is not None


def test_the_other_process_does_not_slip_in_between(ledger: Ledger, tmp_path: Path) -> None:
    version = register(ledger)
    other = open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    approve(other, version, "anna")
    with pytest.raises(ApprovalError, match="so far: anna"):
        other.change_stage(change(version))
    assert approve(ledger, version, "ben").event is not None
