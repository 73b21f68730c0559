"""Rings with real trainings: a ring is written only if no gate that passed is lost."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from brandhouse_authoring.answers import ANSWERS_FILE, Answers
from brandhouse_authoring.rendering import render
from brandhouse_authoring.rings import Ring, RingResult, upgrade_ring
from brandhouse_authoring.template import TEMPLATE_FOLDER, keep_template, read_template
from brandhouse_authoring.unfinished import PREFIX
from brandhouse_flows.steps import call_step

MODULES = {"casa": "price", "villa": "sold"}


@pytest.fixture
def house(workspace: Any) -> Any:
    """A workspace whose template holds the code of both brands."""
    subprocess.run(["git", "init", "--quiet", str(workspace.root)], check=True)
    for brand, module in MODULES.items():
        code = (workspace.root / f"brands/{brand}/src/brand_{brand}/{module}.py").read_text()
        template = workspace.root / TEMPLATE_FOLDER / f"src/brand_{{{{ brand }}}}/{module}.py.jinja"
        template.parent.mkdir(parents=True, exist_ok=True)
        template.write_text(code)
    found = read_template(workspace.root)
    keep_template(workspace.root, found)
    for brand, module in MODULES.items():
        managed = f"src/brand_{brand}/{module}.py"
        answers = Answers(found.digest, {"brand": brand}, (managed,))
        assert managed in render(found, answers.values)
        (workspace.root / "brands" / brand / ANSWERS_FILE).write_text(answers.as_text())
    return workspace


def change_template(house: Any, module: str, old: str, new: str) -> None:
    house.edit(f"{TEMPLATE_FOLDER}/src/brand_{{{{ brand }}}}/{module}.py.jinja", old, new)


def run(house: Any, ring: Ring, **named: Any) -> RingResult:
    return upgrade_ring(house.settings, ring, house.ledger, house.store, call_step, **named)


def content(house: Any) -> dict[Path, bytes]:
    wanted = (path for path in (house.root / "brands").rglob("*") if path.suffix in (".py", ".toml"))
    return {path: path.read_bytes() for path in wanted}


def states(result: RingResult) -> dict[str, str]:
    return {one.brand: one.state for one in result.brands}


def test_a_good_change_goes_from_ring_to_ring_with_gates_compared(house: Any) -> None:
    house.train()
    change_template(house, "price", "n_estimators=60", "n_estimators=70")
    first = run(house, Ring.ONE)

    assert states(first) == {"casa": "upgraded"}
    assert "n_estimators=70" in (house.root / "brands/casa/src/brand_casa/price.py").read_text()
    trial = first.brands[0].trial
    assert trial is not None
    before, after = trial.models[0].before, trial.models[0].after
    assert before is not None and after is not None
    assert (before.how, after.how) == ("recorded", "trained"), "production was trained from today's inputs, so it is not trained again"
    assert before.low is not None and before.low < before.score < (before.high or 0), "scores come with intervals"
    assert before.gates["baseline"] == after.gates["baseline"] == "passed"
    assert first.report is not None
    report = first.report.read_text()
    assert "| casa/price | mae |" in report and "No brand became worse." in report
    assert len(house.ledger.versions(trial_key := house.brand("casa").model_keys[0])) == 1, f"a trial registers nothing of {trial_key}"

    second = run(house, Ring.THREE)
    assert states(second) == {"casa": "up to date", "villa": "upgraded"}
    assert second.brands[1].trial is not None and second.brands[1].trial.models[0].before is None, "nothing of villa is trained anew"


def test_a_lost_gate_stops_the_ring_and_nothing_of_it_is_written(house: Any) -> None:
    change_template(house, "sold", "return rows", 'return rows.drop(columns=["pool"])')
    assert states(run(house, Ring.ONE)) == {"casa": "upgraded"}, "nothing of casa changes; it is at today's template"
    before = content(house)
    result = run(house, Ring.THREE)

    assert states(result) == {"casa": "up to date", "villa": "worse"}
    assert "sold: gate baseline passed before and does not any more" in result.brands[1].detail
    assert content(house) == before, "villa is as it was"
    assert not list((house.root / "brands").glob(f"{PREFIX}*")), "the copy is gone"
    assert result.report is not None and "Stopped by villa; no brand of the ring was written." in result.report.read_text()


def test_code_that_does_not_run_stops_the_ring_by_its_check(house: Any) -> None:
    change_template(house, "price", 'rows["rooms"]', 'rows["room"]')
    before = content(house)
    result = run(house, Ring.ONE)

    assert states(result) == {"casa": "worse"}
    assert "check: src/brand_casa/price.py" in result.brands[0].detail
    assert content(house) == before


def test_a_conflict_stops_the_ring(house: Any) -> None:
    house.edit("brands/casa/src/brand_casa/price.py", "n_estimators=60", "n_estimators=50")
    change_template(house, "price", "n_estimators=60", "n_estimators=70")
    result = run(house, Ring.ONE)

    assert states(result) == {"casa": "conflict"}
    assert "n_estimators=50" in (house.root / "brands/casa/src/brand_casa/price.py").read_text(), "the brand's edit stays"


def test_a_dry_run_tries_and_writes_nothing_but_its_report(house: Any) -> None:
    change_template(house, "price", "n_estimators=60", "n_estimators=70")
    before = content(house)
    result = run(house, Ring.ONE, dry_run=True)

    assert states(result) == {"casa": "tried"}
    assert content(house) == before
    assert result.report is not None and result.report.is_file()
