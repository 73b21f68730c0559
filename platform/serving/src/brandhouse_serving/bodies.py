"""Reading a request's body: size, type, JSON, and what JSON lets pass but a contract cannot."""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping, Sequence
from typing import Any

import orjson

from brandhouse_serving.limits import BODY_SECONDS, MAX_BODY_BYTES
from brandhouse_serving.problems import RequestRefusedError
from brandhouse_shared.errors import ContractViolationError

SINGLE_HEADERS = frozenset(
    (b"authorization", b"content-encoding", b"content-length", b"content-type", b"host", b"transfer-encoding", b"x-request-key")
)
"""Headers of which a request may have one; what others are sent twice is not looked at."""

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class ClientGoneError(Exception):
    """The client left before its request was complete; there is nobody to answer."""


def read_headers(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Return the headers by name, in lower case.

    Raises:
        RequestRefusedError: 400 if one that decides something was sent twice: a proxy may have looked at the other one.
    """
    pairs = list(headers)
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = sorted(name.decode() for name in SINGLE_HEADERS if names.count(name) > 1)
        if repeated:
            raise RequestRefusedError(400, "repeated_header", f"{', '.join(repeated)}: sent more than once; allowed: once")
    return found


def check_headers(headers: Mapping[bytes, bytes], max_bytes: int = MAX_BODY_BYTES) -> None:
    """Refuse by the headers alone what would be refused after reading.

    Raises:
        RequestRefusedError: 415 for another type than JSON, 413 for a length above the limit.
    """
    kind = headers.get(b"content-type", b"")
    if kind != b"application/json" and not _is_json(kind):
        raise RequestRefusedError(415, "unsupported_media_type", "the content type must be application/json, in UTF-8")
    encoding = headers.get(b"content-encoding")
    if encoding is not None and encoding.strip().lower() != b"identity":
        raise RequestRefusedError(415, "unsupported_media_type", "compressed bodies are not read; send the JSON as it is")
    length = headers.get(b"content-length", b"0")
    if length.isdigit() and (len(length) > 15 or int(length) > max_bytes):
        raise _too_large(max_bytes)


def _is_json(content_type: bytes) -> bool:
    kind, _, parameters = content_type.partition(b";")
    return kind.strip().lower() == b"application/json" and parameters.strip().lower() in (b"", b"charset=utf-8", b'charset="utf-8"')


async def read_body(receive: Receive, max_bytes: int = MAX_BODY_BYTES) -> bytes:
    """Read the whole body.

    Raises:
        RequestRefusedError: 413 above the limit, 408 if it takes too long.
        ClientGoneError: If the client leaves in between.
    """
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        body: bytes = message.get("body", b"")
        if len(body) > max_bytes:
            raise _too_large(max_bytes)
        return body
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await _read_on(receive, message, max_bytes)
    except TimeoutError:
        raise RequestRefusedError(408, "timeout", f"the body did not arrive within {BODY_SECONDS:.0f} s") from None


async def _read_on(receive: Receive, message: MutableMapping[str, Any], max_bytes: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > max_bytes:
            raise _too_large(max_bytes)
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
    """Refuse rows that name a field twice.

    Args:
        body: A predict request as it came.
        rows: Its rows, not yet checked.

    Raises:
        ContractViolationError: If a field is repeated.
        RequestRefusedError: If it is nested too deeply to tell.
    """
    try:
        keys = 1 + sum(map(len, rows))
    except TypeError:  # a row that is a number or null; the contract will refuse it
        return
    refuse_repeated_keys(body, keys)


def refuse_repeated_keys(body: bytes, keys: int) -> None:
    """Refuse an object that has a key twice; JSON decoders silently keep the last.

    Every key is followed by one colon. If the body has as many colons as there are keys, none was repeated, which is a
    count of bytes; otherwise (a text holds a colon) the body is read again, slowly.

    Args:
        body: Valid JSON.
        keys: How many keys its decoded objects have.

    Raises:
        ContractViolationError: If a key is repeated.
        RequestRefusedError: If it is nested too deeply to tell.
    """
    if body.count(b":") == keys:
        return
    repeated: set[str] = set()

    def note_repeated(pairs: list[tuple[str, Any]]) -> None:
        if len(dict(pairs)) < len(pairs):
            repeated.update(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)

    try:
        json.loads(body, object_pairs_hook=note_repeated, parse_int=float)
    except RecursionError:
        raise RequestRefusedError(422, "invalid_json", "the body is nested too deeply; no field takes a list or an object") from None
    if repeated:
        names = sorted(repeated)[:20]
        raise ContractViolationError("request", [f"{name[:80]}: given more than once in one object; allowed: once" for name in names])


def _too_large(max_bytes: int) -> RequestRefusedError:
    return RequestRefusedError(413, "body_too_large", f"the body is too large; allowed: at most {max_bytes} bytes")
