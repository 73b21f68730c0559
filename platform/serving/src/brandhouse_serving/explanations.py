"""Reasons beside answers: `?explain=true`. What they are is in `brandhouse_shared.explaining`; here is who is asked, and how often.

One explained row costs up to some thousand rows. They are asked in parts, where the version answers anyway (threads, or the
brand's own process), so that other requests come in between; nothing of it happens on the event loop, nothing is logged.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from brandhouse_serving.answer_threads import AnswerThreads
from brandhouse_serving.failures import VersionFailedError
from brandhouse_serving.loading import LoadedVersion
from brandhouse_serving.problems import RequestRefusedError
from brandhouse_serving.replies import Reply
from brandhouse_serving.router import Route
from brandhouse_shared.errors import ArtifactCorruptError
from brandhouse_shared.explaining import Background, Explanation, NoBackgroundError, Question, read_background
from brandhouse_shared.names import VersionKey

MAX_EXPLAINED_ROWS = 20
"""Rows of a request that is to be explained."""

EXPLAIN_SECONDS = 20.0
"""A request's explanations may take so long; then the client is told to ask about fewer rows."""

ROWS_AT_ONCE = 2_000
KEPT_BACKGROUNDS = 64


def asks_why(query: bytes, *, takes_others: bool) -> bool:
    """Whether the query string asks for explanations.

    Args:
        query: As it was sent.
        takes_others: Whether other parameters are passed over, as a protocol of others demands. If not, a misspelt one is told.

    Raises:
        RequestRefusedError: If `explain` is anything but true or false, or is there twice; if another parameter is there and must not be.
    """
    given = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    others = [name for name, _ in given if name != "explain"]
    if others and not takes_others:
        raise RequestRefusedError(422, "invalid_query", f"unknown query parameter {others[0][:40]!a}; known: explain")
    values = [value for name, value in given if name == "explain"]
    if not values:
        return False
    if len(values) > 1 or values[0] not in ("true", "false"):
        raise RequestRefusedError(422, "invalid_query", "explain: allowed: true or false, once")
    return values[0] == "true"


def require_few(rows: Sequence[Any]) -> None:
    """Refuse more rows than are explained in one request.

    Raises:
        RequestRefusedError: With the limit.
    """
    if len(rows) > MAX_EXPLAINED_ROWS:
        message = f"{len(rows)} instances given; with explain=true at most {MAX_EXPLAINED_ROWS} are answered at once"
        raise RequestRefusedError(422, "too_many_to_explain", message)


class Explainer:
    """Explains replies, by the version that gave them."""

    def __init__(self, threads: AnswerThreads) -> None:
        """`threads`: where rows to ask are chosen and answers are added up."""
        self._threads = threads
        self._backgrounds: OrderedDict[VersionKey, Background] = OrderedDict()

    async def explain(self, reply: Reply, route: Route, rows: Sequence[Any]) -> list[dict[str, Any]]:
        """Explain each row of a reply.

        Args:
            reply: Given to these rows.
            route: Gives the time-out of one call of a version.
            rows: The request's objects.

        Raises:
            RequestRefusedError: If the version has no background rows, or could not answer in time.
        """
        try:
            async with asyncio.timeout(EXPLAIN_SECONDS):
                return await self._explain(reply.loaded, route, rows)
        except TimeoutError:
            message = f"{route.key}: the explanation took longer than {EXPLAIN_SECONDS:.0f} s; ask about fewer rows"
            raise RequestRefusedError(503, "explanation_timeout", message, 1) from None
        except VersionFailedError as failure:
            message = f"{reply.loaded.key} answered, and could not explain it: {failure.reason}"
            raise RequestRefusedError(503, "cannot_explain", message, 1) from failure

    async def _explain(self, loaded: LoadedVersion, route: Route, rows: Sequence[Any]) -> list[dict[str, Any]]:
        brand, seconds = route.key.brand, route.config.serving.timeout_seconds
        background = await self._threads.run(brand, lambda: self._background(loaded))
        columns = loaded.contract.parse_rows(rows)
        explanations = []
        for place in range(len(rows)):
            row = {name: values[place] for name, values in columns.items()}
            question, parts = await self._threads.run(brand, lambda row=row: _choose(background, row))  # type: ignore[misc]
            scores: list[Any] = []
            for part in parts:
                scores += await loaded.runtime.predict(part, seconds)
            found = await self._threads.run(brand, lambda question=question, scores=scores: question.explain(scores, loaded.manifest))  # type: ignore[misc]
            explanations.append(_as_document(found))
        return explanations

    def _background(self, loaded: LoadedVersion) -> Background:
        background = self._backgrounds.get(loaded.key)
        if background is None:
            background = self._backgrounds[loaded.key] = _read(loaded)
            while len(self._backgrounds) > KEPT_BACKGROUNDS:
                self._backgrounds.popitem(last=False)
        return background


def _read(loaded: LoadedVersion) -> Background:
    try:
        if loaded.folder is None:
            raise NoBackgroundError(loaded.key)
        return read_background(loaded.folder, loaded.manifest)
    except NoBackgroundError:
        raise RequestRefusedError(422, "cannot_explain", str(NoBackgroundError(loaded.key))) from None
    except ArtifactCorruptError as error:
        raise VersionFailedError(loaded.key, "background missing or altered", str(error)) from error


def _choose(background: Background, row: Mapping[str, Any]) -> tuple[Question, list[dict[str, list[Any]]]]:
    question = Question(background, row)
    columns = question.columns
    rows = len(next(iter(columns.values())))
    starts = range(0, rows, ROWS_AT_ONCE)
    return question, [{name: values[start : start + ROWS_AT_ONCE] for name, values in columns.items()} for start in starts]


def _as_document(found: Explanation) -> dict[str, Any]:
    document: dict[str, Any] = {"base": found.base, "contributions": dict(found.contributions), "method": found.method}
    if found.method == "sampled":
        document["error"] = found.error
    return document if found.label is None else {"class": found.label, **document}
