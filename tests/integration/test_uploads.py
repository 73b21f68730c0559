"""Data that a person hands over become the snapshot, once, for this machine and all others."""

import shutil
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))

from data_house import MakeBrand, brand_maker, files_below

from brandhouse_flows.content import hash_file
from brandhouse_flows.data_project import DataProject
from brandhouse_flows.uploads import take_upload
from brandhouse_shared.errors import DatasetError, RetryableError
from brandhouse_shared.ledger import open_ledger
from brandhouse_shared.settings import Settings

UPLOAD = '{kind = "upload"}'


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    return Settings(root=tmp_path / "house", home=tmp_path / "home", ledger_url=SecretStr(url), actor="tester")


@pytest.fixture
def make_brand(settings: Settings, tmp_path: Path) -> MakeBrand:
    return brand_maker(settings, tmp_path)


def write(path: Path, *prices: int) -> Path:
    path.write_text("size,price\n" + "".join(f"{size},{price}\n" for size, price in enumerate(prices)))
    return path


def test_an_uploaded_file_becomes_the_snapshot_and_is_recorded_once(settings: Settings, make_brand: MakeBrand, tmp_path: Path) -> None:
    boats, bikes = make_brand("boats", source=UPLOAD), make_brand("bikes", source=UPLOAD)
    ledger = open_ledger(settings.ledger_url.get_secret_value())
    file = write(tmp_path / "march.csv", 10, 20)

    first = take_upload(settings, boats, "sales", file, ledger)
    again = take_upload(settings, boats, "sales", file, ledger)

    assert first.changed and not again.changed, "the same bytes again change nothing"
    assert first.path.read_bytes() == file.read_bytes()
    (record,) = ledger.snapshots("boats")
    assert (record.rows, record.source, record.hash_md5) == (2, "upload of march.csv", hash_file(file))
    assert DataProject(boats, settings).import_source("sales").hash_md5 == first.hash_md5, "training finds it"
    assert not ledger.snapshots("bikes") and not list(settings.home.glob("*/bikes/**/*")), "the other brand has nothing of it"
    assert not list((settings.home / "arrivals").rglob("*.csv")), "no second copy is left behind"
    with pytest.raises(DatasetError, match="brandhouse ingest bikes --from FILE --dataset sales"):
        DataProject(bikes, settings).import_source("sales")


def test_new_bytes_are_a_new_snapshot_and_the_old_one_stays(settings: Settings, make_brand: MakeBrand, tmp_path: Path) -> None:
    boats = make_brand("boats", source=UPLOAD)
    ledger = open_ledger(settings.ledger_url.get_secret_value())
    old = take_upload(settings, boats, "sales", write(tmp_path / "a.csv", 1, 2), ledger)
    new = take_upload(settings, boats, "sales", write(tmp_path / "a.csv", 1, 2, 3), ledger)

    assert new.changed and new.hash_md5 != old.hash_md5
    assert DataProject(boats, settings).fetch("sales", old.hash_md5).read_text().count("\n") == 3, "what was trained on can be replayed"
    assert [record.rows for record in ledger.snapshots("boats")] == [3, 2]


def test_another_machine_fetches_the_upload_by_its_pointer(settings: Settings, make_brand: MakeBrand, tmp_path: Path) -> None:
    boats = make_brand("boats", source=UPLOAD)
    ledger = open_ledger(settings.ledger_url.get_secret_value())
    snapshot = take_upload(settings, boats, "sales", write(tmp_path / "a.csv", 5, 6), ledger)
    for place in ("cache", "snapshots", "imports"):
        shutil.rmtree(settings.home / place, ignore_errors=True)
    snapshot.path.unlink()

    fetched = DataProject(boats, settings).import_source("sales")

    assert not fetched.changed and hash_file(fetched.path) == snapshot.hash_md5
    fetched.path.write_text("edited by hand\n")
    assert hash_file(DataProject(boats, settings).import_source("sales").path) == snapshot.hash_md5, "the pointer decides"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.csv", None, "is no file"),
        ("empty.csv", "", "is empty"),
        ("packed.csv.gz", "x", "allowed: a file that is not packed"),
        ("header.csv", "size,price\n", "columns but no row"),
    ],
)
def test_a_file_that_cannot_be_data_changes_nothing(
    settings: Settings, make_brand: MakeBrand, tmp_path: Path, name: str, content: str | None, message: str
) -> None:
    boats = make_brand("boats", source=UPLOAD)
    ledger = open_ledger(settings.ledger_url.get_secret_value())
    take_upload(settings, boats, "sales", write(tmp_path / "good.csv", 1, 2), ledger)
    before = files_below(boats.folder)
    if content is not None:
        (tmp_path / name).write_text(content)

    with pytest.raises(DatasetError, match=message):
        take_upload(settings, boats, "sales", tmp_path / name, ledger)
    assert files_below(boats.folder) == before
    assert len(ledger.snapshots("boats")) == 1


def test_a_remote_that_fails_leaves_data_and_pointer_as_they_were(settings: Settings, make_brand: MakeBrand, tmp_path: Path) -> None:
    boats = make_brand("boats", source=UPLOAD)
    ledger = open_ledger(settings.ledger_url.get_secret_value())
    take_upload(settings, boats, "sales", write(tmp_path / "good.csv", 1, 2), ledger)
    before = files_below(boats.folder)
    shutil.rmtree(settings.home / "remotes" / "boats")
    (settings.home / "remotes" / "boats").write_text("a file where the remote's folder was")

    with pytest.raises((DatasetError, RetryableError)):
        take_upload(settings, boats, "sales", write(tmp_path / "new.csv", 3, 4), ledger)
    assert files_below(boats.folder) == before


def test_a_dataset_of_another_source_takes_no_uploads(settings: Settings, make_brand: MakeBrand, tmp_path: Path) -> None:
    boats = make_brand("boats")
    ledger = open_ledger(settings.ledger_url.get_secret_value())

    with pytest.raises(DatasetError, match="its source is file, not a file handed over"):
        take_upload(settings, boats, "sales", write(tmp_path / "a.csv", 1, 2), ledger)
    with pytest.raises(DatasetError, match="unknown dataset 'orders'; known: sales"):
        take_upload(settings, boats, "orders", write(tmp_path / "a.csv", 1, 2), ledger)
