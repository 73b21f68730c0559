"""What only a ledger in a SQLite file can do wrong: its journal, its REPLACE, its folder, its size."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import event, select

from brandhouse_shared.errors import DiskFullError, LedgerError, LedgerVersionError, RetryableError
from brandhouse_shared.ledger import open_ledger
from brandhouse_shared.ledger.database import parse_url
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import StageChange, VersionRecord
from brandhouse_shared.ledger.stages import Stage
from brandhouse_shared.ledger.status import CHECKS_SQL, STATUS_SQL, TRIALS_SQL, read_status
from brandhouse_shared.ledger.tables import stage_events, versions
from brandhouse_shared.names import ModelKey

PRICE = ModelKey("kaasplein", "price")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "ledger.db"


def make_record(key: ModelKey, artifact: str, note: str = "") -> VersionRecord:
    texts = {name: "x" for name, field in VersionRecord.model_fields.items() if field.annotation is str}
    numbers = dict.fromkeys(("score", "score_low", "score_high", "baseline_score", "trained_seconds"), 1.0)
    counts = dict.fromkeys(("rows_train", "rows_holdout", "seed"), 1)
    fixed = {"key": key, "kind": "baseline", "runtime": "constant", "task": "regression", "production_score": None, "gates_passed": True}
    documents = {"gates": [], "params": {}, "slices": [], "feature_statistics": {"age": note or {"mean": 1.0}}}
    own = {"git_dirty": False, "artifact_digest": artifact, "created_at": datetime(2026, 3, 1, tzinfo=UTC)}
    return VersionRecord.from_document(texts | numbers | counts | fixed | documents | own)


def test_journal_is_written_ahead_and_commits_are_synced(path: Path) -> None:
    with open_ledger(f"sqlite:///{path}") as ledger, ledger.database.reading() as connection:
        settings = [connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in ("journal_mode", "synchronous", "foreign_keys")]
    assert settings == ["wal", 2, 1]


@pytest.mark.parametrize(
    "statement",
    [
        "REPLACE INTO ledger_deployments VALUES (1, 'd', 's', 'forged', '2026', 'eve')",
        "INSERT OR REPLACE INTO ledger_deployments VALUES (1, 'd', 's', 'forged', '2026', 'eve')",
        "INSERT INTO ledger_deployments VALUES (1, 'd', 's', 'forged', '2026', 'eve') ON CONFLICT DO UPDATE SET action = 'forged'",
        "REPLACE INTO ledger_snapshots VALUES (7, 'kaasplein', 'listings', 'f', 'h1', 1, 1, 's', '2026')",
    ],
)
def test_replacing_a_row_is_refused_to_any_client(statement: str, path: Path) -> None:
    open_ledger(f"sqlite:///{path}").close()
    with closing(sqlite3.connect(path, isolation_level=None)) as client:
        client.execute("INSERT INTO ledger_deployments VALUES (1, 'd', 's', 'created', '2026', 'anna')")
        client.execute("INSERT INTO ledger_snapshots VALUES (1, 'kaasplein', 'listings', 'f', 'h1', 1, 1, 's', '2026')")
        with pytest.raises(sqlite3.IntegrityError, match="is append-only"):
            client.execute(statement)
        assert client.execute("SELECT action FROM ledger_deployments").fetchall() == [("created",)]
        assert client.execute("SELECT seq FROM ledger_snapshots").fetchall() == [(1,)]


def test_full_disk_is_told_and_nothing_is_half_written(path: Path) -> None:
    with open_ledger(f"sqlite:///{path}") as ledger:
        ledger.register_version(make_record(PRICE, "a1"))
        ledger.close()
        event.listen(ledger.database.engine, "connect", lambda connection, _: connection.execute("PRAGMA max_page_count = 80"))
        with pytest.raises(DiskFullError, match=r"no space left on the device that holds .*ledger.db"):
            ledger.register_version(make_record(PRICE, "a2", note="n" * 2_000_000))
        assert [version.number for version in ledger.versions(PRICE)] == [1]
        assert ledger.last_seq() == 1
    with open_ledger(f"sqlite:///{path}") as ledger:
        assert ledger.register_version(make_record(PRICE, "a2")).number == 2, "goes on when there is room again"


def test_file_that_is_no_ledger_is_left_alone(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("dear diary, " * 100)
    with pytest.raises(LedgerError, match="the file is no intact SQLite database; restore it from a backup"):
        open_ledger(f"sqlite:///{path}")
    with pytest.raises(LedgerError, match="no intact SQLite database"):
        read_status(f"sqlite:///{path}")
    assert path.read_text().startswith("dear diary")


def test_empty_file_of_an_interrupted_creation_becomes_a_ledger(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    with open_ledger(f"sqlite:///{path}") as ledger:
        assert ledger.last_seq() == 0


def test_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LedgerError, match=r"file/ledger.db: its folder cannot be made .*; set BRANDHOUSE_LEDGER_URL"):
        open_ledger(f"sqlite:///{tmp_path / 'file' / 'ledger.db'}")


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///:memory:", "mysql://anna:geheim@host/db", "oracle+bogus://anna:geheim@host/db", "geheim"]
)
def test_urls_that_cannot_hold_a_ledger_are_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(LedgerError, match="allowed: sqlite:///FILE or postgresql://") as caught:
        open_ledger(url)
    assert "geheim" not in f"{caught.value}{caught.value.__cause__}"


def test_plain_postgresql_urls_get_the_driver_that_is_installed() -> None:
    for url in ("postgresql://anna@host/db", "postgresql+psycopg://anna@host/db", "postgresql+psycopg2://anna@host/db"):
        assert parse_url(url).render_as_string() == "postgresql+psycopg://anna@host/db"


def test_server_that_is_away_is_worth_a_retry_and_the_password_stays_secret() -> None:
    with pytest.raises(RetryableError, match=r"postgresql\+psycopg://anna:\*\*\*@127.0.0.1:1/db: the ledger does not answer") as caught:
        open_ledger("postgresql://anna:geheim@127.0.0.1:1/db")
    assert "geheim" not in f"{caught.value}{caught.value.__cause__}"


def test_status_of_a_ledger_that_does_not_exist_is_empty_and_makes_none(path: Path) -> None:
    assert read_status(f"sqlite:///{path}") == []
    assert not path.parent.exists()


def fill(ledger: Ledger, models: int) -> None:
    """Register three versions of one model, promote the second, and copy it all to other brands, in one transaction."""
    for artifact in ("a1", "a2", "a3"):
        ledger.register_version(make_record(PRICE, artifact))
    ledger.change_stage(StageChange(version=PRICE.version(2), to=Stage.PRODUCTION, actor="anna", reason="better"))
    with ledger.database.writing() as connection:
        for table in (versions, stage_events):
            rows = [dict(row._mapping) for row in connection.execute(select(table))]
            copies = [row | {"brand": f"brand{n}", "seq": row["seq"] + n * len(rows)} for n in range(1, models) for row in rows]
            if copies:
                connection.execute(table.insert(), copies)


def steps_of(path: Path, *statements: str) -> int:
    """How many hundred instructions SQLite takes for them, which no other load of the machine changes."""
    taken = 0

    def note() -> int:
        nonlocal taken
        taken += 1
        return 0

    with closing(sqlite3.connect(path)) as client:
        client.set_progress_handler(note, 100)
        for statement in statements:
            client.execute(statement).fetchall()
    return taken


def count_statements(ledger: Ledger, call: Callable[[], object]) -> int:
    asked = []
    event.listen(ledger.database.engine, "before_cursor_execute", lambda *arguments: asked.append(arguments[2]))
    call()
    return len(asked)


def test_a_thousand_models_are_listed_and_followed_with_as_many_queries_as_one(tmp_path: Path) -> None:
    statements, steps = [], []
    for models in (1, 100, 1000):
        path = tmp_path / f"{models}.db"
        with open_ledger(f"sqlite:///{path}") as ledger:
            fill(ledger, models)
            rows = read_status(f"sqlite:///{path}")
            assert rows == ledger.status_rows()
            assert {(row.version, row.stage) for row in rows} == {(2, Stage.PRODUCTION)}
            assert len(rows) == len(ledger.production_versions()) == models
            statements.append(
                [count_statements(ledger, call) for call in (ledger.status_rows, ledger.production_versions, ledger.last_seq)]
            )
            steps.append(steps_of(path, STATUS_SQL, TRIALS_SQL, CHECKS_SQL))
    assert statements[0] == statements[1] == statements[2], "no query for each model"
    assert steps[2] <= 12 * steps[1], "ten times the models take about ten times the work, not a hundred times"


def test_a_status_does_not_go_through_years_of_checks(path: Path) -> None:
    rounds = """
      WITH RECURSIVE place(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM place WHERE n < ?)
      INSERT INTO ledger_entries (kind, brand, model, name, state, detail, facts, actor, at)
      SELECT 'check', 'kaasplein', 'm' || (n % 1000), 'drift', 'green', '', '{}', 'monitor', '2026-03-01' FROM place
    """
    open_ledger(f"sqlite:///{path}").close()
    steps = []
    for entries in (50_000, 25_000):
        with closing(sqlite3.connect(path)) as client:
            client.execute(rounds, [entries])
            client.commit()
        steps.append(steps_of(path, CHECKS_SQL))
    assert steps[1] <= 1.05 * steps[0], "half as much history again, the same work"


def test_naming_the_ledger_and_reading_its_status_import_no_engine(path: Path) -> None:
    open_ledger(f"sqlite:///{path}").close()
    code = f"""
