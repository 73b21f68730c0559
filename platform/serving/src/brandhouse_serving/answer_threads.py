"""Threads for requests with many rows: one brand never has all of them, and the event loop goes on with small requests."""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

LARGE_BYTES = 32_768
"""A body of more bytes is read, and its answer written, in a thread: on the event loop that would hold up everybody else."""

INLINE_ROWS = 64
"""More rows are checked and asked about in a thread. So many take 15-400 us; a hand-over costs a part of that, twice."""

T = TypeVar("T")


def is_large(body: bytes) -> bool:
    """Whether a request with this body is read in a thread."""
    return len(body) > LARGE_BYTES


class AnswerThreads:
    """As many threads as cores, and for each brand half of them."""

    def __init__(self, threads: int | None = None, name: str = "answer") -> None:
        """`threads` is their number, None: one a core, at least two; `name` is theirs in listings."""
        self._count = threads or max(2, os.cpu_count() or 2)
        self._pool = ThreadPoolExecutor(self._count, thread_name_prefix=name)
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
