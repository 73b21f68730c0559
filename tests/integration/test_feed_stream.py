"""A dataset that grows by files dropped into a folder: each file once, also when a process is killed in the middle."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from pydantic import SecretStr

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))

from feed_house import KILLED, feed_brand, pull_sales, rows_of, write_batch

from brandhouse_flows.data_project import DataProject
from brandhouse_shared.brands import Brand
from brandhouse_shared.errors import ContractViolationError, DatasetError
from brandhouse_shared.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    return Settings(root=tmp_path / "house", home=tmp_path / "home", ledger_url=SecretStr(url), actor="tester")


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    folder = tmp_path / "drop"
    folder.mkdir()
    return folder


def stream_brand(settings: Settings, drop: Path, more: str = "", file: str = "data/sales.csv", keys: str = "") -> Brand:
    return feed_brand(settings, "boats", f'{{kind = "stream", folder = "{drop}"{more}}}', file=file, more=keys)


def sizes(item: object) -> list[int]:
    return [int(row[0]) for row in rows_of(item)]  # type: ignore[arg-type]


@pytest.mark.parametrize("file", ["data/sales.csv", "data/sales.csv.gz", "data/sales.csv.bz2"])
def test_batches_are_added_in_the_order_of_their_names_each_once(settings: Settings, drop: Path, file: str) -> None:
    brand = stream_brand(settings, drop, file=file)
    write_batch(drop / "b.csv", 5)
    write_batch(drop / "a.csv", 0)
    (drop / ".c.csv").write_text("size,price\n")
    (drop / "d.csv.part").write_text("size,price\n99")
    first = pull_sales(settings, brand)
    assert sizes(first) == list(range(10)), "what is not whole yet is not looked at"
    assert not pull_sales(settings, brand).snapshot.changed

    write_batch(drop / "c.csv", 10)
    assert sizes(pull_sales(settings, brand)) == list(range(15))
    assert sorted(path.name.partition("-")[2] for path in (drop / "taken").iterdir()) == ["a.csv", "b.csv", "c.csv"]


def test_equal_batches_make_equal_snapshots(settings: Settings, drop: Path, tmp_path: Path) -> None:
    hashes = set()
    for number in range(2):
        own = Settings.model_validate({**settings.model_dump(), "root": tmp_path / f"house{number}", "home": tmp_path / f"home{number}"})
        folder = tmp_path / f"drop{number}"
        folder.mkdir()
        brand = stream_brand(own, folder, file="data/sales.csv.gz")
        write_batch(folder / "a.csv", 0)
        pull_sales(own, brand)
        write_batch(folder / "b.csv", 5)
        hashes.add(pull_sales(own, brand).snapshot.hash_md5)
    assert len(hashes) == 1, "no time and no name is packed into the file"


def test_a_batch_that_is_delivered_again_is_taken_once_and_said(settings: Settings, drop: Path) -> None:
    brand = stream_brand(settings, drop)
    content = write_batch(drop / "a.csv", 0).read_bytes()
    pull_sales(settings, brand)
    (drop / "a.csv").write_bytes(content)
    again = pull_sales(settings, brand)

    assert sizes(again) == list(range(5)) and not (drop / "a.csv").exists()
    assert again.notes == ("a.csv was delivered again, and taken only once",)
    write_batch(drop / "a.csv", 5)
    assert sizes(pull_sales(settings, brand)) == list(range(10)), "other content under the same name is another batch"


def test_columns_in_another_order_json_lines_and_parquet_are_taken_too(settings: Settings, drop: Path) -> None:
    brand = stream_brand(settings, drop)
    write_batch(drop / "a.csv", 0, 1)
    (drop / "b.csv").write_text("price,size\n2,1\n")
    (drop / "c.jsonl").write_text('{"price": 4, "size": 2, "buyer": "J. de Vries"}\n\n{"size": 3, "price": 6.50}\n')
    pd.DataFrame({"size": [4], "price": [8]}).to_parquet(drop / "d.parquet")
    assert rows_of(pull_sales(settings, brand)) == [["0", "0"], ["1", "2"], ["2", "4"], ["3", "6.50"], ["4", "8"]]


def test_a_batch_that_does_not_fit_is_put_aside_with_the_reason(settings: Settings, drop: Path) -> None:
    brand = stream_brand(settings, drop)
    write_batch(drop / "a.csv", 0)
    (drop / "b.csv").write_text("size,weight\n1,2\n")
    (drop / "c.csv").write_text("size,price\n1,2\n3\n")
    (drop / "d.jsonl").write_text('{"size": 1, "price": 2}\nnot json\n')
    (drop / "e.csv.gz").write_bytes(b"no gzip")
    item = pull_sales(settings, brand)

    assert sizes(item) == list(range(5))
    reasons = {path.name.removesuffix(".reason.txt"): path.read_text().strip() for path in (drop / "refused").glob("*.reason.txt")}
    assert reasons == {
        "b.csv": "other columns than the dataset: lacks price; unknown weight",
        "c.csv": "line 3 has 1 cells, the header 2",
        "d.jsonl": "line 2 holds no JSON",
        "e.csv.gz": "it cannot be read (BadGzipFile)",
    }
    assert sum("refused" in note for note in item.notes) == 4, "each is told"
    assert not [path for path in drop.iterdir() if path.is_file()], "nothing is looked at for ever"


def test_few_batches_wait_until_there_are_enough_files_or_rows(settings: Settings, drop: Path) -> None:
    brand = stream_brand(settings, drop, ", every_batches = 3, every_rows = 20")
    write_batch(drop / "a.csv", 0)
    with pytest.raises(DatasetError, match=r"nothing has arrived yet\. 1 batches with 5 rows wait"):
        pull_sales(settings, brand)
    write_batch(drop / "b.csv", 5, 15)
    assert sizes(pull_sales(settings, brand)) == list(range(20)), "two files, but rows enough"
    write_batch(drop / "c.csv", 20)
    waiting = pull_sales(settings, brand)
    assert sizes(waiting) == list(range(20)) and "wait for more (every_batches = 3)" in waiting.notes[0]


def test_bad_rows_are_quarantined_and_too_many_keep_the_batch_waiting(settings: Settings, drop: Path) -> None:
    brand = stream_brand(settings, drop, keys="max_bad_share = 0.2")
    write_batch(drop / "a.csv", 0, 9)
    (drop / "b.csv").write_text("size,price\nhuge,1\n")
    item = pull_sales(settings, brand)
    assert (item.rows, item.quarantined) == ({"price": 9}, {"price": 1})
    (drop / "c.csv").write_text("size,price\n" + "huge,1\n" * 9)
    with pytest.raises(ContractViolationError, match="10 of 19 rows refused"):
        pull_sales(settings, brand)
    assert (drop / "c.csv").is_file() and item.snapshot.hash_md5 == DataProject(brand, settings).pointer("sales").hash_md5


@pytest.mark.parametrize("folder", ["../bikes/data/inbox", "src", "data", "../../brands/bikes/data/inbox", "data/../../bikes/data/inbox"])
def test_a_folder_of_another_brand_or_of_code_is_not_read(settings: Settings, folder: str) -> None:
    feed_brand(settings, "bikes", '{kind = "upload"}')
    (settings.brands_dir / "bikes/data/inbox").mkdir(parents=True)
    write_batch(settings.brands_dir / "bikes/data/inbox/a.csv", 0)
    brand = feed_brand(settings, "boats", f'{{kind = "stream", folder = "{folder}"}}')
    for name in ("src", "data"):
        (brand.folder / name).mkdir(exist_ok=True)

    with pytest.raises(DatasetError, match="is not the brand's; allowed: a folder below data/, or outside the workspace"):
        pull_sales(settings, brand)


def test_a_folder_below_the_brands_data_is_read(settings: Settings) -> None:
    brand = feed_brand(settings, "boats", '{kind = "stream", folder = "data/inbox"}')
    with pytest.raises(DatasetError, match="the folder data/inbox does not exist; make it"):
        pull_sales(settings, brand)
    (brand.folder / "data/inbox").mkdir(parents=True)
    write_batch(brand.folder / "data/inbox/a.csv", 0)
    assert sizes(pull_sales(settings, brand)) == list(range(5))


@pytest.mark.parametrize(
    ("module", "function"),
    [
        ("stream_feed", "_settle"),
        pytest.param("data_project", "write_pointer", marks=pytest.mark.slow),
        pytest.param("stream_feed", "write_rows", marks=pytest.mark.slow),
        pytest.param("pulling", "check_models", marks=pytest.mark.slow),
        pytest.param("pulling", "record_snapshot", marks=pytest.mark.slow),
    ],
)
def test_a_kill_anywhere_loses_and_doubles_nothing(settings: Settings, drop: Path, module: str, function: str) -> None:
    brand = stream_brand(settings, drop)
    write_batch(drop / "a.csv", 0)
    pull_sales(settings, brand)
    write_batch(drop / "b.csv", 5)
    write_batch(drop / "c.csv", 10)
    (settings.root / "pyproject.toml").touch()
    script = KILLED.format(fixtures=str(Path(__file__).parents[1] / "fixtures"), module=module, function=function)
    environment = {
        **os.environ,
        "BRANDHOUSE_ROOT": str(settings.root),
        "BRANDHOUSE_HOME": str(settings.home),
        "BRANDHOUSE_LEDGER_URL": settings.ledger_url.get_secret_value(),
    }
    killed = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert killed.returncode == -9, killed.stderr

    write_batch(drop / "d.csv", 15)
    assert sizes(pull_sales(settings, brand)) == list(range(20))
    assert not [path for path in drop.iterdir() if path.is_file()] and len(list((drop / "taken").iterdir())) == 4
