"""The platform's stack, put together, and what it tells the stacks of brands."""

from brandhouse_infra.blocks import Blocks
from brandhouse_infra.constructs.image_registry import add_image_registry
from brandhouse_infra.constructs.keys import add_key
from brandhouse_infra.constructs.logs import add_logs
from brandhouse_infra.constructs.secrets import add_secrets
from brandhouse_infra.platform_constructs.balancer import Balancer, add_balancer
from brandhouse_infra.platform_constructs.database import add_database
from brandhouse_infra.platform_constructs.logs_bucket import add_logs_bucket
from brandhouse_infra.platform_constructs.network import Network, add_network
from brandhouse_infra.platform_constructs.people import add_people
from brandhouse_infra.platform_constructs.pool import PROCESSES, add_pool
from brandhouse_infra.site import Place

USERS_OF_KEY = ("gateway", "worker", "starter", "onboarding")


def add_platform(blocks: Blocks, place: Place) -> None:
    """Add everything that all brands share."""
    key = add_key(blocks, place, tuple(place.role_arn(kind) for kind in USERS_OF_KEY))
    logs_bucket = add_logs_bucket(blocks, place)
    add_people(blocks, place, key)
    network = add_network(blocks, place, key)
    add_database(blocks, place, key, network)
    balancer = add_balancer(blocks, place, network, logs_bucket)
    add_image_registry(blocks, place, key)
    secret = add_secrets(blocks, place, key)
    add_logs(blocks, place, key, PROCESSES)
    add_pool(blocks, place, key, secret, network, balancer)
    _publish(blocks, place, network, balancer)


def _publish(blocks: Blocks, place: Place, network: Network, balancer: Balancer) -> None:
    published = {
        "balancer": balancer.arn_suffix,
        "balancer_group": balancer.group.id,
        "listener": balancer.listener.arn,
        "network": network.id,
        "subnets": ",".join(network.private),
    }
    for name, value in published.items():
        blocks.resource("aws_ssm_parameter", name, tagged=True, name=place.parameter(name), type="String", insecure_value=value)
