"""What every ledger does, whatever database keeps it. Here on SQLite; the integration tests run the same on PostgreSQL."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text

from brandhouse_shared.api_keys import create_key, verify
from brandhouse_shared.errors import (
    GateError,
    IncompleteRecordError,
    LedgerError,
    LedgerVersionError,
    RetryableError,
    StageChangeError,
    UnauthenticatedError,
    UnknownVersionError,
)
from brandhouse_shared.ledger import database as database_module
from brandhouse_shared.ledger import open_ledger, revisions, schema, upgrade_ledger
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import (
    DeploymentRecord,
    Entry,
    EntryKind,
    RunRecord,
    RunResult,
    SnapshotRecord,
    StageChange,
    StageEvent,
    VersionRecord,
)
from brandhouse_shared.ledger.revisions import HEAD, VERSION_TABLE
from brandhouse_shared.ledger.stages import DEFAULT_SHARE, Cause, Stage
from brandhouse_shared.ledger.status import read_status
from brandhouse_shared.ledger.tables import METADATA
from brandhouse_shared.names import ModelKey, VersionKey

PRICE = ModelKey("kaasplein", "price")
CHURN = ModelKey("fietspunt", "churn")
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)

WRITER = """
import sys
from brandhouse_shared.ledger import open_ledger
from brandhouse_shared.names import ModelKey
import json
url, writer, count, document = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[4])
ledger = open_ledger(url)
for turn in range(count):
    own = document | {"artifact_digest": f"{writer}-{turn}", "key": "kaasplein/price" if turn % 2 else f"fietspunt/churn{writer}"}
    print(ledger.register_version_document(own), flush=True)
