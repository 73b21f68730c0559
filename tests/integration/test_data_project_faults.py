"""What a data project does with bad sources, locks, full disks and many processes at once."""

import fcntl
import json
import multiprocessing
import sys
import time
from pathlib import Path

import pytest
from pydantic import SecretStr

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))

from data_house import MakeBrand, brand_maker, files_below

from brandhouse_flows.content import hash_file
from brandhouse_flows.data_project import DataProject
from brandhouse_shared.brands import find_brand
from brandhouse_shared.errors import DataProjectLockedError, DatasetError, SnapshotMismatchError
from brandhouse_shared.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(root=tmp_path / "house", home=tmp_path / "home", ledger_url=SecretStr("sqlite://"), actor="tester")


@pytest.fixture
def make_brand(settings: Settings, tmp_path: Path) -> MakeBrand:
    return brand_maker(settings, tmp_path)


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

    sys.dont_write_bytecode = True  # a file of byte code, cut off at the limit, would stay and break every later import
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
