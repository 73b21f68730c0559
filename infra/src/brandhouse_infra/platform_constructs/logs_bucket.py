"""Where access logs of all buckets and of the load balancer go."""

from brandhouse_infra.blocks import Blocks
from brandhouse_infra.constructs.data_store import add_privacy, logs_bucket
from brandhouse_infra.policies import Statement
from brandhouse_infra.site import Place

DAYS = 400


def add_logs_bucket(blocks: Blocks, place: Place) -> str:
    """Add the bucket; return its name. Logs end by themselves."""
    name, account = logs_bucket(place), place.environment.account
    bucket = blocks.resource("aws_s3_bucket", "logs", tagged=True, keep=True, bucket=name)
    blocks.resource("aws_s3_bucket_versioning", "logs", bucket=bucket.id, versioning_configuration={"status": "Enabled"})
    # The load balancer writes its logs only where the store's own key encrypts.
    encrypted = {"apply_server_side_encryption_by_default": {"sse_algorithm": "AES256"}}
    blocks.resource("aws_s3_bucket_server_side_encryption_configuration", "logs", bucket=bucket.id, rule=[encrypted])
    ending = {
        "id": "logs-end",
        "status": "Enabled",
        "filter": {"prefix": ""},
        "expiration": {"days": DAYS},
        "noncurrent_version_expiration": {"noncurrent_days": 30},
        "abort_incomplete_multipart_upload": {"days_after_initiation": 7},
    }
    blocks.resource("aws_s3_bucket_lifecycle_configuration", "logs", bucket=bucket.id, rule=[ending])
    own = {"StringEquals": {"aws:SourceAccount": account}}
    services = ("logging.s3.amazonaws.com", "logdelivery.elasticloadbalancing.amazonaws.com")
    writers = [
        Statement(f"Writer{index}", ["s3:PutObject"], [f"arn:aws:s3:::{name}/*"], principals={"Service": who}, conditions=own)
        for index, who in enumerate(services)
    ]
    add_privacy(blocks, "logs", bucket, name, *writers)
    return name
