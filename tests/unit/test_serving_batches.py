"""Requests that wait are asked together; each gets its own rows' answer, its own time and its own error."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from brandhouse_serving.failures import VersionFailedError
from brandhouse_serving.silo_batches import Batcher, BatchRefusedError


class Version:
    """Answers each row's number doubled, one call at a time; refuses 666, hangs at 13."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.running = 0
        self.most = 0

    async def ask(self, columns: Any, seconds: float) -> Sequence[Any]:
        rows = list(columns["x"])
        self.calls.append(rows)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.wait_for(self._work(rows), seconds)
        except TimeoutError:
            raise VersionFailedError("test", "timeout") from None
        finally:
            self.running -= 1
        return [2 * value for value in rows]

    async def _work(self, rows: list[int]) -> None:
        if 13 in rows:
            await asyncio.sleep(60)
        await asyncio.sleep(0.01)
        if 666 in rows:
            raise BatchRefusedError("test", "runtime failed")


def play(scene: Callable[[Version, Batcher], Awaitable[None]], batch_rows: int = 1000) -> Version:
    version = Version()

    async def act() -> None:
        await scene(version, Batcher(version.ask, "test", batch_rows))

    asyncio.run(act())
    return version


def test_one_request_alone_goes_at_once_and_those_that_come_meanwhile_go_together() -> None:
    async def scene(version: Version, batcher: Batcher) -> None:
        answers = await asyncio.gather(*(batcher.scores({"x": [value, value]}, 5) for value in range(10)))
        assert answers == [[2 * value, 2 * value] for value in range(10)]
        assert version.calls[0] == [0] * 2 or len(version.calls) == 1
        assert len(version.calls) <= 2 and version.most == 1

    play(scene)


def test_each_request_gets_the_answers_of_its_own_rows_whatever_their_number() -> None:
    async def scene(version: Version, batcher: Batcher) -> None:
        asked = [list(range(start, start + start % 7 + 1)) for start in range(20, 80)]
        answers = await asyncio.gather(*(batcher.scores({"x": rows}, 5) for rows in asked))
        assert answers == [[2 * value for value in rows] for rows in asked]

    play(scene)


def test_one_request_that_fails_fails_alone() -> None:
    async def scene(version: Version, batcher: Batcher) -> None:
        first = asyncio.create_task(batcher.scores({"x": [1]}, 5))
        await asyncio.sleep(0.001)
        values = [2, 3, 666, 4, 5, 6]
        answers = await asyncio.gather(*(batcher.scores({"x": [value]}, 5) for value in values), return_exceptions=True)
        assert await first == [2]
        assert [answer for answer in answers if not isinstance(answer, Exception)] == [[4], [6], [8], [10], [12]]
        assert isinstance(answers[2], VersionFailedError) and answers[2].reason == "runtime failed"

    version = play(scene)
    assert len(version.calls) < 1 + 6 + 6, "halves, not one by one"


def test_a_batch_holds_at_most_so_many_rows_and_a_larger_request_goes_alone() -> None:
    async def scene(version: Version, batcher: Batcher) -> None:
        answers = await asyncio.gather(*(batcher.scores({"x": [value] * 4}, 5) for value in range(9)), batcher.scores({"x": [7] * 25}, 5))
        assert answers[-1] == [14] * 25

    version = play(scene, batch_rows=10)
    assert max(len(call) for call in version.calls if len(call) != 25) <= 10


def test_a_request_that_hangs_ends_in_time_and_for_a_while_nobody_is_asked_together_with_another() -> None:
    async def scene(version: Version, batcher: Batcher) -> None:
        hanging = asyncio.create_task(batcher.scores({"x": [13]}, 0.1))
        await asyncio.sleep(0.01)
        impatient = asyncio.create_task(batcher.scores({"x": [1]}, 0.02))
        patient = asyncio.create_task(batcher.scores({"x": [2]}, 5))
        for task in (hanging, impatient):
            with pytest.raises(VersionFailedError, match="timeout"):
                await task
        assert await patient == [4]
        assert [1] not in version.calls, "who has gone is not asked for"
        version.calls.clear()
        await asyncio.gather(*(batcher.scores({"x": [value]}, 5) for value in range(3)))
        assert sorted(version.calls) == [[0], [1], [2]]

    play(scene)


def test_an_answer_of_another_length_is_nobodys_answer() -> None:
    async def short(columns: Any, seconds: float) -> Sequence[Any]:
        return [0.5] * (len(columns["x"]) - 1)

    async def act() -> None:
        batcher = Batcher(short, "test")
        found = await asyncio.gather(*(batcher.scores({"x": [value]}, 5) for value in range(3)), return_exceptions=True)
        assert all(isinstance(one, VersionFailedError) and "another number of rows" in str(one) for one in found)

    asyncio.run(act())


def test_a_process_that_ended_fails_all_that_were_asked_and_is_asked_again_by_the_next() -> None:
    alive = False

    async def ask(columns: Any, seconds: float) -> Sequence[Any]:
        await asyncio.sleep(0)
        if not alive:
            raise VersionFailedError("test", "its process ended")
        return list(columns["x"])

    async def act() -> None:
        nonlocal alive
        batcher = Batcher(ask, "test")
        found = await asyncio.gather(*(batcher.scores({"x": [value]}, 5) for value in range(3)), return_exceptions=True)
        assert all(isinstance(one, VersionFailedError) and one.reason == "its process ended" for one in found)
        alive = True
        assert await batcher.scores({"x": [1]}, 5) == [1]

    asyncio.run(act())
