"""Readiness: each of the 28 tests gives its point where there is evidence, and gives it no more once its fault is planted."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
from readiness_world import NOW, ReadinessWorld, ago

from brandhouse_aftercare.readiness import TESTS, Readiness, answer_test, judge, measure_readiness, section_tests
from brandhouse_aftercare.readiness_evidence import Evidence, read_evidence
from brandhouse_aftercare.readiness_page import render_readiness
from brandhouse_aftercare.readiness_proofs import ProofError, record_by_hand, record_tests
from brandhouse_console import readiness as command
from brandhouse_shared.config import Capabilities
from brandhouse_shared.errors import BrandhouseError
from brandhouse_shared.ledger.records import EntryKind, FallbackRecord
from brandhouse_shared.ledger.stages import Stage
from brandhouse_shared.names import ModelKey

SECTIONS = ("data", "model", "infrastructure", "monitoring")

Fault = Callable[[Evidence], Evidence]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> ReadinessWorld:
    return ReadinessWorld(tmp_path_factory.mktemp("ready"))


@pytest.fixture(scope="module")
def sound(world: ReadinessWorld) -> Evidence:
    """Of `duin`, before any fault."""
    return next(one for one in read_evidence(world.settings, world.ledger, [world.duin, world.hei], NOW) if one.key == world.key)


def gate(name: str, /, **values: Any) -> Fault:
    """The version's gate of that name says otherwise."""

    def plant(evidence: Evidence) -> Evidence:
        assert evidence.version is not None
        gates = [one | values if one["name"] == name else one for one in evidence.version.record.gates]
        return record(gates=gates)(evidence)

    return plant


def record(**values: Any) -> Fault:
    """The version's record says otherwise."""

    def plant(evidence: Evidence) -> Evidence:
        assert evidence.version is not None
        changed = evidence.version.record.model_copy(update=values)
        return replace(evidence, version=evidence.version.model_copy(update={"record": changed}))

    return plant


def entry(kind: str, name: str, **values: Any) -> Fault:
    """The newest entry says otherwise; no values: there is none."""

    def plant(evidence: Evidence) -> Evidence:
        known = dict(getattr(evidence, kind))
        if values:
            known[name] = known[name].model_copy(update=values)
        else:
            del known[name]
        return replace(evidence, **{kind: known})

    return plant


def declared(field: str, **values: Any) -> Fault:
    """One input field is declared otherwise."""

    def plant(evidence: Evidence) -> Evidence:
        model = evidence.model
        inputs = {**model.inputs, field: model.inputs[field].model_copy(update=values)}
        return in_config(evidence, models={"price": model.model_copy(update={"inputs": inputs})})

    return plant


def in_config(evidence: Evidence, **values: Any) -> Evidence:
    return replace(evidence, brand=replace(evidence.brand, config=evidence.brand.config.model_copy(update=values)))


def results(**values: Any) -> Fault:
    """The run of the version in production measured something else."""

    def plant(evidence: Evidence) -> Evidence:
        return replace(evidence, results={**evidence.results, "run-3": evidence.results["run-3"].model_copy(update=values)})

    return plant


def code(**values: Any) -> Fault:
    return lambda evidence: replace(evidence, code=replace(evidence.code, **values))


def without_step(word: str) -> Fault:
    """No workflow has a line with that word."""

    def plant(evidence: Evidence) -> Evidence:
        steps = tuple(step for step in evidence.repository.steps if word not in step)
        assert len(steps) < len(evidence.repository.steps), f"no step had {word}"
        return replace(evidence, repository=replace(evidence.repository, steps=steps))

    return plant


def slow_change(evidence: Evidence) -> Evidence:
    committed = dict.fromkeys(evidence.repository.committed, ago(200))
    return replace(evidence, repository=replace(evidence.repository, committed=committed))


def same_code(evidence: Evidence) -> Evidence:
    runs = [run.model_copy(update={"record": run.record.model_copy(update={"code_digest": "x"})}) for run in evidence.runs]
    return replace(evidence, runs=runs)


def worse_in_truth(evidence: Evidence) -> Evidence:
    """Versions that were better on the hold-out were worse for users."""
    return replace(evidence, quality=[one.model_copy(update={"value": float(one.number or 0)}) for one in evidence.quality])


