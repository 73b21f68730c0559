"""Reading a request's body: size, type, JSON, and what JSON lets pass but a contract cannot."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any

import orjson

from brandhouse_serving.limits import BODY_SECONDS, MAX_BODY_BYTES
from brandhouse_serving.problems import RequestRefusedError
from brandhouse_shared.errors import ContractViolationError

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class ClientGoneError(Exception):
    """The client left before its request was complete; there is nobody to answer."""


def check_headers(headers: Mapping[bytes, bytes]) -> None:
    """Refuse by the headers alone what would be refused after reading.

    Raises:
        RequestRefusedError: 415 for another type than JSON, 413 for a length above the limit.
    """
    kind, _, parameters = headers.get(b"content-type", b"").partition(b";")
    charset = parameters.strip().lower()
    if kind.strip().lower() != b"application/json" or charset not in (b"", b"charset=utf-8", b'charset="utf-8"'):
        raise RequestRefusedError(415, "unsupported_media_type", "the content type must be application/json, in UTF-8")
    if headers.get(b"content-encoding", b"identity").strip().lower() != b"identity":
        raise RequestRefusedError(415, "unsupported_media_type", "compressed bodies are not read; send the JSON as it is")
    length = headers.get(b"content-length", b"0")
    if length.isdigit() and int(length) > MAX_BODY_BYTES:
        raise _too_large()


async def read_body(receive: Receive) -> bytes:
    """Read the whole body.

    Raises:
        RequestRefusedError: 413 above the limit, 408 if it takes too long.
        ClientGoneError: If the client leaves in between.
    """
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        body: bytes = message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            raise _too_large()
        return body
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await _read_on(receive, message)
    except TimeoutError:
        raise RequestRefusedError(408, "timeout", f"the body did not arrive within {BODY_SECONDS:.0f} s") from None


async def _read_on(receive: Receive, message: MutableMapping[str, Any]) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_BODY_BYTES:
            raise _too_large()
        if not message.get("more_body"):
            return b"".join(parts)
        message = await receive()


def parse_json(body: bytes) -> Any:
    """Decode strict JSON: no NaN, no Infinity, no lone surrogates, bounded depth.

    Raises:
        RequestRefusedError: 422, saying where it ends to be JSON.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestRefusedError(422, "invalid_json", f"the body is no valid JSON: {error.msg[:120]} (character {error.pos})") from None


def instances_of(document: Any, max_rows: int) -> list[Any]:
    """Return the rows of a predict request.

    Raises:
        ContractViolationError: If the document is not `{"instances": [row, ...]}` with at least one row.
        RequestRefusedError: 413 if there are more than `max_rows`.
    """
    if not isinstance(document, dict):
        raise ContractViolationError("request", ['body: allowed: an object {"instances": [...]}'])
    instances = document.get("instances")
    if not isinstance(instances, list) or not instances:
        raise ContractViolationError("request", ["instances: allowed: a list of at least one object with the input fields"])
    if len(document) > 1:
        extra = ", ".join(sorted(name[:80] for name in document.keys() - {"instances"})[:5])
        raise ContractViolationError("request", [f"body: unknown field {extra}; allowed: instances"])
    if len(instances) > max_rows:
        raise RequestRefusedError(413, "too_many_rows", f"instances has {len(instances)} rows; allowed: at most {max_rows} a request")
    return instances


def refuse_repeated_fields(body: bytes, rows: Sequence[Mapping[str, Any]]) -> None:
    """Refuse an object that names a field twice; JSON decoders silently keep the last.

    Every key is followed by one colon. If the body has as many colons as there are keys, none was repeated, which is a
    count of bytes; otherwise (a text holds a colon) the body is read again, slowly.

    Args:
        body: The request as it came.
        rows: Its rows, already found to hold no nested values.

    Raises:
        ContractViolationError: If a field is repeated.
    """
    if body.count(b":") == 1 + sum(map(len, rows)):
        return
    repeated: set[str] = set()

    def note_repeated(pairs: list[tuple[str, Any]]) -> None:
        names = [name for name, _ in pairs]
        if len(set(names)) < len(names):
            repeated.update(name for name in names if names.count(name) > 1)

    json.loads(body, object_pairs_hook=note_repeated, parse_int=float)
    if repeated:
        names = sorted(repeated)[:20]
        raise ContractViolationError("request", [f"{name[:80]}: given more than once in one object; allowed: once" for name in names])


def _too_large() -> RequestRefusedError:
    return RequestRefusedError(413, "body_too_large", f"the body is too large; allowed: at most {MAX_BODY_BYTES} bytes")
