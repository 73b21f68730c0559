"""Threads for requests with many rows: one brand never has all of them."""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class AnswerThreads:
    """As many threads as cores, and for each brand half of them."""

    def __init__(self, threads: int | None = None) -> None:
        self._count = threads or max(2, os.cpu_count() or 2)
        self._pool = ThreadPoolExecutor(self._count, thread_name_prefix="answer")
        self._turns: dict[str, asyncio.Semaphore] = {}

    async def run(self, brand: str, work: Callable[[], T]) -> T:
        """Do the work in a thread when it is the brand's turn.

        Who is cancelled while it runs goes at once; the brand's turn ends when the thread has ended, and not before:
        time-outs do not give a brand more threads.
        """
        turn = self._turns.setdefault(brand, asyncio.Semaphore(max(1, self._count // 2)))
        await turn.acquire()
        running = asyncio.get_running_loop().run_in_executor(self._pool, work)
        running.add_done_callback(lambda done: _end_turn(turn, done))
        return await asyncio.shield(running)


def _end_turn(turn: asyncio.Semaphore, done: "asyncio.Future[T]") -> None:
    turn.release()
    if not done.cancelled():
        done.exception()  # who waited has it, or has gone; nobody else needs to hear of it
