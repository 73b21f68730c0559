"""What answers for one loaded version: in this process, in the brand's own process, or a constant.

A runtime gets canonical columns (see `contracts`) and gives scores. It never sees a request, a key or a header.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from brandhouse_serving.answer_threads import INLINE_ROWS, AnswerThreads
from brandhouse_serving.failures import VersionFailedError
from brandhouse_serving.scores import Scores, check_scores
from brandhouse_serving.silo_pool import SiloPool
from brandhouse_shared.answering import Predictor
from brandhouse_shared.artifacts import Manifest
from brandhouse_shared.metrics import Task
from brandhouse_shared.names import ModelKey, VersionKey

Columns = Mapping[str, list[Any]]


class Runtime(Protocol):
    """Answers for one loaded version."""

    async def predict(self, columns: Columns, timeout_seconds: float) -> Scores:
        """Return the scores of all rows.

        Raises:
            VersionFailedError: If it cannot, or not in time.
        """


class InProcessRuntime:
    """A compiled graph (or a constant version) in this process; holds no brand code."""

    def __init__(self, predictor: Predictor, key: VersionKey, threads: AnswerThreads) -> None:
        self._predictor = predictor
        self._subject = str(key)
        self._brand = key.brand
        self._threads = threads

    async def predict(self, columns: Columns, timeout_seconds: float) -> Scores:
        """See `Runtime.predict`."""
        if _row_count(columns) <= INLINE_ROWS:
            return self._scores(columns)
        try:
            return await asyncio.wait_for(self._threads.run(self._brand, lambda: self._scores(columns)), timeout_seconds)
        except TimeoutError:
            raise VersionFailedError(self._subject, "timeout") from None

    def _scores(self, columns: Columns) -> Scores:
        try:
            scores: Scores = self._predictor.predict(columns).tolist()
        except Exception as error:  # a model's graph may fail in any way; the next version answers
            raise VersionFailedError(self._subject, "runtime failed", type(error).__name__) from error
        return check_scores(scores, self._subject)


@dataclass(frozen=True, slots=True)
class ConstantRuntime:
    """The answer known before any request: the last resort, which cannot fail."""

    manifest: Manifest

    async def predict(self, columns: Columns, timeout_seconds: float) -> Scores:
        """See `Runtime.predict`."""
        constant = self.manifest.constant
        score: Any = constant[0] if self.manifest.task is Task.REGRESSION else list(constant)
        return [score] * _row_count(columns)


@dataclass(frozen=True, slots=True)
class SiloRuntime:
    """A version that answers in the brand's own process."""

    pool: SiloPool
    key: ModelKey
    digest: str

    async def predict(self, columns: Columns, timeout_seconds: float) -> Scores:
        """See `Runtime.predict`."""
        scores = await self.pool.scores(self.key, self.digest, columns, timeout_seconds)
        return check_scores(scores, str(self.key))


@dataclass(frozen=True, slots=True)
class FailedRuntime:
    """A version whose bytes are right and which still cannot be loaded; its constant can be used."""

    subject: str
    reason: str

    async def predict(self, columns: Columns, timeout_seconds: float) -> Scores:
        """See `Runtime.predict`."""
        raise VersionFailedError(self.subject, self.reason)


def _row_count(columns: Columns) -> int:
    return len(next(iter(columns.values())))