import sys
from brandhouse_shared.ledger import open_ledger
from brandhouse_shared.ledger.status import CHECKS_SQL, STATUS_SQL, TRIALS_SQL, read_status
assert read_status("sqlite:///{path}") == []
print(sorted({{"sqlalchemy", "alembic", "psycopg", "numpy", "pandas"}} & set(sys.modules)))
open_ledger("sqlite:///{path}")
print("alembic" in sys.modules)
"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.split("\n")[:2] == ["[]", "False"]


def test_status_of_a_ledger_of_another_release_is_refused(path: Path) -> None:
    open_ledger(f"sqlite:///{path}").close()
    with closing(sqlite3.connect(path, isolation_level=None)) as client:
        client.execute("UPDATE ledger_revision SET version_num = '9999'")
        with pytest.raises(LedgerVersionError, match="newer release"):
            read_status(f"sqlite:///{path}")


def test_killed_writer_leaves_a_file_that_passes_the_integrity_check(path: Path) -> None:
    code = f"""
from brandhouse_shared.ledger import open_ledger
from datetime import UTC, datetime
from brandhouse_shared.names import ModelKey
ledger = open_ledger("sqlite:///{path}")
while True:
    ledger.record_fallback(ModelKey("kaasplein", "price"), None, "x" * 5000, datetime.now(UTC))
    print("written", flush=True)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for _ in range(30):
        process.stdout.readline()
    process.kill()
    acknowledged = 30 + process.communicate()[0].count("written\n")
    with closing(sqlite3.connect(path)) as client:
        assert client.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert client.execute("SELECT COUNT(*) FROM ledger_fallbacks").fetchone()[0] >= acknowledged
