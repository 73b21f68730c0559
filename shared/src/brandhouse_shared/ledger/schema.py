"""Create, check and upgrade the ledger's schema. Alembic is imported only to create or upgrade."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from brandhouse_shared.errors import LedgerError, LedgerVersionError
from brandhouse_shared.ledger.database import Database
from brandhouse_shared.ledger.revisions import HEAD, VERSION_TABLE, compare_revision

_MIGRATIONS = Path(__file__).with_name("migrations")


def ensure_schema(database: Database) -> None:
    """Create the tables if there are none, otherwise check that they are this release's.

    Raises:
        LedgerVersionError: If the ledger is from an older or a newer release, or its tables carry no revision.
    """
    if not database.is_sqlite or database.path.exists():
        with database.reading() as connection:
            found = _revision(connection)
            if found == HEAD:
                return
            empty = found is None and _is_empty(connection)
        if not empty:
            raise _version_error(database, found)
    with _migrating(database) as connection:
        if _is_empty(connection):  # no other process was faster
            migrate(connection)


def upgrade_schema(database: Database) -> str | None:
    """Bring the schema to this release's, in one transaction, and return the revision that was found (None: new).

    Raises:
        LedgerVersionError: If the ledger is from a newer release, or its tables carry no revision.
    """
    with _migrating(database) as connection:
        found = _revision(connection)
        is_upgradable = _is_empty(connection) if found is None else compare_revision(found) != "newer"
        if not is_upgradable:
            raise _version_error(database, found)
        migrate(connection)
        return found


def _version_error(database: Database, found: str | None) -> LedgerVersionError:
    if found is None:
        what = "has tables of a ledger but no revision: it is older than any release, or half restored; restore it from a backup"
    elif compare_revision(found) == "newer":
        what = (
            f"was written by a newer release (revision {found[:40]}, this one knows up to {HEAD}); update Brandhouse, nothing was changed"
        )
    else:
        what = f"is from an older release (revision {found}, this one needs {HEAD}); run `brandhouse ledger upgrade`"
    return LedgerVersionError(f"{database.name} {what}")


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar_one_or_none()  # noqa: S608 - a constant


def _is_empty(connection: Connection) -> bool:
    """Whether no table of a ledger is there. Tables of others may be: a PostgreSQL database can be shared."""
    return not any(name.startswith("ledger_") for name in inspect(connection).get_table_names())


@contextmanager
def _migrating(database: Database) -> Iterator[Connection]:
    with _creation_lock(database) if database.is_sqlite else nullcontext(), database.writing() as connection:
        yield connection


@contextmanager
def _creation_lock(database: Database) -> Iterator[None]:
    """Let one process at a time create a SQLite ledger: changing the journal mode waits for nobody, it just fails."""
    descriptor = os.open(_ensure_folder(database), os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        # WAL is kept in the file for good; readers then never wait for the writer. Not possible inside a transaction.
        with database.outside_transaction() as connection:
            connection.execute("PRAGMA journal_mode = WAL")
        yield
    finally:
        os.close(descriptor)


def _ensure_folder(database: Database) -> Path:
    folder = database.path.absolute().parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LedgerError(f"{database.name}: its folder cannot be made ({error.strerror}); set BRANDHOUSE_LEDGER_URL") from error
    return folder


def migrate(connection: Connection, revision: str = HEAD) -> None:
    """Bring the tables to a revision, by default this release's, in the caller's transaction."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
