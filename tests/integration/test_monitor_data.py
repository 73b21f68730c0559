"""Monitors over real logs: what of the data they see, and that nothing broken, missing or of another brand misleads them."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from watch_house import NOON, WatchHouse, days_before, make_rows

from brandhouse_aftercare.alarm_budget import FALSE_ALARMS_PER_BRAND_MONTH, alarm_share
from brandhouse_aftercare.checks import Check, Finding, State, Watch
from brandhouse_aftercare.data_quality import DataQualityCheck
from brandhouse_aftercare.drift import DriftCheck, PredictionDriftCheck
from brandhouse_aftercare.log_health import LogCheck
from brandhouse_aftercare.monitoring import build_watch, run_monitor
from brandhouse_aftercare.volume import VolumeCheck
from brandhouse_serving.request_totals import Totals, add_totals
from brandhouse_shared.brands import Brand
from brandhouse_shared.ledger.records import Entry, EntryKind
from brandhouse_shared.names import ModelKey, VersionKey

CHECKS: list[Check] = [VolumeCheck(), LogCheck(), DataQualityCheck(), DriftCheck(), PredictionDriftCheck()]
TRAINING = make_rows(3_000, seed=1)
ANSWERS_A_DAY = 240


def predict(rows: pd.DataFrame) -> np.ndarray:  # type: ignore[type-arg]
    return rows["km"].to_numpy(dtype=float) * 3 + np.random.default_rng(len(rows)).normal(0, 1, len(rows))


@pytest.fixture
def house(tmp_path: Path) -> WatchHouse:
    return WatchHouse(tmp_path / "house")


def settle(house: WatchHouse, name: str = "duin", *, days: int = 9, until: datetime = NOON, seed: int = 2) -> tuple[Brand, VersionKey]:
    """A brand with a version in production and quiet traffic up to a moment."""
    brand = house.add_brand(name)
    version = house.register(brand, TRAINING, predict(TRAINING)[:1_000])
    live = make_rows(days * ANSWERS_A_DAY, seed=seed)
    house.answer(version, brand, live, predict(live), days_before(until, days), until)
    return brand, version


def look(house: WatchHouse, brand: Brand, now: datetime = NOON, days: int | None = None) -> dict[str, Finding]:
    report = run_monitor(house.settings, house.ledger, brand, "price", now, checks=CHECKS, days=days)
    return {finding.name: finding for finding in report.findings}


def replace_last_day(house: WatchHouse, brand: Brand, version: VersionKey, rows: pd.DataFrame) -> None:
    for day in (NOON, days_before(NOON, 1)):
        shutil.rmtree(house.home / "predictions" / brand.name / "price" / f"{day:%Y-%m-%d}", ignore_errors=True)
    house.answer(version, brand, rows, predict(rows), days_before(NOON, 1), NOON)


def test_quiet_traffic_is_green_in_every_check_and_written_to_the_ledger(house: WatchHouse) -> None:
    brand, version = settle(house)
    found = look(house, brand)
    assert {name: str(one.state) for name, one in found.items()} == dict.fromkeys(found, "green")
    assert found["drift"].facts["compared"] == 8, "all but the date and the sensitive field, the personal ones too"
    assert found["drift"].facts["left_out"] == {"day": "a date: it moves on with time", "health": "sensitive: nothing of it is logged"}
    entries = house.ledger.newest_entries(EntryKind.CHECK, "duin")
    assert [(entry.name, entry.number, entry.at) for entry in entries] == [(name, version.number, NOON) for name in sorted(found)]


def test_a_moved_field_is_red_the_others_are_not_and_the_other_brand_is_not(house: WatchHouse) -> None:
    brand, version = settle(house)
    other, _ = settle(house, "hei", seed=3)
    replace_last_day(house, brand, version, make_rows(400, seed=4, km=1.5))
    found = look(house, brand)
    assert found["drift"].state is State.RED
    assert found["drift"].facts["drifted"] == ["km"]
    assert found["drift"].detail.startswith("km: 0.4") and "of the rows lie elsewhere than in training" in found["drift"].detail
    assert found["prediction_drift"].state is State.RED
    assert all(finding.state is State.GREEN for finding in look(house, other).values())


def test_a_personal_field_drifts_by_its_coarse_shares_although_only_hashes_are_logged(house: WatchHouse) -> None:
    brand, version = settle(house)
    replace_last_day(house, brand, version, make_rows(400, seed=4, age=25))
    found = look(house, brand)["drift"]
    assert found.facts["drifted"] == ["age"]
    cells = [cell for cell, _, _ in found.facts["shares"]["age"]]
    assert cells[0].startswith("below ") and cells[-1] == "other", "rounded ranges, no person's age"


def test_too_little_traffic_is_unknown_with_the_rows_that_it_takes(house: WatchHouse) -> None:
    brand = house.add_brand("duin", monitoring="window_days = 7")
    version = house.register(brand, TRAINING, predict(TRAINING)[:1_000])
    few = make_rows(40, seed=4, km=3.0)
    house.answer(version, brand, few, predict(few), days_before(NOON, 7), NOON)
    found = look(house, brand)
    for name in ("drift", "prediction_drift", "data_quality"):
        assert found[name].state is State.UNKNOWN
        assert found[name].detail.startswith("not enough data: 40 of 200 rows")


@pytest.mark.slow
def test_a_small_limit_needs_more_rows_than_are_declared(house: WatchHouse) -> None:
    brand = house.add_brand("duin", monitoring="drift_effect = 0.07\nwindow_days = 3")
    version = house.register(brand, make_rows(20_000, seed=1), predict(TRAINING)[:1_000])
    rows = make_rows(300, seed=4)
    house.answer(version, brand, rows, predict(rows), days_before(NOON, 3), NOON)
    found = look(house, brand)["drift"]
    assert found.state is State.UNKNOWN
    wanted = int(found.detail.split(" of ")[1].split()[0].replace(",", ""))
    assert wanted > 300, found.detail


@pytest.mark.slow
def test_a_training_too_small_to_compare_with_says_so(house: WatchHouse) -> None:
    brand = house.add_brand("duin")
    version = house.register(brand, TRAINING.head(40), predict(TRAINING)[:30])
    rows = make_rows(500, seed=4)
    house.answer(version, brand, rows, predict(rows), days_before(NOON, 1), NOON)
    found = look(house, brand)["drift"]
    assert found.state is State.UNKNOWN
    assert "the training itself had 40 of" in found.detail


@pytest.mark.slow
def test_as_few_days_are_looked_at_as_have_enough_rows_and_so_many_as_are_asked_for(house: WatchHouse) -> None:
    brand, _ = settle(house)
    assert look(house, brand)["drift"].facts["window_days"] == 1.0
    assert look(house, brand, days=3)["drift"].rows == 3 * ANSWERS_A_DAY


def test_a_broken_upstream_column_is_found_by_its_missing_share(house: WatchHouse) -> None:
    brand, version = settle(house)
    rows = make_rows(400, seed=4)
    rows.loc[::4, "town"] = None
    replace_last_day(house, brand, version, rows)
    found = look(house, brand)["data_quality"]
    assert found.state is State.RED
    assert found.detail == "town: 25.0% of 400 values are missing, in training 0.0%"


def test_values_that_training_never_saw_are_found(house: WatchHouse) -> None:
    brand, version = settle(house)
    rows = make_rows(400, seed=4)
    rows.loc[::5, "town"] = "Elsewhere"
    rows.loc[::8, "steps"] = 9_999
    replace_last_day(house, brand, version, rows)
    found = look(house, brand)["data_quality"]
    assert found.facts["bad"] == ["unusual town", "unusual steps"]
    assert "town: 20.0% of 400 values are beyond what training had" in found.detail
    assert "Elsewhere" not in found.detail and "Elsewhere" not in str(found.facts)


def test_refused_requests_count_since_the_last_run(house: WatchHouse) -> None:
    brand, _ = settle(house)
    key = ModelKey("duin", "price")
    add_totals(house.home, {key: Totals(answered=1_000, refused=5), ModelKey("hei", "price"): Totals(0, 900)})
    assert look(house, brand)["data_quality"].state is State.GREEN
    add_totals(house.home, {key: Totals(answered=100, refused=100)})
    found = look(house, brand)["data_quality"]
    assert found.detail == "50.0% of 200 requests contradict the input schema, allowed are 10.0%"
    assert look(house, brand)["data_quality"].state is State.GREEN, "the same requests are not counted again"


def test_a_brand_that_may_store_nothing_is_watched_by_its_volume(house: WatchHouse) -> None:
    brand = house.add_brand("duin", may_store=False)
    version = house.register(brand, TRAINING, predict(TRAINING)[:1_000])
    house.answer(version, brand, None, np.full(30 * ANSWERS_A_DAY, np.nan), days_before(NOON, 30), NOON)
    found = look(house, brand)
    assert found["volume"].state is State.GREEN
    assert found["log"].state is State.GREEN
    for name in ("drift", "prediction_drift", "data_quality"):
        assert found[name].state is State.NOT_APPLICABLE
        assert "may not store predictions" in found[name].detail


def test_no_log_at_all_and_no_version_are_unknown_or_not_applicable_and_never_green(house: WatchHouse) -> None:
    brand = house.add_brand("duin")
    found = look(house, brand)
    assert {name: str(one.state) for name, one in found.items()} == {
        "volume": "unknown",
        "log": "unknown",
        "data_quality": "unknown",
        "drift": "not_applicable",
        "prediction_drift": "not_applicable",
    }
    house.register(brand, TRAINING, predict(TRAINING)[:1_000])
    assert look(house, brand)["drift"].detail == "not enough data: 0 of 200 rows in 28 days"


@pytest.mark.slow
def test_answers_of_a_canary_or_of_an_earlier_version_are_no_predictions_of_production(house: WatchHouse) -> None:
    brand, version = settle(house)
    rows = make_rows(600, seed=4)
    for number, served_by in ((version.number, "canary"), (version.number + 1, "production")):
        house.answer(
            VersionKey("duin", "price", number), brand, rows, np.full(600, 900.0), days_before(NOON, 0.5), NOON, served_by=served_by
        )
    found = look(house, brand)
    assert found["prediction_drift"].rows == ANSWERS_A_DAY
    assert found["prediction_drift"].state is State.GREEN
    assert found["drift"].rows == ANSWERS_A_DAY + 1_200, "their inputs are the model's traffic all the same"


@pytest.mark.slow
@pytest.mark.parametrize(("factor", "state"), [(0.0, "red"), (0.5, "green"), (20.0, "red")])
def test_traffic_is_compared_with_the_same_hours_of_earlier_weeks(house: WatchHouse, factor: float, state: str) -> None:
    brand, version = settle(house)
    rows = make_rows(int(ANSWERS_A_DAY * factor), seed=4)
    replace_last_day(house, brand, version, rows) if len(rows) else settle_until(house, brand, version)
    assert look(house, brand)["volume"].state == state


def settle_until(house: WatchHouse, brand: Brand, version: VersionKey) -> None:
    """Take the last two days' files away: nothing came since."""
    for ago in (0, 1):
        shutil.rmtree(house.home / "predictions" / brand.name / "price" / f"{days_before(NOON, ago):%Y-%m-%d}")


