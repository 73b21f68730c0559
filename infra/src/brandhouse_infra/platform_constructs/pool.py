"""What brands of the pool share: cluster, home, gateway, worker, and the Prefect server that all brands use."""

from brandhouse_infra.blocks import Blocks, Document, Reference
from brandhouse_infra.constructs.home import add_home, let_mount, mount_statement
from brandhouse_infra.constructs.identity import starter_statements
from brandhouse_infra.constructs.logs import log_group
from brandhouse_infra.constructs.secrets import SETTINGS, secret_name
from brandhouse_infra.constructs.silo import SECRET_VARIABLES, add_cluster, open_ways_out, secret_variables, variables
from brandhouse_infra.constructs.tasks import GATEWAY_PORT, PREFECT_PORT, Process, add_group, add_service, add_task, let_in
from brandhouse_infra.platform_constructs.balancer import Balancer
from brandhouse_infra.platform_constructs.network import Network
from brandhouse_infra.policies import Statement, policy_json, service
from brandhouse_infra.site import HOUSE, Place

PROCESSES = ("gateway", "worker", "prefect")
POOL = "brandhouse-pool"
SIZES = {"gateway": (1024, 4096), "worker": (1024, 4096), "prefect": (512, 1024)}
"""Cores (1,024 are one) and MiB: a gateway for a hundred small models, a worker for two runs, a server for a thousand deployments."""
ACTS_AS = {"gateway": "serving", "worker": "worker"}


def add_pool(blocks: Blocks, place: Place, key: Reference, secret: Reference, network: Network, balancer: Balancer) -> None:
    """Add all of it."""
    for kind in (*PROCESSES, "starter"):
        _add_role(blocks, place, kind)
    users = [place.role_arn("gateway"), place.role_arn("worker")]
    home, point, home_group = add_home(blocks, place, key, network=network.id, subnets=list(network.private), users=users)
    cluster, registry = add_cluster(blocks, place), _add_registry(blocks, place, network)
    for process in _processes(place, secret):
        group = add_group(blocks, place, process.name, network.id, f"{process.name} of the pool")
        open_ways_out(blocks, place, process.name, group)
        own_home = {} if process.name == "prefect" else {"home": home, "point": point}
        if own_home:
            let_mount(blocks, process.name, home_group, group)
        task = add_task(blocks, place, process, family=f"{place.dashed}-{process.name}", **own_home)
        more = _reached(blocks, place, process, group, balancer, registry)
        subnets = list(network.private)
        add_service(blocks, process.name, cluster=cluster.id, task=task, count=1, group=group, subnets=subnets, **more)


def _add_role(blocks: Blocks, place: Place, kind: str) -> None:
    role = blocks.resource(
        "aws_iam_role",
        kind,
        tagged=True,
        name=place.role_name(kind),
        path=f"/{place.path}/",
        assume_role_policy=policy_json(service("ecs-tasks", place.environment.account)),
    )
    statements = starter_statements(place) if kind == "starter" else tuple(_statements(place, kind))
    blocks.resource("aws_iam_role_policy", kind, name=kind, role=role.name, policy=policy_json(*statements))


def _statements(place: Place, kind: str) -> list[Statement]:
    # A task must be allowed something, or its role has no policy at all: Prefect's may look at its own parameters.
    own = Statement("OwnParameters", ["ssm:GetParameter"], [place.arn("ssm", f"parameter{place.parameter('*')}")])
    if kind not in ACTS_AS:
        return [own]
    environment = place.environment
    every = f"arn:aws:iam::{environment.account}:role/{HOUSE}/{environment.name}/*/{HOUSE}-{environment.name}-*-{ACTS_AS[kind]}"
    # Which brands let it is in the brands' own stacks: a silo brand's roles trust only its own tasks.
    return [own, mount_statement(place), Statement("BecomeABrand", ["sts:AssumeRole"], [every])]


def _processes(place: Place, secret: Reference) -> list[Process]:
    commands = {
        "gateway": ("brandhouse", "serve", "--host", "0.0.0.0", "--port", str(GATEWAY_PORT)),  # noqa: S104 - in a container
        "worker": ("python", "-m", "brandhouse_flows.worker", "--pool", POOL),
        "prefect": ("prefect", "server", "start", "--host", "0.0.0.0", "--port", str(PREFECT_PORT)),  # noqa: S104
    }
    ports = {"gateway": GATEWAY_PORT, "prefect": PREFECT_PORT}
    any_brand = Place(place.environment, "{slug}", "", "", "")
    roles = {"BRANDHOUSE_BRAND_ROLE": any_brand.role_arn("worker"), "BRANDHOUSE_BRAND_SECRETS": secret_name(any_brand, SETTINGS)}
    own = {name: {**variables(place), "BRANDHOUSE_ACTOR": f"{name} of the pool"} for name in ACTS_AS}
    own["worker"] |= roles
    prefect_secrets = ("PREFECT_API_DATABASE_CONNECTION_URL", "PREFECT_SERVER_API_AUTH_STRING")
    return [
        Process(
            name,
            commands[name],
            log_group(place, name),
            role=f"${{aws_iam_role.{name}.arn}}",
            starter="${aws_iam_role.starter.arn}",
            cpu_units=SIZES[name][0],
            memory_mib=SIZES[name][1],
            port=ports.get(name),
            environment=own.get(name, {}),
            secrets=secret_variables(secret, prefect_secrets if name == "prefect" else SECRET_VARIABLES),
        )
        for name in PROCESSES
    ]


def _add_registry(blocks: Blocks, place: Place, network: Network) -> Reference:
    """Names within the network, such as `prefect.brandhouse-production-platform.internal`."""
    space = blocks.resource(
        "aws_service_discovery_private_dns_namespace", "own", tagged=True, name=f"{place.dashed}.internal", vpc=network.id
    )
    records = {"namespace_id": space.id, "dns_records": [{"type": "A", "ttl": 10}]}
    return blocks.resource("aws_service_discovery_service", "prefect", tagged=True, name="prefect", dns_config=records)


def _reached(blocks: Blocks, place: Place, process: Process, group: Reference, balancer: Balancer, registry: Reference) -> Document:
    if process.name == "gateway":
        let_in(blocks, "gateway_balancer", group, GATEWAY_PORT, balancer.group.id, "the load balancer asks")
        target = {"target_group_arn": balancer.pool_target.arn, "container_name": "gateway", "container_port": GATEWAY_PORT}
        return {"load_balancer": [target], "health_check_grace_period_seconds": 120, "depends_on": ["aws_lb_listener_rule.gateway"]}
    if process.name == "prefect":
        rule: Document = {"from_port": PREFECT_PORT, "to_port": PREFECT_PORT, "ip_protocol": "tcp", "cidr_ipv4": place.environment.cidr}
        text = "workers and gateways; each needs a password too"
        blocks.resource("aws_vpc_security_group_ingress_rule", "prefect", tagged=True, security_group_id=group.id, description=text, **rule)
        return {"service_registries": {"registry_arn": registry.arn}}
    return {}
