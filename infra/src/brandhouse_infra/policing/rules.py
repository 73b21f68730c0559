"""Rules that every stack keeps, checked on a plan's values: nothing public, all encrypted and tagged, no wildcard without a reason.

Each exception is named, with its reason beside it. A rule does not know a construct: it looks at what would be there.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from brandhouse_infra.costs.estimates import LATER, Resource
from brandhouse_infra.policing.evaluation import statements_in

REQUIRED_TAGS = ("brand", "cost-center", "environment", "house", "managed-by", "owner")
ANYWHERE = ("0.0.0.0/0", "::/0")

JUSTIFIED: Mapping[tuple[str, str], str] = {
    ("aws_kms_key.own", "Account"): "in a key's policy * is the key itself; without this the key could be locked out of reach",
    ("aws_kms_key.own", "Logs"): "in a key's policy * is the key itself; limited to the tenant's own log groups",
    ("aws_kms_key.own", "AlarmsAndBudgets"): "in a key's policy * is the key itself; limited to this account",
    ("aws_efs_file_system_policy.home", "Own"): "in a file system's policy * is the file system itself",
    ("aws_iam_policy.boundary", "OwnByName"): "a boundary grants nothing; services as a whole, on the brand's own names only",
    ("aws_iam_policy.boundary", "OwnByTag"): "a boundary grants nothing; only what carries the brand's tag",
    ("aws_iam_policy.boundary", "NewKey"): "what does not exist has no ARN; it must be born with the brand's tag",
    ("aws_iam_policy.boundary", "NewTagged"): "what does not exist has no ARN; it must be born with the brand's tag",
    ("aws_iam_policy.boundary", "Describe"): "these calls know no resources, and change nothing of what runs",
    ("aws_iam_policy.boundary", "RegistryToken"): "GetAuthorizationToken knows no resources; what may be pulled is another statement's",
    ("aws_iam_role_policy.deployer", "OwnBucket"): "reading settings of the own bucket: Terraform asks for about thirty, all named Get...",
    ("aws_iam_role_policy.deployer", "NewKey"): "what does not exist has no ARN; it must be born with the brand's tag",
    ("aws_iam_role_policy.deployer", "NewTagged"): "what does not exist has no ARN; it must be born with the brand's tag",
    ("aws_iam_role_policy.deployer", "OwnTagged"): "network parts have no names of ours; only what carries the brand's tag",
    ("aws_iam_role_policy.deployer", "Describe"): "these calls know no resources, and change nothing of what runs",
    ("aws_iam_role_policy.starter", "RegistryToken"): "GetAuthorizationToken knows no resources; what may be pulled is another statement's",
    ("aws_iam_role_policy.onboarding", "OwnByName"): "the platform team's role builds all stacks of the environment; limited to its names",
    ("aws_iam_role_policy.onboarding", "OwnByTag"): "the platform team's role; limited to what carries house and environment",
    ("aws_iam_role_policy.onboarding", "New"): "the platform team's role; new things must carry house and environment",
    ("aws_iam_role_policy.onboarding", "Look"): "the platform team's role; Terraform reads what it manages, and these read no data",
    ("aws_vpc_security_group_ingress_rule.balancer", "public"): "the door of the API: HTTPS from anyone is what it is for",
    ("aws_lb.own", "public"): "the door of the API",
    ("aws_s3_bucket_server_side_encryption_configuration.logs", "encrypted"): "load balancers write logs only with the store's own key",
}
"""By address and statement (or rule): why it may be so."""


@dataclass(frozen=True, slots=True)
class Breach:
    """A rule that a resource breaks."""

    rule: str
    address: str
    what: str

    def __str__(self) -> str:
        return f"{self.address}: {self.what} [{self.rule}]"


def find_breaches(resources: Sequence[Resource]) -> list[Breach]:
    """Look at a whole stack with all rules.

    Args:
        resources: From a plan, or from a stack.
    """
    found = [breach for resource in resources for rule in _RULES for breach in rule(resource)]
    return sorted([*found, *_buckets_without(resources)], key=lambda breach: (breach.rule, breach.address))


def policies_of(resource: Resource) -> list[Mapping[str, Any]]:
    """All policy documents that a resource holds, whatever the argument is called."""
    texts = [value for value in resource.values.values() if isinstance(value, str)]
    return [json.loads(text) for text in texts if text.startswith("{") and '"Statement"' in text]


def blocks(values: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """Nested blocks of a name: a plan holds a list, a stack may hold one alone."""
    held = values.get(name) or []
    return [held] if isinstance(held, Mapping) else list(held)


def _wildcards(resource: Resource) -> Iterator[Breach]:
    for statement in statements_in(policies_of(resource)):
        if statement["Effect"] != "Allow" or (resource.address, statement.get("Sid", "")) in JUSTIFIED:
            continue
        actions = [one for one in _listed(statement.get("Action", [])) if "*" in one]
        resources = [one for one in _listed(statement.get("Resource", [])) if one == "*" or one.startswith("arn:aws:*")]
        if actions or resources or "NotAction" in statement:
            yield Breach(
                "wildcard",
                resource.address,
                f"statement {statement.get('Sid')} allows {actions or 'actions'} on {resources or 'its resources'}",
            )


def _public(resource: Resource) -> Iterator[Breach]:
    values = resource.values
    open_to_all = [
        one for one in statements_in(policies_of(resource)) if one["Effect"] == "Allow" and one.get("Principal") in ("*", {"AWS": "*"})
    ]
    said = [f"statement {statement.get('Sid')} allows everyone" for statement in open_to_all]
    if resource.kind == "aws_vpc_security_group_ingress_rule" and (
        values.get("cidr_ipv4") in ANYWHERE or values.get("cidr_ipv6") in ANYWHERE
    ):
        said.append("lets anyone in")
    if resource.kind in ("aws_security_group", "aws_security_group_rule") and (values.get("ingress") or values.get("cidr_blocks")):
        said.append("has rules within; use a resource for each rule")
    if resource.kind == "aws_lb" and not values.get("internal"):
        said.append("is reachable from the internet")
    if values.get("publicly_accessible") or any(block.get("assign_public_ip") for block in blocks(values, "network_configuration")):
        said.append("has a public address")
    if resource.kind == "aws_subnet" and values.get("map_public_ip_on_launch"):
        said.append("gives public addresses")
    if resource.kind.endswith("public_access_block") and not all(values.get(name) for name in _CLOSED):
        said.append("leaves a way open to make objects public")
    if (resource.address, "public") not in JUSTIFIED:
        yield from (Breach("public", resource.address, what) for what in said)


_CLOSED = ("block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets")


def _encrypted(resource: Resource) -> Iterator[Breach]:
    check = _ENCRYPTED.get(resource.kind)
    if check is None or (resource.address, "encrypted") in JUSTIFIED:
        return
    lacking = [what for what in check if not _is_set(resource.values, what)]
    if lacking:
        yield Breach("encrypted", resource.address, f"lacks {', '.join(lacking)}")
    for block in blocks(resource.values, "rule") if resource.kind.endswith("side_encryption_configuration") else ():
        applied = blocks(block, "apply_server_side_encryption_by_default")
        if not applied or applied[0].get("sse_algorithm") != "aws:kms":
            yield Breach("encrypted", resource.address, "not with a key of our own")
    for block in blocks(resource.values, "encryption_configuration"):
        if block.get("encryption_type") != "KMS":
            yield Breach("encrypted", resource.address, "not with a key of our own")


_ENCRYPTED: Mapping[str, tuple[str, ...]] = {
    "aws_cloudwatch_log_group": ("kms_key_id",),
    "aws_db_instance": ("storage_encrypted", "kms_key_id", "performance_insights_kms_key_id", "manage_master_user_password"),
    "aws_ecr_repository": ("encryption_configuration",),
    "aws_efs_file_system": ("encrypted", "kms_key_id"),
    "aws_kms_key": ("enable_key_rotation",),
    "aws_lb_listener": ("ssl_policy", "certificate_arn"),
    "aws_s3_bucket_server_side_encryption_configuration": ("rule",),
    "aws_secretsmanager_secret": ("kms_key_id",),
    "aws_sns_topic": ("kms_master_key_id",),
}
"""By type: what must be set; a value that is known only later counts as set."""


def _is_set(values: Mapping[str, Any], name: str) -> bool:
    return bool(values.get(name)) or name in values.get(LATER, ())


def _tagged(resource: Resource) -> Iterator[Breach]:
    if "tags" not in resource.values:
        return
    tags = resource.values["tags"] or {}
    lacking = [name for name in REQUIRED_TAGS if not tags.get(name)]
    if lacking:
        yield Breach("tagged", resource.address, f"lacks {', '.join(lacking)}")


def _buckets_without(resources: Sequence[Resource]) -> Iterator[Breach]:
    """A bucket is closed, encrypted and versioned by resources beside it, of the same name."""
    addresses = {resource.address for resource in resources}
    for resource in resources:
        if resource.kind == "aws_s3_bucket":
            for kind, rule in _BESIDE_A_BUCKET:
                if f"{kind}.{resource.name}" not in addresses:
                    yield Breach(rule, resource.address, f"has no {kind} beside it")


_BESIDE_A_BUCKET = (
    ("aws_s3_bucket_public_access_block", "public"),
    ("aws_s3_bucket_ownership_controls", "public"),
    ("aws_s3_bucket_policy", "public"),
    ("aws_s3_bucket_server_side_encryption_configuration", "encrypted"),
    ("aws_s3_bucket_versioning", "kept"),
    ("aws_s3_bucket_lifecycle_configuration", "kept"),
)

_RULES = (_wildcards, _public, _encrypted, _tagged)


def _listed(value: Any) -> Iterable[str]:
    return value if isinstance(value, list) else [value]
