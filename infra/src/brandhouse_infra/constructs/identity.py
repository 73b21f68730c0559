"""Who acts for a brand: worker, serving, the tasks' starter, and the deployer. Each may do little, and no more than the boundary.

The first apply of a brand, and any change of its boundary or deployer, is made with the platform's onboarding role: a
deployer can change neither what bounds it nor itself.
"""

from collections.abc import Iterable

from brandhouse_infra.blocks import Blocks
from brandhouse_infra.constructs.data_store import data_statements
from brandhouse_infra.constructs.deploying import deployer_statements, guard_statements, own_policies, own_roles, task_arns
from brandhouse_infra.constructs.home import mount_statement
from brandhouse_infra.constructs.keys import READING, use_of_key
from brandhouse_infra.policies import Statement, policy_json, service
from brandhouse_infra.site import BrandPlace, Place

USERS_OF_KEY = ("worker", "serving", "starter")
OIDC = "token.actions.githubusercontent.com"


def add_identity(blocks: Blocks, place: BrandPlace) -> None:
    """Add the boundary and the roles."""
    blocks.resource(
        "aws_iam_policy",
        "boundary",
        tagged=True,
        name=place.role_name("boundary"),
        path=f"/{place.path}/",
        description=f"The most that any role of {place.tenant} may do",
        policy=policy_json(*boundary_statements(place)),
    )
    add_role(blocks, place, "worker", [tasks_trust(place, "worker")], worker_statements(place))
    add_role(blocks, place, "serving", [tasks_trust(place, "gateway")], serving_statements(place))
    if place.is_silo:
        add_role(blocks, place, "starter", [service("ecs-tasks", place.environment.account)], starter_statements(place))
    add_role(blocks, place, "deployer", [workflow_trust(place)], [*deployer_statements(place), *guard_statements(place)])


def add_role(blocks: Blocks, place: Place, kind: str, trust: Iterable[Statement], statements: Iterable[Statement]) -> None:
    """Add a role below the tenant's path, inside its boundary, with one policy written into it."""
    role = blocks.resource(
        "aws_iam_role",
        kind,
        tagged=True,
        name=place.role_name(kind),
        path=f"/{place.path}/",
        assume_role_policy=policy_json(*trust),
        permissions_boundary="${aws_iam_policy.boundary.arn}",
        max_session_duration=3600,
    )
    blocks.resource("aws_iam_role_policy", kind, name=kind, role=role.name, policy=policy_json(*statements))


def tasks_trust(place: BrandPlace, platform_kind: str) -> Statement:
    """A silo brand's own tasks are the role; for a brand of the pool the platform's tasks become it, one run or request at a time."""
    if place.is_silo:
        return service("ecs-tasks", place.environment.account)
    return Statement("PoolTasks", ["sts:AssumeRole"], principals={"AWS": place.platform.role_arn(platform_kind)})


def workflow_trust(place: Place) -> Statement:
    """A workflow of this repository, in the deployment environment of this brand; no key is stored anywhere."""
    environment = place.environment
    subject = f"repo:{environment.repository}:environment:{environment.name}-{place.tenant}"
    return Statement(
        "Workflow",
        ["sts:AssumeRoleWithWebIdentity"],
        principals={"Federated": f"arn:aws:iam::{environment.account}:oidc-provider/{OIDC}"},
        conditions={"StringEquals": {f"{OIDC}:aud": "sts.amazonaws.com", f"{OIDC}:sub": subject}},
    )


def worker_statements(place: Place) -> tuple[Statement, ...]:
    """Fetch and push snapshots, read the brand's secrets, use its home, write its log."""
    return (*data_statements(place, write=True), use_of_key(place), secrets_statement(place), mount_statement(place), log_statement(place))


def serving_statements(place: Place) -> tuple[Statement, ...]:
    """Read data and secrets, use the brand's home, write its log."""
    read = (*data_statements(place, write=False), use_of_key(place, READING), secrets_statement(place))
    return (*read, mount_statement(place), log_statement(place))


def starter_statements(place: Place) -> tuple[Statement, ...]:
    """What AWS needs to start the brand's tasks: its image, its secrets, its logs."""
    return (
        # GetAuthorizationToken knows no resources; what may be pulled with the token is the next statement's.
        Statement("RegistryToken", ["ecr:GetAuthorizationToken"], ["*"]),
        Statement(
            "PullOwnImages", ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"], [images_arn(place)]
        ),
        log_statement(place),
        use_of_key(place, READING),
        secrets_statement(place),
    )


def secrets_statement(place: Place) -> Statement:
    """Read the tenant's secrets. A secret's ARN ends in six letters that AWS adds."""
    return Statement("ReadOwnSecrets", ["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"], [secrets_arn(place)])


def log_statement(place: Place) -> Statement:
    """Write into the tenant's log groups."""
    return Statement("WriteOwnLogs", ["logs:CreateLogStream", "logs:PutLogEvents"], [f"{logs_arn(place)}:*"])


def secrets_arn(place: Place) -> str:
    """All secrets of a tenant."""
    return place.arn("secretsmanager", f"secret:{place.path}/*")


def images_arn(place: Place) -> str:
    """The tenant's repository of images."""
    return place.arn("ecr", f"repository/{place.path}")


def logs_arn(place: Place) -> str:
    """All log groups of a tenant."""
    return place.arn("logs", f"log-group:/{place.path}/*")


def boundary_statements(place: BrandPlace) -> tuple[Statement, ...]:
    """The most that any of its roles may do, whatever a policy allows: everything of the brand's own, little of all else.

    It grants nothing. Its actions are whole services, since AWS lets a boundary have 6,144 characters; its resources are not.
    """
    account, tagged = place.environment.account, {"aws:ResourceTag/brand": place.tenant}
    named = [
        place.bucket_arn,
        f"{place.bucket_arn}/*",
        images_arn(place),
        secrets_arn(place),
        logs_arn(place),
        own_roles(place),
        own_policies(place),
        place.arn("cloudwatch", f"alarm:{place.path}/*"),
        place.arn("kms", place.key_alias),
        f"arn:aws:budgets::{account}:budget/{place.dashed}",
        *task_arns(place),
    ]
    services = ("budgets", "cloudwatch", "ecr", "ecs", "iam", "kms", "logs", "s3", "secretsmanager")
    tagging = ("ec2:*", "elasticfilesystem:*", "elasticloadbalancing:*", "kms:*")
    alone = {
        "Describe",
        "ReadPlatform",
        "NewKey",
        "NewTagged",
        "InSharedNetwork",
        "RegistryToken",
        "ListState",
        "OwnState",
        "StateKey",
        "OwnKey",
    }
    rest = {statement.sid: statement for statement in (*deployer_statements(place), *starter_statements(place)) if statement.sid in alone}
    return (
        Statement("OwnByName", [f"{service}:*" for service in services], named),
        Statement("OwnByTag", tagging, ["*"], conditions={"StringEquals": tagged}),
        *rest.values(),
        *guard_statements(place)[:1],
    )
