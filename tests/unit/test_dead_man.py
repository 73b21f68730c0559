"""The monitor of the monitors: what did not run is red, and what says nothing for weeks is named."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
from serving_house import CASA, STIL, House

from brandhouse_aftercare.checks import State
from brandhouse_aftercare.dead_man import due_time, tell_missed, watch_the_watch
from brandhouse_shared.brands import read_brand
from brandhouse_shared.config import Schedule
from brandhouse_shared.ledger.records import Entry, EntryKind
from brandhouse_shared.names import ModelKey

CHECKS = ("drift", "quality")


@pytest.fixture
def house(tmp_path: Path) -> House:
    """Two deployed models whose monitors run at six, UTC. They were deployed today, so all looks are later."""
    house = House(tmp_path)
    for name, model in (("casa", "price"), ("stil", "taste")):
        path = house.root / "brands" / name / "brand.toml"
        path.write_text(path.read_text() + f'\n[models.{model}.monitoring]\nschedule = {{ cron = "0 6 * * *", timezone = "UTC" }}\n')
    house.register_casa(2.0)
    house.register_stil()
    return house


def after(house: House, days: int, hour: int = 12) -> datetime:
    """An hour of a later day."""
    return datetime.now(UTC).replace(hour=hour, minute=0, second=0, microsecond=0) + timedelta(days=days)


def ran(house: House, key: ModelKey, at: datetime, *, names: Sequence[str] = CHECKS, state: State = State.GREEN) -> None:
    for name in names:
        entry = Entry(kind=EntryKind.CHECK, brand=key.brand, model=key.model, name=name, state=state, detail="test", actor="test", at=at)
        house.ledger.record_entry(entry)


def look(house: House, now: datetime) -> dict[str, Entry]:
    brands = [read_brand(house.root / "brands" / name) for name in ("casa", "stil")]
    return {entry.brand: entry for entry in watch_the_watch(house.ledger, brands, now, names=CHECKS)}


def test_a_monitor_that_did_not_run_is_red_for_its_model_only(house: House) -> None:
    ran(house, CASA, after(house, 3, 6))
    ran(house, STIL, after(house, 2, 6))
    found = look(house, after(house, 3))
    assert found["casa"].state == State.GREEN
    assert found["stil"].state == State.RED
    assert found["stil"].value == 2
    assert "2 checks did not run at" in found["stil"].detail
    assert "drift (last" in found["stil"].detail


def test_one_check_among_others_that_did_not_run_is_named(house: House) -> None:
    ran(house, CASA, after(house, 3, 6), names=["drift"])
    found = look(house, after(house, 3))["casa"]
    assert (found.state, found.value) == (State.RED, 1)
    assert "quality (never)" in found.detail
    assert "drift" not in found.detail


def test_a_run_that_is_late_within_its_grace_is_not_missed(house: House) -> None:
    ran(house, CASA, after(house, 2, 7))
    assert look(house, after(house, 3, 8))["casa"].state == State.GREEN
    assert look(house, after(house, 3, 10))["casa"].state == State.RED


def test_a_model_deployed_since_is_not_missed(house: House) -> None:
    found = look(house, datetime.now(UTC) + timedelta(minutes=1))["casa"]
    assert (found.state, found.detail) == (State.GREEN, "the first run is still to come")


def test_a_new_version_does_not_hide_that_the_monitor_is_dead(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.register_casa(3.0)  # promoted after the first
    events = [event for event in house.ledger.stage_events(CASA) if event.to == "production"]
    moved = [event.model_copy(update={"at": event.at - timedelta(days=9)}) if event.version.number == 1 else event for event in events]
    monkeypatch.setattr(house.ledger, "stage_events", lambda *_, **__: moved)
    found = look(house, datetime.now(UTC) + timedelta(minutes=1))
    assert found["casa"].state == State.RED


def test_a_run_from_the_future_is_a_wrong_clock(house: House) -> None:
    ran(house, CASA, after(house, 30))
    found = look(house, after(house, 3))["casa"]
    assert found.state == State.RED
    assert "dated after now, so a clock is wrong: drift, quality" in found.detail


def test_a_check_that_knows_nothing_for_two_weeks_is_named(house: House) -> None:
    ran(house, CASA, after(house, 1, 6), names=["quality"])
    for day in range(1, 20):
        ran(house, CASA, after(house, day, 7), names=["quality"], state=State.UNKNOWN)
        ran(house, CASA, after(house, day, 7), names=["drift"])
    assert look(house, after(house, 19))["casa"].state == State.UNKNOWN
    found = look(house, after(house, 19))["casa"]
    assert "nothing but unknown for 14 days or more: quality (since" in found.detail
    ran(house, CASA, after(house, 19, 8), names=["quality"])
    assert look(house, after(house, 19))["casa"].state == State.GREEN


def test_a_deployed_model_that_nobody_declares_is_red(house: House) -> None:
    brand = read_brand(house.root / "brands" / "casa")
    entries = {entry.brand: entry for entry in watch_the_watch(house.ledger, [brand], after(house, 3), names=CHECKS)}
    assert entries["stil"].state == State.RED
    assert "nobody watches it" in entries["stil"].detail


def test_what_has_not_changed_is_written_once_a_day(house: House) -> None:
    for hour in (10, 11, 12):
        look(house, after(house, 3, hour))
    assert len(house.ledger.entries(EntryKind.CHECK, "casa", "price", "monitor_runs")) == 1
    look(house, after(house, 4, 12))
    assert len(house.ledger.entries(EntryKind.CHECK, "casa", "price", "monitor_runs")) == 2


def test_each_brand_is_told_of_its_own_monitors_only(house: House) -> None:
    ran(house, STIL, after(house, 3, 6))
    brands = [read_brand(house.root / "brands" / name) for name in ("casa", "stil")]
    entries = watch_the_watch(house.ledger, brands, after(house, 3), names=CHECKS)
    tell_missed(house.ledger, brands, entries, after(house, 3))
    alerts = house.ledger.entries(EntryKind.ALERT)
    assert {(alert.brand, alert.name) for alert in alerts} == {("casa", "monitor_runs")}


def test_due_time_is_read_in_the_schedules_own_zone() -> None:
    schedule = Schedule(cron="30 4 * * *", timezone="Europe/Amsterdam")
    assert due_time(schedule, datetime(2027, 1, 10, 12, tzinfo=UTC)) == datetime(2027, 1, 10, 3, 30, tzinfo=UTC)
    assert due_time(schedule, datetime(2027, 7, 10, 12, tzinfo=UTC)) == datetime(2027, 7, 10, 2, 30, tzinfo=UTC)
    assert due_time(schedule, datetime(2027, 1, 10, 6, tzinfo=UTC)) == datetime(2027, 1, 9, 3, 30, tzinfo=UTC)
