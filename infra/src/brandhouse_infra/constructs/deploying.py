"""What a brand's deployer may do: make and change the brand's own things, and read or delete none of its data.

Deleting what holds data, and changing the boundary or the deployer itself, takes the platform's onboarding role.
"""

from collections.abc import Iterator

from brandhouse_infra.policies import Statement
from brandhouse_infra.site import BrandPlace, Place
from brandhouse_infra.state import state_bucket, state_key_alias, state_prefix

_BUCKET = (
    "s3:CreateBucket", "s3:GetAccelerateConfiguration", "s3:GetBucket*", "s3:GetEncryptionConfiguration",
    "s3:GetLifecycleConfiguration", "s3:GetReplicationConfiguration", "s3:ListBucket", "s3:ListTagsForResource",
    "s3:PutBucketLogging", "s3:PutBucketOwnershipControls", "s3:PutBucketPolicy", "s3:PutBucketPublicAccessBlock",
    "s3:PutBucketTagging", "s3:PutBucketVersioning", "s3:PutEncryptionConfiguration", "s3:PutLifecycleConfiguration",
    "s3:TagResource",
)  # fmt: skip
_REGISTRY = (
    "ecr:CreateRepository", "ecr:DescribeRepositories", "ecr:GetLifecyclePolicy", "ecr:GetRepositoryPolicy",
    "ecr:ListTagsForResource", "ecr:PutImageScanningConfiguration", "ecr:PutImageTagMutability", "ecr:PutLifecyclePolicy",
    "ecr:TagResource",
)  # fmt: skip
_SECRETS = (
    "secretsmanager:CreateSecret",
    "secretsmanager:DescribeSecret",
    "secretsmanager:GetResourcePolicy",
    "secretsmanager:TagResource",
)
_SECRETS_CHANGE = ("secretsmanager:UpdateSecret", "secretsmanager:UntagResource")
_LOGS = ("logs:AssociateKmsKey", "logs:CreateLogGroup", "logs:ListTagsForResource", "logs:PutRetentionPolicy", "logs:TagResource")
_METRICS = ("logs:DescribeMetricFilters", "logs:PutMetricFilter", "logs:DeleteMetricFilter")
_ALARMS = (
    "cloudwatch:DeleteAlarms",
    "cloudwatch:DescribeAlarms",
    "cloudwatch:ListTagsForResource",
    "cloudwatch:PutMetricAlarm",
    "cloudwatch:TagResource",
)
_BUDGET = ("budgets:ListTagsForResource", "budgets:ModifyBudget", "budgets:TagResource", "budgets:ViewBudget")
_KEY = (
    "kms:DescribeKey", "kms:EnableKeyRotation", "kms:GetKeyPolicy", "kms:GetKeyRotationStatus", "kms:ListResourceTags",
    "kms:PutKeyPolicy", "kms:UpdateKeyDescription",
)  # fmt: skip
_ROLE_READ = (
    "iam:GetPolicy",
    "iam:GetPolicyVersion",
    "iam:GetRole",
    "iam:GetRolePolicy",
    "iam:ListAttachedRolePolicies",
    "iam:ListInstanceProfilesForRole",
)
_ROLE_LISTS = ("iam:ListPolicyVersions", "iam:ListRolePolicies")
_ROLE_CHANGE = ("iam:CreateRole", "iam:DeleteRolePolicy", "iam:PutRolePolicy")
_ROLE_REST = ("iam:TagRole", "iam:UpdateAssumeRolePolicy", "iam:UpdateRole")
_TASKS = (
    "ecs:CreateCluster",
    "ecs:CreateService",
    "ecs:DeleteService",
    "ecs:DescribeClusters",
    "ecs:DescribeServices",
    "ecs:PutClusterCapacityProviders",
)
_TASKS_REST = ("ecs:ListTagsForResource", "ecs:RegisterTaskDefinition", "ecs:TagResource", "ecs:UpdateCluster", "ecs:UpdateService")
_TAGGED = (
    "ec2:AuthorizeSecurityGroupEgress", "ec2:AuthorizeSecurityGroupIngress", "ec2:DeleteSecurityGroup",
    "ec2:RevokeSecurityGroupEgress", "ec2:RevokeSecurityGroupIngress", "elasticfilesystem:CreateMountTarget",
    "elasticfilesystem:DeleteMountTarget", "elasticfilesystem:PutLifecycleConfiguration", "elasticfilesystem:UpdateFileSystem",
    "elasticloadbalancing:DeleteRule", "elasticloadbalancing:DeleteTargetGroup", "elasticloadbalancing:ModifyRule",
    "elasticloadbalancing:ModifyTargetGroup", "elasticloadbalancing:ModifyTargetGroupAttributes",
    "elasticloadbalancing:SetRulePriorities",
)  # fmt: skip
_CREATED = (
    "ec2:CreateSecurityGroup", "elasticfilesystem:CreateAccessPoint", "elasticfilesystem:CreateFileSystem",
    "elasticloadbalancing:CreateRule", "elasticloadbalancing:CreateTargetGroup",
)  # fmt: skip
_DESCRIBED = (
    "cloudwatch:DescribeAlarms", "ec2:DescribeNetworkInterfaces", "ec2:DescribeSecurityGroupRules", "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets", "ec2:DescribeVpcs", "ecs:DeregisterTaskDefinition", "ecs:DescribeTaskDefinition",
    "elasticfilesystem:DescribeAccessPoints", "elasticfilesystem:DescribeFileSystems",
    "elasticfilesystem:DescribeLifecycleConfiguration", "elasticfilesystem:DescribeMountTargets",
    "elasticloadbalancing:DescribeListeners", "elasticloadbalancing:DescribeRules", "elasticloadbalancing:DescribeTags",
    "elasticloadbalancing:DescribeTargetGroupAttributes", "elasticloadbalancing:DescribeTargetGroups", "kms:ListAliases",
    "logs:DescribeLogGroups",
)  # fmt: skip
DATA_READING = ("s3:GetObject", "s3:GetObjectVersion", "secretsmanager:GetSecretValue", "kms:Decrypt")
DATA_ENDING = (
    "kms:DisableKey",
    "kms:ScheduleKeyDeletion",
    "s3:DeleteBucket",
    "s3:DeleteObject",
    "s3:DeleteObjectVersion",
    "secretsmanager:DeleteSecret",
)


