"""Evaluate IAM policy documents as AWS does: deny wins, a boundary limits, what nobody allows is denied.

Only what our policies use is known. An unknown operator raises: a guess would be worth less than nothing.
Source of the rules: AWS, "Policy evaluation logic" and "IAM JSON policy elements" of the IAM user guide.
"""

import functools
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from brandhouse_infra.errors import InfraError

Verdict = Literal["allow", "deny", "nothing"]
Document = Mapping[str, Any]
Values = tuple[str, ...]


class UnknownOperatorError(InfraError):
    """A policy holds a condition that this evaluation does not know."""


@dataclass(frozen=True, slots=True)
class Request:
    """Somebody wants to do something.

    Attributes:
        action: Such as `s3:GetObject`.
        resource: ARN of what.
        principal: ARN of who, or the name of a service or an identity provider.
        context: Condition keys that are known, such as tags of the resource.
    """

    action: str
    resource: str
    principal: str
    context: Mapping[str, str | Values] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Identity:
    """A role, as far as policies go.

    Attributes:
        arn: Of the role.
        policies: Documents that are attached to it.
        boundary: The document that limits it; None: nothing does.
    """

    arn: str
    policies: tuple[Document, ...]
    boundary: Document | None


def is_allowed(identity: Identity, request: Request, resource_policies: Sequence[Document] = ()) -> bool:
    """Whether a role of the account may do it.

    Args:
        identity: Who.
        request: What; its principal is the role.
        resource_policies: Of the resource: its bucket's, its key's.
    """
    own = [judge(document, request, is_resource_policy=False) for document in identity.policies]
    bound = judge(identity.boundary, request, is_resource_policy=False) if identity.boundary is not None else "allow"
    theirs = [judge(document, request, is_resource_policy=True) for document in resource_policies]
    if "deny" in (*own, bound, *theirs):
        return False
    return "allow" in own and bound == "allow"


def may_become(trust: Document, request: Request) -> bool:
    """Whether a role's trust policy lets the principal in."""
    return judge(trust, request, is_resource_policy=True) == "allow"


def judge(document: Document, request: Request, *, is_resource_policy: bool) -> Verdict:
    """What one document says."""
    said = {
        statement["Effect"].lower()
        for statement in _listed(document["Statement"])
        if _applies(statement, request, is_resource_policy=is_resource_policy)
    }
    return "deny" if "deny" in said else "allow" if "allow" in said else "nothing"


def parse(text: str) -> Document:
    """Read a document."""
    document: Document = json.loads(text)
    return document


def _applies(statement: Mapping[str, Any], request: Request, *, is_resource_policy: bool) -> bool:
    if is_resource_policy and not _is_meant(statement["Principal"], request.principal):
        return False
    return _is_about(statement, request) and all(
        _holds(operator, key, _listed(wanted), request.context)
        for operator, keys in statement.get("Condition", {}).items()
        for key, wanted in keys.items()
    )


def _is_about(statement: Mapping[str, Any], request: Request) -> bool:
    if "NotAction" in statement:
        about = not any(_matches(pattern.lower(), request.action.lower()) for pattern in _listed(statement["NotAction"]))
    else:
        about = any(_matches(pattern.lower(), request.action.lower()) for pattern in _listed(statement["Action"]))
    # A trust policy has no resource: it is about its role.
    return about and any(_matches(pattern, request.resource) for pattern in _listed(statement.get("Resource", "*")))


def _is_meant(principal: Any, who: str) -> bool:
    if principal == "*":
        return True
    named = [one for value in principal.values() for one in _listed(value)]
    return any(
        one in ("*", who) or (one.endswith(":root") and who.startswith("arn:") and one.split(":")[4] == who.split(":")[4]) for one in named
    )


def _holds(operator: str, key: str, wanted: Sequence[str], context: Mapping[str, str | Values]) -> bool:
    any_of, _, plain = operator.rpartition(":")
    if plain not in _OPERATORS or any_of not in ("", "ForAnyValue"):
        raise UnknownOperatorError(f"condition {operator!r} is not known here; add it to evaluation.py, with a test")
    negated, compare = _OPERATORS[plain]
    found = context.get(key)
    if found is None:
        return negated
    values = (found,) if isinstance(found, str) else found
    matched = any(compare(pattern, value) for pattern in wanted for value in values)
    return matched is not negated


def _matches(pattern: str, text: str) -> bool:
    """IAM's wildcards: `*` is anything, a slash included, `?` one character."""
    return _compiled(pattern).fullmatch(text) is not None


@functools.lru_cache(maxsize=100_000)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile("".join({"*": ".*", "?": "."}.get(one, re.escape(one)) for one in pattern), re.DOTALL)


def _equal(wanted: str, found: str) -> bool:
    return wanted == found


def _less(wanted: str, found: str) -> bool:
    return float(found) < float(wanted)


_OPERATORS: Mapping[str, tuple[bool, Callable[[str, str], bool]]] = {
    "ArnLike": (False, _matches),
    "ArnNotLike": (True, _matches),
    "Bool": (False, _equal),
    "NumericLessThan": (False, _less),
    "StringEquals": (False, _equal),
    "StringLike": (False, _matches),
    "StringNotEquals": (True, _equal),
}
"""By name: whether it holds when nothing matches, and how a value is compared."""


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def statements_in(documents: Iterable[Document]) -> list[Mapping[str, Any]]:
    """All statements of documents."""
    return [statement for document in documents for statement in _listed(document["Statement"])]