def test_silence_turns_red_after_the_stated_time_and_stays_so_for_weeks(house: WatchHouse) -> None:
    brand, _ = settle(house)
    states = {hours: look(house, brand, NOON + timedelta(hours=hours))["volume"] for hours in (20, 25, 24 * 40)}
    assert states[20].state is not State.RED
    assert states[25].state is State.RED
    assert states[25].detail == "no answer for 25 hours, usual are 240 a day"
    assert states[24 * 40].state is State.RED, "a silence of weeks does not become usual"


@pytest.mark.slow
def test_silence_of_a_model_with_little_traffic_takes_longer_to_mean_something(house: WatchHouse) -> None:
    brand = house.add_brand("duin")
    version = house.register(brand, TRAINING, predict(TRAINING)[:1_000])
    rows = make_rows(90, seed=4)
    house.answer(version, brand, rows, predict(rows), days_before(NOON, 30), NOON)
    after_two_days = look(house, brand, NOON + timedelta(days=2))["volume"]
    assert after_two_days.state is State.UNKNOWN
    assert "red after" in after_two_days.detail
    assert look(house, brand, NOON + timedelta(hours=1 + float(after_two_days.limit or 0)))["volume"].state is State.RED


def test_torn_files_are_a_finding_and_the_rest_is_still_read(house: WatchHouse) -> None:
    brand, version = settle(house)
    rows = make_rows(ANSWERS_A_DAY, seed=9)
    house.answer(version, brand, rows, predict(rows), days_before(NOON, 0.4), NOON)
    first, second = sorted((house.home / "predictions" / "duin" / "price" / f"{NOON:%Y-%m-%d}").glob("*.parquet"))
    second.write_bytes(second.read_bytes()[:-200])
    empty = first.with_name("part-0003.parquet")
    empty.write_bytes(b"")
    journals = house.home / "predictions" / "duin" / "_journal"
    journals.mkdir(parents=True)
    (journals / "1-2-3.jsonl").write_text('["duin.price.v1.nonsense"]\n["duin.price.v1.')
    found = look(house, brand)
    assert found["log"].state is State.RED
    assert found["log"].detail == f"2 files cannot be read, such as {NOON:%Y-%m-%d}/part-0002.parquet; 1 lines of journals hold no answer"
    assert found["drift"].state is State.GREEN
    assert found["drift"].rows == ANSWERS_A_DAY


