"""Where a brand's data lie: one bucket, the remote of its data project below `dvc/`."""

from brandhouse_infra.blocks import Blocks, Reference
from brandhouse_infra.policies import Statement, policy_json
from brandhouse_infra.site import BrandPlace, Place

DATA_PREFIX = "dvc"
"""`s3://<bucket>/dvc` is the brand's `remote`."""

OLD_BYTES_DAYS = 90
"""How long overwritten and deleted objects can be had back."""

READING = ("s3:GetObject", "s3:GetObjectVersion", "s3:GetObjectTagging")
WRITING = ("s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts", "s3:PutObjectTagging")
LISTING = ("s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads")


def add_data_store(blocks: Blocks, place: BrandPlace, key: Reference) -> Reference:
    """Add the bucket with everything that keeps it private."""
    bucket = add_bucket(blocks, "data", place.bucket)
    add_encryption(blocks, "data", bucket, key)
    add_privacy(blocks, "data", bucket, place.bucket)
    blocks.resource("aws_s3_bucket_logging", "data", bucket=bucket.id, target_bucket=logs_bucket(place), target_prefix=f"{place.slug}/")
    blocks.output("remote", f"s3://{place.bucket}/{DATA_PREFIX}", "remote of the data project in brand.toml")
    return bucket


def add_bucket(blocks: Blocks, name: str, bucket_name: str) -> Reference:
    """Add a versioned bucket whose old bytes end by themselves. All that the local target shares."""
    bucket = blocks.resource("aws_s3_bucket", name, tagged=True, keep=True, bucket=bucket_name)
    blocks.resource("aws_s3_bucket_versioning", name, bucket=bucket.id, versioning_configuration={"status": "Enabled"})
    blocks.resource("aws_s3_bucket_lifecycle_configuration", name, bucket=bucket.id, rule=_lifecycle())
    return bucket


def add_encryption(blocks: Blocks, name: str, bucket: Reference, key: Reference) -> None:
    """Encrypt with a key of one's own; a bucket key makes one request to it instead of one an object."""
    blocks.resource(
        "aws_s3_bucket_server_side_encryption_configuration",
        name,
        bucket=bucket.id,
        rule=[
            {
                "apply_server_side_encryption_by_default": {"sse_algorithm": "aws:kms", "kms_master_key_id": key.arn},
                "bucket_key_enabled": True,
            }
        ],
    )


def add_privacy(blocks: Blocks, name: str, bucket: Reference, bucket_name: str, *more: Statement) -> None:
    """Close every way to make it public, take ownership of all objects, and refuse what is not TLS."""
    closed = ("block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets")
    blocks.resource("aws_s3_bucket_public_access_block", name, bucket=bucket.id, **dict.fromkeys(closed, True))
    blocks.resource("aws_s3_bucket_ownership_controls", name, bucket=bucket.id, rule={"object_ownership": "BucketOwnerEnforced"})
    blocks.resource("aws_s3_bucket_policy", name, bucket=bucket.id, policy=policy_json(*_closed(bucket_name), *more))


def data_statements(place: Place, *, write: bool) -> tuple[Statement, ...]:
    """What a role, or a user of the local target, may do with the brand's data. Nothing deletes a version."""
    actions = READING + (WRITING if write else ())
    return (
        Statement("ListOwnData", LISTING, [place.bucket_arn]),
        Statement("UseOwnData", actions, [f"{place.bucket_arn}/*"]),
    )


def logs_bucket(place: Place) -> str:
    """Name of the bucket in which the platform keeps access logs."""
    return f"{place.platform.dashed}-logs-{place.environment.account}"


def _closed(bucket_name: str) -> tuple[Statement, ...]:
    both = [f"arn:aws:s3:::{bucket_name}", f"arn:aws:s3:::{bucket_name}/*"]
    insecure = {"Bool": {"aws:SecureTransport": "false"}}
    old = {"NumericLessThan": {"s3:TlsVersion": "1.2"}}
    return (
        Statement("OnlyTls", ["s3:*"], both, effect="Deny", principals="*", conditions=insecure),
        Statement("OnlyNewTls", ["s3:*"], both, effect="Deny", principals="*", conditions=old),
    )


def _lifecycle() -> list[dict[str, object]]:
    return [
        {
            "id": "old-bytes-end",
            "status": "Enabled",
            "filter": {"prefix": ""},
            "noncurrent_version_expiration": {"noncurrent_days": OLD_BYTES_DAYS},
            "abort_incomplete_multipart_upload": {"days_after_initiation": 7},
        },
    ]
