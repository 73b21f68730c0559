"""A dataset from one object in an S3 store, opened with the brand's own key."""

import os

from brandhouse_flows.feeds import Arrival, Order
from brandhouse_flows.remotes import remote_credentials
from brandhouse_shared.declarations import S3Source
from brandhouse_shared.errors import DatasetError, RetryableError


def collect_object(order: Order) -> Arrival:
    """Download the declared object, if it is another one than last time.

    Raises:
        DatasetError: If there is no such object, the key may not read it, or it is too large.
        RetryableError: If the store does not answer, or the object changes meanwhile.
    """
    source = order.dataset.source
    assert isinstance(source, S3Source)  # noqa: S101 - chosen by kind
    credentials = remote_credentials(order.brand.name, source.url, os.environ)
    try:
        import s3fs
        from botocore.exceptions import BotoCoreError
    except ImportError:
        raise DatasetError(f"{order.subject}: reading from S3 needs an extra; install brandhouse-flows[s3]") from None
    store = s3fs.S3FileSystem(
        key=credentials["access_key_id"],
        secret=credentials["secret_access_key"],
        token=credentials.get("session_token"),
        endpoint_url=credentials.get("endpointurl"),
        client_kwargs={"region_name": credentials["region"]} if "region" in credentials else {},
        use_listings_cache=False,
        skip_instance_cache=True,
    )
    path = source.url.removeprefix("s3://")
    try:
        before = store.info(path)
        position = {"etag": str(before.get("ETag", "")).strip('"')}
        if order.pointer and position["etag"] and order.position.get("etag") == position["etag"]:
            return Arrival(is_new=False)
        if before.get("type") != "file":
            raise DatasetError(f"{order.subject}: {source.url} is no object; allowed: the key of one file")
        if before["size"] > source.max_mib << 20:
            raise DatasetError(f"{order.subject}: {source.url} has {before['size']} bytes; allowed: max_mib = {source.max_mib}")
        store.get_file(path, str(order.target))
        after = store.info(path)
    except FileNotFoundError as error:
        raise DatasetError(f"{order.subject}: {source.url} does not exist, or the brand's key may not see it") from error
    except PermissionError as error:
        raise DatasetError(f"{order.subject}: the brand's key may not read {source.url}") from error
    except (BotoCoreError, OSError) as error:
        raise RetryableError(f"{order.subject}: the store of {source.url} does not answer ({type(error).__name__})") from error
    if after.get("ETag") != before.get("ETag") or order.target.stat().st_size != before["size"]:
        raise RetryableError(f"{order.subject}: {source.url} changed while it was read; it is tried again")
    return Arrival(is_new=True, position=position)