"""


@pytest.fixture
def ledger_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'home' / 'ledger.db'}"


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    with open_ledger(ledger_url) as opened:
        yield opened


def make_document(key: ModelKey = PRICE, artifact: str = "a1", **changes: Any) -> dict[str, Any]:
    """A complete version document; each artifact name gives another version."""
    return {
        "key": str(key),
        "kind": "candidate",
        "fingerprint": f"inputs of {artifact}",
        "artifact_digest": artifact,
        "runtime": "compiled",
        "task": "regression",
        "target": "price",
        "metric": "rmse",
        "score": 10.5,
        "score_low": 10.0,
        "score_high": 11.0,
        "baseline_score": 20.0,
        "production_score": None,
        "gates": [{"name": "baseline", "passed": True, "detail": "10.5 against 20.0"}],
        "gates_passed": True,
        "snapshot_hash": "d41d8cd98f00b204e9800998ecf8427e",
        "snapshot_dataset": "listings",
        "rows_train": 800,
        "rows_holdout": 200,
        "git_commit": "0123abc",
        "git_dirty": False,
        "lock_hash": "10c4",
        "code_digest": "c0de",
        "template_version": "1",
        "estimator": "Ridge",
        "candidate_name": "ridge",
        "params": {"alpha": 1.0, "solver": "auto"},
        "seed": 7,
        "slices": [{"slice": "region=north", "rows": 20, "score": 11.2}],
        "feature_statistics": {"age": {"mean": 40.5, "missing_share": 0.0}},
        "owner": "team kaas",
        "run_id": "run-1",
        "flow_run_url": "local",
        "trained_seconds": 1.5,
        "created_at": "2026-03-01T12:00:00Z",
    } | changes


def register(ledger: Ledger, key: ModelKey = PRICE, artifact: str = "a1", **changes: Any) -> VersionKey:
    return ledger.register_version_document(make_document(key, artifact, **changes))


def promote(ledger: Ledger, version: VersionKey, **changes: Any) -> StageEvent:
    return ledger.change_stage(StageChange(version=version, to=Stage.PRODUCTION, actor="anna", reason="better", **changes))


def register_promoted(ledger: Ledger, key: ModelKey, artifacts: str) -> list[VersionKey]:
    """Register and promote one version per letter, in that order."""
    keys = [register(ledger, key, artifact) for artifact in artifacts]
    for key_of_version in keys:
        promote(ledger, key_of_version)
    return keys


def stages_of(ledger: Ledger, key: ModelKey) -> dict[int, str]:
    return {version.number: version.stage.value for version in ledger.versions(key)}


def run_record(run_id: str, key: ModelKey = PRICE, **changes: Any) -> RunRecord:
    fixed = {"template": "train", "flow_run_url": None, "git_commit": "0123abc", "params_digest": "p", "actor": "anna", "started_at": NOON}
    return RunRecord.model_validate({"run_id": run_id, "key": key, **fixed, **changes})


def run_result(run_id: str, key: ModelKey = PRICE, **changes: Any) -> RunResult:
    scores = {"score": 2.0, "score_low": 1.5, "score_high": None, "baseline_score": 4.0, "production_score": None}
    texts = {"metric": "mae", "snapshot_hash": "h1", "snapshot_dataset": "listings", "candidate_name": "default", "estimator": "Ridge"}
    counts = {"rows_train": 300, "rows_holdout": 100, "trials": 2, "number": None, "learning_seconds": 0.5}
    digests = {"holdout_digest": "d1", "details_digest": None, "recorded_at": NOON, "gates_passed": True}
    documents = {"gates": [{"name": "threshold", "passed": True}], "params": {"alpha": 0.1}, "slices": []}
    return RunResult.model_validate({"run_id": run_id, "key": key} | scores | texts | counts | digests | documents | changes)


# Versions


def test_versions_are_numbered_per_model_from_one(ledger: Ledger) -> None:
    numbers = [str(register(ledger, key, artifact)) for artifact in ("a1", "a2") for key in (PRICE, CHURN)]
    assert numbers == ["kaasplein/price/v1", "fietspunt/churn/v1", "kaasplein/price/v2", "fietspunt/churn/v2"]


def test_registered_record_comes_back_unchanged(ledger: Ledger) -> None:
    record = VersionRecord.from_document(make_document(production_score=12.25, created_at="2026-03-01T14:00:00+02:00"))
    version = ledger.find_version(ledger.register_version(record))
    assert version.record == record
    assert version.record.created_at == NOON
    assert version.record.created_at.tzinfo is UTC
    assert list(version.record.params) == ["alpha", "solver"]
    assert (version.number, version.stage, str(version.key)) == (1, Stage.CANDIDATE, "kaasplein/price/v1")


def test_registering_the_same_artifact_of_the_same_inputs_again_is_one_version(ledger: Ledger) -> None:
    first = register(ledger)
    assert register(ledger) == first
    assert register(ledger, CHURN) == CHURN.version(1), "the same digest in another brand is another version"
    assert register(ledger, fingerprint="other inputs") == PRICE.version(2)
    assert len(ledger.stage_events()) == 3


def test_missing_and_empty_fields_are_listed(ledger: Ledger) -> None:
    document = make_document(owner=" ", score=None, feature_statistics={}, gates=[])
    del document["lock_hash"], document["production_score"]
    with pytest.raises(
        IncompleteRecordError, match="kaasplein/price: not registered, its record lacks score, production_score, gates, lock_hash"
    ):
        ledger.register_version_document(document)
    with pytest.raises(IncompleteRecordError) as caught:
        ledger.register_version_document(document)
    assert caught.value.missing == ("score", "production_score", "gates", "lock_hash", "feature_statistics", "owner")
    assert ledger.versions(PRICE) == []
    assert ledger.last_seq() == 0


def test_each_field_is_required() -> None:
    for name in set(VersionRecord.model_fields) - {"key"}:
        document = make_document()
        del document[name]
        with pytest.raises(IncompleteRecordError, match=f"lacks {name}$"):
            VersionRecord.from_document(document)


def test_complete_record_with_an_empty_text_is_refused_too(ledger: Ledger) -> None:
    record = VersionRecord.from_document(make_document()).model_copy(update={"git_commit": ""})
    with pytest.raises(IncompleteRecordError, match="lacks git_commit"):
        ledger.register_version(record)


def test_baseline_needs_no_gates_and_a_model_no_params_or_slices(ledger: Ledger) -> None:
    assert register(ledger, kind="baseline", gates=[], params={}, slices=[]).number == 1


def test_invalid_fields_are_named_without_their_values(ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match=r"kaasplein/price: not registered, its record is not valid: score: .*finite") as caught:
        register(ledger, score=float("nan"), rows_train="geheim", surprise=1)
    assert "rows_train: " in str(caught.value)
    assert "surprise: " in str(caught.value)
    assert "geheim" not in str(caught.value)


def test_nested_numbers_become_plain_json(ledger: Ledger) -> None:
    import numpy as np

    version = register(
        ledger,
        params={"alpha": np.float64(0.5), "depth": np.int64(3), "nan": float("nan")},
        rows_train=np.int64(9),
        slices=({"score": float("inf")},),
    )
    record = ledger.find_version(version).record
    assert record.params == {"alpha": 0.5, "depth": 3, "nan": None}
    assert record.slices == [{"score": None}]
    assert record.rows_train == 9


def test_unknown_version_names_those_there_are(ledger: Ledger) -> None:
    register(ledger)
    with pytest.raises(UnknownVersionError, match="kaasplein/price has no version v9; known: v1"):
        ledger.find_version(PRICE.version(9))
    with pytest.raises(UnknownVersionError, match="fietspunt/churn has no version v1; known: none"):
        promote(ledger, CHURN.version(1))


def test_versions_are_listed_newest_first_and_per_model(ledger: Ledger) -> None:
    for artifact in ("a1", "a2", "a3"):
        register(ledger, PRICE, artifact)
    register(ledger, CHURN)
    assert [version.number for version in ledger.versions(PRICE)] == [3, 2, 1]
    assert [version.number for version in ledger.versions(CHURN)] == [1]


def test_newest_version_of_the_same_inputs_is_found(ledger: Ledger) -> None:
    register(ledger, artifact="a1", fingerprint="f")
    register(ledger, artifact="a2", fingerprint="f")
    found = ledger.find_by_fingerprint(PRICE, "f")
    assert found is not None
    assert found.number == 2
    assert ledger.find_by_fingerprint(PRICE, "g") is None
    assert ledger.find_by_fingerprint(CHURN, "f") is None


def test_registration_names_who_started_the_run(ledger: Ledger) -> None:
    ledger.start_run(run_record("run-1", actor="schedule"))
    register(ledger)
    register(ledger, CHURN, run_id="run-2")
    assert [(event.actor, event.reason) for event in ledger.stage_events()] == [
        ("schedule", "registered by run run-1"),
        ("team kaas", "registered by run run-2"),
    ]


# Stages


def test_promotion_retires_the_predecessor_at_the_same_time(ledger: Ledger) -> None:
    first, second = register_promoted(ledger, PRICE, "ab")
    register_promoted(ledger, CHURN, "a")
    assert stages_of(ledger, PRICE) == {1: "retired", 2: "production"}
    assert stages_of(ledger, CHURN) == {1: "production"}
    events = ledger.stage_events(PRICE, after_seq=3)
    assert [(event.version, event.from_stage, event.to, event.cause) for event in events] == [
        (first, Stage.PRODUCTION, Stage.RETIRED, Cause.REPLACED),
        (second, Stage.CANDIDATE, Stage.PRODUCTION, Cause.CHANGED),
    ]
    assert {(event.actor, event.reason) for event in events} == {("anna", "better")}


def test_failed_promotion_leaves_the_predecessor_in_production(ledger: Ledger) -> None:
    first = register_promoted(ledger, PRICE, "a")[0]
    failed = register(ledger, artifact="b", gates_passed=False, gates=[{"name": "threshold", "passed": False, "detail": ""}])
    with pytest.raises(GateError, match=r"kaasplein/price/v2 did not pass its gates \(threshold\) and may not go to production"):
        promote(ledger, failed)
    production = ledger.production(PRICE)
    assert production is not None
    assert production.key == first


def test_forced_promotion_is_allowed_and_remembered(ledger: Ledger) -> None:
    failed = register(ledger, gates_passed=False)
    assert promote(ledger, failed, force=True).forced
    passed = register(ledger, artifact="b")
    assert not promote(ledger, passed, force=True).forced, "nothing had to be forced"


def test_failed_gates_do_not_keep_a_version_from_the_shadow(ledger: Ledger) -> None:
    failed = register(ledger, gates_passed=False)
    event = ledger.change_stage(StageChange(version=failed, to=Stage.SHADOW, actor="anna", reason="look at it"))
    assert (event.from_stage, event.to) == (Stage.CANDIDATE, Stage.SHADOW)


@pytest.mark.parametrize(("actor", "reason", "lacking"), [("anna", " ", "a reason"), ("", "better", "an actor")])
def test_each_change_says_who_and_why(actor: str, reason: str, lacking: str, ledger: Ledger) -> None:
    version = register_promoted(ledger, PRICE, "ab")[0]
    with pytest.raises(StageChangeError, match=f"needs {lacking}"):
        ledger.change_stage(StageChange(version=version, to=Stage.PRODUCTION, actor=actor, reason=reason))
    with pytest.raises(StageChangeError, match=f"needs {lacking}"):
        ledger.rollback(PRICE, actor, reason)
    with pytest.raises(StageChangeError, match=f"needs {lacking}"):
        ledger.retire(PRICE, actor, reason)
    assert ledger.last_seq() == 5


def test_change_to_the_present_stage_is_refused(ledger: Ledger) -> None:
    version = register_promoted(ledger, PRICE, "a")[0]
    with pytest.raises(StageChangeError, match="kaasplein/price/v1 is already in stage production; nothing was changed"):
        promote(ledger, version)


def test_retired_version_comes_back_by_promotion_or_for_a_trial(ledger: Ledger) -> None:
    first = register_promoted(ledger, PRICE, "ab")[0]
    ledger.change_stage(StageChange(version=first, to=Stage.CANARY, actor="anna", reason="try"))
    assert stages_of(ledger, PRICE) == {1: "canary", 2: "production"}
    promote(ledger, first)
    assert stages_of(ledger, PRICE) == {1: "production", 2: "retired"}


def test_rollback_returns_to_the_version_before(ledger: Ledger) -> None:
    register_promoted(ledger, PRICE, "ab")
    event = ledger.rollback(PRICE, "bob", "wrong prices")
    assert (str(event.version), event.cause, event.actor, event.reason) == ("kaasplein/price/v1", Cause.ROLLED_BACK, "bob", "wrong prices")
    assert stages_of(ledger, PRICE) == {1: "production", 2: "retired"}


def test_second_rollback_goes_further_back_and_never_returns_to_what_was_rolled_back(ledger: Ledger) -> None:
    register_promoted(ledger, PRICE, "abc")
    ledger.rollback(PRICE, "bob", "wrong")
    assert ledger.rollback(PRICE, "bob", "still wrong").version.number == 1
    with pytest.raises(StageChangeError, match="kaasplein/price has no version that was in production before"):
        ledger.rollback(PRICE, "bob", "still wrong")
    assert stages_of(ledger, PRICE) == {1: "production", 2: "retired", 3: "retired"}


def test_rollback_to_a_named_version(ledger: Ledger) -> None:
    register_promoted(ledger, PRICE, "abc")
    never = register(ledger, artifact="d")
    assert ledger.rollback(PRICE, "bob", "wrong", to=1).version.number == 1
    with pytest.raises(StageChangeError, match="kaasplein/price/v4 was never in production"):
        ledger.rollback(PRICE, "bob", "wrong", to=never.number)
    with pytest.raises(UnknownVersionError, match="known: v4, v3, v2, v1"):
        ledger.rollback(PRICE, "bob", "wrong", to=9)


def test_rollback_does_not_ask_for_gates_again(ledger: Ledger) -> None:
    forced = register(ledger, gates_passed=False)
    promote(ledger, forced, force=True)
    promote(ledger, register(ledger, artifact="b"))
    assert ledger.rollback(PRICE, "bob", "worse").version == forced


def test_retirement_leaves_none_in_production_and_rollback_undoes_it(ledger: Ledger) -> None:
    register_promoted(ledger, PRICE, "ab")
    ledger.retire(PRICE, "bob", "season is over")
    assert ledger.production(PRICE) is None
    assert stages_of(ledger, PRICE) == {1: "retired", 2: "retired"}
    with pytest.raises(StageChangeError, match="kaasplein/price has no version in production; nothing to retire"):
        ledger.retire(PRICE, "bob", "again")
    assert ledger.rollback(PRICE, "bob", "season begins").version.number == 2


def test_production_versions_are_those_of_all_models_that_have_one(ledger: Ledger) -> None:
    register_promoted(ledger, PRICE, "ab")
    register_promoted(ledger, CHURN, "a")
    register(ledger, ModelKey("fietspunt", "price"))
    found = ledger.production_versions()
    assert {str(key): version.number for key, version in found.items()} == {"kaasplein/price": 2, "fietspunt/churn": 1}
    assert found[PRICE] == ledger.production(PRICE)
    ledger.retire(CHURN, "bob", "over")
    assert set(ledger.production_versions()) == {PRICE}


def test_deployed_versions_are_those_in_production_and_on_trial_of_the_models_asked_for(ledger: Ledger) -> None:
    register_promoted(ledger, PRICE, "ab")
    register_promoted(ledger, CHURN, "a")
    put(ledger, register(ledger, PRICE, "c"), Stage.SHADOW)
    register(ledger, ModelKey("fietspunt", "price"))
    production, trials = ledger.production_versions(), ledger.trial_versions()
    assert ledger.deployed_versions() == [production[PRICE], production[CHURN], *trials]
    assert ledger.deployed_versions([PRICE]) == [production[PRICE], *trials]
    assert ledger.deployed_versions([CHURN, ModelKey("fietspunt", "price")]) == [production[CHURN]]
    assert ledger.deployed_versions([]) == []


def test_stage_events_are_followed_by_their_seq(ledger: Ledger) -> None:
    register_promoted(ledger, PRICE, "ab")
    register(ledger, CHURN)
    assert ledger.last_seq() == 6
    assert [event.seq for event in ledger.stage_events()] == [1, 2, 3, 4, 5, 6]
    assert [event.seq for event in ledger.stage_events(after_seq=4)] == [5, 6]
    assert [event.seq for event in ledger.stage_events(after_seq=1, limit=2)] == [2, 3]
    assert [event.seq for event in ledger.stage_events(CHURN)] == [6]


# Canary and shadow


def put(ledger: Ledger, version: VersionKey, to: Stage, **changes: Any) -> StageEvent:
    return ledger.change_stage(StageChange(version=version, to=to, actor="anna", reason="try it", **changes))


def test_a_canary_has_a_share_that_may_change_and_is_on_record(ledger: Ledger) -> None:
    register_promoted(ledger, PRICE, "a")
    second = register(ledger, artifact="b")
    assert put(ledger, second, Stage.CANARY).share == DEFAULT_SHARE
    event = put(ledger, second, Stage.CANARY, share=0.5)
    assert (event.from_stage, event.to, event.share) == (Stage.CANARY, Stage.CANARY, 0.5)
    found = ledger.find_version(second)
    assert (found.stage, found.share, found.stage_seq) == (Stage.CANARY, 0.5, event.seq)
    with pytest.raises(StageChangeError, match="kaasplein/price/v2 is already in stage canary; nothing was changed"):
        put(ledger, second, Stage.CANARY, share=0.5)
    promote(ledger, second)
    assert [event.share for event in ledger.stage_events(PRICE)] == [None, None, None, 0.1, 0.5, None, None]
    assert ledger.find_version(second).share is None


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 1.5])
def test_a_share_is_between_nothing_and_all(share: float, ledger: Ledger) -> None:
    with pytest.raises(StageChangeError, match="a canary's share is above 0 and below 1, such as"):
        put(ledger, register(ledger), Stage.CANARY, share=share)


@pytest.mark.parametrize("to", [Stage.SHADOW, Stage.PRODUCTION, Stage.RETIRED])
def test_a_share_is_for_a_canary_only(to: Stage, ledger: Ledger) -> None:
    with pytest.raises(StageChangeError, match=f"kaasplein/price/v1: a share is for canary, not for {to}; leave it out"):
        put(ledger, register(ledger), to, share=0.1)


def test_a_model_has_one_canary_and_any_number_of_shadows(ledger: Ledger) -> None:
    first, second, third = (register(ledger, artifact=name) for name in "abc")
    put(ledger, first, Stage.CANARY)
    with pytest.raises(
        StageChangeError, match=r"v2 cannot be canary beside v1, which is: .* `brandhouse retire kaasplein/price --version v1`"
    ):
        put(ledger, second, Stage.CANARY)
    put(ledger, register(ledger, CHURN), Stage.CANARY)
    put(ledger, second, Stage.SHADOW)
    put(ledger, third, Stage.SHADOW)
    found = [(str(version.key), str(version.stage)) for version in ledger.trial_versions()]
    assert found == [
        ("kaasplein/price/v1", "canary"),
        ("fietspunt/churn/v1", "canary"),
        ("kaasplein/price/v2", "shadow"),
        ("kaasplein/price/v3", "shadow"),
    ]
    put(ledger, first, Stage.SHADOW)
    assert put(ledger, second, Stage.CANARY).to is Stage.CANARY


def test_shadow_and_canary_of_one_version_are_ended_by_its_number(ledger: Ledger) -> None:
    register_promoted(ledger, PRICE, "a")
    second = register(ledger, artifact="b")
    put(ledger, second, Stage.SHADOW)
    assert ledger.retire(PRICE, "bob", "seen enough", second.number).from_stage is Stage.SHADOW
    assert stages_of(ledger, PRICE) == {1: "production", 2: "retired"}
    with pytest.raises(StageChangeError, match="kaasplein/price/v2 is already in stage retired"):
        ledger.retire(PRICE, "bob", "again", second.number)
    with pytest.raises(UnknownVersionError, match="no version v9"):
        ledger.retire(PRICE, "bob", "again", 9)


def test_a_canary_is_stopped_once_and_only_while_its_trial_lasts(ledger: Ledger) -> None:
    first, second, third = register_promoted(ledger, PRICE, "a")[0], register(ledger, artifact="b"), register(ledger, artifact="c")
    put(ledger, second, Stage.CANARY, share=0.2)

    def since() -> int:
        production = ledger.production(PRICE)
        assert production is not None
        return ledger.find_version(second).trial_since(production)

    begun = since()
    event = ledger.stop_canary(second, begun, "gateway", "it fails")
    assert event is not None
    assert (event.from_stage, event.to, event.automatic, event.share, event.reason) == ("canary", "shadow", True, None, "it fails")
    assert ledger.stop_canary(second, begun, "gateway", "it fails") is None, "another process has seen the same"
    put(ledger, second, Stage.CANARY, share=0.2)
    assert ledger.stop_canary(second, begun, "gateway", "it fails") is None, "what was seen before says nothing about the new trial"
    begun = since()
    put(ledger, second, Stage.CANARY, share=0.3)
    assert ledger.stop_canary(second, begun, "gateway", "it fails") is None, "with another share it is another trial"
    begun = since()
    promote(ledger, third)
    assert ledger.stop_canary(second, begun, "gateway", "it fails") is None, "it was compared with another version"
    assert since() > begun
    ledger.rollback(PRICE, "bob", "back", first.number)
    assert ledger.stop_canary(second, since(), "gateway", "it fails") is not None


def test_status_shows_what_is_on_trial_beside_production(ledger: Ledger, ledger_url: str) -> None:
    register_promoted(ledger, PRICE, "a")
    put(ledger, register(ledger, artifact="b"), Stage.SHADOW)
    put(ledger, register(ledger, artifact="c"), Stage.CANARY, share=0.25)
    put(ledger, register(ledger, CHURN), Stage.SHADOW)
    churn, price = ledger.status_rows()
    assert (churn.stage, churn.on_trial) == (Stage.SHADOW, ()), "it is the row itself"
    assert [(one.version, str(one.stage), one.share) for one in price.on_trial] == [(2, "shadow", None), (3, "canary", 0.25)]
    assert read_status(ledger_url) == [churn, price]


def test_canary_of_a_release_without_shares_has_none_until_it_is_given_one(ledger: Ledger) -> None:
    version = register(ledger)
    columns = "seq, brand, model, number, from_stage, to_stage, cause, actor, reason, automatic, forced, at"
    values = "2, 'kaasplein', 'price', 1, 'candidate', 'canary', 'changed', 'anna', 'try', false, false, '2026-03-01T12:00:00.000000+00:00'"
    execute(ledger, f"INSERT INTO ledger_stage_events ({columns}) VALUES ({values})")
    assert ledger.find_version(version).share is None
    assert put(ledger, version, Stage.CANARY).share == DEFAULT_SHARE


# Status


def test_status_shows_production_or_else_the_newest_version(ledger: Ledger, ledger_url: str) -> None:
    promote(ledger, register(ledger, artifact="a", score=1.5))
    register(ledger, artifact="b")
    register(ledger, CHURN, "a")
    register(ledger, CHURN, "b", runtime="python", production_score=3.0)
    churn, price = ledger.status_rows()
    assert (str(churn.key), churn.stage, churn.runtime, churn.promoted_at, churn.actor) == (
        "fietspunt/churn/v2",
        "candidate",
        "python",
        None,
        "team kaas",
    )
    assert (str(price.key), price.stage, price.score, price.baseline_score, price.actor) == (
        "kaasplein/price/v1",
        "production",
        1.5,
        20.0,
        "anna",
    )
    assert (price.task, price.metric, price.created_at) == ("regression", "rmse", NOON)
    assert price.promoted_at is not None
    assert timedelta(0) <= datetime.now(UTC) - price.promoted_at < timedelta(minutes=1)
    assert read_status(ledger_url) == [churn, price]


def test_status_after_retirement_shows_the_newest_version(ledger: Ledger) -> None:
    register_promoted(ledger, PRICE, "ab")
    ledger.retire(PRICE, "bob", "over")
    row = ledger.status_rows()[0]
    assert (row.version, row.stage, row.promoted_at, row.actor) == (2, "retired", None, "bob")


def test_status_shows_the_worst_of_the_newest_checks_of_each_model(ledger: Ledger, ledger_url: str) -> None:
    register_promoted(ledger, PRICE, "a")
    register_promoted(ledger, CHURN, "a")
    for key, name, state in ((PRICE, "drift", "red"), (PRICE, "skew", "red"), (PRICE, "drift", "green"), (PRICE, "volume", "unknown")):
        at = datetime.now(UTC)
        ledger.record_entry(
            Entry(kind=EntryKind.CHECK, brand=key.brand, model=key.model, name=name, state=state, detail="x", actor="tester", at=at)
        )
    churn, price = ledger.status_rows()
    assert (price.checks, price.red_checks) == ("red", ("skew",))
    assert (churn.checks, churn.red_checks) == (None, ())
    assert read_status(ledger_url) == [churn, price]


# Snapshots, runs, deployments, fallbacks


def snapshot(brand: str = "kaasplein", hash_md5: str = "h1") -> SnapshotRecord:
    return SnapshotRecord(
        brand=brand,
        dataset="listings",
        file="data/listings.csv",
        hash_md5=hash_md5,
        size_bytes=5_000_000_000,
        rows=9,
        source="pkg",
        recorded_at=NOON,
    )


def test_snapshot_is_recorded_once_per_content(ledger: Ledger) -> None:
    for record in (snapshot(), snapshot(hash_md5="h2"), snapshot(), snapshot("fietspunt")):
        ledger.record_snapshot(record)
    assert [record.hash_md5 for record in ledger.snapshots("kaasplein")] == ["h2", "h1"]
    assert ledger.snapshots("fietspunt") == [snapshot("fietspunt")]


def test_runs_are_listed_newest_first_with_how_they_ended(ledger: Ledger) -> None:
    for record in (run_record("r1"), run_record("r2", CHURN), run_record("r3", flow_run_url="http://prefect/r3")):
        ledger.start_run(record)
    ledger.end_run("r1", "gates_failed", "threshold")
    assert [(run.record.run_id, run.outcome, run.detail) for run in ledger.runs()] == [
        ("r3", None, None),
        ("r2", None, None),
        ("r1", "gates_failed", "threshold"),
    ]
    assert ledger.runs(CHURN)[0].record == run_record("r2", CHURN)
    assert ledger.runs(PRICE)[1].ended_at is not None


def test_retried_run_is_one_run_that_may_end_again(ledger: Ledger) -> None:
    ledger.start_run(run_record("r1"))
    ledger.end_run("r1", "crashed", "killed")
    ledger.start_run(run_record("r1", started_at=NOON + timedelta(minutes=5)))
    ledger.end_run("r1", "registered", "v1")
    ledger.end_run("r1", "registered", "v1")
    runs = ledger.runs()
    assert [(run.record.started_at, run.outcome) for run in runs] == [(NOON, "registered")]
    with pytest.raises(LedgerError, match="run r1 has already ended as 'registered'; 'crashed' was not recorded"):
        ledger.end_run("r1", "crashed", "late reaper")


def test_runs_that_cannot_be_are_refused(ledger: Ledger) -> None:
    ledger.start_run(run_record("r1"))
    with pytest.raises(LedgerError, match="run r1 is already recorded as train of kaasplein/price"):
        ledger.start_run(run_record("r1", CHURN))
    with pytest.raises(LedgerError, match="there is no run 'r9' to end"):
        ledger.end_run("r9", "failed", "")
    with pytest.raises(
        LedgerError, match=r"'done' is no outcome; allowed: registered, unchanged, .*, rehearsed, scored, failed, cancelled, crashed"
    ):
        ledger.end_run("r1", "done", "")  # type: ignore[arg-type]


def test_run_says_what_it_was_to_try_and_what_it_measured(ledger: Ledger) -> None:
    asked = {"candidates": {"default": {"params": {"alpha": 0.1}}}, "sample": 0.2}
    ledger.start_run(run_record("r1", kind="sample", asked=asked, code_digest="c", lock_hash="l", git_dirty=True))
    ledger.start_run(run_record("r2", CHURN))
    ledger.record_result(run_result("r1", score=3.0))
    ledger.record_result(run_result("r1", production_score=float("2.5"), number=4))
    ledger.record_result(run_result("r2", CHURN))
    run = ledger.runs(PRICE)[0].record
    assert (run.kind, run.asked, run.code_digest, run.lock_hash, run.git_dirty) == ("sample", asked, "c", "l", True)
    assert ledger.runs(CHURN)[0].record == run_record("r2", CHURN), "asked for nothing"
    assert ledger.results(PRICE) == {"r1": run_result("r1", production_score=2.5, number=4)}, "of a retried run the newest counts"
    with pytest.raises(LedgerError, match="there is no run 'r9' to measure"):
        ledger.record_result(run_result("r9"))


def test_deployments_and_fallbacks_are_recorded(ledger: Ledger) -> None:
    record = DeploymentRecord(name="train/kaasplein-price", spec_hash="s", action="created", at=NOON, actor="anna")
    ledger.record_deployment(record)
    ledger.record_deployment(record.model_copy(update={"action": "removed"}))
    assert [item.action for item in ledger.deployments()] == ["removed", "created"]
    ledger.record_fallback(PRICE, 2, "artifact is corrupt", NOON)
    ledger.record_fallback(CHURN, None, "no version", NOON)
    assert [(str(item.key), item.number, item.reason, item.at) for item in ledger.fallbacks(PRICE)] == [
        ("kaasplein/price", 2, "artifact is corrupt", NOON)
    ]
    assert [item.number for item in ledger.fallbacks()] == [None, 2]


def test_times_of_other_zones_are_kept_as_the_same_moment_in_utc(ledger: Ledger) -> None:
    tokyo = NOON.astimezone(timezone(timedelta(hours=9)))
    ledger.start_run(run_record("r1", started_at=tokyo))
    started_at = ledger.runs()[0].record.started_at
    assert (started_at, started_at.tzinfo) == (NOON, UTC)


# API keys


def test_key_of_one_brand_lives_until_it_is_revoked(ledger: Ledger) -> None:
    plain, record = create_key("kaasplein", ("predict",), NOON + timedelta(days=36500), actor="anna")
    other, _ = create_key("fietspunt", ("predict",), None, actor="anna")
    ledger.add_key(record)
    assert ledger.keys("kaasplein") == [record]
    assert ledger.keys("fietspunt") == []
    assert verify(plain, ledger.keys()) == record
    with pytest.raises(UnauthenticatedError, match="unknown API key"):
        verify(other, ledger.keys())
    event = ledger.revoke_key(record.key_id, "bob", "leaked")
    assert (event.seq, event.brand, event.action, event.actor, event.reason) == (2, "kaasplein", "revoked", "bob", "leaked")
    assert ledger.keys()[0].revoked_at == event.at
    with pytest.raises(UnauthenticatedError, match="was revoked"):
        verify(plain, ledger.keys())


def test_key_events_are_followed_by_their_seq(ledger: Ledger) -> None:
    record = create_key("kaasplein", ("predict",), None, actor="anna")[1]
    assert ledger.keys_seq() == 0
    ledger.add_key(record)
    ledger.revoke_key(record.key_id, "bob", "leaked")
    assert ledger.keys_seq() == 2
    assert [(event.seq, event.action) for event in ledger.key_events_after(0)] == [(1, "added"), (2, "revoked")]
    assert [event.seq for event in ledger.key_events_after(1)] == [2]
    assert ledger.last_seq() == 0, "keys do not disturb who follows stages"


def test_key_changes_that_cannot_be_are_refused(ledger: Ledger) -> None:
    record = create_key("kaasplein", ("predict",), None, actor="anna")[1]
    ledger.add_key(record)
    with pytest.raises(LedgerError, match=f"key {record.key_id} is already in the ledger") as caught:
        ledger.add_key(record)
    assert record.hash not in str(caught.value)
    with pytest.raises(LedgerError, match="there is no key 'beef'"):
        ledger.revoke_key("beef", "bob", "leaked")
    with pytest.raises(LedgerError, match="needs an actor and a reason"):
        ledger.revoke_key(record.key_id, "bob", "")
    ledger.revoke_key(record.key_id, "bob", "leaked")
    with pytest.raises(LedgerError, match="is already revoked"):
        ledger.revoke_key(record.key_id, "bob", "leaked")


# Append-only, in the database itself


def fill_all_tables(ledger: Ledger) -> None:
    ledger.record_snapshot(snapshot())
    ledger.start_run(run_record("run-1"))
    ledger.record_result(run_result("run-1"))
    ledger.end_run("run-1", "failed", "")
    register(ledger)
    ledger.record_deployment(DeploymentRecord(name="d", spec_hash="s", action="created", at=NOON, actor="anna"))
    ledger.add_key(create_key("kaasplein", ("predict",), None, actor="anna")[1])
    ledger.record_fallback(PRICE, 1, "corrupt", NOON)
    ledger.record_entry(make_entry())


def execute(ledger: Ledger, statement: str) -> list[Any]:
    """Run raw SQL as any client of the database could."""
    with ledger.database.writing() as connection:
        result = connection.execute(text(statement))
        return list(result) if result.returns_rows else []


@pytest.mark.parametrize("table", sorted(METADATA.tables))
def test_no_row_of_any_table_can_be_changed_or_removed(table: str, ledger: Ledger) -> None:
    fill_all_tables(ledger)
    before = execute(ledger, f"SELECT * FROM {table}")
    assert before
    statements = [f"UPDATE {table} SET seq = seq + 100", f"DELETE FROM {table}", f"DELETE FROM {table} WHERE seq = 1"]
    if not ledger.database.is_sqlite:
        statements += [f"TRUNCATE {table} CASCADE", f"SET LOCAL session_replication_role = replica; DELETE FROM {table}"]
    for statement in statements:
        with pytest.raises(LedgerError, match=r"ledger_\w+ is append-only; nothing was changed"):
            execute(ledger, statement)
    assert execute(ledger, f"SELECT * FROM {table}") == before


# Releases


def write_revision(ledger: Ledger, revision: str | None) -> None:
    execute(ledger, f"DELETE FROM {VERSION_TABLE}")
    if revision is not None:
        execute(ledger, f"INSERT INTO {VERSION_TABLE} VALUES ('{revision}')")


def test_new_ledger_has_exactly_the_tables_that_queries_see(ledger: Ledger) -> None:
    with ledger.database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE, "compare_type": False})
        assert compare_metadata(context, METADATA) == []


def test_ledger_of_a_newer_release_is_left_alone(ledger: Ledger, ledger_url: str) -> None:
    write_revision(ledger, "9999")
    for attempt in (open_ledger, upgrade_ledger, read_status):
        with pytest.raises(LedgerVersionError, match=f"newer release .revision 9999, this one knows up to {HEAD}.; update Brandhouse"):
            attempt(ledger_url)


def test_ledger_of_an_older_release_says_how_to_upgrade(ledger: Ledger, ledger_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revisions, "REVISIONS", ("0000", HEAD))
    write_revision(ledger, "0000")
    with pytest.raises(LedgerVersionError, match=f"older release .revision 0000, this one needs {HEAD}.; run `brandhouse ledger upgrade`"):
        open_ledger(ledger_url)


OLD_RUN = "INSERT INTO ledger_runs (seq, run_id, brand, model, template, git_commit, params_digest, actor, started_at) VALUES "
OLD_END = "INSERT INTO ledger_run_ends (seq, run_id, outcome, detail, ended_at) VALUES "


def write_ledger_of_revision_0001(ledger_url: str) -> None:
    """Make a ledger by the first revision alone, with a run as that release wrote it."""
    database = database_module.Database(ledger_url)
    if database.is_sqlite:
        database.path.parent.mkdir()
    with database.writing() as connection:
        schema.migrate(connection, "0001")
        connection.execute(text(f"{OLD_RUN} (1, 'old', 'kaasplein', 'price', 'train', 'abc', 'p', 'anna', '2026-03-01T12:00:00+00:00')"))
        connection.execute(text(f"{OLD_END} (1, 'old', 'registered', 'v1', '2026-03-01T12:01:00+00:00')"))


def test_ledger_of_the_first_revision_is_upgraded_with_its_runs(ledger_url: str) -> None:
    write_ledger_of_revision_0001(ledger_url)
    with pytest.raises(LedgerVersionError, match=r"older release .revision 0001.*run `brandhouse ledger upgrade`"):
        open_ledger(ledger_url)
    assert upgrade_ledger(ledger_url) == "0001"
    with open_ledger(ledger_url) as ledger:
        (run,) = ledger.runs(PRICE)
        assert (run.outcome, run.record) == ("registered", run_record("old", git_commit="abc")), "an old run was a full one"
        execute(ledger, f"{OLD_RUN} (2, 'late', 'kaasplein', 'price', 'train', 'abc', 'p', 'anna', '2026-03-01T12:00:00+00:00')")
        assert ledger.runs(PRICE)[0].record.kind == "full", "a process of the old release that is still open can go on writing"
        ledger.record_result(run_result("old"))
        with pytest.raises(LedgerError, match="ledger_runs is append-only"):
            execute(ledger, "UPDATE ledger_runs SET kind = 'dry'")
    test_new_ledger_has_exactly_the_tables_that_queries_see(open_ledger(ledger_url))


def test_ledger_without_a_revision_is_refused(ledger: Ledger, ledger_url: str) -> None:
    write_revision(ledger, None)
    for attempt in (open_ledger, upgrade_ledger):
        with pytest.raises(LedgerVersionError, match="has tables of a ledger but no revision"):
            attempt(ledger_url)


def test_upgrade_creates_a_new_ledger_and_leaves_a_present_one_as_it_is(ledger_url: str) -> None:
    assert upgrade_ledger(ledger_url) is None
    with open_ledger(ledger_url) as ledger:
        register(ledger)
        assert upgrade_ledger(ledger_url) == HEAD
        assert len(ledger.versions(PRICE)) == 1


def test_tables_of_others_do_not_disturb(ledger_url: str) -> None:
    with open_ledger(ledger_url) as ledger:
        execute(ledger, "CREATE TABLE alembic_version (version_num TEXT)")
        execute(ledger, "INSERT INTO alembic_version VALUES ('of somebody else')")
    with open_ledger(ledger_url) as ledger:
        assert ledger.last_seq() == 0


# Many writers


def start_writer(url: str, writer: int, count: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", WRITER, url, str(writer), str(count), json.dumps(make_document())]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def assert_is_whole(ledger: Ledger) -> None:
    """Every version has its first event, and no number or seq is missing or twice."""
    events = ledger.stage_events(limit=100_000)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    first_events = [event.version for event in events if event.from_stage is None]
    registered = [VersionKey(*row) for row in execute(ledger, "SELECT brand, model, number FROM ledger_versions ORDER BY seq")]
    assert registered == first_events
    for key in {version.model_key for version in registered}:
        numbers = [version.number for version in registered if version.model_key == key]
        assert numbers == list(range(1, len(numbers) + 1))


def test_writers_of_eight_processes_lose_nothing_and_are_seen_in_one_order(ledger_url: str) -> None:
    writers = [start_writer(ledger_url, writer, 12) for writer in range(8)]  # they also race to create the ledger
    seen = 0
    with open_ledger(ledger_url) as ledger:
        while any(writer.poll() is None for writer in writers):
            for event in ledger.stage_events(after_seq=seen):
                assert event.seq == seen + 1, "an event became visible before its predecessor"
                seen = event.seq
            time.sleep(0.002)  # the writers need the processor
        acknowledged = [line for writer in writers for line in writer.communicate()[0].split()]
        assert [writer.returncode for writer in writers] == [0] * 8
        assert len(acknowledged) == len(set(acknowledged)) == ledger.last_seq() == 96
        assert set(acknowledged) == {str(event.version) for event in ledger.stage_events(limit=1000)}
        assert_is_whole(ledger)


def test_writer_killed_in_the_middle_leaves_an_intact_ledger(ledger_url: str) -> None:
    for writer in range(3):
        process = start_writer(ledger_url, writer, 10_000)
        assert process.stdout is not None
        acknowledged = [process.stdout.readline() for _ in range(5 + 3 * writer)]
        process.kill()
        acknowledged += process.communicate()[0].splitlines(keepends=True)
        complete = {line.strip() for line in acknowledged if line.endswith("\n")}
        with open_ledger(ledger_url) as ledger:
            assert complete <= {str(event.version) for event in ledger.stage_events(limit=100_000)}
            assert_is_whole(ledger)
            register(ledger, artifact=f"after {writer}")


SHARER = """
import json, multiprocessing, sys, threading
from brandhouse_shared.ledger import open_ledger

