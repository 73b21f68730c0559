"""What happened after deployments, one entry each. Inside a transaction that `database` opened."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, func, select

from brandhouse_shared.ledger.records import Entry, EntryKind
from brandhouse_shared.ledger.rows import append, columns_of
from brandhouse_shared.ledger.tables import entries


def add(connection: Connection, entry: Entry) -> Entry:
    """Append an entry and return it with its place."""
    values = columns_of(entry)
    del values["seq"]
    return entry.model_copy(update={"seq": append(connection, entries, values)})


def select_entries(
    kind: EntryKind | None, brand: str | None, model: str | None, name: str | None, after_seq: int, limit: int, *, oldest_first: bool
) -> Select[Any]:
    """Query entries by what is not None."""
    wanted = {"kind": kind, "brand": brand, "model": model, "name": name}
    query = select(entries).where(*(entries.c[column] == str(value) for column, value in wanted.items() if value is not None))
    order = entries.c.seq.asc() if oldest_first else entries.c.seq.desc()
    return query.where(entries.c.seq > after_seq).order_by(order).limit(limit)


def select_since(kind: EntryKind, brand: str, since: datetime) -> Select[Any]:
    """Query a brand's entries of a kind from a time on, oldest first."""
    chosen = (entries.c.kind == str(kind), entries.c.brand == brand, entries.c.at >= since)
    return select(entries).where(*chosen).order_by(entries.c.seq)


def select_newest(kind: EntryKind, brand: str | None, states: Sequence[str] = ()) -> Select[Any]:
    """Query the newest entry of each brand, model and name; with states, the newest that has one of them."""
    newest = select(func.max(entries.c.seq)).where(entries.c.kind == str(kind))
    if states:
        newest = newest.where(entries.c.state.in_(states))
    if brand is not None:
        newest = newest.where(entries.c.brand == brand)
    newest = newest.group_by(entries.c.brand, entries.c.model, entries.c.name)
    return select(entries).where(entries.c.seq.in_(newest)).order_by(entries.c.brand, entries.c.model, entries.c.name)


def select_measured(kind: EntryKind, name: str) -> Select[Any]:
    """Query the newest entry with a value of each version, of one kind and name."""
    chosen = (entries.c.kind == str(kind), entries.c.name == name, entries.c.value.is_not(None))
    newest = select(func.max(entries.c.seq)).where(*chosen).group_by(entries.c.brand, entries.c.model, entries.c.number)
    return select(entries).where(entries.c.seq.in_(newest)).order_by(entries.c.seq.desc())
