"""The BentoML service of one model: the same code in a Bento that serves alone and behind the gateway's lane.

BentoML reads the request, describes the call and answers health checks. What answers is handed in (`Ask`): the model
itself in a Bento (`bento_alone`), the gateway's lane behind it (`bento_mount`).
"""

import os
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from brandhouse_serving.bodies import Receive, check_headers, instances_of, parse_json, read_body, refuse_repeated_fields
from brandhouse_serving.problems import Headers, build_problem
from brandhouse_shared.errors import BrandhouseError
from brandhouse_shared.names import ModelKey

PREDICT_PATH = "/predict"

OPTIONS: dict[str, Any] = {
    "traffic": {"timeout": 120},
    "logging": {"access": {"enabled": False}},  # its lines would be written on the request's way
}
"""Settings of the service that are the same everywhere; the time-out ends what the model's own did not."""

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
AsgiApp = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]
Answer = tuple[int, Headers, bytes]
"""Status, headers and body."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The request as it came, for who answers and needs more than its rows."""

    headers: Mapping[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""


Ask = Callable[[Sequence[Any], Asked], Awaitable[Answer]]

REQUEST: ContextVar[Asked] = ContextVar("brandhouse_bento_request", default=Asked())  # noqa: B039  # it is frozen and empty
"""What `accept` read; the call of BentoML's method belongs to the same request."""


def build_service(key: ModelKey, start: Callable[[], Ask], **options: Any) -> Any:
    """Build the BentoML service of one model.

    Args:
        key: Whose service it is; names it.
        start: Called once in each process that serves, when it starts; returns what answers.
        options: Settings of the service beside `OPTIONS`.
    """
    os.environ.setdefault("BENTOML_DO_NOT_TRACK", "true")
    import bentoml

    @bentoml.service(name=f"{key.brand}__{key.model}", **OPTIONS, **options)
    class ModelService:
        """Answers for one model."""

        def __init__(self) -> None:
            self._ask = start()

        @bentoml.api(route=PREDICT_PATH)  # type: ignore[untyped-decorator]
        async def predict(self, instances: list[Any]) -> dict[str, Any]:
            """Predict for each of `instances`, objects with the model's input fields by their own names.

            Returns `model`, `predictions` and, for classes, `probabilities`, one entry an instance each.
            """
            from starlette.responses import Response

            status, headers, body = await self._ask(instances, REQUEST.get())
            answer: Any = Response(body, status, headers={name.decode(): value.decode("latin-1") for name, value in headers})
            return answer  # type: ignore[no-any-return]  # BentoML describes the call by the annotation and sends this as it is

    return ModelService


async def accept(headers: Mapping[bytes, bytes], receive: Receive, max_rows: int) -> Receive:
    """Read a predict request and check what BentoML would let pass: other types than JSON, NaN, fields named twice, size.

    Returns:
        A `receive` that gives the body once more, to BentoML.

    Raises:
        RequestRefusedError: With its status.
        ContractViolationError: If the body is no list of rows, or names a field twice.
        ClientGoneError: If the client leaves in between.
    """
    check_headers(headers)
    body = await read_body(receive)
    refuse_repeated_fields(body, instances_of(parse_json(body), max_rows))
    REQUEST.set(Asked(headers, body))
    return _replay(body, receive)


def _replay(body: bytes, receive: Receive) -> Receive:
    pending = [body]

    async def replayed() -> MutableMapping[str, Any]:
        if pending:
            return {"type": "http.request", "body": pending.pop(), "more_body": False}
        return await receive()

    return replayed


async def send_problem(send: Send, error: BrandhouseError) -> None:
    """Answer a request that was refused, in the gateway's shape."""
    await send_answer(send, build_problem(error))


async def send_answer(send: Send, answer: Answer) -> None:
    """Send a finished answer."""
    status, headers, body = answer
    await send({"type": "http.response.start", "status": status, "headers": [*headers, (b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})
