"""Two invented brands with real DVC projects, caches and remotes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))

from data_house import MakeBrand, brand_maker, damage, files_below, object_of

from brandhouse_flows.content import hash_file
from brandhouse_flows.data_project import DataProject
from brandhouse_flows.remotes import remote_address, remote_credentials
from brandhouse_shared.errors import DatasetError, SnapshotMismatchError
from brandhouse_shared.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(root=tmp_path / "house", home=tmp_path / "home", ledger_url=SecretStr("sqlite://"), actor="tester")


@pytest.fixture
def make_brand(settings: Settings, tmp_path: Path) -> MakeBrand:
    return brand_maker(settings, tmp_path)


def test_an_import_fills_folder_cache_and_remote(settings: Settings, make_brand: MakeBrand, tmp_path: Path) -> None:
    brand = make_brand("boats")
    project = DataProject(brand, settings)

    snapshot = project.import_source("sales")

    assert snapshot.changed, "the first import of a new dataset writes the pointer"
    assert snapshot.path.read_bytes() == (tmp_path / "boats.csv").read_bytes(), "byte for byte"
    assert project.pointer("sales").hash_md5 == snapshot.hash_md5 == hash_file(snapshot.path), "the pointer names the bytes"
    for place in ("cache/dvc", "remotes"):
        assert hash_file(object_of(settings, place, "boats", snapshot.hash_md5)) == snapshot.hash_md5, place
    assert "/sales.csv" in (brand.folder / "data" / ".gitignore").read_text().splitlines(), "the table stays out of Git"
    assert str(tmp_path) not in (brand.folder / ".dvc" / "config").read_text(), "what is committed names no machine"


def test_dvc_itself_finds_the_project_in_order(settings: Settings, make_brand: MakeBrand) -> None:
    brand = make_brand("boats")
    snapshot = DataProject(brand, settings).import_source("sales")
    snapshot.path.unlink()
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": str(settings.home / "site")}

    def dvc(*words: str) -> str:
        done = subprocess.run([sys.executable, "-m", "dvc", *words], cwd=brand.folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    dvc("pull")
    assert hash_file(snapshot.path) == snapshot.hash_md5, "a plain `dvc pull` in the brand's folder brings the table back"
    assert "up to date" in dvc("status"), "and `dvc status` agrees with the pointer"


def test_a_second_import_changes_nothing_and_is_fast(settings: Settings, make_brand: MakeBrand) -> None:
    brand = make_brand("boats")
    DataProject(brand, settings).import_source("sales")
    before = {path: path.stat().st_mtime_ns for path in [*brand.folder.rglob("*"), *settings.home.rglob("*")]}

    program = (
        "import sys, time; from pathlib import Path; from pydantic import SecretStr\n"
        "from brandhouse_flows.data_project import DataProject\n"
        "from brandhouse_shared.brands import find_brand\nfrom brandhouse_shared.settings import Settings\n"
        f"settings = Settings(root=Path({str(settings.root)!r}), home=Path({str(settings.home)!r}), ledger_url=SecretStr('sqlite://'))\n"
        "brand = find_brand(settings.brands_dir, 'boats')\n"
        "start = time.perf_counter(); snapshot = DataProject(brand, settings).import_source('sales')\n"
        "print(snapshot.changed, 'dvc' in sys.modules, time.perf_counter() - start)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    changed, imported_dvc, seconds = done.stdout.split()

    assert (changed, imported_dvc) == ("False", "False"), "DVC is not even imported when all is there"
    assert float(seconds) < 0.05, f"an import without work took {seconds} s"
    after = {path: path.stat().st_mtime_ns for path in [*brand.folder.rglob("*"), *settings.home.rglob("*")]}
    assert after == before, "nothing is written again"


def test_other_bytes_than_the_pointer_names_are_refused(settings: Settings, make_brand: MakeBrand, tmp_path: Path) -> None:
    brand = make_brand("boats")
    project = DataProject(brand, settings)
    old = project.import_source("sales")
    (tmp_path / "boats.csv").write_text("size,price\n9,9\n")

    with pytest.raises(SnapshotMismatchError, match=r"boats: data/sales\.csv has hash .*--accept-new"):
        project.import_source("sales")

    assert project.pointer("sales").hash_md5 == hash_file(old.path) == old.hash_md5, "nothing was changed by the refusal"


def test_accepted_new_data_move_the_pointer_and_keep_the_old_snapshot(settings: Settings, make_brand: MakeBrand, tmp_path: Path) -> None:
    brand = make_brand("boats")
    project = DataProject(brand, settings)
    old = project.import_source("sales")
    old_bytes = old.path.read_bytes()
    (tmp_path / "boats.csv").write_text("size,price\n9,9\n")

    new = project.import_source("sales", accept_new=True)
    for path in files_below(settings.home / "cache"):
        path.unlink()

    assert new.changed and project.pointer("sales").hash_md5 == new.hash_md5 != old.hash_md5, "the pointer moved"
    assert project.fetch("sales", old.hash_md5).read_bytes() == old_bytes, "the old snapshot comes from the remote by its hash"
    assert project.fetch("sales", new.hash_md5).read_bytes() == new.path.read_bytes(), "and so does the new one"
    assert project.fetch("sales", old.hash_md5) != project.fetch("sales", new.hash_md5), "each under a path that stays"


def test_a_fresh_machine_rebuilds_the_committed_snapshot(settings: Settings, make_brand: MakeBrand, tmp_path: Path) -> None:
    brand = make_brand("boats")
    first = DataProject(brand, settings).import_source("sales")
    first.path.unlink()
    elsewhere = settings.model_copy(update={"home": tmp_path / "other-home"})

    snapshot = DataProject(brand, elsewhere).import_source("sales")

    assert (snapshot.hash_md5, snapshot.changed) == (first.hash_md5, False), "same bytes, and the pointer is left alone"
    assert object_of(elsewhere, "remotes", "boats", first.hash_md5).is_file(), "the new machine's remote has them too"


def test_a_file_altered_by_hand_is_made_from_its_source_again(settings: Settings, make_brand: MakeBrand) -> None:
    project = DataProject(make_brand("boats"), settings)
    snapshot = project.import_source("sales")
    snapshot.path.write_bytes(snapshot.path.read_bytes()[:-4])

    assert hash_file(project.import_source("sales").path) == snapshot.hash_md5, "what is trained on is what the pointer names"


def test_a_lost_or_damaged_copy_is_restored_by_an_import(settings: Settings, make_brand: MakeBrand) -> None:
    project = DataProject(make_brand("boats"), settings)
    snapshot = project.import_source("sales")
    remote = object_of(settings, "remotes", "boats", snapshot.hash_md5)
    remote.unlink()
    damage(object_of(settings, "cache/dvc", "boats", snapshot.hash_md5))

    project.import_source("sales")

    for place in ("cache/dvc", "remotes"):
        assert hash_file(object_of(settings, place, "boats", snapshot.hash_md5)) == snapshot.hash_md5, place


def test_a_damaged_cache_is_noticed_and_fetched_again(settings: Settings, make_brand: MakeBrand) -> None:
    project = DataProject(make_brand("boats"), settings)
    snapshot = project.import_source("sales")
    cached = object_of(settings, "cache/dvc", "boats", snapshot.hash_md5)
    damage(cached)

    assert hash_file(project.fetch("sales", snapshot.hash_md5)) == snapshot.hash_md5, "the remote's copy was used"
    assert hash_file(cached) == snapshot.hash_md5, "the damaged copy is gone"


def test_a_damaged_remote_is_said_and_its_bytes_are_not_used(settings: Settings, make_brand: MakeBrand) -> None:
    project = DataProject(make_brand("boats"), settings)
    snapshot = project.import_source("sales")
    damage(object_of(settings, "remotes", "boats", snapshot.hash_md5))
    object_of(settings, "cache/dvc", "boats", snapshot.hash_md5).unlink()

    with pytest.raises(DatasetError, match=r"remote's copy of snapshot .* is damaged"):
        project.fetch("sales", snapshot.hash_md5)

    assert not files_below(settings.home / "cache" / "dvc"), "no damaged byte entered the cache"
    project.import_source("sales")


def test_a_snapshot_altered_in_its_folder_is_made_again(settings: Settings, make_brand: MakeBrand) -> None:
    project = DataProject(make_brand("boats"), settings)
    snapshot = project.import_source("sales")
    damage(project.fetch("sales", snapshot.hash_md5))

    assert hash_file(project.fetch("sales", snapshot.hash_md5)) == snapshot.hash_md5, "every fetch checks every byte"


@pytest.mark.parametrize(
    ("hash_md5", "says"),
    [("0" * 32, "no snapshot 0000"), ("../../../etc/passwd", "no snapshot hash"), ("", "no snapshot hash"), ("A" * 32, "no snapshot hash")],
)
def test_an_unknown_or_impossible_hash_is_refused(settings: Settings, make_brand: MakeBrand, hash_md5: str, says: str) -> None:
    project = DataProject(make_brand("boats"), settings)
    project.import_source("sales")

    with pytest.raises(DatasetError, match=says):
        project.fetch("sales", hash_md5)


def test_one_brands_cache_and_remote_never_hold_anothers_bytes(settings: Settings, make_brand: MakeBrand) -> None:
    brands = [make_brand("boats"), make_brand("bikes")]
    snapshots = {brand.name: DataProject(brand, settings).import_source("sales") for brand in brands}

    with pytest.raises(DatasetError, match="no snapshot"):
        DataProject(brands[0], settings).fetch("sales", snapshots["bikes"].hash_md5)

    for own, other in (("boats", "bikes"), ("bikes", "boats")):
        for place in ("cache/dvc", "remotes", "snapshots"):
            contents = files_below(settings.home / place / own).values()
            assert not any(other.encode() in content for content in contents), f"{place} of {own} holds bytes of {other}"


def test_a_brand_may_not_point_its_remote_at_anothers(settings: Settings, make_brand: MakeBrand) -> None:
    brand = make_brand("boats", more=f'remote = "{settings.home}/remotes/bikes"')

    with pytest.raises(DatasetError, match="lies among other brands' remotes"):
        DataProject(brand, settings)


def test_a_declared_folder_is_used_as_remote(settings: Settings, make_brand: MakeBrand, tmp_path: Path) -> None:
    brand = make_brand("boats", more=f'remote = "{tmp_path}/shelf"')

    snapshot = DataProject(brand, settings).import_source("sales")

    assert remote_address(brand, settings) == str(tmp_path / "shelf"), "the declaration wins over the default"
    assert (tmp_path / "shelf" / "files" / "md5" / snapshot.hash_md5[:2] / snapshot.hash_md5[2:]).is_file(), "the bytes lie there"


def test_credentials_come_from_the_brands_own_variables_only() -> None:
    environment = {
        "AWS_ACCESS_KEY_ID": "machine",
        "AWS_SECRET_ACCESS_KEY": "machine",
        "BRANDHOUSE_SECRET_BOATS_AWS_ACCESS_KEY_ID": "boats-key",
        "BRANDHOUSE_SECRET_BOATS_AWS_SECRET_ACCESS_KEY": "boats-secret",
        "BRANDHOUSE_SECRET_BOATS_AWS_AWS_ACCESS_KEY_ID": "of brand boats_aws",
    }

    assert remote_credentials("boats", "s3://shelf/boats", environment) == {
        "access_key_id": "boats-key",
        "secret_access_key": "boats-secret",
    }, "neither the machine's nor another brand's"
    with pytest.raises(DatasetError, match="set BRANDHOUSE_SECRET_BIKES_AWS_ACCESS_KEY_ID") as caught:
        remote_credentials("bikes", "s3://shelf/bikes", environment)
    assert "boats-secret" not in str(caught.value), "no secret in a message"


def test_a_source_that_was_emptied_is_refused_and_not_made_up_for_by_the_old_snapshot(
    settings: Settings, make_brand: MakeBrand, tmp_path: Path
) -> None:
    project = DataProject(make_brand("boats"), settings)
    project.import_source("sales")
    (tmp_path / "boats.csv").write_bytes(b"")

    with pytest.raises(DatasetError, match="empty"):
        project.import_source("sales")
