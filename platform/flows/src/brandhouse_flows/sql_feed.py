"""A dataset from the rows of a SQL query.

Every value becomes text and the rows are sorted, so that an equal result is an equal file: the order in which a database
gives rows, and the types its driver makes, are accidents. The URL holds a password and never reaches a message.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from brandhouse_flows.brand_secrets import read_secret
from brandhouse_flows.feeds import Arrival, Order
from brandhouse_flows.row_files import check_row_format, write_rows
from brandhouse_shared.declarations import SqlSource
from brandhouse_shared.errors import DatasetError, RetryableError, join_bounded

if TYPE_CHECKING:
    from sqlalchemy import Connection

CHUNK_ROWS = 10_000
"""Rows that the driver holds at once."""

CONNECT_SECONDS = 15


def collect_query(order: Order) -> Arrival:
    """Write the result of the declared query to the target.

    Raises:
        DatasetError: If the query is refused, too slow, too long or without rows.
        RetryableError: If the database does not answer.
    """
    source = order.dataset.source
    assert isinstance(source, SqlSource)  # noqa: S101 - chosen by kind
    check_row_format(order.dataset, order.subject)
    url = read_secret(order.brand, source.url_env, order.subject, os.environ)
    table = fetch_rows(url, source, order.subject)
    rows = (row for batch in table.to_batches(CHUNK_ROWS) for row in zip(*(column.to_pylist() for column in batch.columns), strict=True))
    write_rows(order.dataset, order.target, table.column_names, rows)
    return Arrival(is_new=True)


def fetch_rows(url: str, source: SqlSource, subject: str) -> Any:
    """Run a query and return its rows, sorted, as an Arrow table of texts; null where there is no value.

    Args:
        url: SQLAlchemy URL.
        source: The query and its limits.
        subject: Who asks, for messages.

    Raises:
        DatasetError: If the query is refused, too slow, too long or without rows.
        RetryableError: If the database does not answer.
    """
    import pyarrow as pa

    with _reading(url, source, subject) as connection, _statement_errors(source, subject):
        options = {"stream_results": True, "yield_per": CHUNK_ROWS, "no_parameters": True}
        result = connection.execution_options(**options).exec_driver_sql(source.query)
        if not result.returns_rows:
            raise DatasetError(f"{subject}: the query returns no rows; allowed: one SELECT")
        names = _checked_names(list(result.keys()), source, subject)
        schema = pa.schema([(name, pa.large_string()) for name in names])
        chunks, count = [], 0
        for rows in result.partitions(CHUNK_ROWS):
            count += len(rows)
            if count > source.max_rows:
                raise DatasetError(f"{subject}: the query gives more than {source.max_rows} rows; raise max_rows or narrow the query")
            columns = zip(*rows, strict=True)
            arrays = [pa.array(_texts(values, name, subject), pa.large_string()) for name, values in zip(names, columns, strict=True)]
            chunks.append(pa.record_batch(arrays, schema=schema))
    if not count:
        raise DatasetError(f"{subject}: the query gives no row; there is nothing to learn from")
    return _sorted(pa.Table.from_batches(chunks, schema), source.order_by)


def _sorted(table: Any, order_by: tuple[str, ...]) -> Any:
    import pyarrow.compute as pc

    keys = [*order_by, *(name for name in table.column_names if name not in order_by)]
    return table.take(pc.sort_indices(table, sort_keys=[(name, "ascending") for name in keys]))


def _checked_names(names: list[str], source: SqlSource, subject: str) -> list[str]:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DatasetError(f"{subject}: the query gives columns of the same name: {join_bounded(twice)}; name each with AS")
    lacking = [name for name in source.order_by if name not in names]
    if lacking:
        raise DatasetError(f"{subject}: order_by names {join_bounded(lacking)}; the query gives {join_bounded(names, 40)}")
    return names


def _texts(values: tuple[Any, ...], name: str, subject: str) -> list[str | None]:
    try:
        return [_text(value) for value in values]
    except TypeError as error:
        raise DatasetError(f"{subject}: column {name} holds {error}; allowed: numbers, texts, booleans, dates. Leave it out") from None


def _text(value: Any) -> str | None:
    match value:
        case None:
            return None
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return repr(value) if value == value else None
        case Decimal():
            return format(value, "f") if value.is_finite() else None
        case datetime():
            return (value if value.tzinfo is None else value.astimezone(UTC)).isoformat(sep=" ")
        case date():
            return value.isoformat()
        case dict() | list():
            return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
        case bytes() | bytearray() | memoryview():
            raise TypeError("binary data")
    return str(value)


@contextmanager
def _reading(url: str, source: SqlSource, subject: str) -> Iterator[Connection]:
    """A connection in a transaction that is never committed, and may only read where the database has such."""
    from sqlalchemy import create_engine
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.pool import NullPool

    try:
        engine = create_engine(url, poolclass=NullPool, hide_parameters=True)
    except (SQLAlchemyError, ImportError, ValueError) as error:  # their texts may repeat the URL
        raise DatasetError(
            f"{subject}: {source.url_env} holds no usable SQLAlchemy URL ({type(error).__name__}); such as postgresql+psycopg://user:password@host/name"
        ) from None
    try:
        connection = engine.connect()
    except SQLAlchemyError as error:
        raise RetryableError(
            f"{subject}: the database of {source.url_env} cannot be reached, or refuses the login ({_state(error)})", retry_after_seconds=60
        ) from None
    with connection:
        _only_read(connection, source)
        try:
            yield connection
        finally:
            with suppress(SQLAlchemyError):
                connection.rollback()


def _only_read(connection: Connection, source: SqlSource) -> None:
    match connection.dialect.name:
        case "postgresql":
            connection.exec_driver_sql("SET TRANSACTION READ ONLY")
            connection.exec_driver_sql(f"SET LOCAL statement_timeout = {int(source.timeout_seconds * 1000)}")
        case "mysql" | "mariadb":
            connection.exec_driver_sql("SET SESSION TRANSACTION READ ONLY")
            connection.rollback()
        case "sqlite":
            connection.exec_driver_sql("PRAGMA query_only = ON")


@contextmanager
def _statement_errors(source: SqlSource, subject: str) -> Iterator[None]:
    """Name what the database says of the query, but nothing that may hold a value of a row."""
    from sqlalchemy.exc import ProgrammingError, SQLAlchemyError

    try:
        yield
    except ProgrammingError as error:
        raise DatasetError(f"{subject}: the database refuses the query: {str(error.orig).splitlines()[0][:300]}") from None
    except SQLAlchemyError as error:
        if _state(error).startswith("57014"):
            raise DatasetError(
                f"{subject}: the query ran longer than {source.timeout_seconds:g} s and was given up; raise timeout_seconds"
            ) from None
        raise DatasetError(f"{subject}: the query failed ({_state(error)}); try it with the database's own client") from None


def _state(error: Exception) -> str:
    """SQLSTATE and class of an error; its text may hold rows, hosts or users."""
    original = getattr(error, "orig", None) or error
    state = getattr(original, "sqlstate", None) or getattr(original, "pgcode", None)
    return " ".join(filter(None, [state, type(original).__name__]))
