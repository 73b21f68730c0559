"""Quality from labels: what is worse is told, what is not is left alone, and what cannot be said is said so."""

import shutil
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
from serving_house import CASA, STIL, STIL_ROW
from truth_house import NOW, TruthHouse, areas_of, casa_rows, every

from brandhouse_aftercare.checks import Finding, State
from brandhouse_aftercare.estimated_quality import EstimatedQualityCheck
from brandhouse_aftercare.label_health import LabelCheck
from brandhouse_aftercare.quality import QualityCheck
from brandhouse_shared.names import VersionKey

NOISE = 10.0


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> TruthHouse:
    """A house with one artifact a brand, which takes longer to make than all that a test does."""
    house = TruthHouse(tmp_path_factory.mktemp("house"))
    house.register_casa(2.0, promote=False)
    house.register_stil(promote=False)
    return house


@pytest.fixture
def house(built: TruthHouse) -> Iterator[TruthHouse]:
    """The house without answers and labels."""
    toml = built.root / "brands" / "casa" / "brand.toml"
    declared = toml.read_text()
    yield built
    toml.write_text(declared)
    shutil.rmtree(built.home / "predictions", ignore_errors=True)
    shutil.rmtree(built.home / "experiments", ignore_errors=True)


@pytest.fixture
def casa(house: TruthHouse) -> VersionKey:
    """`casa/price` with an error of 10 on its hold-out."""
    return register(house, CASA.version(1))


def register(house: TruthHouse, artifact: VersionKey, **more: Any) -> VersionKey:
    rows = casa_rows(400, seed=1)
    prediction = 2 * areas_of(rows) + 10
    truth = prediction + np.random.default_rng(2).normal(0, NOISE, len(rows))
    return house.measure(artifact, truth, prediction, "mae", created_at=NOW - timedelta(days=40), **more)


def answer(
    house: TruthHouse, version: VersionKey, count: int = 400, noise: float = NOISE, *, seed: int = 3, days: float = 7.0
) -> list[str]:
    """Log answers of the last days and give each its label a day later, off by `noise`."""
    rows = casa_rows(count, seed)
    prediction = 2 * areas_of(rows) + 10
    at = every(7 * 1440 / count, count, NOW - timedelta(days=1, hours=1))
    ids = house.log(version, rows, prediction, at)
    truth = prediction + np.random.default_rng(seed).normal(0, noise, count)
    house.label(ids, truth.tolist(), [moment + timedelta(days=1) for moment in at])
    return ids


def look(house: TruthHouse, check: object = QualityCheck()) -> Finding:
    return check.look(house.watch(CASA))  # type: ignore[attr-defined,no-any-return]


def test_a_model_as_good_as_on_its_hold_out_is_green(house: TruthHouse, casa: VersionKey) -> None:
    answer(house, casa)
    found = look(house)
    assert found.state is State.GREEN, found.detail
    assert found.rows == 400
    assert "on 400 labelled answers" in found.detail
    assert "half of them within 1 days" in found.detail
    assert "whether labelled answers are like the others cannot be known" in found.detail


def test_a_model_that_got_worse_is_red_with_its_loss(house: TruthHouse, casa: VersionKey) -> None:
    answer(house, casa, noise=2 * NOISE)
    found = look(house)
    assert found.state is State.RED, found.detail
    assert "worse than the hold-out" in found.detail
    assert "at most 5 % is allowed" in found.detail
    assert found.value is not None and found.limit is not None and found.value > found.limit


def test_a_small_loss_that_is_certain_is_not_red(house: TruthHouse, casa: VersionKey) -> None:
    house.declare("casa", "[models.price.monitoring]\nquality_loss_share = 0.9")
    answer(house, casa, 2000, noise=1.3 * NOISE)
    assert look(house).state is State.GREEN


def test_a_large_loss_that_may_be_chance_is_not_red_and_says_so(house: TruthHouse, casa: VersionKey) -> None:
    house.declare("casa", "[models.price.monitoring]\nmin_labels = 5")
    answer(house, casa, 8, noise=1.6 * NOISE, seed=9)
    found = look(house)
    assert found.state is State.GREEN
    assert "which may still be chance" in found.detail