@pytest.mark.slow
def test_a_row_that_is_logged_twice_counts_once(house: WatchHouse) -> None:
    brand, _ = settle(house)
    part = house.home / "predictions" / "duin" / "price" / f"{NOON:%Y-%m-%d}" / "part-0001.parquet"
    shutil.copy(part, part.with_name("part-0002.parquet"))
    found = look(house, brand)
    twice = pq.read_metadata(part).num_rows
    assert found["drift"].rows == ANSWERS_A_DAY
    assert found["log"].state is State.GREEN
    assert f"{twice:,} answers were in it twice and counted once" in found["log"].detail


def test_a_clock_that_jumps_is_told_and_its_rows_mislead_no_other_check(house: WatchHouse) -> None:
    brand, version = settle(house)
    rows = make_rows(300, seed=4, km=3.0)
    for moment in (NOON + timedelta(days=300), datetime(1970, 1, 2, tzinfo=UTC)):
        house.answer(version, brand, rows, predict(rows), moment, moment + timedelta(hours=1))
    found = look(house, brand)
    assert found["log"].state is State.RED
    assert "300 answers are dated in the future: a clock jumped" in found["log"].detail
    assert "300 answers are dated before all that is kept" in found["log"].detail
    assert found["drift"].state is State.GREEN
    assert found["volume"].state is State.GREEN


