"""What a silo brand has for itself: cluster, home, gateway and worker, and what may reach them. A brand of the pool has none of it.

What is the platform's is looked up in its parameters when a plan is made, so that no stack refers to another.
"""

from collections.abc import Mapping

from brandhouse_infra.blocks import Blocks, Document, Reference
from brandhouse_infra.constructs.home import add_home, let_mount
from brandhouse_infra.constructs.logs import log_group
from brandhouse_infra.constructs.secrets import SETTINGS, secret_name
from brandhouse_infra.constructs.tasks import (
    DATABASE_PORT,
    GATEWAY_PORT,
    HOME,
    NFS_PORT,
    PREFECT_PORT,
    Process,
    add_group,
    add_service,
    add_task,
    let_in,
    let_out,
)
from brandhouse_infra.site import BrandPlace, Place
from brandhouse_shared.slugs import fit

LOOKED_UP = ("balancer", "balancer_group", "listener", "network", "subnets")
"""Parameters of the platform that a silo brand's stack reads."""

SECRET_VARIABLES = ("BRANDHOUSE_LEDGER_URL", "PREFECT_API_AUTH_STRING")
"""What a person puts into the brand's secret before its tasks can start."""

WORKER_POOL = "brandhouse-silo-{brand}"
"""As `brandhouse_flows.deployments` names the pool of a silo brand."""


def add_silo(blocks: Blocks, place: BrandPlace, key: Reference, secret: Reference) -> None:
    """Add all of it."""
    found = {name: look_up(blocks, place, name) for name in LOOKED_UP}
    zones = range(len(place.environment.zones))
    subnets = [f'${{split(",", data.aws_ssm_parameter.subnets.insecure_value)[{index}]}}' for index in zones]
    users = [place.role_arn("serving"), place.role_arn("worker")]
    home, point, home_group = add_home(blocks, place, key, network=found["network"], subnets=subnets, users=users)
    cluster = add_cluster(blocks, place)
    for process in (gateway_of(place, secret), worker_of(place, secret)):
        group = add_group(blocks, place, process.name, found["network"], f"{process.name} of {place.tenant}")
        let_mount(blocks, process.name, home_group, group)
        open_ways_out(blocks, place, process.name, group)
        task = add_task(blocks, place, process, family=_family(place, process), home=home, point=point)
        more = _behind_the_balancer(blocks, place, group, found) if process.port else {}
        count = place.config.infra.gateways if process.port else 1
        listed = '${split(",", data.aws_ssm_parameter.subnets.insecure_value)}'
        add_service(blocks, process.name, cluster=cluster.id, task=task, count=count, group=group, subnets=listed, **more)


def look_up(blocks: Blocks, place: Place, name: str) -> str:
    """Read a parameter that the platform publishes; none is secret."""
    return blocks.data("aws_ssm_parameter", name, name=place.platform.parameter(name)).insecure_value


def add_cluster(blocks: Blocks, place: Place) -> Reference:
    """Add a cluster of Fargate tasks.

    Without Container Insights, which bills each service's metrics as custom ones: the memory that alarms look at is a free
    metric, and everything else is in the gateway's own.
    """
    insights = [{"name": "containerInsights", "value": "disabled"}]
    cluster = blocks.resource("aws_ecs_cluster", "own", tagged=True, name=place.dashed, setting=insights)
    blocks.resource("aws_ecs_cluster_capacity_providers", "own", cluster_name=cluster.name, capacity_providers=["FARGATE"])
    return cluster


def open_ways_out(blocks: Blocks, place: Place, name: str, group: Reference) -> None:
    """Let a process reach home, database and Prefect within the network, and HTTPS anywhere: AWS itself, and sources of data."""
    inside = place.environment.cidr
    for what, port in (("home", NFS_PORT), ("database", DATABASE_PORT), ("prefect", PREFECT_PORT)):
        let_out(blocks, f"{name}_{what}", group, port, inside, f"{name} reaches the {what}")
    let_out(blocks, f"{name}_https", group, 443, "0.0.0.0/0", f"{name} reaches AWS and sources of data")


