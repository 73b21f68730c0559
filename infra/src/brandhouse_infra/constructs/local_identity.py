"""Who a brand is at a store without roles: one user with the policy that the worker has on AWS, and one key."""

from brandhouse_infra.blocks import Blocks, Reference
from brandhouse_infra.constructs.data_store import data_statements
from brandhouse_infra.local.names import user_name
from brandhouse_infra.policies import policy_json
from brandhouse_infra.site import BrandPlace


def add_local_identity(blocks: Blocks, place: BrandPlace) -> Reference:
    """Add user, policy and key. The key's secret goes into the brand's secrets on this machine, never into the state."""
    user = blocks.resource("aws_iam_user", "worker", tagged=True, name=user_name(place), path=f"/{place.path}/")
    blocks.resource("aws_iam_user_policy", "worker", name="worker", user=user.name, policy=policy_json(*data_statements(place, write=True)))
    # Not `aws_iam_access_key`, which keeps the secret in the state. Types of our own say which provider they are of.
    return blocks.resource("local_access_key", "worker", provider="aws", user=user.name, brand=place.tenant)
