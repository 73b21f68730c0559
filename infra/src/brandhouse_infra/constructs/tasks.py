"""A process that runs as tasks of AWS Fargate: its container, its service, and who may talk to it over the network."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from brandhouse_infra.blocks import Blocks, Document, Reference
from brandhouse_infra.constructs.image_registry import image
from brandhouse_infra.site import Place

HOME = "/var/brandhouse"
"""Where the shared home is mounted in a container."""
USER = 1000
"""Who the processes run as; owns the files of the home."""
NFS_PORT = 2049
DATABASE_PORT = 5432
PREFECT_PORT = 4200
GATEWAY_PORT = 8080


@dataclass(frozen=True, slots=True)
class Process:
    """What one container runs.

    Attributes:
        name: Of the service.
        command: What is started.
        log: The process's log group.
        role: ARN of who it is.
        starter: ARN of the role with which AWS starts it.
        cpu_units: 1,024 are a core.
        memory_mib: More is not given.
        port: On which it answers; None: on none.
        environment: Variables, none of them secret.
        secrets: Variables by the address of their value.
    """

    name: str
    command: tuple[str, ...]
    log: str
    role: str
    starter: str
    cpu_units: int
    memory_mib: int
    port: int | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)


def add_task(
    blocks: Blocks, place: Place, process: Process, *, family: str, home: Reference | None = None, point: Reference | None = None
) -> Reference:
    """Add what a task is: image, command, size, identity, and the home if it has one."""
    volume: Document = {} if home is None or point is None else {"volume": [_home_volume(home, point)]}
    return blocks.resource(
        "aws_ecs_task_definition",
        process.name,
        tagged=True,
        family=family,
        requires_compatibilities=["FARGATE"],
        network_mode="awsvpc",
        cpu=str(process.cpu_units),
        memory=str(process.memory_mib),
        execution_role_arn=process.starter,
        task_role_arn=process.role,
        runtime_platform={"operating_system_family": "LINUX", "cpu_architecture": "X86_64"},
        container_definitions=json.dumps([_container(place, process, with_home=home is not None)], sort_keys=True),
        **volume,
    )


def add_service(
    blocks: Blocks, name: str, *, cluster: str, task: Reference, count: int, group: Reference, subnets: str | list[str], **more: Any
) -> Reference:
    """Keep `count` tasks running; a release that does not come up is rolled back by itself."""
    return blocks.resource(
        "aws_ecs_service",
        name,
        tagged=True,
        name=name,
        cluster=cluster,
        task_definition=task.arn,
        desired_count=count,
        launch_type="FARGATE",
        propagate_tags="SERVICE",
        enable_ecs_managed_tags=True,
        enable_execute_command=False,
        deployment_circuit_breaker={"enable": True, "rollback": True},
        network_configuration={"subnets": subnets, "security_groups": [group.id], "assign_public_ip": False},
        **more,
    )


def add_group(blocks: Blocks, place: Place, name: str, network: str, description: str) -> Reference:
    """Add a security group with no rules: nothing comes in or goes out until a rule says so."""
    return blocks.resource(
        "aws_security_group",
        name,
        tagged=True,
        name=f"{place.dashed}-{name}",
        description=description,
        vpc_id=network,
        revoke_rules_on_delete=True,
    )


def let_in(blocks: Blocks, name: str, group: Reference, port: int, source: str, description: str) -> None:
    """Let another group in on one port."""
    rule: Document = {"from_port": port, "to_port": port, "ip_protocol": "tcp", "referenced_security_group_id": source}
    blocks.resource("aws_vpc_security_group_ingress_rule", name, tagged=True, security_group_id=group.id, description=description, **rule)


def let_out(blocks: Blocks, name: str, group: Reference, port: int, addresses: str, description: str) -> None:
    """Let the group out to addresses on one port."""
    rule: Document = {"from_port": port, "to_port": port, "ip_protocol": "tcp", "cidr_ipv4": addresses}
    blocks.resource("aws_vpc_security_group_egress_rule", name, tagged=True, security_group_id=group.id, description=description, **rule)


def _container(place: Place, process: Process, *, with_home: bool) -> dict[str, object]:
    options = {"awslogs-group": process.log, "awslogs-region": place.environment.region, "awslogs-stream-prefix": process.name}
    optional = {
        "mountPoints": [{"sourceVolume": "home", "containerPath": HOME, "readOnly": False}] if with_home else [],
        "portMappings": [{"containerPort": process.port, "protocol": "tcp"}] if process.port else [],
        "secrets": [{"name": name, "valueFrom": where} for name, where in sorted(process.secrets.items())],
    }
    return {
        "name": process.name,
        "image": image(place),
        "essential": True,
        "command": list(process.command),
        "user": str(USER),
        "readonlyRootFilesystem": False,  # Prefect and BentoML write below /tmp and their home
        "environment": [{"name": name, "value": value} for name, value in sorted(process.environment.items())],
        "logConfiguration": {"logDriver": "awslogs", "options": options},
        "stopTimeout": 60,  # the gateway writes its last answers to the log first
        **{name: value for name, value in optional.items() if value},
    }


def _home_volume(home: Reference, point: Reference) -> dict[str, object]:
    access = {"access_point_id": point.id, "iam": "ENABLED"}
    return {
        "name": "home",
        "efs_volume_configuration": {"file_system_id": home.id, "transit_encryption": "ENABLED", "authorization_config": access},
    }
