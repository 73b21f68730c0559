"""API keys as events: added once, revoked at most once. Inside a transaction that `database` opened."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Select, select

from brandhouse_shared.errors import LedgerError
from brandhouse_shared.ledger.records import KeyEvent, KeyRecord
from brandhouse_shared.ledger.rows import append, read_key_event
from brandhouse_shared.ledger.tables import key_events

_revoked = key_events.alias("revoked")


def add(connection: Connection, record: KeyRecord) -> None:
    """Append a key.

    Raises:
        LedgerError: If its id is taken.
    """
    if connection.execute(select(key_events.c.seq).where(key_events.c.key_id == record.key_id).limit(1)).first():
        raise LedgerError(f"key {record.key_id} is already in the ledger; create another one")
    values = record.model_dump(include={"key_id", "brand", "hash", "expires_at", "actor"})
    scopes = list(record.scopes)
    append(connection, key_events, {**values, "action": "added", "scopes": scopes, "reason": "created", "at": record.created_at})


def revoke(connection: Connection, key_id: str, actor: str, reason: str) -> KeyEvent:
    """Append the end of a key.

    Raises:
        LedgerError: If there is no such key, it is revoked already, or actor or reason is empty.
    """
    if not (actor.strip() and reason.strip()):
        raise LedgerError(f"key {key_id}: revoking it needs an actor and a reason, so that it can be asked about later")
    events = {row.action: row for row in connection.execute(select(key_events).where(key_events.c.key_id == key_id))}
    if "added" not in events:
        raise LedgerError(f"there is no key {key_id[:80]!r}; `brandhouse keys list` shows those there are")
    if "revoked" in events:
        raise LedgerError(f"key {key_id} is already revoked; nothing was changed")
    values = {"key_id": key_id, "brand": events["added"].brand, "action": "revoked", "actor": actor, "reason": reason}
    seq = append(connection, key_events, {**values, "at": datetime.now(UTC)})
    return read_key_event(connection.execute(select_events().where(key_events.c.seq == seq)).one())


def select_keys() -> Select[Any]:
    """Query keys with the time of their revocation, oldest first."""
    columns = [key_events.c[name] for name in ("key_id", "brand", "hash", "scopes", "expires_at", "actor")]
    revocation = (_revoked.c.key_id == key_events.c.key_id) & (_revoked.c.action == "revoked")
    return (
        select(*columns, key_events.c.at.label("created_at"), _revoked.c.at.label("revoked_at"))
        .outerjoin(_revoked, revocation)
        .where(key_events.c.action == "added")
        .order_by(key_events.c.seq)
    )


def select_events() -> Select[Any]:
    """Query key events, without hashes, oldest first."""
    return select(*(key_events.c[name] for name in KeyEvent.model_fields)).order_by(key_events.c.seq)
