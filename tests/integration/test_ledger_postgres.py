"""The ledger's contract, test for test, on a real PostgreSQL; and what only a server can do wrong."""

import importlib.util
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest

from brandhouse_flows.postgres import EmbeddedPostgres
from brandhouse_shared.errors import LedgerError, RetryableError
from brandhouse_shared.ledger import open_ledger
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import VersionRecord
from brandhouse_shared.ledger.versions import register

pytestmark = pytest.mark.alone

CONTRACT = Path(__file__).parents[1] / "unit" / "test_ledger_contract.py"


def load_contract() -> Any:
    """Import the contract's module by its path: test folders are no packages."""
    spec = importlib.util.spec_from_file_location("ledger_contract_for_postgresql", CONTRACT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


contract = load_contract()
# The same functions; their fixture `ledger_url` is the one below.
globals().update({name: test for name, test in vars(contract).items() if name.startswith("test_")})
ledger = contract.ledger

_numbers = count(1)


@pytest.fixture(scope="module")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("postgres")
    server = EmbeddedPostgres(folder / "data", folder / "log")
    server.start()
    yield server.url("psycopg").replace("+psycopg", "")
    server.stop()


@pytest.fixture(scope="module")
def ready(server_url: str) -> str:
    """Name of a database whose tables are made, to be copied."""
    with psycopg.connect(server_url, autocommit=True) as admin:
        admin.execute("CREATE DATABASE ready")
    with open_ledger(server_url.replace("/postgres?", "/ready?")):
        return "ready"


@pytest.fixture
def ledger_url(server_url: str, ready: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """A database of its own for each test; empty if the test opens the ledger itself."""
    name, template = f"ledger{next(_numbers)}", ready if "ledger" in request.fixturenames else "template1"
    with psycopg.connect(server_url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    yield server_url.replace("/postgres?", f"/{name}?")
    with psycopg.connect(server_url, autocommit=True) as admin:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_contract_was_loaded() -> None:
    assert sum(name.startswith("test_") for name in vars(contract)) > 40


def test_times_are_utc_whatever_the_time_zone_of_the_server(ledger: Ledger, ledger_url: str) -> None:
    with psycopg.connect(ledger_url, autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {admin.info.dbname} SET timezone = 'Asia/Tokyo'")
    ledger.close()
    ledger.start_run(contract.run_record("r1"))
    assert ledger.runs()[0].record.started_at.isoformat() == "2026-03-01T12:00:00+00:00"


def test_connections_lost_with_the_server_are_replaced(ledger: Ledger, server_url: str) -> None:
    contract.register(ledger)
    with psycopg.connect(server_url, autocommit=True) as admin:
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'brandhouse'")
    assert ledger.last_seq() == 1


def test_connection_lost_in_the_middle_of_a_write_is_worth_a_retry(ledger: Ledger, server_url: str) -> None:
    with pytest.raises(RetryableError, match=r"nothing was written"), ledger.database.writing() as connection:
        pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        with psycopg.connect(server_url, autocommit=True) as admin:
            admin.execute("SELECT pg_terminate_backend(%s)", [pid])
        register(connection, VersionRecord.from_document(contract.make_document()))
    assert ledger.last_seq() == 0


def test_database_that_is_not_there_is_told_without_the_password(server_url: str) -> None:
    with pytest.raises((LedgerError, RetryableError), match=r"does not answer|refused") as caught:
        open_ledger(server_url.replace("postgres@", "nobody:geheim@").replace("/postgres?", "/nowhere?"))
    assert "geheim" not in f"{caught.value}{caught.value.__cause__}"
