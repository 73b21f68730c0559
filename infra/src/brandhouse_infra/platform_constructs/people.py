"""Who may build: workflows by OIDC, the role that takes brands in, and whom alarms tell."""

from brandhouse_infra.blocks import Blocks, Reference
from brandhouse_infra.constructs.identity import OIDC, workflow_trust
from brandhouse_infra.policies import Statement, policy_json
from brandhouse_infra.site import HOUSE, Place

_SERVICES = (
    "budgets", "cloudwatch", "ec2", "ecr", "ecs", "elasticfilesystem", "elasticloadbalancing", "iam", "kms", "logs", "s3",
    "secretsmanager", "sns", "ssm",
)  # fmt: skip


def add_people(blocks: Blocks, place: Place, key: Reference) -> None:
    """Add them."""
    blocks.resource(
        "aws_iam_openid_connect_provider", "workflows", tagged=True, url=f"https://{OIDC}", client_id_list=["sts.amazonaws.com"]
    )
    role = blocks.resource(
        "aws_iam_role",
        "onboarding",
        tagged=True,
        name=place.role_name("onboarding"),
        path=f"/{place.path}/",
        assume_role_policy=policy_json(workflow_trust(place)),
        max_session_duration=3600,
    )
    blocks.resource(
        "aws_iam_role_policy", "onboarding", name="onboarding", role=role.name, policy=policy_json(*onboarding_statements(place))
    )
    topic = blocks.resource(
        "aws_sns_topic", "alerts", tagged=True, name=f"{place.dashed}-alerts", kms_master_key_id=key.arn, policy=_who_may_tell(place)
    )
    blocks.resource("aws_sns_topic_subscription", "alerts", topic_arn=topic.arn, protocol="email", endpoint=place.environment.alerts_email)
    closed = ("block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets")
    blocks.resource("aws_s3_account_public_access_block", "account", **dict.fromkeys(closed, True))


def onboarding_statements(place: Place) -> tuple[Statement, ...]:
    """Everything that stacks of this environment are made of, and nothing of another environment or house.

    This is the platform team's role: it makes boundaries and deployers, and deletes the data of brands that leave.
    """
    environment = place.environment
    prefix, path = f"{HOUSE}-{environment.name}-", f"{HOUSE}/{environment.name}/"
    boundary = {"ArnLike": {"iam:PermissionsBoundary": f"arn:aws:iam::{environment.account}:policy/{path}*"}}
    named = [f"arn:aws:*:*:{environment.account}:*{prefix}*", f"arn:aws:*:*:{environment.account}:*{path}*", f"arn:aws:s3:::{prefix}*"]
    tag = {"StringEquals": {"aws:ResourceTag/house": HOUSE, "aws:ResourceTag/environment": environment.name}}
    born = {"StringEquals": {"aws:RequestTag/house": HOUSE, "aws:RequestTag/environment": environment.name}}
    plain = [f"{service}:*" for service in _SERVICES if service != "iam"]
    return (
        Statement("OwnByName", plain, named),
        Statement("OwnByTag", plain, ["*"], conditions=tag),
        Statement("New", plain, ["*"], conditions=born),
        Statement("Look", [f"{service}:{verb}*" for service in _SERVICES for verb in ("Describe", "Get", "List")], ["*"]),
        Statement(
            "Roles",
            ["iam:CreateRole", "iam:PutRolePermissionsBoundary"],
            [f"arn:aws:iam::{environment.account}:role/{path}*"],
            conditions=boundary,
        ),
        Statement("RestOfRoles", _ROLES, [f"arn:aws:iam::{environment.account}:{kind}/{path}*" for kind in ("role", "policy")]),
        Statement("NoUsers", ["iam:CreateAccessKey", "iam:CreateLoginProfile", "iam:CreateUser"], ["*"], effect="Deny"),
    )


_ROLES = (
    "iam:CreatePolicy", "iam:CreatePolicyVersion", "iam:DeletePolicy", "iam:DeletePolicyVersion", "iam:DeleteRole",
    "iam:DeleteRolePolicy", "iam:PassRole", "iam:PutRolePolicy", "iam:TagPolicy", "iam:TagRole", "iam:UpdateAssumeRolePolicy",
    "iam:UpdateRole",
)  # fmt: skip


def _who_may_tell(place: Place) -> str:
    services = ["budgets.amazonaws.com", "cloudwatch.amazonaws.com"]
    own = {"StringEquals": {"aws:SourceAccount": place.environment.account}}
    topic = place.arn("sns", f"{place.dashed}-alerts")
    return policy_json(Statement("Tell", ["sns:Publish"], [topic], principals={"Service": services}, conditions=own))