def deployer_statements(place: BrandPlace) -> tuple[Statement, ...]:
    """What the deployer may do."""
    created = {"StringEquals": {"aws:RequestTag/brand": place.tenant}}
    return (
        *state_statements(place),
        Statement("OwnBucket", _BUCKET, [place.bucket_arn]),
        Statement("OwnRegistry", _REGISTRY, [place.arn("ecr", f"repository/{place.path}")]),
        Statement("OwnSecrets", _SECRETS + _SECRETS_CHANGE, [place.arn("secretsmanager", f"secret:{place.path}/*")]),
        Statement("OwnLogs", _LOGS + _METRICS, [place.arn("logs", f"log-group:/{place.path}/*")]),
        Statement("OwnAlarms", _ALARMS, [place.arn("cloudwatch", f"alarm:{place.path}/*")]),
        Statement("OwnBudget", _BUDGET, [f"arn:aws:budgets::{place.environment.account}:budget/{place.dashed}"]),
        Statement("OwnKey", _KEY, [place.arn("kms", "key/*")], conditions={"StringEquals": {"aws:ResourceTag/brand": place.tenant}}),
        Statement("OwnAlias", ["kms:CreateAlias", "kms:UpdateAlias"], [place.arn("kms", place.key_alias)]),
        # What does not exist yet has no ARN: it must be born with the brand's tag.
        Statement("NewKey", ["kms:CreateKey", "kms:TagResource"], ["*"], conditions=created),
        Statement("ReadOwnRoles", _ROLE_READ + _ROLE_LISTS, [own_roles(place), own_policies(place)]),
        Statement(
            "OwnRoles", _ROLE_CHANGE, [own_roles(place)], conditions={"StringEquals": {"iam:PermissionsBoundary": place.boundary_arn}}
        ),
        Statement("RestOfOwnRoles", _ROLE_REST, [own_roles(place)]),
        Statement("ReadPlatform", ["ssm:GetParameter"], [place.arn("ssm", f"parameter{place.platform.parameter('*')}")]),
        # These calls know no resources; they tell names and numbers, and change nothing of what runs.
        Statement("Describe", _DESCRIBED, ["*"]),
        *(_silo_statements(place) if place.is_silo else ()),
    )