def test_too_few_labels_are_not_called_good(house: TruthHouse, casa: VersionKey) -> None:
    answer(house, casa, 60, noise=9 * NOISE)
    found = look(house)
    assert (found.state, found.rows) == (State.UNKNOWN, 60)
    assert found.detail == "not enough data: 60 of 100 labelled answers"


def test_a_score_below_the_gate_is_red_though_it_is_no_worse_than_before(house: TruthHouse, casa: VersionKey) -> None:
    house.declare("casa", "[models.price.gates]\nthreshold = 5.0")
    answer(house, casa)
    found = look(house)
    assert found.state is State.RED
    assert "worse than the gate's threshold (5)" in found.detail


def test_answers_of_others_than_the_version_itself_do_not_count(house: TruthHouse, casa: VersionKey) -> None:
    answer(house, casa)
    rows = casa_rows(300, 5)
    at = every(20, 300, NOW - timedelta(days=2))
    wrong = np.full(300, 9e6)
    for version, served_by in ((casa, "baseline"), (CASA.version(1), "previous"), (CASA.version(1), "production")):
        ids = house.log(version, rows, wrong, at, served_by=served_by)
        house.label(ids, [1.0] * 300, [moment + timedelta(hours=1) for moment in at])
    found = look(house)
    assert (found.state, found.rows) == (State.GREEN, 400), found.detail


def test_a_brand_that_learns_no_truth_has_no_quality(house: TruthHouse, casa: VersionKey) -> None:
    house.edit_brand("casa", "[datasets.homes]", "[capabilities]\ngets_labels = false\n\n[datasets.homes]")
    for check in (QualityCheck(), LabelCheck()):
        found = look(house, check)
        assert found.state is State.NOT_APPLICABLE
        assert "gets_labels = false" in found.detail


def test_a_missing_artifact_leaves_quality_unknown(house: TruthHouse) -> None:
    version = register(house, house.register_casa(3.0, promote=False))
    answer(house, version)
    house.alter_artifact(version)
    for check in (QualityCheck(), LabelCheck()):
        assert look(house, check).state is State.UNKNOWN


def _slice(value: str, score: float) -> dict[str, object]:
    return {
        "column": "Area m2",
        "value": value,
        "rows": 100,
        "score": score,
        "judged": True,
        "low": score * 0.9,
        "high": score * 1.1,
        "reason": "",
    }


def test_a_subgroup_that_gets_worse_is_named_while_the_whole_looks_well(house: TruthHouse) -> None:
    house.edit_brand("casa", 'metric = "rmse"\n\n[models.price.inputs]', 'metric = "rmse"\nslices = ["Area m2"]\n\n[models.price.inputs]')
    slices = [_slice("up to 65", 8.0), _slice("65 to 110", 8.0), _slice("above 110", 8.0)]
    version = register(house, CASA.version(1), slices=slices)
    rows = casa_rows(800, 7)
    prediction, areas = 2 * areas_of(rows) + 10, areas_of(rows)
    noise = np.where(areas <= 65, 2.0, 0.9) * NOISE
    at = every(10, 800, NOW - timedelta(days=1))
    ids = house.log(version, rows, prediction, at)
    house.label(ids, (prediction + np.random.default_rng(8).normal(0, 1, 800) * noise).tolist(), [one + timedelta(hours=2) for one in at])
    found = look(house)
    assert found.state is State.RED
    assert "where Area m2 = up to 65" in found.detail
    assert "65 to 110" not in found.detail and "above 110" not in found.detail
    by_name = {one["name"]: one for one in found.facts["comparisons"] if one["newest_days"] is None}
    assert by_name["Area m2 = up to 65"]["rows"] == int((areas <= 65).sum())
    assert not by_name["hold-out"]["red"]


def test_slices_that_the_log_cannot_show_are_named(house: TruthHouse) -> None:
    version = register(house, CASA.version(1), slices=[_slice("north", 8.0) | {"column": "region"}])
    answer(house, version)
    assert "no slices by region: no public input fields" in look(house).detail


def answer_each_day(house: TruthHouse, version: VersionKey, noises: list[float], count: int = 80) -> None:
    """Log so many answers on each of the last days, the oldest first, each with its label two hours later, off by that day's noise."""
    rows = casa_rows(count * len(noises), 31)
    prediction = 2 * areas_of(rows) + 10
    at = every(1440 / count, len(rows), NOW - timedelta(hours=2, minutes=1))
    ids = house.log(version, rows, prediction, at)
    off = np.random.default_rng(32).normal(0, 1, len(rows)) * np.repeat(noises, count)
    house.label(ids, (prediction + off).tolist(), [moment + timedelta(hours=2) for moment in at])


