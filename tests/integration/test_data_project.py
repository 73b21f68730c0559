"""Two invented brands with real DVC projects, caches and remotes."""

import fcntl
import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import SecretStr

from brandhouse_flows.content import hash_file
from brandhouse_flows.data_project import DataProject
from brandhouse_flows.remotes import remote_address, remote_credentials
from brandhouse_shared.brands import Brand, find_brand
from brandhouse_shared.errors import DataProjectLockedError, DatasetError, SnapshotMismatchError
from brandhouse_shared.settings import Settings

BRAND_TOML = """
name = "{name}"
title = "An invented brand"
story = "It exists in a test only."
owner = "team-{name}"
risk = "low"
budget_eur_month = 10
{more}
[datasets.sales]
file = "data/sales.csv"
source = {source}
[models.price]
entrypoint = "brand_{name}.price"
dataset = "sales"
task = "regression"
target = "price"
metric = "mae"
inputs.size = {{type = "number"}}
"""

MakeBrand = Callable[..., Brand]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(root=tmp_path / "house", home=tmp_path / "home", ledger_url=SecretStr("sqlite://"), actor="tester")


@pytest.fixture
def make_brand(settings: Settings, tmp_path: Path) -> MakeBrand:
    """A brand whose table lies in a file outside the house."""

    def make(name: str, table: bytes | None = None, *, source: str = "", more: str = "") -> Brand:
        folder = settings.brands_dir / name
        folder.mkdir(parents=True)
        outside = tmp_path / f"{name}.csv"
        outside.write_bytes(table if table is not None else f"size,price\n1,{name}\n".encode())
        source = source or f'{{kind = "file", path = "{outside}"}}'
        (folder / "brand.toml").write_text(BRAND_TOML.format(name=name, source=source, more=more))
        return find_brand(settings.brands_dir, name)

    return make


def files_below(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def object_of(settings: Settings, place: str, brand: str, hash_md5: str) -> Path:
    return settings.home / place / brand / "files" / "md5" / hash_md5[:2] / hash_md5[2:]


def damage(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(b"damaged" + path.read_bytes())
    path.chmod(0o444)


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


def test_a_missing_source_names_what_is_missing(settings: Settings, make_brand: MakeBrand, tmp_path: Path) -> None:
    project = DataProject(make_brand("boats"), settings)
    (tmp_path / "boats.csv").unlink()

    with pytest.raises(DatasetError, match=r"boats/sales: the source .*boats\.csv does not exist"):
        project.import_source("sales")


def test_a_source_on_another_machine_is_replaced_by_the_committed_snapshot(
    settings: Settings, make_brand: MakeBrand, tmp_path: Path
) -> None:
    project = DataProject(make_brand("boats"), settings)
    snapshot = project.import_source("sales")
    (tmp_path / "boats.csv").unlink()
    snapshot.path.unlink()

    assert hash_file(project.import_source("sales").path) == snapshot.hash_md5, "the remote has what the pointer names"


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ('{kind = "package", package = "pandas", path = "../secrets.csv"}', "leaves package pandas"),
        ('{kind = "package", package = "pandas", path = "absent.csv"}', "has no file 'absent.csv'"),
        ('{kind = "package", package = "no_such_package", path = "x"}', "no_such_package is not installed"),
        ('{kind = "package", package = "brand_bikes", path = "x"}', "may not read another brand"),
        ('{kind = "package", package = "os.path", path = "x"}', "is no package"),
        ('{kind = "file", path = "../bikes/data/sales.csv"}', "another brand's folder"),
        ('{kind = "file", path = "/dev/null"}', "does not exist"),
    ],
)
def test_a_bad_source_is_refused(settings: Settings, make_brand: MakeBrand, source: str, says: str) -> None:
    with pytest.raises(DatasetError, match=says):
        DataProject(make_brand("boats", source=source), settings).import_source("sales")


def test_an_empty_source_is_refused(settings: Settings, make_brand: MakeBrand) -> None:
    with pytest.raises(DatasetError, match="is empty"):
        DataProject(make_brand("boats", table=b""), settings).import_source("sales")


def test_a_package_is_read_without_being_imported(settings: Settings, make_brand: MakeBrand, tmp_path: Path) -> None:
    package = tmp_path / "site" / "carries_a_table"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "table.csv").write_bytes(b"size,price\n1,2\n")
    brand = make_brand("boats", source='{kind = "package", package = "carries_a_table", path = "table.csv"}')
    sys.path.insert(0, str(tmp_path / "site"))
    try:
        assert DataProject(brand, settings).import_source("sales").path.read_bytes() == b"size,price\n1,2\n", "byte for byte"
    finally:
        sys.path.remove(str(tmp_path / "site"))


@pytest.mark.parametrize("text", ["", "outs: 3", "outs:\n- md5: nonsense\n  size: 1\n", "{", "outs:\n- path: x\n"])
def test_a_broken_pointer_is_said(settings: Settings, make_brand: MakeBrand, text: str) -> None:
    brand = make_brand("boats")
    project = DataProject(brand, settings)
    project.import_source("sales")
    (brand.folder / "data" / "sales.csv.dvc").write_text(text)

    with pytest.raises(DatasetError, match=r"no pointer to one file|no snapshot hash"):
        project.import_source("sales")


