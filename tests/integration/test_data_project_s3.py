"""Snapshots in a real S3 store: a SeaweedFS process on this machine, with one identity a brand."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))

from data_house import MakeBrand, brand_maker
from feed_house import pull_sales

from brandhouse_flows.content import hash_file
from brandhouse_flows.data_project import DataProject
from brandhouse_shared.errors import DatasetError, RetryableError
from brandhouse_shared.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(root=tmp_path / "house", home=tmp_path / "home", ledger_url=SecretStr("sqlite://"), actor="tester")


@pytest.fixture
def make_brand(settings: Settings, tmp_path: Path) -> MakeBrand:
    return brand_maker(settings, tmp_path)


WEED = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")

pytestmark = pytest.mark.alone


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for item in sockets:
            item.bind(("127.0.0.1", 0))
        return [item.getsockname()[1] for item in sockets]
    finally:
        for item in sockets:
            item.close()


def identity(name: str, actions: list[str]) -> dict[str, object]:
    return {"name": name, "credentials": [{"accessKey": f"{name}-key", "secretKey": f"{name}-secret"}], "actions": actions}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a running store with the buckets `boats` and `bikes`, each open to its brand's identity only."""
    import s3fs

    folder = tmp_path_factory.mktemp("s3")
    own = [identity(name, [f"{right}:{name}" for right in ("Read", "Write", "List")]) for name in ("boats", "bikes")]
    (folder / "s3.json").write_text(json.dumps({"identities": [*own, identity("root", ["Admin", "Read", "Write", "List"])]}))
    s3, filer, master, volume = free_ports(4)
    ports = [f"-s3.port={s3}", f"-filer.port={filer}", f"-master.port={master}", f"-volume.port={volume}"]
    off = ["-master.telemetry=false", "-s3.port.iceberg=0", "-s3.port.lance=0", "-webdav=false", "-admin.ui=false"]
    command = [
        str(WEED),
        f"-logdir={folder}",
        "mini",
        f"-dir={folder}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-s3.config=s3.json",
        *ports,
        *off,
    ]
    url = f"http://127.0.0.1:{s3}"
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        admin = s3fs.S3FileSystem(key="root-key", secret="root-secret", endpoint_url=url)
        _make_buckets(admin, time.monotonic() + 60)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def _make_buckets(admin: object, deadline: float) -> None:
    while True:
        try:
            for name in ("boats", "bikes"):
                if not admin.exists(name):  # type: ignore[attr-defined]
                    admin.mkdir(name)  # type: ignore[attr-defined]
            return
        except Exception:  # the store is not up yet
            if time.monotonic() > deadline:
                raise
            time.sleep(0.3)


@pytest.fixture
def give_keys(monkeypatch: pytest.MonkeyPatch, store: str) -> object:
    """Set a brand's variables to some identity's keys."""

    def give(brand: str, owner: str, url: str = store) -> None:
        values = {"ACCESS_KEY_ID": f"{owner}-key", "SECRET_ACCESS_KEY": f"{owner}-secret", "ENDPOINT_URL": url, "REGION": "us-east-1"}
        for name, value in values.items():
            monkeypatch.setenv(f"BRANDHOUSE_SECRET_{brand.upper()}_AWS_{name}", value)

    return give


def forget(settings: Settings) -> None:
    """Leave only what the remote holds."""
    for place in ("cache", "snapshots"):
        shutil.rmtree(settings.home / place, ignore_errors=True)


def test_a_snapshot_comes_back_from_the_store(settings: Settings, make_brand: MakeBrand, give_keys: object) -> None:
    give_keys("boats", "boats")  # type: ignore[operator]
    project = DataProject(make_brand("boats", more='remote = "s3://boats/dvc"'), settings)
    snapshot = project.import_source("sales")
    forget(settings)

    assert hash_file(project.fetch("sales", snapshot.hash_md5)) == snapshot.hash_md5, "byte for byte, by its hash"
    written = b"".join(path.read_bytes() for folder in (settings.home, settings.root) for path in folder.rglob("*") if path.is_file())
    assert b"boats-secret" not in written, "no credential is ever written to disk"


