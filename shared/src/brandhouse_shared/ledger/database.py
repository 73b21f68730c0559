"""Connections to the ledger's database: one writer at a time, readers never wait, errors in the platform's words."""

import os
import sqlite3
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from brandhouse_shared.errors import DiskFullError, LedgerError, RetryableError

LOCK_WAIT_SECONDS = 30
"""How long a writer waits for its turn. One write takes milliseconds, so that only a hung writer is ever waited for so long."""

# Any constant will do, as long as nobody else in the database takes it: the letters "brandhse".
_ADVISORY_LOCK = int.from_bytes(b"brandhse", "big", signed=True)
_WRITING = "ledger_writing"

_POSTGRESQL_DISK_FULL = "53100"
_POSTGRESQL_RAISED = "P0001"  # by our own trigger
# Lock wait, deadlock, serialization, too many connections, shutting down.
_POSTGRESQL_PASSING = frozenset({"55P03", "40P01", "40001", "53300", "57P01", "57P02", "57P03"})


class Database:
    """One SQLite file or PostgreSQL database."""

    def __init__(self, url: str) -> None:
        """Prepare connections; none is made yet.

        Raises:
            LedgerError: If the URL is neither of SQLite with a file nor of PostgreSQL.
        """
        self.url = parse_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.engine = _create_sqlite(self.url) if self.is_sqlite else _create_postgresql(self.url)
        weakref.finalize(self, self.engine.dispose)  # a forgotten ledger closes its connections, too

    @property
    def name(self) -> str:
        """The URL without its password, for messages."""
        return self.url.render_as_string(hide_password=True)

    @property
    def path(self) -> Path:
        """The file of a SQLite ledger."""
        return Path(str(self.url.database))

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a transaction for queries. In SQLite all of them see the same moment."""
        with self._translated(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Open a transaction that no other writer, in any process, runs beside.

        Because writers take turns until their commit, numbers that are allotted inside are in the order of commits.

        Raises:
            RetryableError: If the turn does not come within `LOCK_WAIT_SECONDS`, or the server is away.
            DiskFullError: If the write does not fit on the device.
        """
        with self._translated(), self.engine.connect().execution_options(**{_WRITING: True}) as connection, connection.begin():
            if not self.is_sqlite:
                connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_WAIT_SECONDS}s'")
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})")
            yield connection

    @contextmanager
    def outside_transaction(self) -> Iterator[Any]:
        """Open the driver's own SQLite connection, for what no transaction may hold."""
        with self._translated():
            connection = self.engine.raw_connection()
            try:
                yield connection.driver_connection
            finally:
                connection.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (DBAPIError, PoolTimeoutError, sqlite3.Error) as error:
            raise translate(error, self.path if self.is_sqlite else self.name, self.name) from error


def parse_url(url: str) -> URL:
    """Read the URL of a ledger; plain `postgresql://` gets the driver that is installed.

    Raises:
        LedgerError: If it is neither of SQLite with a file nor of PostgreSQL. The message does not repeat the URL.
    """
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
    except (ArgumentError, NoSuchModuleError, ValueError):
        raise LedgerError(f"the ledger's URL cannot be read; {_ALLOWED_URLS}") from None
    if backend in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    if backend != "sqlite" or parsed.database in (None, "", ":memory:"):
        raise LedgerError(f"the ledger cannot be kept in {backend}{' memory' if backend == 'sqlite' else ''}; {_ALLOWED_URLS}")
    return parsed.set(drivername="sqlite")


_ALLOWED_URLS = "allowed: sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE; set BRANDHOUSE_LEDGER_URL"


def translate(error: DBAPIError | PoolTimeoutError | sqlite3.Error, place: object, name: str) -> Exception:
    """Turn a driver's error into the platform's. The driver's text is left out: it may hold values.

    Args:
        error: What SQLAlchemy or the driver raised.
        place: Where the database keeps its bytes, for a full disk.
        name: The URL without its password.
    """
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, sqlite3.Error):
        return _translate_sqlite(cause, place, name)
    if isinstance(error, PoolTimeoutError) or cause is None:
        return RetryableError(f"{name}: all connections of this process are in use; nothing was written, try again")
    return _translate_postgresql(cause, name)


def _translate_sqlite(cause: sqlite3.Error, place: object, name: str) -> Exception:
    code = getattr(cause, "sqlite_errorname", "")
    if code == "SQLITE_FULL":
        return DiskFullError(place)
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return RetryableError(f"{name}: another process has held the ledger for {LOCK_WAIT_SECONDS} s; nothing was written, try again")
    if code in ("SQLITE_NOTADB", "SQLITE_CORRUPT"):
        return LedgerError(f"{name}: the file is no intact SQLite database; restore it from a backup or name another one")
    if code == "SQLITE_CONSTRAINT_TRIGGER":
        return LedgerError(f"{name}: {cause}; nothing was changed")  # the words are our trigger's
    return LedgerError(f"{name}: the database refused ({type(cause).__name__} {code}); nothing was written")


def _translate_postgresql(cause: BaseException, name: str) -> Exception:
    state = getattr(cause, "sqlstate", None)
    if state is None:  # the connection did not come about, or was lost
        return RetryableError(f"{name}: the ledger does not answer; nothing was written. Is the server running, and the address right?")
    if state == _POSTGRESQL_DISK_FULL:
        return DiskFullError(name)
    if state in _POSTGRESQL_PASSING:
        return RetryableError(f"{name}: the ledger is busy ({type(cause).__name__}); nothing was written, try again")
    if state == _POSTGRESQL_RAISED:
        return LedgerError(f"{name}: {cause.diag.message_primary}; nothing was changed")  # type: ignore[attr-defined]
    return LedgerError(f"{name}: the database refused ({type(cause).__name__} {state}); nothing was written")


def _create_sqlite(url: URL) -> Engine:
    engine = create_engine(url, connect_args={"timeout": LOCK_WAIT_SECONDS}, hide_parameters=True)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    _close_before_fork(engine)
    return engine


def _create_postgresql(url: URL) -> Engine:
    # A pool of few: writers take turns anyway, and each process of many holds its own.
    engine = create_engine(
        url,
        pool_size=2,
        max_overflow=8,
        pool_pre_ping=True,
        pool_recycle=1800,
        hide_parameters=True,
        connect_args={"connect_timeout": 10, "application_name": "brandhouse"},
    )
    _close_before_fork(engine)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver would begin transactions late, and never IMMEDIATE
    connection.execute("PRAGMA synchronous = FULL")  # in WAL mode less would lose the last commits in a power failure
    connection.execute("PRAGMA foreign_keys = ON")


def _begin_sqlite(connection: Connection) -> None:
    # IMMEDIATE takes the write lock first: a transaction that reads and then writes would otherwise fail when another wrote between.
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get(_WRITING) else "BEGIN")


_ENGINES: "weakref.WeakSet[Engine]" = weakref.WeakSet()


def _close_before_fork(engine: Engine) -> None:
    """Let no child inherit a connection: SQLite forbids its use after a fork, and PostgreSQL would hear two voices."""
    _ENGINES.add(engine)
    _register_fork_guard()


@cache
def _register_fork_guard() -> None:
    os.register_at_fork(before=_close_idle_connections)


def _close_idle_connections() -> None:
    for engine in list(_ENGINES):
        engine.dispose()
