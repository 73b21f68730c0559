"""Runs that register nothing, and runs with other params than the brand declares: tracked, reproducible, never promoted."""

import uuid
from typing import Any

import numpy as np
import pytest

from brandhouse_flows.learning import Rehearsal, rehearse, train
from brandhouse_flows.planning import plan_training
from brandhouse_flows.run_details import find_details
from brandhouse_flows.steps import call_step
from brandhouse_flows.wishes import WishError, Wishes
from brandhouse_shared.errors import BrandhouseError
from brandhouse_shared.names import ModelKey

CASA = ModelKey("casa", "price")
VILLA = ModelKey("villa", "sold")
TOML = "brands/casa/brand.toml"
CODE = "brands/casa/src/brand_casa/price.py"
TWO_CANDIDATES = """
[models.price.candidates.small]
params = { n_estimators = 5 }

[models.price.candidates.searched]
params = { n_estimators = 20 }
space = { n_estimators = { low = 10, high = 40, integer = true } }

[models.price.search]
trials = 4
"""


def go(workspace: Any, wishes: Wishes, key: ModelKey = CASA) -> Rehearsal:
    plan = plan_training(workspace.settings, key, str(uuid.uuid4()), "local", wishes)
    return rehearse(plan, workspace.ledger, workspace.store, call_step)


def train_with(workspace: Any, wishes: Wishes) -> Any:
    plan = plan_training(workspace.settings, CASA, str(uuid.uuid4()), "local", wishes)
    return train(plan, workspace.ledger, workspace.store, call_step)


def test_dry_run_judges_against_production_and_registers_nothing(workspace: Any) -> None:
    workspace.train()
    before = workspace.ledger.versions(CASA), workspace.ledger.stage_events(CASA)
    dry = go(workspace, Wishes(dry=True))
    assert (workspace.ledger.versions(CASA), workspace.ledger.stage_events(CASA)) == before
    assert dry.passed, dry.detail
    assert str(dry.production) == "casa/price/v1"
    assert abs(dry.report.differences["production"].gain) < 0.1, "the same inputs, the same model, but for ONNX Runtime's rounding"
    assert {gate.name for gate in dry.gates if gate.passed} >= {"baseline", "production"}
    assert "all gates passed; a dry run, nothing was registered" in dry.detail


def test_every_run_leaves_what_it_tried_and_measured(workspace: Any) -> None:
    workspace.append(TOML, TWO_CANDIDATES)
    go(workspace, Wishes(dry=True))
    (run,) = workspace.ledger.runs(CASA)
    assert (run.outcome, run.record.kind, run.record.git_dirty) == ("rehearsed", "dry", True)
    assert run.record.asked is not None
    assert run.record.asked["candidates"]["small"] == {"params": {"n_estimators": 5}}
    assert run.record.code_digest
    assert run.record.lock_hash
    result = workspace.ledger.results(CASA)[run.record.run_id]
    assert (result.number, result.candidate_name, result.rows_train + result.rows_holdout) == (None, "searched", 400)
    assert result.score_low <= result.score <= result.score_high
    details = find_details(workspace.home, CASA, result.details_digest)
    assert details is not None
    assert len(details.trials) == result.trials >= 3
    assert {trial.candidate for trial in details.trials} == {"small", "searched"}
    assert len(details.prediction) == result.rows_holdout
    assert np.abs(details.truth - details.prediction).mean() == pytest.approx(result.score, rel=1e-5)
    assert "build_estimator" in details.sources["src/brand_casa/price.py"], "a folder without Git: the code is kept"


def test_failed_run_is_on_record_with_what_it_was_to_try(workspace: Any) -> None:
    with pytest.raises(WishError, match=r"casa/price: candidate 'default' takes no depth; it accepts: n_estimators"):
        go(workspace, Wishes(params={"depth": 3}, dry=True))
    (run,) = workspace.ledger.runs(CASA)
    assert (run.outcome, run.record.asked["params"]) == ("failed", {"depth": 3})


def test_params_that_are_passed_on_are_found_out_by_passing_them_on(workspace: Any) -> None:
    workspace.edit(CODE, "def build_estimator(n_estimators=60):", "def build_estimator(n_estimators=60, **more):")
    workspace.edit(CODE, "n_estimators=n_estimators, random_state=0", "n_estimators=n_estimators, random_state=0, **more")
    assert go(workspace, Wishes(params={"max_depth": 2}, dry=True)).choice.params == {"max_depth": 2}
    with pytest.raises(WishError, match=r"takes no depth; it accepts: .*max_depth.*n_estimators"):
        go(workspace, Wishes(params={"depth": 3}, dry=True))


