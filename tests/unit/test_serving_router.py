"""The router follows the ledger; the answerer finds someone to answer. Ledger and loader are fakes, nothing else is."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
from routing_house import CASA, STIL, House, manifest_of

from brandhouse_serving.failures import UnavailableError, VersionFailedError
from brandhouse_serving.residency import VERSION_BYTES, Residency
from brandhouse_serving.scores import check_scores, predictions_of
from brandhouse_shared.errors import ContractViolationError
from brandhouse_shared.ledger.stages import Cause
from brandhouse_shared.metrics import Task
from brandhouse_shared.names import ModelKey


@pytest.fixture
def play(tmp_path: Path) -> Callable[[Callable[[House], Awaitable[None]]], None]:
    def run(scene: Callable[[House], Awaitable[None]]) -> None:
        async def act() -> None:
            await scene(House(tmp_path))

        asyncio.run(act())

    return run


def test_a_version_is_loaded_when_it_is_first_asked_and_only_once(play: Any) -> None:
    async def scene(house: House) -> None:
        house.ledger.promote(1)
        await house.look()
        assert house.loader.loads == []
        replies = await asyncio.gather(*(house.ask() for _ in range(20)))
        assert house.loader.loads == [1] and {reply.predictions[0] for reply in replies} == {1.0}

    play(scene)


def test_the_old_version_answers_until_the_new_one_is_loaded(play: Any) -> None:
    async def scene(house: House) -> None:
        house.ledger.promote(1)
        await house.look()
        await house.ask()
        house.loader.gate.clear()
        house.ledger.promote(2)
        await house.router.refresh()
        held = house.router.table[CASA]
        assert (await house.ask()).predictions == [1.0]
        house.loader.gate.set()
        await house.router.settle()
        assert (await house.ask()).predictions == [2.0]
        assert (await house.answerer.answer(held, [{"area": 1}])).predictions == [1.0], "a running request keeps its route"

    play(scene)


def test_of_two_promotions_in_quick_succession_the_last_one_stands(play: Any) -> None:
    async def scene(house: House) -> None:
        house.ledger.promote(1)
        await house.look()
        await house.ask()
        house.loader.gate.clear()
        for number in (2, 3):
            house.ledger.promote(number)
            await house.router.refresh()
        house.loader.gate.set()
        await house.router.settle()
        assert (await house.ask()).predictions == [3.0]

    play(scene)


def test_a_rollback_uses_the_version_that_is_still_loaded(play: Any) -> None:
    async def scene(house: House) -> None:
        house.ledger.promote(1)
        await house.look()
        await house.ask()
        house.ledger.promote(2)
        await house.look()
        house.ledger.promote(1, cause=Cause.ROLLED_BACK)
        await house.look()
        assert (await house.ask()).predictions == [1.0] and house.loader.loads == [1, 2]

    play(scene)


def test_a_retired_model_and_a_brand_without_a_folder_have_no_route(play: Any) -> None:
    async def scene(house: House) -> None:
        house.ledger.promote(1)
        house.ledger.promote(1, STIL)
        house.ledger.promote(1, ModelKey("nobody", "price"))
        await house.look()
        assert set(house.router.table) == {CASA, STIL}
        house.ledger.retire()
        await house.look()
        assert set(house.router.table) == {STIL}

    play(scene)


def test_a_version_that_cannot_be_loaded_is_answered_by_the_one_a_rollback_would_bring(play: Any) -> None:
    async def scene(house: House) -> None:
        for number in (1, 2):
            house.ledger.promote(number)
        house.ledger.promote(1, cause=Cause.ROLLED_BACK)
        house.ledger.promote(3)
        house.loader.broken = {3}
        await house.look()
        reply = await house.ask()
        assert (reply.loaded.key.number, reply.served_by, reply.reason) == (1, "previous", "artifact missing or altered")
        assert house.ledger.fallbacks == [(CASA, 3, "artifact missing or altered")]
        await house.ask()
        assert len(house.ledger.fallbacks) == 1, "a lasting fallback is recorded once a minute, not once a request"
        assert house.loader.loads.count(3) == 1, "and the broken file is not read for each request"

    play(scene)


def test_several_broken_versions_in_a_row_lead_to_the_last_good_one(play: Any) -> None:
    async def scene(house: House) -> None:
        for number in (1, 2, 3):
            house.ledger.promote(number)
        house.loader.broken = {2, 3}
        await house.look()
        assert (await house.ask()).loaded.key.number == 1

    play(scene)


def test_if_no_version_answers_the_constant_of_production_does(play: Any) -> None:
    async def scene(house: House) -> None:
        for number in (1, 2):
            house.ledger.promote(number)
        house.loader.mute = {1, 2}
        await house.look()
        reply = await house.ask()
        assert (reply.predictions, reply.served_by, reply.reason) == ([-2.0], "baseline", "runtime failed")

    play(scene)


def test_the_last_resort_is_a_baseline_version_with_a_file_of_its_own_and_then_nothing(play: Any) -> None:
    async def scene(house: House) -> None:
        house.ledger.baselines = [1]
        house.ledger.promote(2)
        house.loader.broken = {2}
        await house.look()
        assert (await house.ask()).predictions == [-1.0]
        house.loader.broken = {1, 2}
        with pytest.raises(UnavailableError, match="casa/price cannot answer at present: artifact missing or altered"):
            await house.ask()

    play(scene)


def test_an_earlier_version_with_other_fields_does_not_turn_a_good_request_into_a_bad_one(play: Any) -> None:
    async def scene(house: House) -> None:
        for number in (1, 2):
            house.ledger.promote(number)
        house.loader.fields = {1: "older_name"}
        house.loader.mute = {2}
        await house.look()
        assert (await house.ask()).predictions == [-2.0]
        with pytest.raises(ContractViolationError, match="area: a text given"):
            await house.ask(area="x")

    play(scene)


def test_limits_follow_an_edited_brand_file_and_a_broken_edit_changes_nothing(play: Any) -> None:
    async def scene(house: House) -> None:
        house.ledger.promote(1)
        await house.look()
        file = house.brands / "casa" / "brand.toml"
        assert house.router.table[CASA].bucket is None
        file.write_text(file.read_text() + "\n[models.price.serving]\nrate_per_second = 5\n")
        house.ledger.promote(2)
        await house.look()
        bucket = house.router.table[CASA].bucket
        assert bucket is not None and bucket.rate_per_second == 5
        file.write_text("name = ")
        house.ledger.promote(3)
        await house.look()
        assert house.router.table[CASA].bucket is bucket, "and the tokens that were taken stay taken"

    play(scene)


def test_scores_become_the_first_of_the_most_probable_labels() -> None:
    manifest = manifest_of(1, task=Task.MULTICLASS, classes=("a", 2, True))
    predictions, probabilities = predictions_of(manifest, [[0.2, 0.4, 0.4], [0.1, 0.1, 0.8]])
    assert predictions == [2, True] and probabilities == [[0.2, 0.4, 0.4], [0.1, 0.1, 0.8]]


@pytest.mark.parametrize("scores", [[float("nan")], [1.0, float("inf")], [[0.5, float("nan")]]])
def test_a_score_that_is_no_number_is_a_failure(scores: Any) -> None:
    with pytest.raises(VersionFailedError, match="casa/price: answered a number that is not finite"):
        check_scores(scores, "casa/price")


def test_a_promotion_elsewhere_does_not_load_a_version_twice(play: Any) -> None:
    async def scene(house: House) -> None:
        house.ledger.promote(1)
        await house.look()
        await house.ask()
        house.loader.gate.clear()
        house.ledger.promote(2)
        await house.router.refresh()
        house.ledger.promote(1, STIL)
        await house.router.refresh()
        house.loader.gate.set()
        await house.router.settle()
        assert house.loader.loads == [1, 2] and (await house.ask()).predictions == [2.0]

    play(scene)


def test_the_start_loads_the_newest_versions_as_far_as_memory_goes_and_the_others_when_they_are_asked(play: Any) -> None:
    async def scene(house: House) -> None:
        house.loader.residency = Residency(VERSION_BYTES + 1)
        house.ledger.promote(1)
        house.ledger.promote(2, STIL)
        await house.look()
        await house.router.warm_up()
        assert house.loader.loads == [2] and house.router.is_warm
        assert (await house.ask()).predictions == [1.0]
        assert house.loader.loads == [2, 1]

    play(scene)


def test_after_a_switch_the_version_before_is_the_first_to_be_unloaded_until_a_rollback_brings_it_back(play: Any) -> None:
    async def scene(house: House) -> None:
        house.ledger.promote(1)
        await house.look()
        await house.ask()
        house.ledger.promote(2)
        await house.look()
        route = house.router.table[CASA]
        assert route.previous is not None and route.previous.is_standby and not route.production.is_standby
        house.ledger.promote(1)
        await house.look()
        back = house.router.table[CASA]
        assert back.production is route.previous and not back.production.is_standby and route.production.is_standby

    play(scene)


def test_a_previous_version_that_was_unloaded_is_loaded_again_when_it_must_answer(play: Any) -> None:
    async def scene(house: House) -> None:
        house.ledger.promote(1)
        await house.look()
        await house.ask()
        house.ledger.promote(2)
        await house.look()
        previous = house.router.table[CASA].previous
        assert previous is not None
        previous.unload()
        house.loader.mute.add(2)
        reply = await house.ask()
        assert (reply.predictions, reply.served_by) == ([1.0], "previous") and house.loader.loads == [1, 2, 1]

    play(scene)


def test_a_route_that_did_not_change_stays_the_same_object(play: Any) -> None:
    async def scene(house: House) -> None:
        house.ledger.promote(1)
        house.ledger.promote(1, STIL)
        await house.look()
        before = dict(house.router.table)
        house.ledger.promote(2)
        await house.look()
        assert house.router.table[STIL] is before[STIL] and house.router.table[CASA] is not before[CASA]

    play(scene)
