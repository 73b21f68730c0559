"""Adaptive batching: requests that wait for one version are asked together.

One row through pandas and scikit-learn costs 3 to 11 ms, and so do a hundred. What comes while a call runs waits for its
end and then goes as one call; nobody waits for company, so that at low load nothing is slower. A version takes part only
if it was seen to answer rows together exactly as alone (`silo`): no request's answer depends on who else asks.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from brandhouse_serving.failures import VersionFailedError

BATCH_ROWS = 1_000
"""Rows that are asked together. A request with more goes alone."""

ALONE_SECONDS = 30.0
"""For so long after a time-out each request of the version is asked alone: one that hangs must not hang the others."""

Columns = Mapping[str, Sequence[Any]]
Ask = Callable[[Columns, float], Awaitable[Sequence[Any]]]
"""Columns and seconds to scores, one a row. Raises `VersionFailedError`."""

TIMEOUT = "timeout"


@dataclass(eq=False, slots=True)
class _Question:
    """The rows of one request, and where its answer goes.

    Attributes:
        until: When its time is over, monotonic seconds.
    """

    columns: Columns
    rows: int
    until: float
    answer: "asyncio.Future[Sequence[Any]]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class BatchRefusedError(VersionFailedError):
    """The version was asked and raised, or answered nonsense: its rows may be asked again one by one."""


class Batcher:
    """Asks one version, one call at a time."""

    def __init__(self, ask: Ask, subject: str, batch_rows: int = BATCH_ROWS) -> None:
        self._ask = ask
        self._subject = subject
        self._batch_rows = batch_rows
        self._waiting: deque[_Question] = deque()
        self._work: asyncio.Task[None] | None = None
        self._alone_until = 0.0

    async def scores(self, columns: Columns, timeout_seconds: float) -> Sequence[Any]:
        """Return the scores of one request's rows.

        Raises:
            VersionFailedError: If the version cannot answer these rows, or not in time.
        """
        question = _Question(columns, len(next(iter(columns.values()))), time.monotonic() + timeout_seconds)
        if time.monotonic() < self._alone_until:
            return await self._ask(columns, timeout_seconds)
        self._waiting.append(question)
        if self._work is None:
            self._work = asyncio.create_task(self._answer_all())
        try:
            return await asyncio.wait_for(question.answer, timeout_seconds)
        except TimeoutError:
            raise VersionFailedError(self._subject, TIMEOUT) from None

    async def _answer_all(self) -> None:
        try:
            while batch := self._next_batch():
                await self._answer(batch)
        finally:
            self._work = None

    def _next_batch(self) -> list[_Question]:
        """What waits and may go together; who has gone meanwhile is left out."""
        batch: list[_Question] = []
        rows = 0
        while self._waiting and (not batch or rows + self._waiting[0].rows <= self._batch_rows):
            question = self._waiting.popleft()
            if not question.answer.done():
                batch.append(question)
                rows += question.rows
        return batch

    async def _answer(self, batch: Sequence[_Question]) -> None:
        """Answer each question; one that fails does not fail the others."""
        columns = {name: [value for one in batch for value in one.columns[name]] for name in batch[0].columns}
        seconds = max(question.until for question in batch) - time.monotonic()
        try:
            scores = await self._ask(columns, seconds)
            if len(scores) != sum(question.rows for question in batch):
                raise BatchRefusedError(self._subject, "answered another number of rows than asked")
        except BatchRefusedError as failure:
            await self._answer_halves(batch, failure)
        except VersionFailedError as failure:
            if failure.reason == TIMEOUT:
                self._alone_until = time.monotonic() + ALONE_SECONDS
            _fail(batch, failure)
        except BaseException:  # cancelled with the loop: nobody may wait for ever
            _fail(batch, VersionFailedError(self._subject, "was not asked"))
            raise
        else:
            _distribute(batch, scores)

    async def _answer_halves(self, batch: Sequence[_Question], failure: VersionFailedError) -> None:
        """Ask again in halves, until who cannot be answered is alone."""
        if len(batch) == 1:
            _fail(batch, failure)
            return
        middle = len(batch) // 2
        for half in (batch[:middle], batch[middle:]):
            waiting = [question for question in half if not question.answer.done()]
            if waiting:
                await self._answer(waiting)


def _distribute(batch: Sequence[_Question], scores: Sequence[Any]) -> None:
    start = 0
    for question in batch:
        if not question.answer.done():
            question.answer.set_result(scores[start : start + question.rows])
        start += question.rows


def _fail(batch: Sequence[_Question], failure: VersionFailedError) -> None:
    for question in batch:
        if not question.answer.done():
            question.answer.set_exception(failure)