url, document = sys.argv[1], json.loads(sys.argv[2])
ledger = open_ledger(url)

def write(writer):
    for turn in range(5):
        ledger.register_version_document({**document, "artifact_digest": f"{writer}-{turn}"})

write("parent")  # a connection is open when the children are forked
context = multiprocessing.get_context("fork")
children = [context.Process(target=write, args=(f"child {number}",)) for number in range(2)]
threads = [threading.Thread(target=write, args=(f"thread {number}",)) for number in range(3)]
for part in [*children, *threads]:
    part.start()
for part in [*children, *threads]:
    part.join(60)
sys.exit(any(child.exitcode != 0 for child in children))
"""


def test_threads_and_forked_children_share_one_open_ledger(ledger_url: str) -> None:
    # In a process of its own: what other libraries leave running in this one must not be forked with it.
    command = [sys.executable, "-c", SHARER, ledger_url, json.dumps(make_document())]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    with open_ledger(ledger_url) as ledger:
        assert ledger.last_seq() == 30
        assert_is_whole(ledger)


def test_two_promotions_at_once_leave_one_version_in_production(ledger: Ledger) -> None:
    versions = [register(ledger, PRICE, f"a{number}") for number in range(6)]
    threads = [threading.Thread(target=promote, args=(ledger, version)) for version in versions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(stages_of(ledger, PRICE).values()) == ["production", *["retired"] * 5]


def test_writer_that_waits_too_long_is_told_to_retry_and_readers_go_on(
    ledger: Ledger, ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "LOCK_WAIT_SECONDS", 0.2)
    with open_ledger(ledger_url) as other, ledger.database.writing():
        with pytest.raises(RetryableError, match="nothing was written, try again"):
            register(other)
        assert other.last_seq() == 0
    assert register(ledger).number == 1


def make_entry(brand: str = "kaasplein", state: str = "green", **changes: Any) -> Entry:
    values: dict[str, Any] = {"kind": EntryKind.CHECK, "brand": brand, "model": "price", "name": "drift", "state": state, "detail": "d"}
    return Entry(**(values | {"actor": "monitor", "at": NOON} | changes))


def test_entries_come_back_newest_first_by_what_is_asked(ledger: Ledger) -> None:
    first = ledger.record_entry(make_entry(value=0.5, facts={"fields": ["km"]}))
    ledger.record_entry(make_entry(brand="fietspunt"))
    ledger.record_entry(make_entry(kind=EntryKind.ALERT, name="drift"))
    third = ledger.record_entry(make_entry(state="red"))
    assert ledger.entries(EntryKind.CHECK, "kaasplein") == [third, first]
    assert ledger.entries(EntryKind.CHECK, "kaasplein", after_seq=first.seq, oldest_first=True) == [third]
    assert ledger.entries(brand="fietspunt", name="skew") == []


def test_who_decides_sees_a_brands_entries_since_a_time_and_what_another_decided_before(ledger: Ledger) -> None:
    ledger.record_entry(make_entry(at=NOON - timedelta(days=2)))
    ledger.record_entry(make_entry(brand="fietspunt"))
    seen: list[int] = []

    def decide(known: Sequence[Entry]) -> list[Entry]:
        seen.append(len(known))
        return [make_entry(state="red")] if not known else []

    threads = [threading.Thread(target=ledger.record_decided, args=(EntryKind.CHECK, "kaasplein", NOON, decide)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [0, 1, 1], "one after the other, each with what the one before it decided"
    assert [entry.state for entry in ledger.entries(EntryKind.CHECK, "kaasplein")] == ["red", "green"]


def test_newest_entries_hold_one_of_each_brand_model_and_name(ledger: Ledger) -> None:
    for state in ("green", "red"):
        ledger.record_entry(make_entry(state=state))
        ledger.record_entry(make_entry(brand="fietspunt", state=state))
    ledger.record_entry(make_entry(name="skew"))
    assert [(found.brand, found.name, found.state) for found in ledger.newest_entries(EntryKind.CHECK)] == [
        ("fietspunt", "drift", "red"),
        ("kaasplein", "drift", "red"),
        ("kaasplein", "skew", "green"),
    ]
    assert [found.brand for found in ledger.newest_entries(EntryKind.CHECK, "fietspunt")] == ["fietspunt"]


def test_measured_entries_hold_the_newest_value_of_each_version(ledger: Ledger) -> None:
    for number, value in ((1, 0.5), (1, 0.6), (2, 0.7), (2, None)):
        ledger.record_entry(make_entry(name="quality", number=number, value=value))
    ledger.record_entry(make_entry(name="quality", brand="fietspunt", number=1, value=0.1))
    ledger.record_entry(make_entry(name="drift", number=3, value=0.9))
    found = ledger.measured_entries(EntryKind.CHECK, "quality")
    assert [(entry.brand, entry.number, entry.value) for entry in found] == [
        ("fietspunt", 1, 0.1),
        ("kaasplein", 2, 0.7),
        ("kaasplein", 1, 0.6),
    ]
