"""One question, one reply: the version in production, else the one before it, else the constant baseline.

A reply that is not production's says so, and the ledger records it.
"""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from brandhouse_serving.answer_threads import INLINE_ROWS, AnswerThreads
from brandhouse_serving.failures import UnavailableError, VersionFailedError
from brandhouse_serving.loading import LoadedVersion, VersionLoader
from brandhouse_serving.router import Route
from brandhouse_serving.scores import predictions_of
from brandhouse_serving.slots import Slot
from brandhouse_shared.errors import ContractViolationError
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.stages import Stage, previous_production
from brandhouse_shared.names import VersionKey

RECORD_SECONDS = 60.0
"""A lasting fallback is written to the ledger once in this time, not once a request."""

MAX_EARLIER = 3
"""How many earlier versions are tried: each may cost the reading of a file."""

PRODUCTION = "production"
CANARY = "canary"
PREVIOUS = "previous"
BASELINE = "baseline"

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Reply:
    """What was answered and by what. Not frozen, since that would make it several times as slow to build; nobody changes it.

    Attributes:
        predictions: One number (regression) or label, as in the data (classes), per row.
        probabilities: Shape (rows, classes), in the order of the manifest's classes; None for regression.
        served_by: production, canary, previous or baseline.
        reason: Why not the version that was to answer; empty if it was.
        explanations: One a row; None if none were asked for.
    """

    loaded: LoadedVersion
    predictions: Sequence[Any]
    probabilities: Sequence[Sequence[float]] | None
    served_by: str
    reason: str
    explanations: Sequence[Mapping[str, Any]] | None = None


class Answerer:
    """Asks the versions of a route, in order, until one replies."""

    def __init__(self, ledger: Ledger, loader: VersionLoader) -> None:
        self._ledger = ledger
        self._loader = loader
        # Not those that versions compute in: one that hangs must not keep its brand's requests from being read and timed out.
        self.readers = AnswerThreads(name="read")
        self._found: dict[VersionKey, list[Slot]] = {}
        self._recorded: dict[tuple[VersionKey, str], float] = {}
        self._records: set[asyncio.Task[None]] = set()

    async def answer(self, route: Route, rows: Sequence[Any]) -> Reply:
        """Answer one request.

        Args:
            route: The model's route at the request's beginning.
            rows: Decoded JSON objects, not yet checked.

        Raises:
            ContractViolationError: If the rows contradict the input schema.
            UnavailableError: If nothing can answer.
        """
        slot = route.production
        try:
            loaded = slot.loaded or await slot.load(route.brand)
            return await self.ask(loaded, route, rows, PRODUCTION, "")
        except VersionFailedError as failure:
            return await self._answer_otherwise(route, rows, failure)

    async def answer_from(self, slot: Slot, route: Route, rows: Sequence[Any], served_by: str) -> Reply:
        """Answer one request from one version and no other.

        Raises:
            ContractViolationError: If the rows contradict that version's input schema.
            VersionFailedError: If it cannot answer.
        """
        loaded = slot.loaded or await slot.load(route.brand)
        return await self.ask(loaded, route, rows, served_by, "")

    async def ask(self, loaded: LoadedVersion, route: Route, rows: Sequence[Any], served_by: str, reason: str) -> Reply:
        """Answer one request from one loaded version.

        Raises:
            ContractViolationError: If the rows contradict its input schema.
            VersionFailedError: If it cannot answer.
        """
        if len(rows) > INLINE_ROWS:
            columns = await self.readers.run(route.key.brand, lambda: loaded.contract.parse_rows(rows))
        else:
            columns = loaded.contract.parse_rows(rows)
        scores = await loaded.runtime.predict(columns, route.config.serving.timeout_seconds)
        if len(scores) != len(rows):
            raise VersionFailedError(loaded.key, "answered another number of rows than asked")
        predictions, probabilities = predictions_of(loaded.manifest, scores)
        return Reply(loaded, predictions, probabilities, served_by, reason)

    async def settle(self) -> None:
        """Return when all fallbacks are in the ledger."""
        await asyncio.gather(*self._records, return_exceptions=True)

    async def _answer_otherwise(self, route: Route, rows: Sequence[Any], failure: VersionFailedError) -> Reply:
        self.record(route.production.version.key, failure)
        loaded = await self._first_loadable([*filter(None, [route.previous]), *await self._earlier(route)], route)
        if loaded is not None:
            try:
                return await self.ask(loaded, route, rows, PREVIOUS, failure.reason)
            except (VersionFailedError, ContractViolationError):
                logger.info("%s cannot answer either", loaded.key)
        last_resort = route.production.loaded or loaded or await self._first_loadable(await self._model_zero(route), route)
        if last_resort is None:
            raise UnavailableError(route.key, failure.reason)
        return await self.ask(last_resort.as_baseline(), route, rows, BASELINE, failure.reason)

    async def _first_loadable(self, slots: Sequence[Slot], route: Route) -> LoadedVersion | None:
        for slot in slots:
            try:
                return slot.loaded or await slot.load(route.brand)
            except VersionFailedError as failure:
                logger.info("%s", failure)
        return None

    async def _earlier(self, route: Route) -> list[Slot]:
        """Versions that were in production before, the one that a rollback would bring back first."""
        present = route.production.version.key
        if present not in self._found:
            numbers = await asyncio.to_thread(_earlier_numbers, self._ledger, present)
            for other in [version for version in self._found if version.model_key == route.key]:
                del self._found[other]
            versions = [await asyncio.to_thread(self._ledger.find_version, route.key.version(number)) for number in numbers]
            self._found[present] = [Slot(version, self._loader) for version in versions]
        return self._found[present]

    async def _model_zero(self, route: Route) -> list[Slot]:
        """Versions that are a baseline by themselves, each with a file of its own, newest first."""
        versions = await asyncio.to_thread(self._ledger.versions, route.key)
        return [Slot(version, self._loader) for version in versions if version.record.kind == "baseline"]

    def record(self, version: VersionKey, failure: VersionFailedError) -> None:
        """Write to the ledger that another version answered because of a failure of this one; a lasting one once in a while."""
        reason = failure.reason
        now = time.monotonic()
        if now - self._recorded.get((version, reason), -RECORD_SECONDS) < RECORD_SECONDS:
            return
        self._recorded[version, reason] = now
        logger.warning("%s: another version answers: %s", version, failure)
        task = asyncio.create_task(
            asyncio.to_thread(self._ledger.record_fallback, version.model_key, version.number, reason, datetime.now(UTC))
        )
        self._records.add(task)
        task.add_done_callback(self._records.discard)


@dataclass(frozen=True, slots=True)
class _Entry:
    """One entry of a version into production, as `stages.previous_production` wants it."""

    number: int
    cause: str


def _earlier_numbers(ledger: Ledger, present: VersionKey) -> list[int]:
    events = ledger.stage_events(present.model_key, limit=100_000)
    entries = [_Entry(event.version.number, event.cause) for event in events if event.to is Stage.PRODUCTION]
    first = previous_production(entries, present.number)
    others = [entry.number for entry in reversed(entries)]
    numbers = dict.fromkeys(number for number in [first, *others] if number not in (None, present.number))
    return [number for number in numbers if number is not None][:MAX_EARLIER]