def test_a_sudden_loss_is_red_before_it_shows_among_weeks_of_good_labels(house: TruthHouse, casa: VersionKey) -> None:
    answer_each_day(house, casa, [NOISE] * 25 + [1.7 * NOISE] * 2)
    found = look(house)
    assert found.state is State.RED, found.detail
    assert "of the newest 7 days" in found.detail
    assert [one["newest_days"] for one in found.facts["comparisons"] if one["red"]] == [7.0, 1.75]


def test_a_loss_that_is_over_is_told_and_not_red(house: TruthHouse, casa: VersionKey) -> None:
    answer_each_day(house, casa, [NOISE] * 11 + [4 * NOISE] * 4 + [NOISE] * 12)
    found = look(house)
    assert found.state is State.GREEN, found.detail
    assert "it was worse (" in found.detail and "its newest labels are well again" in found.detail


def test_a_loss_that_goes_on_stays_red(house: TruthHouse, casa: VersionKey) -> None:
    answer_each_day(house, casa, [NOISE] * 11 + [1.8 * NOISE] * 16)
    found = look(house)
    assert found.state is State.RED, found.detail
    assert found.detail.count("worse than the hold-out") == 1, "told once, not for each time"


# -- labels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("early", "3 older than their answer"),
        ("repeated", "3 given again"),
        ("contradicting", "3 of those given again say something else"),
        ("unmatched", "3 for no answer in the log"),
        ("foreign", "3 no class of the model, or no number"),
        ("torn", "3 unreadable"),
    ],
)
def test_labels_that_break_their_rules_are_counted_and_left_out(house: TruthHouse, casa: VersionKey, fault: str, said: str) -> None:
    ids = answer(house, casa)
    rows, at = casa_rows(3, 11), every(60, 3, NOW - timedelta(days=2))
    fresh = house.log(casa, rows, 2 * areas_of(rows) + 10, at)
    later = [moment + timedelta(hours=3) for moment in at]
    match fault:
        case "early":
            house.label(fresh, [1e9] * 3, [moment - timedelta(days=1) for moment in at])
        case "repeated":
            first = house.watch(CASA).labels
            known = dict(zip(first.ids.to_pylist(), first.truth.tolist(), strict=True))
            house.label(ids[:3], [known[one] for one in ids[:3]], later)
        case "contradicting":
            house.label(ids[:3], [1e9] * 3, later)
        case "unmatched":
            house.label([f"{one[:-16]}{'A' * 16}" for one in fresh], [1e9] * 3, later)
        case "foreign":
            house.label(fresh, ["dear", None, True], later)
        case "torn":
            folder = house.home / "predictions" / "casa" / "price" / "_labels"
            with next(folder.glob("*.jsonl")).open("ab") as lines:
                lines.write(b'{"id": "casa.pri\n{}\n[1]\n')
    found = look(house, LabelCheck())
    assert found.state is State.RED
    assert said in found.detail
    assert "1000000000" not in found.detail
    quality = look(house)
    assert (quality.state, quality.rows) == (State.GREEN, 400), quality.detail


def _weeks_of_answers(house: TruthHouse, version: VersionKey, until: datetime) -> tuple[list[str], list[datetime]]:
    rows = casa_rows(60 * 20, 13)
    at = every(60 * 24 / 20, 60 * 20, until)
    return house.log(version, rows, 2 * areas_of(rows) + 10, at), at


def _label_until(house: TruthHouse, ids: list[str], at: list[datetime], until: datetime) -> None:
    """Labels that come two days after their answer, up to a time."""
    came = [(one, moment + timedelta(days=2)) for one, moment in zip(ids, at, strict=True) if moment + timedelta(days=2) < until]
    house.label([one for one, _ in came], [1.0] * len(came), [moment for _, moment in came])


def test_labels_that_stay_away_are_red(house: TruthHouse, casa: VersionKey) -> None:
    ids, at = _weeks_of_answers(house, casa, NOW)
    _label_until(house, ids, at, NOW - timedelta(days=9))
    found = look(house, LabelCheck())
    assert found.state is State.RED
    assert "0 labels came in the last 7 days" in found.detail


