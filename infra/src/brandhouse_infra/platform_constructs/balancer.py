"""The one door: a load balancer that speaks TLS 1.2 and later, and passes on what its rules name."""

from dataclasses import dataclass

from brandhouse_infra.blocks import Blocks, Document, Reference
from brandhouse_infra.constructs.silo import add_target_group
from brandhouse_infra.constructs.tasks import GATEWAY_PORT, add_group, let_out
from brandhouse_infra.platform_constructs.network import Network
from brandhouse_infra.site import Place

TLS_POLICY = "ELBSecurityPolicy-TLS13-1-2-2021-06"


@dataclass(frozen=True, slots=True)
class Balancer:
    """What other constructs need of it."""

    arn_suffix: str
    listener: Reference
    group: Reference
    pool_target: Reference


def add_balancer(blocks: Blocks, place: Place, network: Network, logs_bucket: str) -> Balancer:
    """Add the load balancer; what no rule names gets 404. There is no port 80."""
    group = add_group(blocks, place, "balancer", network.id, "The door")
    anyone: Document = {"from_port": 443, "to_port": 443, "ip_protocol": "tcp", "cidr_ipv4": "0.0.0.0/0"}
    text = "HTTPS from anyone: this is the public API"
    blocks.resource("aws_vpc_security_group_ingress_rule", "balancer", tagged=True, security_group_id=group.id, description=text, **anyone)
    let_out(blocks, "balancer_gateways", group, GATEWAY_PORT, place.environment.cidr, "to gateways")
    balancer = blocks.resource(
        "aws_lb",
        "own",
        tagged=True,
        name=place.dashed,
        load_balancer_type="application",
        internal=False,
        subnets=list(network.public),
        security_groups=[group.id],
        drop_invalid_header_fields=True,
        enable_deletion_protection=True,
        access_logs={"bucket": logs_bucket, "prefix": "balancer", "enabled": True},
    )
    nobody = {"type": "fixed-response", "fixed_response": {"content_type": "application/json", "message_body": "{}", "status_code": "404"}}
    listener = blocks.resource(
        "aws_lb_listener",
        "https",
        tagged=True,
        load_balancer_arn=balancer.arn,
        port=443,
        protocol="HTTPS",
        ssl_policy=TLS_POLICY,
        certificate_arn=place.environment.certificate,
        default_action=[nobody],
    )
    target = add_target_group(blocks, place, network.id)
    forward = {"type": "forward", "target_group_arn": target.arn}
    host = {"host_header": {"values": [place.environment.domain]}}
    blocks.resource("aws_lb_listener_rule", "gateway", tagged=True, listener_arn=listener.arn, action=[forward], condition=[host])
    return Balancer(balancer.arn_suffix, listener, group, target)