def test_a_project_locked_by_another_process_is_waited_for_and_then_said(settings: Settings, make_brand: MakeBrand) -> None:
    brand = make_brand("boats")
    lock = settings.home / "locks" / "data-boats.lock"
    lock.parent.mkdir(parents=True)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(DataProjectLockedError, match="boats: the data project is locked") as caught:
            DataProject(brand, settings, lock_wait_seconds=0.1).import_source("sales")
    assert caught.value.retry_after_seconds > 0, "a lock passes: the run is tried again"

    assert DataProject(brand, settings).import_source("sales").changed, "once it is free the import runs"


def test_a_dvc_command_by_hand_is_respected(settings: Settings, make_brand: MakeBrand) -> None:
    from dvc.lock import make_lock

    brand = make_brand("boats")
    project = DataProject(brand, settings, lock_wait_seconds=0.1)
    project.ensure_initialised()
    (brand.folder / ".dvc" / "tmp").mkdir()
    with make_lock(str(brand.folder / ".dvc" / "tmp" / "lock")), pytest.raises(DataProjectLockedError, match="running dvc command"):
        project.import_source("sales")


def _import_with_little_space(folder: str, home: str, answer: str) -> None:
    import resource
    import signal

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    settings = Settings(root=Path(folder), home=Path(home), ledger_url=SecretStr("sqlite://"))
    try:
        DataProject(find_brand(settings.brands_dir, "boats"), settings).import_source("sales", accept_new=True)
    except Exception as error:
        Path(answer).write_text(f"{type(error).__name__}: {error}")


@pytest.mark.parametrize("copied", [False, True], ids=["in the folder", "in the cache"])
def test_a_full_disk_leaves_nothing_half_written(settings: Settings, make_brand: MakeBrand, tmp_path: Path, copied: bool) -> None:
    brand = make_brand("boats")
    project = DataProject(brand, settings)
    old = project.import_source("sales")
    (tmp_path / "boats.csv").write_bytes(b"size,price\n" + b"1,2\n" * 100_000)
    if copied:
        old.path.write_bytes((tmp_path / "boats.csv").read_bytes())
    before = {
        **files_below(brand.folder / "data"),
        **files_below(settings.home / "remotes"),
        **files_below(settings.home / "cache" / "dvc"),
    }

    process = multiprocessing.get_context("spawn").Process(
        target=_import_with_little_space, args=(str(settings.root), str(settings.home), str(tmp_path / "answer"))
    )
    process.start()
    process.join()

    assert (tmp_path / "answer").read_text().startswith("DiskFullError: no space left"), "the reason is said"
    after = {**files_below(brand.folder / "data"), **files_below(settings.home / "remotes"), **files_below(settings.home / "cache" / "dvc")}
    assert after == before, "no file was changed, and no temporary one is left"
    assert project.fetch("sales", old.hash_md5).is_file(), "the old snapshot is still there"


def _import_together(folder: str, home: str, name: str, barrier: object, answers: object) -> None:
    settings = Settings(root=Path(folder), home=Path(home), ledger_url=SecretStr("sqlite://"))
    project = DataProject(find_brand(settings.brands_dir, name), settings)
    barrier.wait()  # type: ignore[attr-defined]
    try:
        snapshot = project.import_source("sales")
        answers.put((name, hash_file(project.fetch("sales", snapshot.hash_md5))))  # type: ignore[attr-defined]
    except Exception as error:
        answers.put((name, repr(error)))  # type: ignore[attr-defined]


@pytest.mark.parametrize("shared", [False, True], ids=["twelve brands", "twelve runs of one brand"])
def test_twelve_processes_at_once_do_not_disturb_each_other(
    settings: Settings, make_brand: MakeBrand, tmp_path: Path, shared: bool
) -> None:
    names = ["boats"] * 12 if shared else [f"brand{number:02}" for number in range(12)]
    for name in set(names):
        make_brand(name)
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(12), context.Queue()
    arguments = [(str(settings.root), str(settings.home), name, barrier, answers) for name in names]
    processes = [context.Process(target=_import_together, args=argument) for argument in arguments]
    for process in processes:
        process.start()
    results = [answers.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()

    expected = sorted((name, hash_file(tmp_path / f"{name}.csv")) for name in names)
    assert sorted(results) == expected, "every process ends with its own brand's bytes"


def test_a_stamp_of_another_content_is_not_believed(settings: Settings, make_brand: MakeBrand, tmp_path: Path) -> None:
    project = DataProject(make_brand("boats"), settings)
    snapshot = project.import_source("sales")
    source = tmp_path / "boats.csv"
    time.sleep(0.01)
    source.write_bytes(source.read_bytes().swapcase())  # the same size, other bytes

    with pytest.raises(SnapshotMismatchError):
        project.import_source("sales")
    stamp = settings.home / "imports" / "boats" / "sales.json"
    stamp.write_text(json.dumps({"hash_md5": "0" * 32}))
    source.write_bytes(snapshot.path.read_bytes())
    assert project.import_source("sales").hash_md5 == snapshot.hash_md5, "a stamp that does not fit is ignored"