def test_labels_that_come_as_ever_are_green(house: TruthHouse, casa: VersionKey) -> None:
    ids, at = _weeks_of_answers(house, casa, NOW)
    _label_until(house, ids, at, NOW)
    found = look(house, LabelCheck())
    assert found.state is State.GREEN, found.detail
    assert "half of them within 2 days" in found.detail


def test_labels_that_come_in_a_file_a_month_are_not_late_between_two_files(house: TruthHouse, casa: VersionKey) -> None:
    ids, at = _weeks_of_answers(house, casa, NOW)
    files = [NOW - timedelta(days=days) for days in (56, 28, 20)]
    for start, end in zip([NOW - timedelta(days=90), *files], files, strict=False):
        came = [one for one, moment in zip(ids, at, strict=True) if start <= moment < end]
        house.label(came, [1.0] * len(came), [end] * len(came))
    found = look(house, LabelCheck())
    assert found.state is State.GREEN, found.detail


# -- two brands ------------------------------------------------------------------------------------------------------


def test_one_brands_bad_labels_do_not_reach_the_other(house: TruthHouse, casa: VersionKey) -> None:
    rng = np.random.default_rng(4)
    positive = rng.random(400)
    scores = np.column_stack([1 - positive, positive])
    stil = house.measure(STIL.version(1), (rng.random(400) < positive).astype(int), scores, "log_loss", created_at=NOW)
    at = every(20, 400, NOW - timedelta(days=1))
    ids = house.log(stil, [STIL_ROW] * 400, scores, at, withheld=["town", "health"])
    house.label(ids, ["yes" if drawn else "no" for drawn in rng.random(400) < positive], at)
    answer(house, casa, noise=5 * NOISE)
    assert look(house).state is State.RED
    found = QualityCheck().look(house.watch(STIL))
    assert (found.state, found.rows) == (State.GREEN, 400), found.detail
    assert "log_loss" in found.detail


# -- estimates -------------------------------------------------------------------------------------------------------


def _unlabelled(house: TruthHouse, version: VersionKey, low: float, high: float) -> None:
    rows = casa_rows(1000, 21, low=low, high=high)
    house.log(version, rows, 2 * areas_of(rows) + 10, every(5, 1000, NOW))


@pytest.fixture
def fanning(house: TruthHouse) -> VersionKey:
    """`casa/price` with errors that grow with the price."""
    rows = casa_rows(800, seed=1)
    prediction = 2 * areas_of(rows) + 10
    truth = prediction + np.random.default_rng(2).normal(0, 1, 800) * prediction / 10
    return house.measure(CASA.version(1), truth, prediction, "mae", created_at=NOW - timedelta(days=40))


def test_an_estimate_on_rows_like_the_hold_out_is_green_and_says_what_it_is(house: TruthHouse, fanning: VersionKey) -> None:
    _unlabelled(house, fanning, 20, 200)
    found = look(house, EstimatedQualityCheck())
    assert found.state is State.GREEN, found.detail
    assert found.detail.startswith("estimate, not a measurement: mae")
    assert "cannot see whether the same inputs have come to mean something else" in found.detail


def test_an_estimate_on_harder_rows_is_red_before_any_label_comes(house: TruthHouse, fanning: VersionKey) -> None:
    _unlabelled(house, fanning, 150, 200)
    found = look(house, EstimatedQualityCheck())
    assert found.state is State.RED, found.detail
    assert found.value == pytest.approx(0.8 * 360 / 10, rel=0.15)


def test_an_estimate_needs_the_answers_on_the_hold_out(house: TruthHouse, fanning: VersionKey) -> None:
    _unlabelled(house, fanning, 20, 200)
    for path in (house.home / "experiments").rglob("*.npz"):
        path.unlink()
    found = look(house, EstimatedQualityCheck())
    assert found.state is State.UNKNOWN
    assert "are not on this machine" in found.detail


def test_answers_that_have_their_label_need_no_estimate(house: TruthHouse, casa: VersionKey) -> None:
    answer(house, casa)
    found = look(house, EstimatedQualityCheck())
    assert found.state is State.NOT_APPLICABLE
    assert "see the check quality" in found.detail