def test_a_damaged_object_is_said_and_restored_by_an_import(
    settings: Settings, make_brand: MakeBrand, give_keys: object, store: str
) -> None:
    import s3fs

    give_keys("boats", "boats")  # type: ignore[operator]
    project = DataProject(make_brand("boats", b"size,price\n2,two\n", more='remote = "s3://boats/dvc"'), settings)
    snapshot = project.import_source("sales")
    admin = s3fs.S3FileSystem(key="root-key", secret="root-secret", endpoint_url=store, use_listings_cache=False)
    admin.pipe_file(f"boats/dvc/files/md5/{snapshot.hash_md5[:2]}/{snapshot.hash_md5[2:]}", b"x" * snapshot.size_bytes)
    forget(settings)

    with pytest.raises(DatasetError, match="is damaged and was not used"):
        project.fetch("sales", snapshot.hash_md5)
    project.import_source("sales")
    forget(settings)
    assert hash_file(project.fetch("sales", snapshot.hash_md5)) == snapshot.hash_md5, "the import put the right bytes there"


def test_a_brand_with_anothers_keys_or_none_gets_nothing(settings: Settings, make_brand: MakeBrand, give_keys: object) -> None:
    project = DataProject(make_brand("bikes", more='remote = "s3://bikes/dvc"'), settings)

    with pytest.raises(DatasetError, match="set BRANDHOUSE_SECRET_BIKES_AWS_ACCESS_KEY_ID"):
        project.import_source("sales")
    give_keys("bikes", "boats")  # type: ignore[operator]
    with pytest.raises(DatasetError, match=r"the remote cannot be used: PermissionError") as caught:
        project.import_source("sales")
    assert "boats-secret" not in str(caught.value), "no secret in a message"


def test_a_store_that_does_not_answer_is_tried_again_later(settings: Settings, make_brand: MakeBrand, give_keys: object) -> None:
    (port,) = free_ports(1)
    give_keys("bikes", "bikes", f"http://127.0.0.1:{port}")  # type: ignore[operator]

    with pytest.raises(RetryableError, match="does not answer"):
        DataProject(make_brand("bikes", more='remote = "s3://bikes/dvc"'), settings).import_source("sales")


def test_an_object_is_a_source_and_downloaded_only_if_it_changed(
    settings: Settings, make_brand: MakeBrand, give_keys: object, store: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import s3fs

    settings = Settings.model_validate({**settings.model_dump(), "ledger_url": SecretStr(f"sqlite:///{tmp_path / 'ledger.db'}")})
    give_keys("boats", "boats")  # type: ignore[operator]
    admin = s3fs.S3FileSystem(key="root-key", secret="root-secret", endpoint_url=store, use_listings_cache=False)
    admin.pipe_file("boats/in/sales.csv", b"size,price\n1,10\n2,20\n")
    brand = make_brand("boats", source='{kind = "s3", url = "s3://boats/in/sales.csv"}')
    first = pull_sales(settings, brand)
    assert first.rows == {"price": 2} and first.snapshot.changed

    with monkeypatch.context() as patched:
        patched.setattr(s3fs.S3FileSystem, "get_file", lambda *_, **__: pytest.fail("the object was downloaded again"))
        assert not pull_sales(settings, brand).snapshot.changed
    admin.pipe_file("boats/in/sales.csv", b"size,price\n1,10\n2,20\n3,30\n")
    assert pull_sales(settings, brand).rows == {"price": 3}
    written = b"".join(path.read_bytes() for folder in (settings.home, settings.root) for path in folder.rglob("*") if path.is_file())
    assert b"boats-secret" not in written


def test_an_object_that_is_missing_closed_or_too_large_is_named(
    settings: Settings, make_brand: MakeBrand, give_keys: object, store: str, tmp_path: Path
) -> None:
    import s3fs

    settings = Settings.model_validate({**settings.model_dump(), "ledger_url": SecretStr(f"sqlite:///{tmp_path / 'ledger.db'}")})
    admin = s3fs.S3FileSystem(key="root-key", secret="root-secret", endpoint_url=store, use_listings_cache=False)
    admin.pipe_file("boats/in/large.csv", b"1,1\n" * (300 << 10))
    give_keys("bikes", "bikes")  # type: ignore[operator]
    sources = {
        "bikes/in/nothing.csv": "does not exist, or the brand's key may not see it",
        "boats/in/large.csv": "the brand's key may not read s3://boats/in/large.csv",
    }
    for number, (key, message) in enumerate(sources.items()):
        name = f"bikes{number}"
        give_keys(name, "bikes")  # type: ignore[operator]
        with pytest.raises(DatasetError, match=message):
            pull_sales(settings, make_brand(name, source=f'{{kind = "s3", url = "s3://{key}"}}'))
    give_keys("boats", "boats")  # type: ignore[operator]
    with pytest.raises(DatasetError, match="allowed: max_mib = 1"):
        pull_sales(settings, make_brand("boats", source='{kind = "s3", url = "s3://boats/in/large.csv", max_mib = 1}'))
