"""How an error looks to a client: one table from class to HTTP status, one shape of body.

`{"error": {"code": ..., "message": ..., "violations": [...]}}`. Messages hold no row values and no paths; what is not in
the table is a fault of ours and says only that.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from brandhouse_serving.failures import DuplicateLabelError, NoSuchPredictionError, UnavailableError, UnknownPredictionError
from brandhouse_shared.errors import (
    BrandhouseError,
    ContractViolationError,
    ForbiddenError,
    RetryableError,
    UnauthenticatedError,
    UnknownModelError,
)

Headers = list[tuple[bytes, bytes]]

JSON_TYPE = (b"content-type", b"application/json")


class RequestRefusedError(BrandhouseError):
    """A request that cannot be read or is too large, with its status.

    Attributes:
        retry_after_seconds: When to come again; None if that would not help.
    """

    def __init__(self, status: int, code: str, message: str, retry_after_seconds: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after_seconds = retry_after_seconds


_STATUS: tuple[tuple[type[BrandhouseError], int, str], ...] = (
    (UnauthenticatedError, 401, "unauthenticated"),
    (ForbiddenError, 403, "forbidden"),
    (UnknownModelError, 404, "unknown_model"),
    (UnknownPredictionError, 404, "unknown_prediction"),
    (NoSuchPredictionError, 404, "unknown_prediction"),
    (DuplicateLabelError, 409, "duplicate_label"),
    (ContractViolationError, 422, "invalid_input"),
    (UnavailableError, 503, "unavailable"),
    (RetryableError, 503, "unavailable"),
)


def status_of(error: BrandhouseError) -> tuple[int, str]:
    """HTTP status and code of an error; (500, internal) for one that no client caused."""
    if isinstance(error, RequestRefusedError):
        return error.status, error.code
    return next(((status, code) for kind, status, code in _STATUS if isinstance(error, kind)), (500, "internal"))


@dataclass(frozen=True, slots=True)
class Problem:
    """What a client is told of an error, before it is given a shape.

    Attributes:
        violations: One sentence each, where a request contradicts the input schema; else empty.
    """

    status: int
    headers: Headers
    code: str
    message: str
    violations: Sequence[str]


def build_problem(error: BrandhouseError) -> tuple[int, Headers, bytes]:
    """Status, headers and body of the answer to a request that ended in `error`."""
    problem = problem_of(error)
    return problem.status, problem.headers, build_body(problem.code, problem.message, problem.violations)


def problem_of(error: BrandhouseError) -> Problem:
    """What is said of `error` in any shape."""
    status, code = status_of(error)
    headers: Headers = [JSON_TYPE]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if status == 405:
        headers.append((b"allow", b"POST"))
    wait = _retry_after(error)
    if wait is not None:
        headers.append((b"retry-after", str(wait).encode()))
    violations = error.violations if isinstance(error, ContractViolationError) else ()
    return Problem(status, headers, code, _message(error, status), violations)


def build_body(code: str, message: str, violations: Sequence[str] = ()) -> bytes:
    """The body of every error."""
    return orjson.dumps({"error": {"code": code, "message": message, "violations": list(violations)}})


def _message(error: BrandhouseError, status: int) -> str:
    if status == 500:
        return "the gateway failed; the request was not answered and is not recorded"
    if isinstance(error, ContractViolationError):
        return f"{len(error.violations)} violation(s) of the model's input schema"
    return str(error)


def _retry_after(error: BrandhouseError) -> int | None:
    if isinstance(error, RetryableError):
        return max(1, round(error.retry_after_seconds))
    if isinstance(error, UnavailableError):
        return 5
    return error.retry_after_seconds if isinstance(error, RequestRefusedError) else None
