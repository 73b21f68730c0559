"""What one brand may ask: requests at once, threads, and how the gateway's processes share a limit."""

import asyncio
import threading

import pytest

from brandhouse_serving.answer_threads import AnswerThreads
from brandhouse_serving.limits import Gate, LimitBook
from brandhouse_shared.config import Serving
from brandhouse_shared.names import ModelKey

CASA = ModelKey("casa", "price")
STIL = ModelKey("stil", "price")


def test_a_gate_lets_so_many_in_and_one_more_when_one_has_left() -> None:
    gate = Gate(2)
    assert gate.enter() and gate.enter() and gate.is_full and not gate.enter()
    gate.leave()
    assert not gate.is_full and gate.enter() and not gate.enter()


def test_a_limit_of_one_model_is_kept_over_time_and_shared_by_no_other() -> None:
    book, declared = LimitBook(), Serving(concurrency=3, rate_per_second=5)
    gate = book.gate(CASA, declared)
    assert gate is not None and gate.enter() and book.gate(CASA, declared) is gate and book.gate(STIL, declared) is not gate
    assert book.bucket(CASA, declared) is book.bucket(CASA, declared) is not book.bucket(STIL, declared)
    changed = book.gate(CASA, Serving(concurrency=1))
    assert changed is gate and gate.is_full, "who is in counts under the new limit, too"
    assert book.gate(CASA, Serving()) is None and book.bucket(CASA, Serving()) is None


@pytest.mark.parametrize(("processes", "gate", "rate"), [(1, 4, 10.0), (2, 2, 5.0), (3, 2, 10 / 3), (8, 1, 1.25)])
def test_processes_share_a_limit_evenly_and_each_lets_at_least_one_in(processes: int, gate: int, rate: float) -> None:
    book, declared = LimitBook(processes), Serving(concurrency=4, rate_per_second=10)
    own_gate, bucket = book.gate(CASA, declared), book.bucket(CASA, declared)
    assert own_gate is not None and bucket is not None
    assert (own_gate.most, bucket.rate_per_second) == (gate, pytest.approx(rate))


def test_one_brand_never_has_all_threads_even_if_its_requests_have_timed_out() -> None:
    async def act() -> None:
        threads, gate, started = AnswerThreads(2), threading.Event(), threading.Semaphore(0)

        def slow() -> str:
            started.release()
            gate.wait(10)
            return "slow"

        tasks = [asyncio.create_task(asyncio.wait_for(threads.run("loud", slow), 0.05)) for _ in range(4)]
        assert await asyncio.to_thread(started.acquire, True, 5)
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(one, TimeoutError) for one in ended)
        assert await asyncio.wait_for(threads.run("quiet", lambda: "quick"), 5) == "quick"
        late = asyncio.create_task(threads.run("loud", lambda: "late"))
        await asyncio.sleep(0.05)
        assert not late.done(), "the thread of the request that timed out still runs: it is the brand's only one"
        gate.set()
        assert await asyncio.wait_for(late, 5) == "late"
        assert not started.acquire(blocking=False), "who had gone before their turn never ran"

    asyncio.run(act())


def test_an_error_in_a_thread_reaches_who_waits_and_gives_the_turn_back() -> None:
    async def act() -> None:
        threads = AnswerThreads(2)

        def fail() -> None:
            raise ValueError("no")

        for _ in range(3):
            with pytest.raises(ValueError, match="no"):
                await asyncio.wait_for(threads.run("loud", fail), 5)

    asyncio.run(act())
