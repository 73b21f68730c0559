"""Compares what two versions answered, off the path of the requests: one request after the other, in a thread of its own.

The thread may work a twentieth of the time, and what it cannot do in that is left out and counted: answers do not wait for it.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from brandhouse_serving.failures import VersionFailedError
from brandhouse_serving.replies import Answerer, Reply
from brandhouse_serving.router import Route
from brandhouse_serving.runtimes import SiloRuntime
from brandhouse_serving.slots import Slot
from brandhouse_serving.trial_evidence import Comparison, Evidence, TrialRules, milliseconds_since
from brandhouse_shared.artifacts import Manifest
from brandhouse_shared.errors import ContractViolationError
from brandhouse_shared.metrics import Task

MAX_ROWS = 32
"""Of one request, spread over it: a long one would hold the interpreter for milliseconds, in which nothing else is answered."""

MAX_WAITING = 512
"""Requests that wait for comparison; more are left out."""

PAUSES = 19.0
"""Pause after each comparison, in times of what it took: a twentieth of one core at most."""

IDLE_SECONDS = 0.02

REFUSED = "refused the input"
UNFORESEEN = "the comparison failed"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Question:
    """A request that one version has answered and another one is to be asked.

    Attributes:
        asked: The version to ask.
        is_canary: Whether the answer is the canary's and production is asked; otherwise a shadow is asked.
        rows: Some of the request's.
        ids: Their prediction ids.
    """

    evidence: Evidence
    route: Route
    asked: Slot
    is_canary: bool
    reply: Reply
    rows: Sequence[Any]
    ids: Sequence[str]


def build_question(evidence: Evidence, route: Route, asked: Slot, reply: Reply, rows: Sequence[Any], ids: Sequence[str]) -> Question:
    """Take some of a request's rows for comparison.

    Args:
        evidence: Where the comparison is to be counted.
        route: Of the request.
        asked: The version that has not answered it yet.
        reply: The answer that was given.
        rows: The request's objects.
        ids: Their prediction ids.
    """
    step = -(-len(rows) // MAX_ROWS)
    if step > 1:
        probabilities = None if reply.probabilities is None else reply.probabilities[::step]
        reply = Reply(reply.loaded, reply.predictions[::step], probabilities, reply.served_by, reply.reason)
        rows, ids = rows[::step], ids[::step]
    return Question(evidence, route, asked, asked is route.production, reply, rows, ids)


class Comparer:
    """Asks the other version, and counts how far apart the answers are."""

    def __init__(self, answerer: Answerer) -> None:
        self._answerer = answerer
        self._waiting: deque[Question] = deque()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def is_full(self) -> bool:
        """Whether there is no room for another question."""
        return len(self._waiting) >= MAX_WAITING

    def offer(self, question: Question) -> None:
        """Take a question; the caller has seen that there is room. Only on the event loop of the requests."""
        self._waiting.append(question)
        if self._thread is None:
            requests = asyncio.get_running_loop()
            self._thread = threading.Thread(target=lambda: asyncio.run(self._work(requests)), name="trial-comparer", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """End the thread; what waits is not compared any more. Not on the event loop of the requests."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    async def _work(self, requests: asyncio.AbstractEventLoop) -> None:
        while not self._stopping.is_set():
            if not self._waiting:
                await asyncio.sleep(IDLE_SECONDS)
                continue
            started = time.perf_counter()
            await self._attend(self._waiting.popleft(), requests)
            await asyncio.sleep(PAUSES * (time.perf_counter() - started))

    async def _attend(self, question: Question, requests: asyncio.AbstractEventLoop) -> None:
        started = time.perf_counter()
        try:
            other = await self._ask(question, requests)
            canary, production = (question.reply, other) if question.is_canary else (other, question.reply)
            rules = question.evidence.trial.rules
            question.evidence.note_comparison(compare(production, canary, question.ids, rules, milliseconds_since(started)))
        except VersionFailedError as failure:
            question.evidence.note_uncompared(failure.reason)
        except ContractViolationError:
            question.evidence.note_uncompared(REFUSED)
        except Exception:  # brand code may answer anything; the other comparisons go on
            logger.exception("%s could not be compared", question.evidence.trial.version)
            question.evidence.note_uncompared(UNFORESEEN)

    async def _ask(self, question: Question, requests: asyncio.AbstractEventLoop) -> Reply:
        """Ask here, or on the requests' event loop if the version answers from another process: its connections live there."""
        loaded, route = question.asked.loaded, question.route
        if loaded is not None and not isinstance(loaded.runtime, SiloRuntime):
            return await self._answerer.ask(loaded, route, question.rows, "", "")
        answering = self._answerer.answer_from(question.asked, route, question.rows, "")
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(answering, requests))


def compare(production: Reply, other: Reply, ids: Sequence[str], rules: TrialRules, milliseconds: float) -> Comparison:
    """Compare two answers to the same rows.

    Args:
        production: The answer of the version in production.
        other: That of the version on trial.
        ids: Prediction ids of the rows.
        rules: When two answers differ.
        milliseconds: How long the version that was asked for comparison took.
    """
    if production.loaded.manifest.task is Task.REGRESSION:
        return _compare_numbers(production, other, ids, rules, milliseconds)
    labels = list(zip(production.predictions, other.predictions, strict=True))
    differing = [prediction_id for prediction_id, (one, two) in zip(ids, labels, strict=True) if one != two]
    differences = _probability_differences(production, other)
    return Comparison(len(ids), len(differing), differences, labels, differing, milliseconds)


def _compare_numbers(production: Reply, other: Reply, ids: Sequence[str], rules: TrialRules, milliseconds: float) -> Comparison:
    typical = abs(float(production.loaded.manifest.constant[0]))
    differences = [abs(float(two) - float(one)) for one, two in zip(production.predictions, other.predictions, strict=True)]
    differing = [
        prediction_id
        for prediction_id, one, difference in zip(ids, production.predictions, differences, strict=True)
        if difference > _tolerance(one, typical, rules)
    ]
    return Comparison(len(ids), len(differing), differences, None, differing, milliseconds)


def _tolerance(number: float, typical: float, rules: TrialRules) -> float:
    return rules.tolerance if rules.tolerance is not None else rules.tolerance_share * max(abs(number), typical)


def _probability_differences(production: Reply, other: Reply) -> list[float]:
    """The largest difference of a class's probability, per row; classes that only one of them knows have none in the other."""
    if production.probabilities is None or other.probabilities is None:
        return [0.0] * len(production.predictions)
    pairs = zip(production.probabilities, other.probabilities, strict=True)
    return [_distance(_named(production.loaded.manifest, one), _named(other.loaded.manifest, two)) for one, two in pairs]


def _named(manifest: Manifest, shares: Sequence[float]) -> dict[Any, float]:
    return dict(zip(manifest.classes, shares, strict=True))


def _distance(one: dict[Any, float], two: dict[Any, float]) -> float:
    return max(abs(one.get(label, 0.0) - two.get(label, 0.0)) for label in one.keys() | two.keys())
