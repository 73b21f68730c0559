"""Every brand against every other: what the roles of one would be answered if they reached for the other's things.

The policies are those of the stacks, read out of them; the requests are what an attacker with a brand's credentials would
try. Each kind of request is also made against the brand's own things, by the role that needs it: a matrix in which
nothing is ever allowed would prove nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from brandhouse_infra.costs.estimates import Resource
from brandhouse_infra.policing.evaluation import Document, Identity, Request, is_allowed, may_become, parse
from brandhouse_infra.policing.rules import policies_of
from brandhouse_infra.site import BrandPlace
from brandhouse_infra.state import state_bucket, state_prefix

Context = Mapping[str, str | tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Tenant:
    """One brand's stack, as an attacker or a victim."""

    place: BrandPlace
    resources: Mapping[str, Resource]

    @classmethod
    def of(cls, place: BrandPlace, resources: Sequence[Resource]) -> "Tenant":
        """Read a stack."""
        return cls(place, {resource.address: resource for resource in resources})

    def identities(self) -> Iterator[tuple[str, Identity]]:
        """All roles of the brand, with what limits them."""
        (boundary,) = policies_of(self.resources["aws_iam_policy.boundary"])
        for kind in ("worker", "serving", "starter", "deployer"):
            if role := self.resources.get(f"aws_iam_role_policy.{kind}"):
                yield kind, Identity(self.place.role_arn(kind), tuple(policies_of(role)), boundary)

    def trust(self, kind: str) -> Document:
        """Who may become a role."""
        return parse(self.resources[f"aws_iam_role.{kind}"].values["assume_role_policy"])

    def policies_on(self, service: str) -> tuple[Document, ...]:
        """The policies of the brand's bucket or key."""
        address = {"s3": "aws_s3_bucket_policy.data", "kms": "aws_kms_key.own"}.get(service)
        return tuple(policies_of(self.resources[address])) if address else ()


@dataclass(frozen=True, slots=True)
class Attempt:
    """One thing that is tried on a brand's things.

    Attributes:
        action: What.
        resource: On what.
        context: What AWS would know of the resource.
        needed_by: Roles of the brand itself that must be allowed to do it; empty: none of them either.
    """

    action: str
    resource: str
    context: Context
    needed_by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """How an attempt would be answered."""

    attacker: str
    role: str
    victim: str
    action: str
    allowed: bool