def gateway_of(place: BrandPlace, secret: Reference) -> Process:
    """The brand's own gateway."""
    command = ("brandhouse", "serve", place.tenant, "--host", "0.0.0.0", "--port", str(GATEWAY_PORT))  # noqa: S104 - in a container
    return _process(place, "gateway", command, "serving", secret, port=GATEWAY_PORT)


def worker_of(place: BrandPlace, secret: Reference) -> Process:
    """The brand's own worker."""
    pool = WORKER_POOL.format(brand=place.tenant)
    command = ("python", "-m", "brandhouse_flows.worker", "--pool", pool, "--limit", "1")
    own = {"BRANDHOUSE_BRAND_ROLE": "own", "BRANDHOUSE_BRAND_SECRETS": secret_name(place, SETTINGS)}
    return _process(place, "worker", command, "worker", secret, environment=own)


def variables(place: Place) -> Mapping[str, str]:
    """Settings of a process; none is secret."""
    return {"BRANDHOUSE_HOME": HOME, "PREFECT_API_URL": f"http://prefect.{place.platform.dashed}.internal:{PREFECT_PORT}/api"}


def secret_variables(secret: Reference, names: tuple[str, ...]) -> Mapping[str, str]:
    """Where the values of variables lie: keys of one secret's JSON object."""
    return {name: f"{secret.arn}:{name}::" for name in names}


def _process(
    place: BrandPlace,
    name: str,
    command: tuple[str, ...],
    kind: str,
    secret: Reference,
    port: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> Process:
    sizes = place.config.infra
    return Process(
        name,
        command,
        log_group(place, kind),
        role=f"${{aws_iam_role.{kind}.arn}}",
        starter="${aws_iam_role.starter.arn}",
        cpu_units=sizes.cpu_units,
        memory_mib=sizes.memory_mib,
        port=port,
        environment={**variables(place), "BRANDHOUSE_ACTOR": f"{name} of {place.tenant}", **(environment or {})},
        secrets=secret_variables(secret, SECRET_VARIABLES),
    )


def _family(place: Place, process: Process) -> str:
    return place.dashed if process.port else f"{place.dashed}-{process.name}"


def _behind_the_balancer(blocks: Blocks, place: BrandPlace, group: Reference, found: Mapping[str, str]) -> Document:
    let_in(blocks, "gateway_balancer", group, GATEWAY_PORT, found["balancer_group"], "the load balancer asks")
    target = add_target_group(blocks, place, found["network"])
    host = {"host_header": {"values": [f"{place.slug}.{place.environment.domain}"]}}
    forward = {"type": "forward", "target_group_arn": target.arn}
    blocks.resource("aws_lb_listener_rule", "gateway", tagged=True, listener_arn=found["listener"], action=[forward], condition=[host])
    load_balancer = [{"target_group_arn": target.arn, "container_name": "gateway", "container_port": GATEWAY_PORT}]
    return {"load_balancer": load_balancer, "health_check_grace_period_seconds": 120, "depends_on": ["aws_lb_listener_rule.gateway"]}


def add_target_group(blocks: Blocks, place: Place, network: str) -> Reference:
    """Add what the load balancer asks; a task gets requests only while it is ready."""
    short = fit(f"{place.environment.name}-{place.slug}", 32)  # AWS allows 32 characters, and no more
    health = {"path": "/readyz", "matcher": "200", "interval": 15, "timeout": 5, "healthy_threshold": 2, "unhealthy_threshold": 3}
    return blocks.resource(
        "aws_lb_target_group",
        "gateway",
        tagged=True,
        name=short,
        port=GATEWAY_PORT,
        protocol="HTTP",
        target_type="ip",
        vpc_id=network,
        deregistration_delay="60",
        health_check=health,
    )