def one_measured(evidence: Evidence) -> Evidence:
    return replace(evidence, quality=evidence.quality[:1])


def never_compared(evidence: Evidence) -> Evidence:
    known = {name: one.model_copy(update={"gates": []}) for name, one in evidence.results.items()}
    return replace(evidence, marks={}, results=known)


def old_curve(evidence: Evidence) -> Evidence:
    return entry("marks", "staleness_curve", at=ago(400))(replace(evidence, results={}))


def last_run(**values: Any) -> Fault:
    return lambda evidence: replace(evidence, runs=[evidence.runs[0].model_copy(update=values), *evidence.runs[1:]])


def other_code_ran(evidence: Evidence) -> Evidence:
    run = evidence.runs[0]
    return last_run(record=run.record.model_copy(update={"code_digest": "x"}))(evidence)


def forced(evidence: Evidence) -> Evidence:
    return replace(evidence, events=[event.model_copy(update={"forced": True}) for event in evidence.events])


def straight_to_production(evidence: Evidence) -> Evidence:
    return replace(evidence, events=[event for event in evidence.events if event.to is not Stage.CANARY])


def shadow_only(evidence: Evidence) -> Evidence:
    return replace(
        evidence, events=[event.model_copy(update={"to": Stage.SHADOW}) if event.to is Stage.CANARY else event for event in evidence.events]
    )


def by_hand(evidence: Evidence) -> Evidence:
    return replace(evidence, events=[event.model_copy(update={"automatic": False}) for event in evidence.events])


def fell_back(evidence: Evidence) -> Evidence:
    return replace(evidence, fallbacks=[FallbackRecord(key=evidence.key, number=3, reason="not finite", at=NOW)])


def slower(evidence: Evidence) -> Evidence:
    return results(learning_seconds=80.0)(evidence)


def not_told(evidence: Evidence) -> Evidence:
    return replace(evidence, alerts=[one.model_copy(update={"state": "failed"}) for one in evidence.alerts])


def stores_nothing(evidence: Evidence) -> Evidence:
    return in_config(evidence, capabilities=Capabilities(may_store_predictions=False, gets_labels=False))


def no_version(evidence: Evidence) -> Evidence:
    return replace(evidence, version=None)


def no_owner(evidence: Evidence) -> Evidence:
    return replace(evidence, repository=replace(evidence.repository, owners=("* platform@house.example",)))


FINE = {"fields": {"km": {}, "town": {}, "age": {"mean": 44.2, "deciles": [20.0]}}}
UNSEEN = {"fields": {"km": {}}}
ENDLESS = {"prediction": {"rows": 100, "mean": None, "deciles": [1.0, None]}}

