"""DORA's four metrics from stage events: what is a change, what failed, and how long it took."""

import sys
from datetime import timedelta
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
from readiness_world import NOW, ReadinessWorld, ago

from brandhouse_aftercare.commit_times import read_commit_times
from brandhouse_aftercare.dora import find_changes, measure_delivery, summarise
from brandhouse_aftercare.drill_marks import ACTOR as DRILL
from brandhouse_shared.ledger.records import StageEvent
from brandhouse_shared.ledger.stages import Cause, Stage
from brandhouse_shared.names import VersionKey

HOUR = timedelta(hours=1)
Step = tuple[float, int, Stage | None, Stage, Cause, str]

C, S, K, P, R = Stage.CANDIDATE, Stage.SHADOW, Stage.CANARY, Stage.PRODUCTION, Stage.RETIRED


def events(
    *steps: tuple[float, int, Stage | None, Stage] | tuple[float, int, Stage | None, Stage, Cause], actor: str = "ann"
) -> list[StageEvent]:
    """Steps as (hour, version, from, to[, cause])."""
    return [
        StageEvent(
            seq=place,
            version=VersionKey("duin", "price", step[1]),
            from_stage=step[2],
            to=step[3],
            cause=step[4] if len(step) > 4 else Cause.CHANGED,
            actor=actor,
            reason="test",
            automatic=False,
            forced=False,
            at=NOW + step[0] * HOUR,
        )
        for place, step in enumerate(steps, 1)
    ]


def swap(hour: float, old: int, new: int, came: Stage = C, cause: Cause = Cause.CHANGED) -> list[StageEvent]:
    return events((hour, old, P, R, Cause.REPLACED), (hour, new, came, P, cause))


def test_a_promotion_that_stays_is_a_change_that_did_not_fail() -> None:
    found = find_changes([*events((0, 1, C, P)), *swap(5, 1, 2)])

    assert [(one.version.number, one.failed_at) for one in found] == [(1, None), (2, None)]


def test_a_rollback_within_days_is_a_failure_and_its_repair_and_no_promotion() -> None:
    found = find_changes([*events((0, 1, C, P)), *swap(10, 1, 2), *swap(13, 2, 1, R, Cause.ROLLED_BACK)])
    delivery = summarise("duin", found, 30)

    assert [one.version.number for one in found] == [1, 2], "the way back is no change"
    assert (delivery.promotions, delivery.failures, delivery.failure_rate) == (2, 1, 0.5)
    assert delivery.repairs == (3 * HOUR,)


def test_going_back_by_promoting_the_older_version_counts_the_same() -> None:
    found = find_changes([*events((0, 1, C, P)), *swap(10, 1, 2), *swap(14, 2, 1, R)])

    assert summarise("duin", found, 30).repairs == (4 * HOUR,)


def test_a_rollback_after_a_month_is_not_the_changes_fault() -> None:
    found = find_changes([*events((0, 1, C, P)), *swap(10, 1, 2), *swap(10 + 24 * 30, 2, 1, R, Cause.ROLLED_BACK)])

    assert summarise("duin", found, 60).failures == 0


def test_a_stopped_canary_is_a_failure_and_a_superseded_one_is_not() -> None:
    begun = events((0, 1, C, P), (1, 2, C, K))
    stopped = find_changes([*begun, *events((3, 2, K, S))])
    superseded = find_changes([*begun, *events((2, 3, C, S), (3, 2, K, R))])
    withdrawn = find_changes([*begun, *events((3, 2, K, R))])

    assert [one.failed_at is not None for one in stopped] == [False, True]
    assert [one.failed_at is not None for one in superseded] == [False, False]
    assert [one.failed_at is not None for one in withdrawn] == [False, True]
    assert summarise("duin", stopped, 30).promotions == 1, "a canary is a change, not yet a promotion"


def test_a_canary_that_is_promoted_is_one_change() -> None:
    found = find_changes([*events((0, 1, C, P), (1, 2, C, K)), *swap(30, 1, 2, K)])

    assert [(one.version.number, one.at, one.production_at) for one in found] == [
        (1, NOW, NOW),
        (2, NOW + HOUR, NOW + 30 * HOUR),
    ]


def test_retiring_production_fails_until_another_version_answers() -> None:
    gone = find_changes(events((0, 1, C, P), (4, 1, P, R)))
    back = find_changes([*events((0, 1, C, P), (4, 1, P, R)), *events((9, 2, C, P))])

    assert summarise("duin", gone, 30).repairs == ()
    assert summarise("duin", gone, 30).failures == 1
    assert summarise("duin", back, 30).repairs == (9 * HOUR,)


def test_a_drill_is_no_change_and_no_failure() -> None:
    drilled = [*events((0, 1, C, P)), *swap(1, 1, 2), *events((5, 1, R, K), (5.1, 1, K, R), actor=DRILL)]

    assert [(one.version.number, one.failed_at) for one in find_changes(drilled)] == [(1, None), (2, None)]


def test_lead_time_counts_from_the_oldest_of_what_is_new(tmp_path: Path) -> None:
    world = ReadinessWorld(tmp_path)
    duin, hei, house = measure_delivery(world.settings, world.ledger, ["duin", "hei"], NOW, 90)

    # v1: from its snapshot (41 days ago) to 39 days ago. v2: from its commit (12 days ago) to 9. v3: nothing new but its run, 2 to 1.
    assert sorted(round(lead / HOUR) for lead in duin.leads) == [24, 48, 72]
    assert duin.as_document()["lead_hours"] == pytest.approx(48, abs=0.01)
    assert (duin.promotions, duin.failures) == (3, 0)
    assert (hei.changes, hei.failure_rate) == (0, None), "nothing of another brand"
    assert (house.brand, house.promotions) == ("", 3)
    assert duin.per_week == pytest.approx(3 * 7 / 90)
    recent, *_ = measure_delivery(world.settings, world.ledger, ["duin"], NOW, 15)
    assert recent.promotions == 2, "older changes are out of sight, but what they left is known"


def test_commits_that_git_does_not_know_have_no_time(tmp_path: Path) -> None:
    world = ReadinessWorld(tmp_path)
    found = read_commit_times(world.root, [world.commit, "f" * 40, "uncommitted"])

    assert set(found) == {world.commit}
    assert abs(found[world.commit] - ago(12)) < timedelta(seconds=2)
    assert read_commit_times(tmp_path / "nowhere", [world.commit]) == {}
