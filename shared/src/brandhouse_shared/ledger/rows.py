"""Append to tables and read records back. Runs inside a transaction that `database` opened."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, Table, and_, func, select

from brandhouse_shared.ledger.records import (
    DeploymentRecord,
    Entry,
    FallbackRecord,
    KeyEvent,
    KeyRecord,
    Record,
    Run,
    RunRecord,
    RunResult,
    SnapshotRecord,
    StageEvent,
    Version,
    VersionRecord,
)
from brandhouse_shared.names import ModelKey, VersionKey


def append(connection: Connection, table: Table, values: Mapping[str, Any]) -> int:
    """Insert one row at the end of a table's order and return its `seq`. Only inside the write lock."""
    seq = last_seq(connection, table) + 1
    connection.execute(table.insert(), {"seq": seq, **values})
    return seq


def last_seq(connection: Connection, table: Table) -> int:
    """The `seq` of the newest row, 0 if there is none."""
    return int(connection.execute(_select_last_seq(table)).scalar_one())


@cache
def _select_last_seq(table: Table) -> Select[Any]:
    # Kept, because building it takes SQLAlchemy longer than the database needs to answer.
    return select(func.coalesce(func.max(table.c.seq), 0))


def of_model(table: Table, key: ModelKey) -> ColumnElement[bool]:
    """Restrict a query to one model."""
    return and_(table.c.brand == key.brand, table.c.model == key.model)


def of_version(table: Table, version: VersionKey) -> ColumnElement[bool]:
    """Restrict a query to one version."""
    return and_(of_model(table, version.model_key), table.c.number == version.number)


def columns_of(record: Record) -> dict[str, Any]:
    """The column values of a record; a model key becomes two columns."""
    values = {name: getattr(record, name) for name in type(record).model_fields}
    key = values.pop("key", None)
    return values if key is None else {"brand": key.brand, "model": key.model, **values}


def read_snapshot(row: Row[Any]) -> SnapshotRecord:
    """A row of `snapshots`."""
    return SnapshotRecord.model_validate(_without_seq(row))


def read_deployment(row: Row[Any]) -> DeploymentRecord:
    """A row of `deployments`."""
    return DeploymentRecord.model_validate(_without_seq(row))


def read_fallback(row: Row[Any]) -> FallbackRecord:
    """A row of `fallbacks`."""
    return FallbackRecord.model_validate(_with_key(_without_seq(row)))


def read_run(row: Row[Any]) -> Run:
    """A row of `runs` joined with its newest end."""
    values = _with_key(_without_seq(row))
    end = {name: values.pop(name) for name in ("outcome", "detail", "ended_at")}
    return Run(record=RunRecord.model_validate(values), **end)


def read_run_result(row: Row[Any]) -> RunResult:
    """A row of `run_results`."""
    return RunResult.model_validate(_with_key(_without_seq(row)))


def read_version(row: Row[Any]) -> Version:
    """A row of `versions` joined with its newest stage."""
    values = _with_key(_without_seq(row))
    number, stage = values.pop("number"), values.pop("to_stage")
    stage_seq, share = values.pop("stage_seq"), values.pop("share")
    return Version(record=VersionRecord.model_validate(values), number=number, stage=stage, stage_seq=stage_seq, share=share)


def read_stage_event(row: Row[Any]) -> StageEvent:
    """A row of `stage_events`."""
    values = _with_key(dict(row._mapping))
    version = values.pop("key").version(values.pop("number"))
    return StageEvent(version=version, to=values.pop("to_stage"), **values)


def read_key(row: Row[Any]) -> KeyRecord:
    """An `added` row of `key_events` joined with the time of its `revoked` row."""
    return KeyRecord.model_validate(dict(row._mapping))


def read_key_event(row: Row[Any]) -> KeyEvent:
    """A row of `key_events`, without the hash."""
    return KeyEvent.model_validate(dict(row._mapping))


def read_entry(row: Row[Any]) -> Entry:
    """A row of `entries`."""
    return Entry.model_validate(dict(row._mapping))


def _without_seq(row: Row[Any]) -> dict[str, Any]:
    values = dict(row._mapping)
    values.pop("seq")
    return values


def _with_key(values: dict[str, Any]) -> dict[str, Any]:
    return {"key": ModelKey(values.pop("brand"), values.pop("model")), **values}
