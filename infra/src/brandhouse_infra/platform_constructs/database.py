"""PostgreSQL for the ledger and for Prefect."""

from brandhouse_infra.blocks import Blocks, Document, Reference
from brandhouse_infra.constructs.tasks import DATABASE_PORT, add_group
from brandhouse_infra.platform_constructs.network import Network
from brandhouse_infra.site import Place

SIZE = "db.t4g.small"
GIB = 20
VERSION = "17"
BACKUP_DAYS = 14


def add_database(blocks: Blocks, place: Place, key: Reference, network: Network) -> Reference:
    """Add one instance: encrypted, TLS only, its password kept and changed by AWS, not deletable by accident."""
    subnets = blocks.resource("aws_db_subnet_group", "own", tagged=True, name=place.dashed, subnet_ids=list(network.private))
    group = add_group(blocks, place, "database", network.id, "The ledger and Prefect")
    rule: Document = {"from_port": DATABASE_PORT, "to_port": DATABASE_PORT, "ip_protocol": "tcp", "cidr_ipv4": place.environment.cidr}
    text = "Who runs in the network; each needs a password too"
    blocks.resource("aws_vpc_security_group_ingress_rule", "database", tagged=True, security_group_id=group.id, description=text, **rule)
    forced = [
        {"name": "rds.force_ssl", "value": "1"},
        {"name": "log_statement", "value": "ddl"},
        {"name": "log_min_duration_statement", "value": "1000"},
    ]
    parameters = blocks.resource(
        "aws_db_parameter_group", "own", tagged=True, name=place.dashed, family=f"postgres{VERSION}", parameter=forced
    )
    return blocks.resource(
        "aws_db_instance",
        "own",
        tagged=True,
        keep=True,
        identifier=place.dashed,
        engine="postgres",
        engine_version=VERSION,
        instance_class=SIZE,
        allocated_storage=GIB,
        max_allocated_storage=5 * GIB,
        storage_type="gp3",
        storage_encrypted=True,
        kms_key_id=key.arn,
        db_name="brandhouse",
        username="brandhouse_owner",
        manage_master_user_password=True,
        master_user_secret_kms_key_id=key.key_id,
        iam_database_authentication_enabled=True,
        db_subnet_group_name=subnets.name,
        vpc_security_group_ids=[group.id],
        parameter_group_name=parameters.name,
        publicly_accessible=False,
        multi_az=False,
        backup_retention_period=BACKUP_DAYS,
        copy_tags_to_snapshot=True,
        deletion_protection=True,
        skip_final_snapshot=False,
        final_snapshot_identifier=f"{place.dashed}-last",
        auto_minor_version_upgrade=True,
        performance_insights_enabled=True,
        performance_insights_kms_key_id=key.arn,
        enabled_cloudwatch_logs_exports=["postgresql", "upgrade"],
    )