FAULTS: list[tuple[str, str, Fault, float]] = [
    ("data.1", "a field without a range", declared("km", min=None, max=None), 0.5),
    ("data.1", "a field newer than the version", record(feature_statistics=UNSEEN), 0),
    ("data.2", "a feature without use", entry("proofs", "importance", facts={"losses": {"km": 2.0, "town": -0.1}, "features": 2}), 0.5),
    ("data.2", "features not measured", entry("proofs", "importance", facts={"losses": {"km": 2.0}, "features": 9}), 0.5),
    ("data.2", "importance of another version", entry("proofs", "importance", number=2), 0),
    ("data.3", "too slow", gate("latency", passed=False), 0),
    ("data.3", "costs not counted of late", entry("costs", "serving", at=ago(90)), 0.5),
    ("data.4", "a leak", gate("leakage", passed=False), 0),
    ("data.4", "code changed since the check", code(is_checked=False), 0),
    ("data.4", "no workflow checks", without_step("brandhouse check"), 0.5),
    ("data.5", "values of people in the record", record(feature_statistics=FINE), 0),
    ("data.5", "a field about people that is marked since", declared("km", privacy="personal"), 0),
    ("data.6", "a change that took long", slow_change, 0.5),
    ("data.6", "no change of code", same_code, 0),
    ("data.7", "tests fail", entry("proofs", "brand_tests", state="failed"), 0),
    ("data.7", "code changed since the tests", code(digest="x"), 0.5),
    ("data.7", "no test of the features", code(tests={"test_price.py": "import price"}), 0),
    ("data.7", "no workflow tests", without_step("pytest"), 0.5),
    ("model.1", "files not committed", record(git_dirty=True), 0),
    ("model.1", "nobody has to agree", no_owner, 0.5),
    ("model.2", "hold-out and truth disagree", worse_in_truth, 0),
    ("model.2", "one version measured", one_measured, 0.5),
    ("model.3", "nothing searched", results(trials=1), 0),
    ("model.4", "age never tried", never_compared, 0),
    ("model.4", "tried long ago", old_curve, 0.5),
    ("model.5", "a baseline is as good", gate("baseline", passed=False), 0),
    ("model.5", "nobody asks", gate("baseline", passed=None, applicable=False), 0.5),
    ("model.6", "a bad slice", gate("slices", passed=False), 0),
    ("model.6", "slices too small to judge", record(slices=[{"column": "town", "judged": False}]), 0.5),
    ("model.7", "a group is treated worse", gate("fairness", passed=False), 0),
    ("model.7", "no gate over groups", gate("fairness", name="other"), 0),
    ("infrastructure.1", "another model comes out", entry("proofs", "rebuild", state="differs"), 0),
    ("infrastructure.1", "an older version was rebuilt", entry("proofs", "rebuild", number=1), 0.5),
    ("infrastructure.2", "tests fail", entry("proofs", "brand_tests", state="failed"), 0),
    ("infrastructure.2", "no test, but the check tries it", code(tests={}), 0.5),
    ("infrastructure.3", "the newest training crashed", last_run(outcome="crashed"), 0),
    ("infrastructure.3", "trained with other code", other_code_ran, 0.5),
    ("infrastructure.3", "trained long ago", last_run(ended_at=ago(120)), 0),
    ("infrastructure.4", "forced into production", forced, 0),
    ("infrastructure.4", "gates failed", record(gates_passed=False), 0),
    ("infrastructure.5", "answers do not come out again", entry("checks", "skew", state="red"), 0),
    ("infrastructure.5", "nothing is stored", stores_nothing, 0),
    ("infrastructure.5", "late", entry("checks", "skew", at=ago(4)), 0.5),
    ("infrastructure.6", "without a trial", straight_to_production, 0),
    ("infrastructure.6", "shadow only", shadow_only, 0.5),
    ("infrastructure.6", "canary by hand", by_hand, 0.5),
    ("infrastructure.7", "the drill failed", entry("drills", "rollback", state="red"), 0),
    ("infrastructure.7", "no drill of late", entry("drills", "rollback", at=ago(40)), 0.5),
    ("infrastructure.7", "never drilled", entry("drills", "rollback"), 0),
    ("monitoring.1", "no alert arrives", not_told, 0.5),
    ("monitoring.1", "no workflow says what a change touches", without_step("affected"), 0.5),
    ("monitoring.2", "inputs break rules", entry("checks", "data_quality", state="red"), 0),
    ("monitoring.2", "too few rows", entry("checks", "data_quality", state="unknown"), 0),
    ("monitoring.3", "skew", entry("checks", "skew", state="red"), 0),
    ("monitoring.3", "the monitor died", entry("checks", "skew", at=ago(4)), 0.5),
    ("monitoring.4", "too old", entry("checks", "staleness", state="red"), 0),
    ("monitoring.4", "it looked at another version", entry("checks", "staleness", number=2), 0),
    ("monitoring.4", "never ran", entry("checks", "staleness"), 0),
    ("monitoring.5", "answers that are no numbers", record(feature_statistics=ENDLESS), 0),
    ("monitoring.5", "a fallback answered", fell_back, 0),
    ("monitoring.5", "nobody watches answers", entry("checks", "prediction_drift"), 0.5),
    ("monitoring.6", "training got slower", slower, 0),
    ("monitoring.6", "serving got slower", gate("latency", passed=False), 0),
    ("monitoring.7", "quality dropped", entry("checks", "quality", state="red"), 0),
    ("monitoring.7", "no labels", entry("checks", "quality", state="unknown"), 0),
]


def test_every_one_of_the_28_tests_has_a_planted_fault() -> None:
    assert {name for name, *_ in FAULTS} == set(TESTS), "a readiness test without a planted fault"
    assert [len(section_tests(section)) for section in SECTIONS] == [7, 7, 7, 7]


