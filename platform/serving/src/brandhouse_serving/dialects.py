"""The ways to ask for predictions: how a path, a body, an answer and an error look in each.

A dialect knows nothing of keys, limits, versions, the log or metrics: all of that is one way through, in `lane`. A
protocol that is to be spoken too gets a class of its own and a line in `lane.DIALECTS`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson

from brandhouse_serving.bodies import check_headers, instances_of, parse_json, refuse_repeated_fields
from brandhouse_serving.limits import MAX_BODY_BYTES
from brandhouse_serving.problems import Headers, build_problem
from brandhouse_serving.replies import Reply
from brandhouse_serving.router import Route
from brandhouse_shared.errors import BrandhouseError


@dataclass(slots=True)
class Call:
    """One request for predictions, as far as it has been read.

    Attributes:
        brand: Text of the path, still escaped; nothing is looked up by it before a key has been found to be that brand's.
        model: Text of the path, still escaped.
        version: Text of the path: the version asked for. None: the one that the stages choose.
        headers: By name in lower case; none was sent twice.
        body: As it came; empty until the call is admitted.
        max_body_bytes: The brand's limit.
        query: Of the address, as it came.
        document: The decoded body; `Dialect.rows_of` leaves here what `answer_of` needs of it.
    """

    brand: str
    model: str
    version: str | None = None
    headers: Mapping[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""
    max_body_bytes: int = MAX_BODY_BYTES
    query: bytes = b""
    document: Any = None


class Dialect(Protocol):
    """One way to ask and to answer.

    Attributes:
        explains: Whether it has a place for reasons beside answers.
    """

    explains: bool

    def find_call(self, path: bytes) -> Call | None:
        """Read a path, which begins with the dialect's prefix, still escaped and without a query. None: no call for predictions."""

    def check_headers(self, call: Call) -> None:
        """Refuse by the headers alone what would be refused after reading the body.

        Raises:
            RequestRefusedError: If the body is of another type than the dialect's, or is said to be too large.
        """

    def rows_of(self, call: Call, route: Route) -> Sequence[Any]:
        """Return the rows of `call.body`, to be checked by the contract: objects keyed by the fields' own names.

        Raises:
            RequestRefusedError: If the body is no JSON, or has too many rows.
            ContractViolationError: If it is not of the dialect's form, or names a field twice.
        """

    def rows_json(self, call: Call) -> bytes | None:
        """Return the rows as the body has them, JSON on one line; None if it has them in another form. After `rows_of`."""

    def answer_of(self, reply: Reply, ids: Sequence[str], call: Call) -> bytes:
        """Return the answer's body, JSON."""

    def problem_of(self, error: BrandhouseError) -> tuple[int, Headers, bytes]:
        """Return status, headers and body of a refusal or a failure."""


class V1:
    """`POST /v1/{brand}/{model}/predict`: rows in, predictions out."""

    explains = True

    def find_call(self, path: bytes) -> Call | None:
        """See `Dialect.find_call`."""
        parts = path.split(b"/")
        if len(parts) != 5 or parts[4] != b"predict":
            return None
        return Call(parts[2].decode("latin-1"), parts[3].decode("latin-1"))

    def check_headers(self, call: Call) -> None:
        """See `Dialect.check_headers`."""
        check_headers(call.headers, call.max_body_bytes)

    def rows_of(self, call: Call, route: Route) -> Sequence[Any]:
        """See `Dialect.rows_of`."""
        rows = instances_of(parse_json(call.body), route.config.serving.max_rows)
        refuse_repeated_fields(call.body, rows)
        return rows

    def rows_json(self, call: Call) -> bytes | None:
        """See `Dialect.rows_json`."""
        body = call.body  # {"instances": [...]} and nothing else
        return None if b"\n" in body or b"\r" in body else body[body.index(b"[") : body.rindex(b"]") + 1]

    def answer_of(self, reply: Reply, ids: Sequence[str], call: Call) -> bytes:
        """See `Dialect.answer_of`."""
        return orjson.dumps(build_document(reply, ids))

    def problem_of(self, error: BrandhouseError) -> tuple[int, Headers, bytes]:
        """See `Dialect.problem_of`."""
        return build_problem(error)


def build_document(reply: Reply, ids: Sequence[str]) -> dict[str, Any]:
    """What V1 answers, before it is made JSON."""
    document: dict[str, Any] = {"model": reply.loaded.name, "predictions": reply.predictions, "prediction_ids": ids}
    if reply.probabilities is not None:
        document["probabilities"] = _named(reply.loaded.class_names, reply.probabilities)
    if reply.explanations is not None:
        document["explanations"] = reply.explanations
    return document


def _named(names: Sequence[str], probabilities: Sequence[Sequence[float]]) -> list[dict[str, float]]:
    """One object a row, from class to probability."""
    if len(names) == 2:  # most models; a quarter of the time
        first, second = names
        return [{first: one, second: other} for one, other in probabilities]
    return [dict(zip(names, shares, strict=True)) for shares in probabilities]
