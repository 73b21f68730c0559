"""Policy documents of AWS IAM, as values. Every ARN in them is known before anything exists, so that they can be judged in a plan."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Conditions = Mapping[str, Mapping[str, str | Sequence[str]]]


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a policy.

    Attributes:
        sid: What it is for; letters and digits.
        actions: Such as `s3:GetObject`.
        resources: ARNs; empty in a trust policy.
        effect: Allow, or Deny, which always wins.
        principals: Whom a resource's own policy is about; None in a policy of a role.
        conditions: By operator and key, such as `{"Bool": {"aws:SecureTransport": "false"}}`.
        all_but: Whether `actions` are the ones it is not about.
    """

    sid: str
    actions: Sequence[str]
    resources: Sequence[str] = ()
    effect: Literal["Allow", "Deny"] = "Allow"
    principals: Mapping[str, str | Sequence[str]] | Literal["*"] | None = None
    conditions: Conditions | None = None
    all_but: bool = False

    def as_document(self) -> dict[str, Any]:
        """The statement as IAM writes it."""
        document: dict[str, Any] = {"Sid": self.sid, "Effect": self.effect}
        document["NotAction" if self.all_but else "Action"] = sorted(self.actions)
        optional = {"Resource": sorted(self.resources), "Principal": self.principals, "Condition": self.conditions}
        return document | {name: _plain(value) for name, value in optional.items() if value}


def policy_json(*statements: Statement) -> str:
    """A policy document as text; the same statements give the same text."""
    document = {"Version": "2012-10-17", "Statement": [statement.as_document() for statement in statements]}
    return json.dumps(document, sort_keys=True, separators=(",", ":"))


def service(name: str, account: str) -> Statement:
    """Let a service of AWS become the role, for this account only: not on behalf of a stranger's."""
    return Statement(
        "Service",
        ["sts:AssumeRole"],
        principals={"Service": f"{name}.amazonaws.com"},
        conditions={"StringEquals": {"aws:SourceAccount": account}},
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(below) for key, below in value.items()}
    return list(value) if isinstance(value, list | tuple) else value