def attempts_on(victim: Tenant) -> list[Attempt]:
    """Everything that is tried on a brand."""
    place = victim.place
    state = f"arn:aws:s3:::{state_bucket(place.environment)}"
    tls: Context = {"aws:SecureTransport": "true", "s3:TlsVersion": "1.3"}
    tagged: Context = {
        "aws:ResourceTag/brand": place.tenant,
        "kms:ResourceAliases": (place.key_alias,),
        "aws:PrincipalIsAWSService": "false",
    }
    passed = {"iam:PassedToService": "ecs-tasks.amazonaws.com"}
    bounded = {"iam:PermissionsBoundary": place.boundary_arn}
    readers, silo = ("worker", "serving"), place.is_silo
    role, objects, key = place.role_arn("worker"), f"{place.bucket_arn}/dvc/x", place.arn("kms", "key/of-theirs")
    secret = place.arn("secretsmanager", f"secret:{place.path}/settings-AbCdEf")
    starter = ("starter",) if silo else ()
    deployer = ("deployer",)
    return [
        Attempt("s3:GetObject", objects, tls, readers),
        Attempt("s3:PutObject", objects, tls, ("worker",)),
        Attempt("s3:ListBucket", place.bucket_arn, tls, (*readers, *deployer)),
        Attempt("s3:DeleteObject", objects, tls, ()),
        Attempt("s3:DeleteBucket", place.bucket_arn, tls, ()),
        Attempt("s3:PutBucketPolicy", place.bucket_arn, tls, deployer),
        Attempt("s3:GetObject", f"{state}/{state_prefix(place)}/terraform.tfstate", tls, deployer),
        Attempt("s3:PutObject", f"{state}/{state_prefix(place)}/terraform.tfstate.tflock", tls, deployer),
        Attempt("s3:ListBucket", state, {**tls, "s3:prefix": f"{state_prefix(place)}/"}, deployer),
        Attempt("secretsmanager:GetSecretValue", secret, {}, (*readers, *starter)),
        Attempt("secretsmanager:UpdateSecret", secret, {}, deployer),
        Attempt("kms:Decrypt", key, {**tagged, "aws:PrincipalArn": ""}, (*readers, *starter)),
        Attempt("kms:PutKeyPolicy", key, {**tagged, "aws:PrincipalArn": ""}, deployer),
        Attempt("kms:ScheduleKeyDeletion", key, {**tagged, "aws:PrincipalArn": ""}, ()),
        Attempt("ecr:BatchGetImage", place.arn("ecr", f"repository/{place.path}"), {}, starter),
        Attempt("ecr:PutImage", place.arn("ecr", f"repository/{place.path}"), {}, ()),
        Attempt("logs:PutLogEvents", place.arn("logs", f"log-group:/{place.path}/worker:log-stream:x"), {}, (*readers, *starter)),
        Attempt("logs:DeleteLogGroup", place.arn("logs", f"log-group:/{place.path}/worker"), {}, ()),
        Attempt("cloudwatch:DeleteAlarms", place.arn("cloudwatch", f"alarm:{place.path}/worker-errors"), {}, deployer),
        Attempt("budgets:ModifyBudget", f"arn:aws:budgets::{place.environment.account}:budget/{place.dashed}", {}, deployer),
        Attempt("iam:PutRolePolicy", role, bounded, deployer),
        Attempt("iam:UpdateAssumeRolePolicy", role, {}, deployer),
        Attempt("iam:PutRolePolicy", place.role_arn("deployer"), bounded, ()),
        Attempt("iam:CreatePolicyVersion", place.boundary_arn, {}, ()),
        Attempt("iam:PassRole", role, passed, deployer if silo else ()),
        Attempt("ecs:UpdateService", place.arn("ecs", f"service/{place.dashed}/gateway"), {}, deployer if silo else ()),
        Attempt("elasticfilesystem:ClientMount", place.arn("elasticfilesystem", "file-system/fs-1"), tagged, readers),
        Attempt("elasticfilesystem:DeleteFileSystem", place.arn("elasticfilesystem", "file-system/fs-1"), tagged, ()),
        Attempt(
            "elasticloadbalancing:DeleteRule",
            place.arn("elasticloadbalancing", "listener-rule/app/x/1/2/3"),
            tagged,
            deployer if silo else (),
        ),
        Attempt("ec2:AuthorizeSecurityGroupIngress", place.arn("ec2", "security-group/sg-1"), tagged, deployer if silo else ()),
    ]


def try_all(attacker: Tenant, victim: Tenant) -> list[Answer]:
    """Let all roles of one brand try everything on another, and try to become its roles."""
    answers = []
    for kind, identity in attacker.identities():
        answers += [_answer(attacker, kind, identity, victim, attempt) for attempt in attempts_on(victim)]
        for theirs in ("worker", "serving", "deployer"):
            request = Request("sts:AssumeRole", victim.place.role_arn(theirs), identity.arn)
            allowed = may_become(victim.trust(theirs), request)
            answers.append(Answer(attacker.place.tenant, kind, victim.place.tenant, f"sts:AssumeRole {theirs}", allowed))
    return answers


def own_needs(tenant: Tenant) -> list[tuple[Answer, bool]]:
    """What a brand's own roles would be answered, each with whether it must be allowed."""
    return [
        (_answer(tenant, kind, identity, tenant, attempt), kind in attempt.needed_by)
        for kind, identity in tenant.identities()
        for attempt in attempts_on(tenant)
    ]


def _answer(attacker: Tenant, kind: str, identity: Identity, victim: Tenant, attempt: Attempt) -> Answer:
    context = {**attempt.context, "aws:PrincipalArn": identity.arn} if "aws:PrincipalArn" in attempt.context else attempt.context
    request = Request(attempt.action, attempt.resource, identity.arn, context)
    service = attempt.action.partition(":")[0] if victim.place.bucket_arn in attempt.resource or ":key/" in attempt.resource else ""
    allowed = is_allowed(identity, request, victim.policies_on(service))
    return Answer(attacker.place.tenant, kind, victim.place.tenant, attempt.action, allowed)
