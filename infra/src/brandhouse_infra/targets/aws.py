"""Amazon Web Services: the whole of it. Never applied from here to a real account; planned and checked offline (ADR 0031)."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from brandhouse_infra.blocks import Blocks
from brandhouse_infra.constructs.alarms import add_alarms
from brandhouse_infra.constructs.budget import add_budget
from brandhouse_infra.constructs.data_store import add_data_store
from brandhouse_infra.constructs.identity import USERS_OF_KEY, add_identity
from brandhouse_infra.constructs.image_registry import add_image_registry
from brandhouse_infra.constructs.keys import add_key
from brandhouse_infra.constructs.logs import add_logs
from brandhouse_infra.constructs.secrets import add_secrets
from brandhouse_infra.constructs.silo import add_silo
from brandhouse_infra.costs.estimates import Resource
from brandhouse_infra.environments import Environment
from brandhouse_infra.policing.rules import find_breaches
from brandhouse_infra.site import BrandPlace, Place
from brandhouse_infra.state import s3_backend
from brandhouse_shared.settings import Settings

PROVIDER_SOURCE = "hashicorp/aws"
PROVIDER_VERSION = "6.69.1"
"""What the bindings in the lock were made from; the offline schema is rebuilt from them."""


DATA_BEARING = frozenset(
    {
        "aws_cloudwatch_log_group",
        "aws_db_instance",
        "aws_ecr_repository",
        "aws_efs_file_system",
        "aws_kms_key",
        "aws_s3_bucket",
        "aws_secretsmanager_secret",
    }
)


class AwsTarget:
    """Stacks in an AWS account."""

    name = "aws"
    has_platform = True
    data_bearing = DATA_BEARING

    def head(self, place: Place) -> Mapping[str, Any]:
        """The AWS provider for this account and no other, and the state in S3."""
        environment = place.environment
        provider = {"region": environment.region, "allowed_account_ids": [environment.account], "default_tags": [{"tags": place.tags}]}
        return {
            "terraform": {
                "required_version": ">= 1.10",  # use_lockfile
                "required_providers": {"aws": {"source": PROVIDER_SOURCE, "version": PROVIDER_VERSION}},
                "backend": s3_backend(place),
            },
            "provider": {"aws": [provider]},
        }

    def add_brand(self, blocks: Blocks, place: BrandPlace) -> None:
        """Everything of a brand; serving and worker only of a silo brand."""
        add_identity(blocks, place)
        users = tuple(place.role_arn(kind) for kind in USERS_OF_KEY)
        key = add_key(blocks, place, users)
        add_data_store(blocks, place, key)
        add_image_registry(blocks, place, key)
        secret = add_secrets(blocks, place, key)
        add_logs(blocks, place, key)
        if place.is_silo:
            add_silo(blocks, place, key, secret)
        add_alarms(blocks, place)
        add_budget(blocks, place)

    def add_platform(self, blocks: Blocks, place: Place) -> None:
        """Network, cluster, pool, Prefect, database, load balancer."""
        from brandhouse_infra.platform_constructs.platform import add_platform

        add_platform(blocks, place)

    def breaches(self, resources: Sequence[Resource]) -> Sequence[str]:
        """Nothing public, all encrypted and tagged, no wildcard without a reason."""
        return [str(breach) for breach in find_breaches(resources)]

    def data_left(self, place: Place, variables: Mapping[str, str]) -> str:
        """Look whether the bucket is empty, old versions included."""
        import boto3
        from botocore.exceptions import ClientError

        client = boto3.client("s3", region_name=place.environment.region)
        try:
            found = client.list_object_versions(Bucket=place.bucket, MaxKeys=1)
        except client.exceptions.NoSuchBucket:
            return ""
        except ClientError as error:
            return f"bucket {place.bucket} cannot be looked into ({error.response['Error']['Code']})"
        return f"objects in bucket {place.bucket}" if found.get("Versions") or found.get("DeleteMarkers") else ""

    def session(
        self, settings: Settings, environment: Environment, folders: Sequence[Path], *, offline: bool
    ) -> AbstractContextManager[Mapping[str, str]]:
        """Offline: the schema of the installed bindings instead of the provider. Else Terraform's way, with the caller's credentials."""
        from brandhouse_infra.providers.sessions import offline_session, online_session

        if offline:
            return offline_session(settings, folders, source=PROVIDER_SOURCE, version=PROVIDER_VERSION)
        return online_session(settings)
