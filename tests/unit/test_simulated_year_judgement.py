"""How a simulated year is judged: what counts as found, as false, and as kept. And that its world is what it says."""

import itertools
import sys
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
from year_judgement import count_false_alarms, find_faults, measure_quality
from year_record import Lived, Look
from year_world import NEW_TOWN, START, YEAR, Fault, World

SILENCE = Fault("silence", 20, 23, ("volume",))
GREEN = {"volume": "green", "quality": "green"}


def lived(red: dict[int, dict[str, str]], fault: Fault = SILENCE, days: int = 100) -> Lived:
    """A year of one look a day, with what is not green on some days."""
    year = Lived(World("duin", True, 100, (fault,)))
    for day in range(days):
        states = {**GREEN, **red.get(day, {})}
        said = {name: f"{name} is bad" for name, state in states.items() if state == "red"}
        year.looks.append(Look(moment(day + 0.25), states, said, 100 * (day + 1)))
        year.days.append((day, 0.75, 0.8, 0.3))
    return year


def moment(day: float) -> datetime:
    return START + timedelta(days=day)


def test_a_fault_is_found_by_the_first_of_its_own_checks_that_becomes_red() -> None:
    (found,) = find_faults(lived({21: {"quality": "red"}, 22: {"quality": "red", "volume": "red"}, 23: {"volume": "red"}}))
    assert (found.check, found.hours, found.rows, found.said) == ("volume", 54.0, 300, "volume is bad")
    assert found.others == ("quality",)


@pytest.mark.parametrize("red", [{}, {21: {"quality": "red"}}, {19: {"volume": "red"}}, {80: {"volume": "red"}}])
def test_nothing_another_check_and_another_time_do_not_count_as_found(red: dict[int, dict[str, str]]) -> None:
    (found,) = find_faults(lived(red))
    assert found.check == ""


def test_what_was_red_before_the_fault_and_stays_red_has_not_found_it() -> None:
    (found,) = find_faults(lived({day: {"volume": "red"} for day in range(15, 30)}))
    assert found.check == ""


def test_red_outside_of_a_faults_time_is_a_false_alarm_once_however_long_it_lasts() -> None:
    red = {day: {"quality": "red"} for day in (3, 4, 5, 60, 61, 63)} | {62: {"quality": "unknown"}, 25: {"quality": "red"}}
    year = lived(red)
    year.messages = [(moment(3.25), ("quality",)), (moment(24), ("quality",)), (moment(60.25), ("quality", "volume"))]
    alarms = count_false_alarms(year)
    assert alarms.red == ((3.25, "quality"), (60.25, "quality")), "not knowing is no recovery"
    assert alarms.messages == ((3.25, "quality"), (60.25, "quality, volume"))
    assert alarms.months == pytest.approx((20 + 100 - 51) / 30.4)
    assert alarms.worst_month == 1


def test_quality_is_held_against_the_oracle_and_never() -> None:
    kept = measure_quality(lived({}))
    assert kept.ratio == pytest.approx(0.75 / 0.8)
    assert kept.gap_share == pytest.approx(0.9)


def test_actions_are_counted_in_the_faults_time_only() -> None:
    year = lived({})
    year.done = [(moment(2), "person: rolled back"), (moment(21), "drift: duin/walk/v9: mae 3; gates not passed: production")]
    year.done += [(moment(22), "drift: duin/walk/v10: mae 3; gates not passed: production"), (moment(22.5), "person: rolled back")]
    year.entered = [(moment(22.5), 4, "person")]
    (found,) = find_faults(year)
    assert found.actions == {"drift: trained, refused": 2, "person: rolled back": 1, "v4 into production by person": 1}


def test_the_world_is_the_same_by_seed_and_changes_when_its_faults_begin() -> None:
    days = [moment(day) for day in (100, 274, 275)]
    first, second = (World("duin", True, 300, YEAR["duin"]) for _ in range(2))
    drawn = [[world.rows_between(day, day + timedelta(hours=12)) for day in days] for world in (first, second)]
    for (rows, at), (others, other_at) in zip(*drawn, strict=True):
        assert rows.equals(others) and np.array_equal(at, other_at)
    early, before, _ = (rows for rows, _ in drawn[0])
    assert early["km"].mean() > 24, "after the sudden drift"
    assert NEW_TOWN not in set(early["town"]) and NEW_TOWN in set(before["town"])


def test_all_kinds_of_faults_are_planted_and_leave_quiet_weeks() -> None:
    faults = [fault for one in YEAR.values() for fault in one]
    assert len({fault.kind for fault in faults}) == len(faults) == 10
    for one in YEAR.values():
        assert all(later.begin - earlier.end >= 28 for earlier, later in itertools.pairwise(one))
