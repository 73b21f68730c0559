"""Answers requests of a model that has versions on trial: the canary its share, and no client ever pays for a failure of it."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from brandhouse_serving.failures import VersionFailedError
from brandhouse_serving.replies import CANARY, PRODUCTION, Answerer, Reply
from brandhouse_serving.router import Route
from brandhouse_serving.slots import Slot
from brandhouse_serving.trial_comparing import REFUSED, Comparer, build_question
from brandhouse_serving.trial_evidence import DROPPED, REPEATED, milliseconds_since
from brandhouse_serving.trial_routes import TrialRoute
from brandhouse_shared.errors import ContractViolationError


class TrialAnswerer:
    """Chooses who answers, counts how it went, and has answers compared afterwards."""

    def __init__(self, answerer: Answerer) -> None:
        self._answerer = answerer
        self._comparer = Comparer(answerer)

    async def answer(self, route: Route, rows: Sequence[Any], key: bytes) -> Reply:
        """Answer one request.

        Args:
            route: The model's route at the request's beginning.
            rows: Decoded JSON objects, not yet checked.
            key: The request's key: the same one is answered by the same version while a canary lasts.

        Raises:
            ContractViolationError: If the rows contradict the input schema.
            UnavailableError: If nothing can answer.
        """
        canary = route.trial.canary if route.trial is not None else None
        if canary is None:
            return await self._answerer.answer(route, rows)
        hashed = canary.hash(key)
        started = time.perf_counter()
        if canary.takes(hashed):
            return await self._answer_by_canary(canary, hashed, route, rows, started)
        reply = await self._answerer.answer(route, rows)
        failed = reply.served_by != PRODUCTION
        canary.evidence.note_production(hashed, milliseconds_since(started), len(rows), failed=failed)
        return reply

    async def answer_from(self, slot: Slot, route: Route, rows: Sequence[Any]) -> Reply:
        """Answer one request whose client has asked for production's version or the canary's. It is no evidence: not drawn by a hash.

        Raises:
            ContractViolationError: If the rows contradict the input schema.
            UnavailableError: If nothing can answer.
        """
        if slot is route.production:
            return await self._answerer.answer(route, rows)
        try:
            return await self._answerer.answer_from(slot, route, rows, CANARY)
        except VersionFailedError as failure:
            self._answerer.record(slot.version.key, failure)
            reply = await self._answerer.answer(route, rows)
            return replace(reply, reason=failure.reason) if reply.served_by == PRODUCTION else reply

    def note(self, route: Route, body: bytes, reply: Reply, rows: Sequence[Any], ids: Sequence[str]) -> None:
        """Have an answer compared with that of the versions that were not asked.

        Args:
            route: Of the request.
            body: Of the request; one that was compared before is not compared again.
            reply: The answer that was given.
            rows: The request's objects.
            ids: Their prediction ids.
        """
        trial = route.trial
        if trial is None:
            return
        if reply.served_by == PRODUCTION:
            for shadow in trial.shadows:
                self._offer(shadow, shadow.slot, route, body, reply, rows, ids)
        elif reply.served_by == CANARY and trial.canary is not None:
            self._offer(trial.canary, route.production, route, body, reply, rows, ids)

    async def close(self) -> None:
        """End comparing."""
        await asyncio.to_thread(self._comparer.close)

    async def _answer_by_canary(self, canary: TrialRoute, key: int, route: Route, rows: Sequence[Any], started: float) -> Reply:
        try:
            reply = await self._answerer.answer_from(canary.slot, route, rows, CANARY)
        except VersionFailedError as failure:
            return await self._answer_instead(canary, key, route, rows, failure)
        except ContractViolationError:
            # Production's schema decides whether it is the client's fault, and refuses it then.
            return await self._answer_instead(canary, key, route, rows, VersionFailedError(canary.trial.version, REFUSED))
        canary.evidence.note_canary(key, milliseconds_since(started), len(rows))
        return reply

    async def _answer_instead(self, canary: TrialRoute, key: int, route: Route, rows: Sequence[Any], failure: VersionFailedError) -> Reply:
        reply = await self._answerer.answer(route, rows)
        self._answerer.record(canary.trial.version, failure)
        if reply.served_by != PRODUCTION:
            return reply  # production failed too: no fault of the canary's
        canary.evidence.note_canary_failure(key, failure.reason)
        return replace(reply, reason=failure.reason)

    def _offer(
        self, one: TrialRoute, asked: Slot, route: Route, body: bytes, reply: Reply, rows: Sequence[Any], ids: Sequence[str]
    ) -> None:
        if self._comparer.is_full:
            one.evidence.note_uncompared(DROPPED)
        elif one.seen.is_new(one.hash(body)):
            self._comparer.offer(build_question(one.evidence, route, asked, reply, rows, ids))
        else:
            one.evidence.note_uncompared(REPEATED)
