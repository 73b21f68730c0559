"""Make a table append-only in the database itself, so that no client, SQL shell or bug can rewrite history.

Called by revisions. A revision that must change rows drops the triggers first and says so in its file.
"""

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, text

_FUNCTION = "ledger_refuse_change"


def protect(connection: Connection, table: str, unique: Iterable[Sequence[str]]) -> None:
    """Refuse UPDATE, DELETE and TRUNCATE on `table`.

    Args:
        connection: Of a SQLite or PostgreSQL database, inside the revision's transaction.
        table: The table's name.
        unique: All sets of columns that are unique, the primary key included.
    """
    statements = _postgresql(table) if connection.dialect.name == "postgresql" else _sqlite(table, unique)
    for statement in statements:
        connection.execute(text(statement))


def _sqlite(table: str, unique: Iterable[Sequence[str]]) -> list[str]:
    refuse = f"SELECT RAISE(ABORT, '{table} is append-only')"
    # REPLACE deletes the row it collides with and fires no DELETE trigger (unless recursive_triggers is on), so a
    # colliding INSERT is refused before the collision is resolved.
    same = [f"EXISTS (SELECT 1 FROM {table} WHERE {' AND '.join(f'{name} = NEW.{name}' for name in columns)})" for columns in unique]  # noqa: S608
    return [
        f"CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table} BEGIN {refuse}; END",
        f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} BEGIN {refuse}; END",
        f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} WHEN {' OR '.join(same)} BEGIN {refuse}; END",
    ]


def _postgresql(table: str) -> list[str]:
    # Per statement: also an UPDATE that meets no row is refused. ALWAYS: also for a session in the replica role.
    function = f"""CREATE OR REPLACE FUNCTION {_FUNCTION}() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$"""
    trigger = f"""CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
        FOR EACH STATEMENT EXECUTE FUNCTION {_FUNCTION}()"""
    return [function, trigger, f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_append_only"]
