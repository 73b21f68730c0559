"""An erasure that reaches a bucket which keeps every version of an object: a SeaweedFS process on this machine."""

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
sys.path.insert(0, str(Path(__file__).parent))
from erasure_house import NOW, PERSON, ErasureHouse
from test_data_project_s3 import give_keys, store

from brandhouse_aftercare.forgetting import forget
from brandhouse_aftercare.subject_search import Person
from brandhouse_flows.data_places import SnapshotMissingError

__all__ = ["give_keys", "store"]
pytestmark = [pytest.mark.alone, pytest.mark.slow]


def versions_of(admin: Any, hash_md5: str) -> list[Any]:
    answer = admin.call_s3("list_object_versions", Bucket="boats", Prefix=f"dvc/files/md5/{hash_md5[:2]}/{hash_md5[2:]}")
    return [*answer.get("Versions", []), *answer.get("DeleteMarkers", [])]


def test_every_version_of_an_erased_snapshot_is_gone_from_the_bucket(tmp_path: Path, store: str, give_keys: Any) -> None:
    import s3fs

    give_keys("boats", "boats")
    admin = s3fs.S3FileSystem(key="root-key", secret="root-secret", endpoint_url=store, use_listings_cache=False)
    admin.call_s3("put_bucket_versioning", Bucket="boats", VersioningConfiguration={"Status": "Enabled"})
    house = ErasureHouse(tmp_path / "house", remote="s3://boats/dvc")
    house.add("boats")
    before = house.hashes("boats")
    for hash_md5 in before:
        path = f"boats/dvc/files/md5/{hash_md5[:2]}/{hash_md5[2:]}"
        admin.pipe_file(path, admin.cat_file(path))  # a second version
    assert [len(versions_of(admin, hash_md5)) for hash_md5 in before] == [2, 2]
    for place in ("cache", "snapshots"):  # it is fetched from the bucket to be looked at
        shutil.rmtree(house.home / place, ignore_errors=True)

    certificate, _ = forget(house.settings, house.ledger, house.brand("boats"), Person(PERSON), NOW)

    assert [versions_of(admin, hash_md5) for hash_md5 in before] == [[], []]
    for one in certificate.snapshots:
        assert len(versions_of(admin, str(one["after"]))) == 1
        with pytest.raises(SnapshotMissingError):
            house.project("boats").fetch("sales", str(one["before"]))
