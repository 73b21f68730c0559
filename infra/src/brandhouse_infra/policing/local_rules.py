"""Rules for stacks of the local target: what the store would let through and nobody would want."""

import json
from collections.abc import Sequence

from brandhouse_infra.costs.estimates import Resource

_NEEDED = ("aws_s3_bucket_versioning", "aws_s3_bucket_server_side_encryption_configuration")


def find_local_breaches(resources: Sequence[Resource]) -> list[str]:
    """Every broken rule, a sentence each."""
    buckets = [one for one in resources if one.kind == "aws_s3_bucket"]
    kinds = {(one.kind, one.name) for one in resources}
    missing = [f"{bucket.address} has no {kind}" for bucket in buckets for kind in _NEEDED if (kind, bucket.name) not in kinds]
    policies = [one for one in resources if one.kind == "aws_iam_user_policy"]
    return missing + [breach for one in policies for breach in _wildcards(one)]


def _wildcards(resource: Resource) -> list[str]:
    statements = json.loads(resource.values["policy"])["Statement"]
    return [
        f"{resource.address}, statement {statement.get('Sid', '?')}: {part} holds a wildcard"
        for statement in statements
        if statement["Effect"] == "Allow"
        for part, bad in (("Action", _whole), ("Resource", _everything))
        if any(bad(value) for value in _listed(statement.get(part, "*")))
    ]


def _whole(action: str) -> bool:
    return "*" in action


def _everything(resource: str) -> bool:
    """Anything but the end of a bucket's own ARN."""
    return "*" in resource.removesuffix("/*")


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