def test_run_with_other_params_is_reproducible_and_recognised(workspace: Any) -> None:
    declared = workspace.train()
    other = train_with(workspace, Wishes(params={"n_estimators": 30}))
    assert (other.kind, other.version.number) == ("gates_failed", 2) or other.kind == "registered"
    record = workspace.ledger.find_version(other.version).record
    assert record.params == {"n_estimators": 30}
    assert record.fingerprint != workspace.ledger.find_version(declared.version).record.fingerprint
    again = train_with(workspace, Wishes(params={"n_estimators": 30}))
    assert (again.kind, again.version) == ("unchanged", other.version), "the same wishes on the same inputs are the same training"
    assert workspace.train().version == declared.version, "and the brand's own declaration is still its own"
    results = workspace.ledger.results(CASA)
    versions = [(run.outcome, results[run.record.run_id].number) for run in reversed(workspace.ledger.runs(CASA))]
    assert versions == [("registered", 1), (other.kind, 2), ("unchanged", 2), ("unchanged", 1)]


def test_one_candidate_can_be_chosen_and_its_other_params_are_still_searched(workspace: Any) -> None:
    workspace.append(TOML, TWO_CANDIDATES)
    chosen = go(workspace, Wishes(estimator="small", dry=True)).choice
    assert (chosen.candidate, chosen.params, chosen.trials) == ("small", {"n_estimators": 5}, ())
    with pytest.raises(WishError, match=r"casa/price has no candidate 'large'; brand.toml lists: small, searched"):
        go(workspace, Wishes(estimator="large", dry=True))
    with pytest.raises(WishError, match=r"params for which candidate\? Add --estimator with one of: small, searched"):
        go(workspace, Wishes(params={"n_estimators": 7}, dry=True))
    fixed = go(workspace, Wishes(estimator="searched", params={"n_estimators": 12}, dry=True)).choice
    assert (fixed.params, fixed.trials) == ({"n_estimators": 12}, ()), "what is asked for is not searched"


@pytest.mark.parametrize(("sample", "rows"), [(0.25, 75), (100, 100), (5000, 300)])
def test_sample_learns_from_a_part_and_is_judged_on_all_held_out_rows(sample: float, rows: int, workspace: Any) -> None:
    part = go(workspace, Wishes(sample=sample))
    assert (part.rows_train, part.rows_holdout) == (rows, 100)
    assert f"learned from a part, {rows} rows; a sample run, nothing was registered" in part.detail
    assert workspace.ledger.versions(CASA) == []
    if sample < 1:
        go(workspace, Wishes(dry=True))
        of_part, of_whole = workspace.ledger.results(CASA).values()
        assert of_part.holdout_digest == of_whole.holdout_digest, "both were judged on the same rows"


@pytest.mark.parametrize("split", ['kind = "time"\nby = "listed"\nformat = "%Y-%m-%d"', 'kind = "grouped"\nby = "agent"'])
def test_sample_follows_the_split(split: str, workspace: Any) -> None:
    workspace.append(TOML, f"\n[models.price.split]\n{split}\n")
    whole, part = go(workspace, Wishes(dry=True)), go(workspace, Wishes(sample=0.5))
    assert part.rows_holdout == whole.rows_holdout
    assert 0.4 * whole.rows_train < part.rows_train < 0.6 * whole.rows_train


def test_sample_of_classes_keeps_each_class(workspace: Any) -> None:
    part = go(workspace, Wishes(sample=40), VILLA)
    assert 40 <= part.rows_train <= 42
    with pytest.raises(BrandhouseError, match=r"a sample of 0.01 leaves 3 of 300 training rows; allowed: at least 10"):
        go(workspace, Wishes(sample=0.01), VILLA)


def test_sample_or_dry_run_can_not_be_registered_by_mistake(workspace: Any) -> None:
    for wishes in (Wishes(dry=True), Wishes(sample=50)):
        with pytest.raises(BrandhouseError, match=f"a {wishes.kind} run registers no version"):
            train_with(workspace, wishes)
    with pytest.raises(BrandhouseError, match="the plan asks for a version"):
        go(workspace, Wishes())
    assert workspace.ledger.runs(CASA) == []


def test_details_of_another_brand_or_altered_ones_are_not_read(workspace: Any) -> None:
    go(workspace, Wishes(dry=True))
    (result,) = workspace.ledger.results(CASA).values()
    assert find_details(workspace.home, VILLA, result.details_digest) is None
    (file,) = (workspace.home / "experiments/casa/price").iterdir()
    file.write_bytes(file.read_bytes() + b"x")
    assert find_details(workspace.home, CASA, result.details_digest) is None
