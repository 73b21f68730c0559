"""The training template from raw table to production, with two invented brands."""

from typing import Any

import pytest

from brandhouse_flows.learning import Outcome
from brandhouse_shared.errors import ApprovalError, ArtifactCorruptError, LedgerVersionError, StageChangeError
from brandhouse_shared.ledger.records import EntryKind, StageChange, VersionRecord
from brandhouse_shared.ledger.stages import Stage
from brandhouse_shared.names import ModelKey

CASA = ModelKey("casa", "price")
VILLA = ModelKey("villa", "sold")
TOML = "brands/casa/brand.toml"
CODE = "brands/casa/src/brand_casa/price.py"


def gate(outcome: Outcome, name: str) -> Any:
    return next(item for item in outcome.gates if item.name == name)


# -- the whole way -----------------------------------------------------------------------------------------------------


def test_training_registers_a_complete_record_and_promotes(workspace: Any) -> None:
    outcome = workspace.train()
    assert (outcome.kind, outcome.stage, str(outcome.version)) == ("registered", Stage.PRODUCTION, "casa/price/v1")
    version = workspace.ledger.production(CASA)
    record = version.record
    assert set(VersionRecord.model_fields) == set(record.model_dump()), "every field of the lineage is there"
    assert record.score < record.baseline_score / 2, "boosted trees see the product that the linear baseline does not"
    assert record.score_low <= record.score <= record.score_high
    assert record.rows_train + record.rows_holdout == 400
    assert (record.git_commit, record.git_dirty) == ("uncommitted", True), "a folder without Git says so"
    assert record.snapshot_hash in (workspace.root / "brands/casa/data/homes.csv.dvc").read_text()
    assert (record.estimator, record.candidate_name, record.owner) == ("GradientBoostingRegressor", "default", "casa-data@house.example")
    assert {"model.onnx", "manifest.json", "card.html", "card.md", "sample.json"} <= {
        path.name for path in outcome.card_path.parent.iterdir()
    }
    (run,) = workspace.ledger.runs(CASA)
    assert (run.outcome, run.record.run_id) == ("registered", record.run_id)
    (event, promoted) = workspace.ledger.stage_events(CASA)
    assert (event.to, promoted.to, promoted.actor, promoted.automatic) == (Stage.CANDIDATE, Stage.PRODUCTION, "training template", True)
    (snapshot,) = workspace.ledger.snapshots("casa")
    assert (snapshot.hash_md5, snapshot.rows) == (record.snapshot_hash, 400)
    (worth,) = workspace.ledger.entries(EntryKind.EVIDENCE, "casa", "price", "importance")
    assert (worth.number, worth.run_id) == (1, record.run_id)
    assert 0 < len(worth.facts["losses"]) <= worth.facts["features"]
    assert max(worth.facts["losses"].values()) > 0, "without its best feature the model is worse"


def test_two_brands_share_nothing(workspace: Any) -> None:
    workspace.train(CASA)
    outcome = workspace.train(VILLA)
    assert outcome.kind == "registered", outcome.detail
    assert set(workspace.ledger.production_versions()) == {CASA, VILLA}
    assert [snapshot.dataset for snapshot in workspace.ledger.snapshots("casa")] == ["homes"]
    assert [snapshot.dataset for snapshot in workspace.ledger.snapshots("villa")] == ["offers"]


def test_sensitive_rows_do_not_lie_beside_the_model(workspace: Any) -> None:
    folder = workspace.train(VILLA).card_path.parent
    assert '"invented": true' in (folder / "sample.json").read_text(), "a personal field keeps held-out rows out of the artifact"


def test_two_models_on_one_table(workspace: Any) -> None:
    toml = (workspace.root / TOML).read_text()
    second = toml[toml.index("[models.price]") :].replace("models.price", "models.rooms").replace('target = "price"', 'target = "rooms"')
    workspace.append(TOML, "\n" + second.replace('rooms = { type = "integer", min = 1, max = 12 }\n', 'price = { type = "number" }\n'))
    workspace.edit(CODE, 'area_per_room=rows["area"] / rows["rooms"]', "")
    assert workspace.train(CASA).version.number == 1
    rooms = workspace.train(ModelKey("casa", "rooms"))
    assert rooms.version.number == 1, "each model counts its own versions"
    assert len(workspace.ledger.snapshots("casa")) == 1, "one table is one snapshot"


