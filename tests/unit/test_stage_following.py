"""Following the ledger reads what has changed and nothing else, and never ends up with something else than it says."""

import asyncio
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
from plain_brands import write_toml
from routing_house import CASA, STIL, FakeLedger, House

from brandhouse_serving.stage_following import MOST_EVENTS, StageFollower
from brandhouse_shared.ledger import open_ledger
from brandhouse_shared.ledger.stages import Stage
from brandhouse_shared.ledger.versions import select_deployed
from brandhouse_shared.names import ModelKey


def look(follower: StageFollower) -> None:
    changes = follower.read()
    if changes is not None:
        follower.take_over(changes)
        follower.settle(changes)


def found_by(follower: StageFollower) -> tuple[dict[ModelKey, int], list[str]]:
    production = {key: version.number for key, version in follower.production.items()}
    return production, [str(version.key) for version in follower.trials]


@pytest.mark.parametrize("models", [10, 1_000])
def test_a_promotion_reads_the_rows_of_its_model_however_many_models_there_are(models: int) -> None:
    ledger = FakeLedger()
    for place in range(models):
        ledger.promote(1, ModelKey("casa", f"model{place}"))
    follower = StageFollower(ledger)  # type: ignore[arg-type]
    look(follower)
    assert ledger.rows_read == models, "the first look reads all"
    ledger.promote(2, ModelKey("casa", "model3"))
    look(follower)
    assert ledger.rows_read == models + 2, "the event and the version"
    assert follower.production[ModelKey("casa", "model3")].number == 2
    look(follower)
    assert ledger.rows_read == models + 2, "nothing has happened"


def test_the_database_looks_given_models_up_and_goes_through_no_table(tmp_path: Path) -> None:
    with open_ledger(f"sqlite:///{tmp_path}/ledger.db") as ledger, ledger.database.reading() as connection:
        query = str(select_deployed([CASA, STIL]).compile(ledger.database.engine, compile_kwargs={"literal_binds": True}))
        steps = [str(row[-1]) for row in connection.execute(text(f"EXPLAIN QUERY PLAN {query}"))]
    assert any("SEARCH" in step for step in steps) and not any(step.startswith("SCAN") for step in steps), steps


ACTS = st.lists(st.tuples(st.sampled_from(["promote", "retire", "shadow", "canary", "end", "look"]), st.integers(1, 4), st.booleans()))


@given(ACTS)
def test_whatever_happened_and_was_missed_the_follower_knows_what_a_new_one_reads(acts: list[tuple[str, int, bool]]) -> None:
    ledger = FakeLedger()
    follower = StageFollower(ledger)  # type: ignore[arg-type]
    for act, number, is_casa in acts:
        key = CASA if is_casa else STIL
        match act:
            case "promote":
                ledger.promote(number, key)
            case "retire" if key in ledger.present:
                ledger.retire(key)
            case "shadow" | "canary" if ledger.present.get(key) != number:
                ledger.put_on_trial(number, Stage(act), 0.1 if act == "canary" else None, key)
            case "end" if key.version(number) in ledger.trials:
                ledger.end_trial(number, key)
            case "look":
                look(follower)
    look(follower)
    fresh = StageFollower(ledger)  # type: ignore[arg-type]
    look(fresh)
    assert found_by(follower) == found_by(fresh)


def test_a_look_that_was_not_settled_is_made_again() -> None:
    ledger = FakeLedger()
    ledger.promote(1)
    follower = StageFollower(ledger)  # type: ignore[arg-type]
    look(follower)
    ledger.promote(2)
    first = follower.read()
    assert first is not None and first.keys == {CASA}
    follower.take_over(first)  # and then something fails
    assert follower.read() == first


def test_after_more_events_than_are_read_at_once_everything_is_read() -> None:
    ledger = FakeLedger()
    ledger.promote(1)
    ledger.promote(1, STIL)
    follower = StageFollower(ledger)  # type: ignore[arg-type]
    look(follower)
    for number in range(2, MOST_EVENTS + 3):
        ledger.promote(number)
    changes = follower.read()
    assert changes is not None and changes.keys is None
    look(follower)
    assert found_by(follower) == ({CASA: MOST_EVENTS + 2, STIL: 1}, [])


def test_a_ledger_that_was_restored_to_an_earlier_state_is_read_as_a_whole() -> None:
    ledger = FakeLedger()
    for number in (1, 2):
        ledger.promote(number)
    follower = StageFollower(ledger)  # type: ignore[arg-type]
    look(follower)
    ledger.entries.pop()
    ledger.present[CASA] = 1
    look(follower)
    assert found_by(follower) == ({CASA: 1}, [])


def test_a_model_that_is_declared_after_its_promotion_is_served_from_the_next_event_on(tmp_path: Path) -> None:
    async def scene() -> None:
        house = House(tmp_path)
        late = ModelKey("late", "price")
        house.ledger.promote(1, late)
        await house.look()
        assert set(house.router.table) == set()
        write_toml(tmp_path, "late")
        house.ledger.promote(1, STIL)
        await house.look()
        assert set(house.router.table) == {STIL, late}

    asyncio.run(scene())
