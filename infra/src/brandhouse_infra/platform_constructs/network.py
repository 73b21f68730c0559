"""The network: private subnets for everything that runs, public ones for the load balancer and the way out."""

from dataclasses import dataclass

from brandhouse_infra.blocks import Blocks, Document, Reference
from brandhouse_infra.policies import Statement, policy_json, service
from brandhouse_infra.site import Place

FLOW_LOG_DAYS = 90


@dataclass(frozen=True, slots=True)
class Network:
    """What other constructs need of it."""

    id: str
    private: tuple[str, ...]
    public: tuple[str, ...]


def add_network(blocks: Blocks, place: Place, key: Reference) -> Network:
    """Add a network whose default security group lets nothing through, and that writes down who talked to whom."""
    environment = place.environment
    network = blocks.resource(
        "aws_vpc", "own", tagged=True, cidr_block=environment.cidr, enable_dns_support=True, enable_dns_hostnames=True
    )
    blocks.resource("aws_default_security_group", "closed", tagged=True, vpc_id=network.id)
    private = _add_subnets(blocks, place, network, "private", first=0)
    public = _add_subnets(blocks, place, network, "public", first=8)
    _add_ways_out(blocks, place, network, private, public)
    _add_flow_log(blocks, place, network, key)
    return Network(network.id, tuple(subnet.id for subnet in private), tuple(subnet.id for subnet in public))


def _add_subnets(blocks: Blocks, place: Place, network: Reference, kind: str, *, first: int) -> list[Reference]:
    environment = place.environment
    return [
        blocks.resource(
            "aws_subnet",
            f"{kind}_{zone}",
            tagged=True,
            vpc_id=network.id,
            cidr_block=environment.subnet(first + index),
            availability_zone=f"{environment.region}{zone}",
            map_public_ip_on_launch=False,
            tags={"Name": f"{place.dashed}-{kind}-{zone}"},
        )
        for index, zone in enumerate(environment.zones)
    ]


def _add_ways_out(blocks: Blocks, place: Place, network: Reference, private: list[Reference], public: list[Reference]) -> None:
    gateway = blocks.resource("aws_internet_gateway", "own", tagged=True, vpc_id=network.id)
    address = blocks.resource("aws_eip", "way_out", tagged=True, domain="vpc")
    # One for all zones: 35 dollars a month each. If its zone is lost, runs that fetch from outside wait for it.
    way_out = blocks.resource("aws_nat_gateway", "own", tagged=True, allocation_id=address.id, subnet_id=public[0].id)
    to_gateway = _add_routes(blocks, network, "public", public, {"gateway_id": gateway.id})
    to_way_out = _add_routes(blocks, network, "private", private, {"nat_gateway_id": way_out.id})
    blocks.resource(
        "aws_vpc_endpoint",
        "s3",  # free, and keeps snapshots off the way out, which is paid by the gigabyte
        tagged=True,
        vpc_id=network.id,
        service_name=f"com.amazonaws.{place.environment.region}.s3",
        vpc_endpoint_type="Gateway",
        route_table_ids=[to_gateway.id, to_way_out.id],
    )


def _add_routes(blocks: Blocks, network: Reference, kind: str, subnets: list[Reference], way: Document) -> Reference:
    table = blocks.resource("aws_route_table", kind, tagged=True, vpc_id=network.id)
    blocks.resource("aws_route", kind, route_table_id=table.id, destination_cidr_block="0.0.0.0/0", **way)
    for index, subnet in enumerate(subnets):
        blocks.resource("aws_route_table_association", f"{kind}_{index}", subnet_id=subnet.id, route_table_id=table.id)
    return table


def _add_flow_log(blocks: Blocks, place: Place, network: Reference, key: Reference) -> None:
    name = f"/{place.path}/flow"
    blocks.resource("aws_cloudwatch_log_group", "flow", tagged=True, name=name, retention_in_days=FLOW_LOG_DAYS, kms_key_id=key.arn)
    writes = Statement("Write", ["logs:CreateLogStream", "logs:PutLogEvents"], [f"{place.arn('logs', f'log-group:{name}')}:*"])
    role = blocks.resource(
        "aws_iam_role",
        "flow",
        tagged=True,
        name=place.role_name("flow"),
        path=f"/{place.path}/",
        assume_role_policy=policy_json(service("vpc-flow-logs", place.environment.account)),
    )
    blocks.resource("aws_iam_role_policy", "flow", name="flow", role=role.name, policy=policy_json(writes))
    destination = "${aws_cloudwatch_log_group.flow.arn}"
    blocks.resource(
        "aws_flow_log", "own", tagged=True, vpc_id=network.id, traffic_type="ALL", log_destination=destination, iam_role_arn=role.arn
    )
