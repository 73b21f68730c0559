"""The brand's own key: whoever may not use it reads nothing of the brand, even with the bytes in hand."""

from brandhouse_infra.blocks import Blocks, Reference
from brandhouse_infra.policies import Statement, policy_json
from brandhouse_infra.site import Place

USES = (
    "kms:Decrypt",
    "kms:DescribeKey",
    "kms:Encrypt",
    "kms:GenerateDataKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
)
READING = ("kms:Decrypt", "kms:DescribeKey")

WAITING_DAYS = 30
"""The longest that AWS allows: a deleted key can be had back for so long, its data never again after."""


def add_key(blocks: Blocks, place: Place, users: tuple[str, ...]) -> Reference:
    """Add a key that rotates every year, and its alias.

    Args:
        blocks: The stack's.
        place: Whose key it is.
        users: ARNs of the roles that may use it; all others of the account are denied, whatever their policies say.
    """
    key = blocks.resource(
        "aws_kms_key",
        "own",
        tagged=True,
        keep=True,
        description=f"Data, images, secrets and logs of {place.tenant} in {place.environment.name}",
        enable_key_rotation=True,
        deletion_window_in_days=WAITING_DAYS,
        policy=_policy(place, users),
    )
    blocks.resource("aws_kms_alias", "own", name=place.key_alias, target_key_id=key.key_id)
    return key


def use_of_key(place: Place, actions: tuple[str, ...] = USES) -> Statement:
    """Let a role use the key, by its alias: the key's id is not known before it exists."""
    return Statement(
        "OwnKey", actions, [place.arn("kms", "key/*")], conditions={"ForAnyValue:StringEquals": {"kms:ResourceAliases": place.key_alias}}
    )


def _policy(place: Place, users: tuple[str, ...]) -> str:
    account = place.environment.account
    logs = place.arn("logs", f"log-group:/{place.path}/*")
    return policy_json(
        # In a key's policy `*` is the key itself. Without this the key could be locked out of reach for ever.
        Statement("Account", ["kms:*"], ["*"], principals={"AWS": f"arn:aws:iam::{account}:root"}),
        Statement(
            "NobodyElse",
            [use for use in USES if use != "kms:DescribeKey"],
            ["*"],
            effect="Deny",
            principals="*",
            conditions={"ArnNotLike": {"aws:PrincipalArn": list(users)}, "Bool": {"aws:PrincipalIsAWSService": "false"}},
        ),
        Statement(
            "Logs",
            [use for use in USES if use != "kms:DescribeKey"] + ["kms:DescribeKey"],
            ["*"],
            principals={"Service": f"logs.{place.environment.region}.amazonaws.com"},
            conditions={"ArnLike": {"kms:EncryptionContext:aws:logs:arn": logs}},
        ),
        Statement(
            "AlarmsAndBudgets",
            ["kms:Decrypt", "kms:GenerateDataKey"],
            ["*"],
            principals={"Service": ["cloudwatch.amazonaws.com", "budgets.amazonaws.com"]},
            conditions={"StringEquals": {"aws:SourceAccount": account}},
        ),
    )