# -- unchanged and changed inputs --------------------------------------------------------------------------------------


def test_unchanged_inputs_are_not_trained_twice(workspace: Any) -> None:
    workspace.train()
    again = workspace.train()
    assert (again.kind, again.version.number, again.learning_seconds) == ("unchanged", 1, 0.0)
    assert "data, code, lock and params are those of casa/price/v1" in again.detail
    assert [run.outcome for run in workspace.ledger.runs(CASA)] == ["unchanged", "registered"]
    assert workspace.train(force=True).version.number == 2, "--force trains all the same"


def test_each_input_that_changes_alone_trains_again(workspace: Any, make_tables: Any) -> None:
    changes = {
        "code": lambda: workspace.append(CODE, "# another line\n"),
        "lock": lambda: workspace.append("requirements.lock", "numpy==2.0\n"),
        "params": lambda: workspace.append(TOML, "\n[models.price.candidates.default]\nparams = { n_estimators = 50 }\n"),
        "declaration": lambda: workspace.edit(TOML, "max = 400", "max = 500"),
        "latency gate": lambda: workspace.append(TOML, "\n[models.price.serving]\nlatency_budget_ms = 1000\n"),
        "data": lambda: workspace.write_table("casa", "homes", make_tables.casa(390)),
    }
    workspace.train()
    for number, (what, change) in enumerate(changes.items(), start=2):
        change()
        outcome = workspace.train()
        assert (outcome.kind in ("registered", "gates_failed"), outcome.version.number) == (True, number), f"{what}: {outcome.detail}"


def test_schedule_and_serving_limits_do_not_train_again(workspace: Any) -> None:
    workspace.train()
    workspace.append(TOML, '\n[models.price.schedule]\ncron = "0 4 * * 1"\n\n[models.price.serving]\nrate_per_second = 5\n')
    workspace.edit(TOML, 'task = "regression"', 'task = "regression"\ndescription = "What a home is worth."')
    assert workspace.train().kind == "unchanged"


# -- gates and promotion -----------------------------------------------------------------------------------------------


def test_failed_gates_leave_a_candidate_while_the_baseline_serves(workspace: Any) -> None:
    workspace.append(TOML, "\n[models.price.gates]\nthreshold = 1\n")
    outcome = workspace.train()
    assert (outcome.kind, outcome.stage) == ("gates_failed", Stage.CANDIDATE)
    assert "gates not passed: threshold" in outcome.detail
    zero = workspace.ledger.production(CASA)
    assert (zero.key, zero.record.kind, zero.record.candidate_name) == (outcome.model_zero, "baseline", "linear")
    assert zero.record.score == zero.record.baseline_score
    assert workspace.train().kind == "unchanged"
    assert len(workspace.ledger.versions(CASA)) == 2, "neither candidate nor model zero is made twice"


def test_version_that_passes_replaces_model_zero(workspace: Any) -> None:
    workspace.append(TOML, "\n[models.price.gates]\nthreshold = 1\n")
    workspace.train()
    workspace.edit(TOML, "threshold = 1", "threshold = 50000")
    outcome = workspace.train()
    assert (outcome.stage, gate(outcome, "production").passed) == (Stage.PRODUCTION, True)
    assert workspace.ledger.find_version(CASA.version(2)).stage is Stage.RETIRED


