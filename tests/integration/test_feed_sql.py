"""A dataset from a query on a real PostgreSQL (and SQLite): equal results are equal files, and nothing leaks."""

import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pyarrow.parquet as pq
import pytest
from pydantic import SecretStr

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))

from feed_house import feed_brand, pull_sales, rows_of

from brandhouse_flows.intake import Ingested
from brandhouse_flows.postgres import EmbeddedPostgres
from brandhouse_shared.errors import DatasetError, RetryableError
from brandhouse_shared.settings import Settings

VARIABLE = "BRANDHOUSE_SECRET_BOATS_DB_URL"
TABLES = """
CREATE TABLE sales (size integer, price numeric(10, 2), sold date, at timestamptz, note text, ok boolean);
INSERT INTO sales SELECT n, n * 2.5, DATE '2024-01-01' + n, TIMESTAMPTZ '2024-01-01 12:00:00+02', 'n, "quoted" ' || n, n % 2 = 0
FROM generate_series(1, 25000) AS n;
INSERT INTO sales VALUES (0, 1, NULL, NULL, NULL, NULL);
"""


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("postgres")
    server = EmbeddedPostgres(folder / "data", folder / "log")
    server.start()
    url = server.url("psycopg")
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as admin:
        admin.execute(TABLES)
    yield url
    server.stop()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    return Settings(root=tmp_path / "house", home=tmp_path / "home", ledger_url=SecretStr(url), actor="tester")


def query(settings: Settings, text: str, more: str = "", file: str = "data/sales.csv", keys: str = "") -> Ingested:
    source = f'{{kind = "sql", url_env = "{VARIABLE}", query = """{text}"""{more}}}'
    return pull_sales(settings, feed_brand(settings, "boats", source, file=file, more=keys))


def test_the_rows_of_a_query_become_the_snapshot_in_chunks(settings: Settings, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, database)
    item = query(settings, "SELECT size, price, sold, at, note, ok FROM sales ORDER BY random()", ', order_by = ["sold"]')

    assert item.rows == {"price": 25001}, "more than two chunks"
    rows = rows_of(item)
    assert rows[0] == ["1", "2.50", "2024-01-02", "2024-01-01 10:00:00+00:00", 'n, "quoted" 1', "false"], "times in UTC, digits as stored"
    assert rows[-1] == ["0", "1.00", "", "", "", ""], "a missing value is an empty cell, and sorted last"


def test_an_equal_result_is_an_equal_file_whatever_order_it_comes_in(
    settings: Settings, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, database)
    first = query(settings, "SELECT size, price FROM sales ORDER BY size")
    second = query(settings, "SELECT size, price FROM sales ORDER BY random()")
    third = query(settings, "SELECT size, price FROM sales WHERE size < 100")

    assert first.snapshot.hash_md5 == second.snapshot.hash_md5 and not second.snapshot.changed
    assert third.snapshot.changed and third.rows == {"price": 100}


def test_parquet_and_another_database_work_too(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with sqlite3.connect(tmp_path / "shop.db") as shop:
        shop.executescript("CREATE TABLE sales (size REAL, price INTEGER); INSERT INTO sales VALUES (2.5, 2), (NULL, 3), (1, 1);")
    monkeypatch.setenv(VARIABLE, f"sqlite:///{tmp_path / 'shop.db'}")
    keys = 'format = "parquet"\nmax_bad_share = 0.5'
    item = query(settings, "SELECT size, price FROM sales WHERE price LIKE '%'", file="data/sales.parquet", keys=keys)

    assert pq.read_table(item.snapshot.path).to_pydict() == {"size": ["1.0", "2.5", None], "price": ["1", "2", "3"]}
    assert (item.rows, item.quarantined) == ({"price": 2}, {"price": 1})


@pytest.mark.parametrize(
    ("text", "more", "message"),
    [
        ("SELECT nothing FROM sales", "", 'refuses the query: column "nothing" does not exist'),
        ("SELECT note::int AS size, 1 AS price FROM sales", "", r"the query failed \(22P02 InvalidTextRepresentation\)"),
        ("SELECT size, price FROM sales", ", max_rows = 1000", "more than 1000 rows; raise max_rows"),
        ("SELECT size, price FROM sales WHERE size < 0", "", "gives no row"),
        ("SELECT size, size FROM sales", "", "columns of the same name: size"),
        ("SELECT size, price FROM sales", ', order_by = ["sold"]', "order_by names sold; the query gives size, price"),
        ("SELECT size, price, 'x'::bytea AS picture FROM sales", "", "column picture holds binary data"),
        ("SELECT size, price, pg_sleep(5) FROM sales", ", timeout_seconds = 0.3", "ran longer than 0.3 s and was given up"),
        ("DELETE FROM sales RETURNING size, price", "", "the query failed|refuses the query"),
    ],
)
def test_what_the_database_refuses_is_named_without_a_value(
    settings: Settings, database: str, monkeypatch: pytest.MonkeyPatch, text: str, more: str, message: str
) -> None:
    monkeypatch.setenv(VARIABLE, database)
    with pytest.raises(DatasetError, match=message) as caught:
        query(settings, text, more)
    assert "quoted" not in str(caught.value), "no value of a row"
    with psycopg.connect(database.replace("+psycopg", "")) as admin:
        assert admin.execute("SELECT count(*) FROM sales").fetchone() == (25001,), "nothing can be changed"


def test_a_password_reaches_no_message_file_or_ledger(
    settings: Settings, database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for url in (
        "postgresql+psycopg://me:s3cr3t@127.0.0.1:1/x",
        "nonsense://me:s3cr3t@host/x",
        "postgresql+psycopg://me:s3cr3t@127.0.0.1:port/x",
    ):
        monkeypatch.setenv(VARIABLE, url)
        with pytest.raises((DatasetError, RetryableError), match="BRANDHOUSE_SECRET_BOATS_DB_URL") as caught:
            query(settings, "SELECT 1")
        assert "s3cr3t" not in f"{caught.value}{caught.value.__cause__}"
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(DatasetError, match="BRANDHOUSE_SECRET_BOATS_DB_URL is not set"):
        query(settings, "SELECT 1")
    monkeypatch.setenv(VARIABLE, database + "&application_name=s3cr3t")
    query(settings, "SELECT size, price FROM sales WHERE size < 9")
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"s3cr3t" not in kept, "neither data project nor ledger holds the URL"
