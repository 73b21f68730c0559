"""The rollback drill against a real gateway: it measures, changes no answer, and says what is wrong. Two brands at once."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from serving_house import CASA, CASA_ROW, STIL, Gateway, House, wait_until

from brandhouse_aftercare.drill import Drill, rollback_drill
from brandhouse_aftercare.drill_marks import ACTOR, SHARE
from brandhouse_aftercare.house_progress import move_house_on
from brandhouse_serving.following import read_followers
from brandhouse_shared.brands import find_brand
from brandhouse_shared.ledger.records import EntryKind, StageChange
from brandhouse_shared.ledger.stages import Stage

pytestmark = [pytest.mark.alone, pytest.mark.slow]


@pytest.fixture
def house(tmp_path: Path) -> House:
    made = House(tmp_path)
    made.register_casa(1.0)
    made.register_casa(2.0)
    made.register_stil()
    return made


def drill(house: House, patience_seconds: float = 20.0, model: Any = CASA) -> Drill:
    brand = find_brand(house.settings.brands_dir, model.brand)
    return rollback_drill(house.ledger, house.home, brand, model, datetime.now(UTC), patience_seconds=patience_seconds)


def test_a_drill_measures_each_way_and_changes_no_answer(house: House) -> None:
    key = house.add_key("casa")
    with Gateway(house) as gateway:
        wait_until(lambda: read_followers(house.home, "casa"))
        seqs = {model: len(house.ledger.stage_events(model)) for model in (CASA, STIL)}
        answers = []

        def sleep(seconds: float) -> None:
            answers.append(gateway.predict(key, CASA, CASA_ROW)[2]["model"])

        brand = find_brand(house.settings.brands_dir, "casa")
        done = rollback_drill(house.ledger, house.home, brand, CASA, datetime.now(UTC), sleep=sleep)
        assert done.state == "green", done.detail
        assert set(answers) == {"casa/price/v2"} and len(answers) >= 2, "production answers all the time"
        assert len(done.there) == len(done.back) == 1 and done.seconds is not None and done.seconds < 5
        assert house.ledger.find_version(CASA.version(1)).stage is Stage.RETIRED
        canary, back = house.ledger.stage_events(CASA)[-2:]
        assert (canary.to, canary.share, canary.actor, back.to, back.actor) == (Stage.CANARY, SHARE, ACTOR, Stage.RETIRED, ACTOR)
        assert len(house.ledger.stage_events(STIL)) == seqs[STIL], "the other brand was left alone"
        (entry,) = house.ledger.entries(EntryKind.DRILL)
        assert (entry.brand, entry.state, entry.number, entry.value) == ("casa", "green", 1, done.seconds)
        assert drill(house).state == "green", "it can be done again"


def test_a_version_that_cannot_be_loaded_any_more_fails_the_drill_and_is_told(house: House) -> None:
    house.alter_artifact(CASA.version(1))
    with Gateway(house):
        wait_until(lambda: read_followers(house.home, "casa"))
        done = drill(house)
        assert done.state == "red" and "cannot load casa/price/v1" in done.detail, done.detail
        assert house.ledger.find_version(CASA.version(1)).stage is Stage.RETIRED, "it is taken back all the same"
        assert {entry.name for entry in house.ledger.entries(EntryKind.ALERT, "casa")} == {"drill"}


def test_without_a_gateway_or_a_version_before_nothing_is_claimed(house: House) -> None:
    assert drill(house).state == "unknown" and "no gateway" in drill(house).detail
    assert drill(house, model=STIL).state == "not_applicable"
    with Gateway(house):
        wait_until(lambda: read_followers(house.home, "casa"))
        third = house.register_casa(3.0, promote=False)
        house.ledger.change_stage(StageChange(version=third, to=Stage.CANARY, actor="anna", reason="try"))
        assert drill(house).state == "unknown" and "v3" in drill(house).detail, "a real canary is not disturbed"
        assert house.ledger.find_version(third).stage is Stage.CANARY
    assert read_followers(house.home, "casa") == [], "a gateway that ended in order is gone"


def test_a_gateway_that_does_not_follow_is_red(house: House) -> None:
    with Gateway(house) as gateway:
        wait_until(lambda: read_followers(house.home, "casa"))
        gateway.stop(9)
    done = drill(house, patience_seconds=0.3)
    assert done.state == "red" and "has not followed within 0.3 s" in done.detail


def test_what_a_killed_drill_left_is_taken_back(house: House) -> None:
    left = StageChange(version=CASA.version(1), to=Stage.CANARY, actor=ACTOR, reason="drill", automatic=True, share=SHARE)
    house.ledger.change_stage(left)
    move_house_on(house.settings, house.ledger, datetime.now(UTC))
    assert house.ledger.find_version(CASA.version(1)).stage is Stage.CANARY, "it may still go on"
    move_house_on(house.settings, house.ledger, datetime(2099, 1, 1, tzinfo=UTC))
    assert house.ledger.find_version(CASA.version(1)).stage is Stage.RETIRED