def test_high_risk_waits_for_a_person(workspace: Any) -> None:
    workspace.edit(TOML, 'risk = "low"', 'risk = "high"')
    outcome = workspace.train()
    assert (outcome.kind, outcome.stage, workspace.ledger.production(CASA)) == ("registered", Stage.CANDIDATE, None)
    assert "waits for two people: brandhouse promote casa/price --version v1 --approve --reason" in outcome.detail
    assert workspace.train().stage is Stage.CANDIDATE, "a second training does not promote it either"
    workspace.edit(TOML, 'risk = "high"', 'risk = "low"')
    assert workspace.train().stage is Stage.CANDIDATE, "nor does it after one person has changed the declaration"
    wish = StageChange(version=outcome.version, to=Stage.PRODUCTION, actor="ann", reason="card read")
    with pytest.raises(ApprovalError, match="2 different people"):
        workspace.ledger.change_stage(wish)
    workspace.ledger.approve(wish)
    workspace.ledger.approve(wish.model_copy(update={"actor": "ben"}))
    assert workspace.ledger.production(CASA).key == outcome.version


def test_second_version_is_compared_with_the_first_on_the_same_hold_out(workspace: Any) -> None:
    first = workspace.train()
    workspace.append(TOML, "\n[models.price.candidates.default]\nparams = { n_estimators = 5 }\n")
    worse = workspace.train()
    assert (worse.kind, gate(worse, "production").passed) == ("gates_failed", False)
    production_score = workspace.ledger.find_version(worse.version).record.production_score
    assert production_score == pytest.approx(workspace.ledger.find_version(first.version).record.score, rel=1e-6)
    assert workspace.ledger.production(CASA).key == first.version, "the better one stays in production"
    assert worse.model_zero is None


def test_python_production_answers_with_its_own_code(workspace: Any) -> None:
    workspace.edit(
        CODE, "def build_features(rows):", 'def build_features(rows):\n    rows["area"] = [float(area) for area in rows["area"]]'
    )
    first = workspace.train()
    record = workspace.ledger.find_version(first.version).record
    assert record.runtime == "python", "a loop over rows does not compile"
    workspace.edit(CODE, 'rows["area"] / rows["rooms"]', 'rows["area"] * 0')
    second = workspace.train()
    assert workspace.ledger.find_version(second.version).record.production_score == pytest.approx(record.score, rel=1e-9)


def test_production_with_another_schema_is_said_and_not_compared(workspace: Any, make_tables: Any) -> None:
    workspace.train()
    workspace.write_table("casa", "homes", make_tables.casa().drop(columns="garden").assign(plot=1.0))
    workspace.edit(TOML, 'garden = { type = "boolean", nullable = true }\n', "")
    workspace.edit(CODE, 'garden=rows["garden"].fillna(0), ', "")
    outcome = workspace.train()
    verdict = gate(outcome, "production")
    assert (outcome.version.number, verdict.passed, verdict.applicable) == (2, None, False)
    assert "the data no longer fit the input schema of casa/price/v1 (garden: the column is not in the data" in verdict.detail
    assert workspace.ledger.find_version(outcome.version).record.production_score is None


def test_production_of_another_target_is_not_compared(workspace: Any, make_tables: Any) -> None:
    workspace.train()
    table = make_tables.casa()
    workspace.write_table("casa", "homes", table.assign(thousands=table["price"] / 1000))
    workspace.edit(TOML, 'target = "price"', 'target = "thousands"')
    assert "casa/price/v1 predicts something else" in gate(workspace.train(), "production").detail


def test_altered_production_artifact_is_refused_and_said(workspace: Any) -> None:
    first = workspace.train()
    model = first.card_path.parent / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    digest = workspace.ledger.production(CASA).record.artifact_digest
    with pytest.raises(ArtifactCorruptError, match="its bytes are not those that were registered; the version is not used"):
        workspace.store.find(CASA, digest)
    second = workspace.train()
    assert second.version.number == 2, "train again, as the message says, even though nothing else changed"
    assert "bytes are not those that were registered" in gate(second, "production").detail
    assert workspace.train().kind == "unchanged"