def guard_statements(place: Place) -> tuple[Statement, ...]:
    """What the deployer may never do, whatever else allows it."""
    itself = [place.role_arn("deployer"), place.boundary_arn]
    looking = ["iam:Get*", "iam:List*"]
    return (
        Statement("NotItself", [*looking, "sts:*"], itself, effect="Deny", all_but=True),
        Statement("NoData", [*DATA_READING, *DATA_ENDING], _data_of(place), effect="Deny"),
    )


def state_statements(place: Place) -> tuple[Statement, ...]:
    """Read, write and lock the stack's own state, and see that no other exists."""
    bucket, prefix = f"arn:aws:s3:::{state_bucket(place.environment)}", state_prefix(place)
    uses = ("kms:Decrypt", "kms:GenerateDataKey")
    alias = {"ForAnyValue:StringEquals": {"kms:ResourceAliases": state_key_alias(place.environment)}}
    return (
        Statement("ListState", ["s3:ListBucket"], [bucket], conditions={"StringLike": {"s3:prefix": f"{prefix}/*"}}),
        Statement("OwnState", ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"], [f"{bucket}/{prefix}/*"]),
        Statement("StateKey", uses, [place.arn("kms", "key/*")], conditions=alias),
    )


def own_roles(place: Place) -> str:
    """All roles of a tenant."""
    return f"arn:aws:iam::{place.environment.account}:role/{place.path}/*"


def own_policies(place: Place) -> str:
    """All policies of a tenant."""
    return f"arn:aws:iam::{place.environment.account}:policy/{place.path}/*"


def task_arns(place: Place) -> list[str]:
    """The tenant's cluster, and what runs in it."""
    kinds = (f"cluster/{place.dashed}", f"service/{place.dashed}/*", f"task-definition/{place.dashed}:*")
    return [place.arn("ecs", kind) for kind in (*kinds, f"task-definition/{place.dashed}-worker:*")]


def _silo_statements(place: BrandPlace) -> Iterator[Statement]:
    yield Statement("OwnTasks", _TASKS + _TASKS_REST, task_arns(place))
    passed = {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}
    kinds = ("worker", "serving", "starter")
    yield Statement("PassOwnRoles", ["iam:PassRole"], [place.role_arn(kind) for kind in kinds], conditions=passed)
    yield Statement("OwnTagged", _TAGGED, ["*"], conditions={"StringEquals": {"aws:ResourceTag/brand": place.tenant}})
    yield Statement("NewTagged", _CREATED, ["*"], conditions={"StringEquals": {"aws:RequestTag/brand": place.tenant}})
    environment = place.environment
    network = [f"arn:aws:ec2:{environment.region}:{environment.account}:{kind}/*" for kind in ("vpc", "subnet")]
    shared = [*network, place.arn("elasticloadbalancing", f"listener/app/{place.platform.dashed}/*")]
    made = ("ec2:CreateSecurityGroup", "elasticfilesystem:CreateMountTarget", "elasticloadbalancing:CreateRule")
    yield Statement("InSharedNetwork", made, shared)


def _data_of(place: Place) -> list[str]:
    return [place.bucket_arn, f"{place.bucket_arn}/*", place.arn("secretsmanager", f"secret:{place.path}/*")]
