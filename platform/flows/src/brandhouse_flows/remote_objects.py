"""Taking an object out of a remote for good: also the versions of it that a versioned bucket keeps."""

from typing import Any

MANY_VERSIONS = 1_000


def delete_object(remote: Any, hash_md5: str) -> int:
    """Delete an object and every version of it; return how many there were.

    Args:
        remote: A DVC object store, whose file system and paths it knows.
        hash_md5: Names the object.
    """
    path = remote.oid_to_path(hash_md5)
    s3 = _s3_of(remote)
    if s3 is not None:
        return _delete_versions(s3, path)
    if not remote.fs.exists(path):
        return 0
    remote.fs.remove(path)
    return 1


def has_object(remote: Any, hash_md5: str) -> bool:
    """Whether a remote has an object under that name, in a version that is not deleted or in one that is."""
    path = remote.oid_to_path(hash_md5)
    s3 = _s3_of(remote)
    return bool(remote.fs.exists(path) if s3 is None else _versions(s3, path))


def _s3_of(remote: Any) -> Any:
    """The S3 client's file system below DVC's, None for another kind."""
    inner = getattr(remote.fs, "fs", None)
    return inner if hasattr(inner, "call_s3") else None


def _delete_versions(s3: Any, path: str) -> int:
    bucket, key, _ = s3.split_path(path)
    versions = _versions(s3, path)
    for version in versions:
        s3.call_s3("delete_object", Bucket=bucket, Key=key, **({"VersionId": version} if version != "null" else {}))
    s3.invalidate_cache(path)
    return len(versions)


def _versions(s3: Any, path: str) -> list[str]:
    """Ids of all versions and deletion marks; one called `null` where the bucket keeps no versions."""
    bucket, key, _ = s3.split_path(path)
    answer = s3.call_s3("list_object_versions", Bucket=bucket, Prefix=key, MaxKeys=MANY_VERSIONS)
    listed = [*answer.get("Versions", []), *answer.get("DeleteMarkers", [])]
    return [str(one.get("VersionId") or "null") for one in listed if one["Key"] == key]