@pytest.mark.parametrize("name", TESTS)
def test_each_gives_its_point_where_the_evidence_is(name: str, sound: Evidence) -> None:
    answer = answer_test(TESTS[name], sound)

    assert (answer.points, answer.verdict) == (1.0, "shown"), answer.found
    assert answer.found, "a point says which evidence it is given for"


@pytest.mark.parametrize(("name", "what", "plant", "points"), FAULTS, ids=[f"{name}-{what}" for name, what, *_ in FAULTS])
def test_a_planted_fault_costs_the_point(name: str, what: str, plant: Fault, points: float, sound: Evidence) -> None:
    answer = answer_test(TESTS[name], plant(sound))

    assert answer.points == points < 1, f"{what}: {answer.found}"


def test_without_a_version_in_production_nothing_is_assumed(sound: Evidence) -> None:
    bare = replace(sound, version=None, runs=(), results={}, events=(), checks={}, marks={}, drills={}, costs={}, proofs={}, quality=())

    assert judge(bare).sections["model"] == 0
    assert judge(bare).score == 0


def test_evidence_dated_after_now_does_not_count(sound: Evidence) -> None:
    early = replace(sound, now=ago(30))

    assert answer_test(TESTS["infrastructure.7"], early).points < 1, "a drill of the future"
    assert answer_test(TESTS["monitoring.3"], early).points < 1, "a check of the future"


def test_evidence_of_one_brand_is_none_for_another(world: ReadinessWorld) -> None:
    duin, hei = measure_readiness(world.settings, world.ledger, [world.duin, world.hei], NOW)

    assert (duin.score, duin.next_points) == (7, [])
    assert hei.sections == {"data": 0, "model": 0, "infrastructure": 0, "monitoring": 0.5}, "the workflow is for all brands"


def test_the_weakest_section_decides_and_its_cheapest_point_is_next(sound: Evidence) -> None:
    worse = entry("checks", "skew", state="red")(entry("checks", "quality", state="unknown")(not_told(sound)))
    found = judge(worse)

    assert (found.score, found.weakest, next(iter(found.sections))) == (4.5, "monitoring", "monitoring")
    # skew: a point for half an hour; alerts: half a point for an hour; quality: a point for four hours.
    assert [test.name for test in found.next_points] == ["monitoring.3", "monitoring.1", "monitoring.7"]
    document = found.as_document()
    assert document["next"]["test"] == "monitoring.3"
    assert len(document["tests"]) == 28


def test_what_cannot_be_known_is_no_next_step(sound: Evidence) -> None:
    found = judge(entry("checks", "staleness", state="not_applicable", detail="the brand gets no new data")(sound))

    assert found.answers["monitoring.4"].points == 0
    assert found.next_points == [], "nobody can mend what the brand does not have"


def test_a_test_by_hand_gives_half_and_outweighs_no_evidence(world: ReadinessWorld, sound: Evidence) -> None:
    noted = record_by_hand(
        world.ledger, ModelKey("hei", "price"), "model.7", "no gap above 2 %", "https://wiki.house.example/7", NOW, "ann", holds=True
    )
    _, hei = measure_readiness(world.settings, world.ledger, [world.duin, world.hei], NOW)

    assert (hei.answers["model.7"].points, hei.answers["model.7"].link) == (0.5, "https://wiki.house.example/7")
    assert "by hand, ann: no gap above 2 %" in hei.answers["model.7"].found
    note = noted.model_copy(update={"brand": "duin"})
    contradicted = replace(gate("fairness", passed=False)(sound), proofs={**sound.proofs, noted.name: note})
    assert answer_test(TESTS["model.7"], contradicted).points == 0, "a gate that failed is not talked away"
    late = replace(gate("fairness", name="other")(sound), proofs={noted.name: note.model_copy(update={"at": ago(400)})})
    assert answer_test(TESTS["model.7"], late).points == 0, "done by hand long ago"
    failed = replace(gate("fairness", name="other")(sound), proofs={noted.name: note.model_copy(update={"state": "failed"})})
    assert answer_test(TESTS["model.7"], failed).points == 0, "done by hand, and it turned out badly"