def test_a_check_that_breaks_is_red_by_its_class_alone_and_the_others_go_on(house: WatchHouse) -> None:
    class Broken:
        name = "broken"

        def look(self, watch: Watch) -> Finding:
            raise ValueError("a row held 12345")

    brand, _ = settle(house)
    report = run_monitor(house.settings, house.ledger, brand, "price", NOON, checks=[Broken(), VolumeCheck()])
    broken = report.findings[0]
    assert (broken.name, str(broken.state), broken.detail) == ("broken", "red", "the check itself failed: ValueError")
    assert report.findings[1].state is State.GREEN, "and the others go on"
    assert "12345" not in str(house.ledger.newest_entries(EntryKind.CHECK, "duin"))


@pytest.mark.slow
def test_what_was_red_and_is_green_again_is_told_as_recovered(house: WatchHouse) -> None:
    brand, version = settle(house)
    replace_last_day(house, brand, version, make_rows(400, seed=4, km=1.5))
    assert look(house, brand)["drift"].state is State.RED
    replace_last_day(house, brand, version, make_rows(400, seed=5))
    report = run_monitor(house.settings, house.ledger, brand, "price", NOON + timedelta(minutes=1), checks=CHECKS)
    assert {finding.name for finding in report.recovered} == {"drift", "prediction_drift"}


@pytest.mark.slow
def test_a_monitor_that_runs_more_often_may_cry_wolf_less_each_time(house: WatchHouse) -> None:
    key = ModelKey("duin", "price")
    once_a_day = alarm_share(house.ledger, key, models=2, checks=5, now=NOON)
    assert once_a_day == pytest.approx(FALSE_ALARMS_PER_BRAND_MONTH / (2 * 5 * 31))
    for minute in range(62):
        at = NOON - timedelta(minutes=minute)
        entry = Entry(kind=EntryKind.CHECK, brand="duin", model="price", name="drift", state="green", detail="x", actor="tester", at=at)
        house.ledger.record_entry(entry)
    assert alarm_share(house.ledger, key, models=2, checks=5, now=NOON) == pytest.approx(once_a_day / 2)


@pytest.mark.slow
def test_what_is_read_of_a_busy_model_is_an_even_sample(house: WatchHouse) -> None:
    from brandhouse_aftercare.answers import read_answers

    brand, _ = settle(house)
    whole = read_answers(house.home, ModelKey("duin", "price"), brand.model("price").inputs, days_before(NOON, 4), NOON)
    thin = read_answers(house.home, ModelKey("duin", "price"), brand.model("price").inputs, days_before(NOON, 4), NOON, most_rows=400)
    assert (whole.rows, whole.step) == (4 * ANSWERS_A_DAY, 1)
    assert 300 <= thin.rows <= 400
    assert thin.step == 3
    assert np.ptp(thin.at_ms) == pytest.approx(np.ptp(whole.at_ms), rel=0.05), "from all of the time"


@pytest.mark.slow
def test_a_watch_reads_nothing_before_a_check_asks(house: WatchHouse) -> None:
    brand, _ = settle(house)
    watch = build_watch(house.settings, house.ledger, brand, "price", NOON, checks=5)
    assert "answers" not in vars(watch)
    assert watch.answers is watch.answers
