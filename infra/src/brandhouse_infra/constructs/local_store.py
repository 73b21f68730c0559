"""A brand's bucket at a store without a key service: the bucket of AWS, encrypted with keys that the store derives from its own."""

from brandhouse_infra.blocks import Blocks, Reference
from brandhouse_infra.constructs.data_store import DATA_PREFIX, add_bucket
from brandhouse_infra.site import BrandPlace


def add_local_store(blocks: Blocks, place: BrandPlace) -> Reference:
    """Add the bucket: versioned, encrypted by default, old bytes end."""
    bucket = add_bucket(blocks, "data", place.bucket)
    rule = [{"apply_server_side_encryption_by_default": {"sse_algorithm": "AES256"}}]
    blocks.resource("aws_s3_bucket_server_side_encryption_configuration", "data", bucket=bucket.id, rule=rule)
    blocks.output("remote", f"s3://{place.bucket}/{DATA_PREFIX}", "remote of the data project in brand.toml")
    return bucket