@pytest.mark.parametrize(
    ("test", "result", "link", "message"),
    [
        ("model.8", "well", "x", "unknown readiness test 'model.8'; known: data.1, "),
        ("model.7", " ", "x", "give --result and --link"),
        ("model.7", "well", "", "give --result and --link"),
    ],
)
def test_a_test_by_hand_needs_a_name_a_result_and_a_link(world: ReadinessWorld, test: str, result: str, link: str, message: str) -> None:
    with pytest.raises(ProofError, match=message.replace("(", r"\(")):
        record_by_hand(world.ledger, world.key, test, result, link, NOW, "ann", holds=True)


def test_a_page_shows_all_and_escapes(sound: Evidence) -> None:
    odd = entry("checks", "skew", state="red", detail="<script>alert(1)</script>")(sound)
    page = render_readiness([judge(odd)])

    assert page.count("<tr><td>") == 1 + 28
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


@pytest.mark.slow
def test_tests_of_a_brand_are_run_and_their_failure_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = ReadinessWorld(tmp_path)
    monkeypatch.setenv("BRANDHOUSE_SECRET_DUIN_HOOK", "of the neighbour")
    tests = tmp_path / "brands" / "hei" / "tests"
    (tests / "test_price.py").write_text("import os\n\n\ndef test_it():\n    assert not [one for one in os.environ if 'DUIN' in one]\n")
    passed = record_tests(world.settings, world.ledger, world.hei, NOW)
    (tests / "test_price.py").write_text("def test_it():\n    assert True\n\n\ndef test_no():\n    assert False\n")
    failed = record_tests(world.settings, world.ledger, world.hei, NOW)

    assert (passed.state, passed.value, passed.detail) == ("passed", 1.0, "1 tests passed")
    assert (failed.state, failed.value) == ("failed", 1.0)
    assert failed.detail == "1 failed and 1 passed; pytest ended with 1"
    kept = {entry.brand: entry.state for entry in world.ledger.newest_entries(EntryKind.EVIDENCE) if entry.name == "brand_tests"}
    assert kept == {"duin": "passed", "hei": "failed"}


def in_world(world: ReadinessWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "ROOT": world.root,
        "HOME": world.settings.home,
        "LEDGER_URL": world.settings.ledger_url.get_secret_value(),
    }.items():
        monkeypatch.setenv(f"BRANDHOUSE_{name}", str(value))


def test_the_command_tells_people_and_machines_the_same(
    world: ReadinessWorld, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    in_world(world, monkeypatch)
    page = tmp_path / "readiness.html"

    command.readiness(["duin", "hei"], html=page, try_tests=False, as_json=True)
    duin, hei = json.loads(capsys.readouterr().out)
    command.readiness(["hei"], html=None, try_tests=False, as_json=False)
    said = capsys.readouterr().out

    assert (duin["score"], duin["next"], hei["score"]) == (7, None, 0)
    assert f"hei/price: cheapest next point: {hei['next']['test']}" in said
    assert "duin" not in said, "another brand in the listing of one"
    assert said.index("hei/price, data: 0 of 7") < said.index("hei/price, monitoring: 0.5 of 7"), "the weakest section comes first"
    assert "duin/price: 7 of 7" in page.read_text()


def test_a_brand_that_cannot_be_read_is_named(
    world: ReadinessWorld, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    in_world(world, monkeypatch)
    broken = world.root / "brands" / "wad"
    broken.mkdir()
    (broken / "brand.toml").write_text("name = 3")
    try:
        command.readiness([], html=None, try_tests=False, as_json=False)
    finally:
        (broken / "brand.toml").unlink()
        broken.rmdir()

    assert "left out: brand 'wad'" in capsys.readouterr().err


def test_a_page_does_not_go_into_another_brands_folder(world: ReadinessWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    in_world(world, monkeypatch)
    with pytest.raises(BrandhouseError, match="another brand's folder"):
        command.readiness(["duin"], html=world.root / "brands" / "hei" / "page.html", try_tests=False, as_json=False)


def test_ages_are_told(sound: Evidence) -> None:
    found: Readiness = judge(entry("drills", "rollback", at=ago(10))(sound))
    document = next(one for one in found.as_document()["tests"] if one["test"] == "infrastructure.7")

    assert document["age_days"] == 10
    assert datetime.fromisoformat(document["at"]) == ago(10)