def test_planted_leak_blocks_until_it_is_allowed_by_name(workspace: Any, make_tables: Any) -> None:
    table = make_tables.casa()
    workspace.write_table("casa", "homes", table.assign(deposit=table["price"] * 0.1))
    workspace.edit(TOML, "[models.price.inputs]", '[models.price.inputs]\ndeposit = { type = "number" }')
    blocked = workspace.train()
    assert gate(blocked, "leakage").passed is False
    assert "alone predicts the target too well: deposit" in gate(blocked, "leakage").detail
    workspace.append(TOML, '\n[models.price.gates]\nallow_leakage = ["deposit"]\n')
    allowed = workspace.train()
    assert gate(allowed, "leakage").passed is True, allowed.detail
    assert "allowed by name: deposit" in gate(allowed, "leakage").detail


def test_small_slices_are_shown_and_not_judged(workspace: Any, make_tables: Any) -> None:
    table = make_tables.casa()
    table.loc[:5, "town"] = "Zwolle"
    table.loc[table["town"] == "Zwolle", "kind"] = "flat"
    table.loc[:11, "kind"] = "castle"
    table["kind"] = table["kind"].fillna("house")
    workspace.write_table("casa", "homes", table)
    workspace.edit(TOML, 'metric = "mae"', 'metric = "mae"\nslices = ["kind"]')
    outcome = workspace.train()
    judged = {item["value"]: item["judged"] for item in outcome.slices}
    assert judged["house"] is True
    assert judged["castle"] is False, "three of 100 rows are too few to say"
    assert "were not judged" in gate(outcome, "slices").detail


# -- splits ------------------------------------------------------------------------------------------------------------


def test_grouped_split_end_to_end_with_a_search(workspace: Any) -> None:
    search = "n_estimators = { low = 20, high = 60, integer = true }"
    workspace.append(TOML, f'\n[models.price.split]\nkind = "grouped"\nby = "agent"\n\n[models.price.candidates.default]\nspace.{search}\n')
    workspace.append(TOML, "\n[models.price.search]\ntrials = 3\nseconds = 20\n")
    outcome = workspace.train()
    record = workspace.ledger.find_version(outcome.version).record
    assert outcome.stage is Stage.PRODUCTION
    assert set(record.params) <= {"n_estimators"}


def test_time_split_end_to_end(workspace: Any) -> None:
    workspace.append(TOML, '\n[models.price.split]\nkind = "time"\nby = "listed"\nformat = "%Y-%m-%d"\n')
    outcome = workspace.train()
    assert outcome.stage is Stage.PRODUCTION, outcome.detail


# -- killed in the middle, and other releases --------------------------------------------------------------------------


def test_promotion_that_a_killed_training_missed_is_made_up_for(workspace: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger_type = type(workspace.ledger)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(ledger_type, "change_stage", _interrupt)
        workspace.train()
    assert workspace.ledger.find_version(CASA.version(1)).stage is Stage.CANDIDATE
    assert workspace.ledger.runs(CASA)[0].outcome == "cancelled"
    again = workspace.train()
    assert (again.kind, again.stage) == ("unchanged", Stage.PRODUCTION), "the same version, now promoted"


def test_model_zero_that_a_killed_training_missed_is_made_up_for(workspace: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace.append(TOML, "\n[models.price.gates]\nthreshold = 1\n")
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(type(workspace.ledger), "change_stage", _interrupt)
        workspace.train()
    assert workspace.ledger.production(CASA) is None
    workspace.train()
    assert workspace.ledger.production(CASA).record.kind == "baseline"
    assert len(workspace.ledger.versions(CASA)) == 2, "the registered baseline was promoted, not made again"


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def test_retired_model_does_not_come_back_by_itself(workspace: Any) -> None:
    workspace.train()
    workspace.ledger.retire(CASA, "ann", "not needed any more")
    assert (workspace.train().kind, workspace.ledger.production(CASA)) == ("unchanged", None)
    with pytest.raises(StageChangeError, match="no version in production"):
        workspace.ledger.retire(CASA, "ann", "again")


def test_ledger_of_another_release_is_refused(workspace: Any) -> None:
    import sqlite3

    workspace.train()
    with sqlite3.connect(workspace.home / "ledger.db") as connection:
        connection.execute("UPDATE ledger_revision SET version_num = '9999'")
    with pytest.raises(LedgerVersionError, match="newer"):
        workspace.train()
