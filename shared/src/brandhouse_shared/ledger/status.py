"""All models at a glance, fast: a listing of 1,000 models must not wait for SQLAlchemy to be imported.

`Ledger.status_rows` asks the same question of either database; `read_status` reads a SQLite ledger with the standard
library alone and leaves every other case, errors included, to the ledger.
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from brandhouse_shared.ledger import open_ledger
from brandhouse_shared.ledger.records import OnTrial, StatusRow
from brandhouse_shared.ledger.revisions import HEAD, VERSION_TABLE

_SQLITE_PREFIX = "sqlite:///"
_WAIT_SECONDS = 30

# One row per model, columns in the order of StatusRow's fields. Valid in SQLite and PostgreSQL alike.
STATUS_SQL = """
WITH entered AS (
  SELECT brand, model, MAX(seq) AS seq FROM ledger_stage_events WHERE to_stage = 'production' GROUP BY brand, model
), production AS (
  SELECT e.brand, e.model, e.number FROM entered JOIN ledger_stage_events e ON e.seq = entered.seq
  WHERE NOT EXISTS (
    SELECT 1 FROM ledger_stage_events l WHERE l.brand = e.brand AND l.model = e.model AND l.number = e.number AND l.seq > e.seq)
), newest AS (
  SELECT brand, model, MAX(number) AS number FROM ledger_versions GROUP BY brand, model
), shown AS (
  SELECT n.brand, n.model, COALESCE(p.number, n.number) AS number
  FROM newest n LEFT JOIN production p ON p.brand = n.brand AND p.model = n.model
)
SELECT v.brand, v.model, v.number, e.to_stage, v.task, v.metric, v.score, v.baseline_score, v.runtime, v.created_at,
  CASE WHEN e.to_stage = 'production' THEN e.at END AS promoted_at, e.actor
FROM shown s
JOIN ledger_versions v ON v.brand = s.brand AND v.model = s.model AND v.number = s.number
JOIN ledger_stage_events e ON e.seq = (
  SELECT MAX(l.seq) FROM ledger_stage_events l WHERE l.brand = s.brand AND l.model = s.model AND l.number = s.number)
ORDER BY v.brand, v.model
"""

# Versions in shadow and canary, columns `brand, model` and then in the order of OnTrial's fields.
TRIALS_SQL = """
SELECT e.brand, e.model, e.number, e.to_stage, e.share FROM ledger_stage_events e
WHERE e.to_stage IN ('shadow', 'canary') AND NOT EXISTS (
  SELECT 1 FROM ledger_stage_events l WHERE l.brand = e.brand AND l.model = e.model AND l.number = e.number AND l.seq > e.seq)
ORDER BY e.seq
"""

# The newest state of each check among the newest entries: a house of 1,000 models writes so many in five days, and a
# listing must not go through years of them.
CHECKS_SQL = """
SELECT brand, model, name, state FROM ledger_entries WHERE seq IN (
  SELECT MAX(seq) FROM (SELECT seq, kind, brand, model, name FROM ledger_entries ORDER BY seq DESC LIMIT 50000) newest
  WHERE kind = 'check' GROUP BY brand, model, name)
ORDER BY brand, model, name
"""

_WORST_FIRST = ("red", "unknown", "green", "not_applicable")


def read_status(url: str) -> list[StatusRow]:
    """Return one row per model, ordered by brand and model.

    Args:
        url: As for `open_ledger`. Unlike there, a ledger that does not exist is not created: it has no rows.

    Raises:
        LedgerVersionError: If the ledger is from an older or a newer release.
    """
    path = _sqlite_path(url)
    if path is not None and not path.exists():
        return []
    if path is not None and (rows := _read_sqlite(path)) is not None:
        return rows
    return open_ledger(url).status_rows()


def read_status_rows(rows: Iterable[Iterable[Any]], trials: Iterable[Iterable[Any]], checks: Iterable[Iterable[Any]]) -> list[StatusRow]:
    """Make rows from what `STATUS_SQL`, `TRIALS_SQL` and `CHECKS_SQL` found; times may be text (SQLite) or aware datetimes."""
    on_trial: dict[tuple[str, str], list[OnTrial]] = {}
    for brand, model, version, stage, share in trials:
        on_trial.setdefault((brand, model), []).append(OnTrial(version=version, stage=stage, share=share))
    states: dict[tuple[str, str], dict[str, str]] = {}
    for brand, model, name, state in checks:
        states.setdefault((brand, model), {})[name] = state
    return [_read_row(row, on_trial, states.get(row[:2], {})) for row in map(tuple, rows)]


def _read_row(values: tuple[Any, ...], on_trial: Mapping[tuple[str, str], Sequence[OnTrial]], checks: Mapping[str, str]) -> StatusRow:
    others = tuple(one for one in on_trial.get(values[:2], ()) if one.version != values[2])
    worst = next((state for state in _WORST_FIRST if state in checks.values()), None)
    red = tuple(name for name, state in checks.items() if state == "red")
    return StatusRow.model_validate(dict(zip(StatusRow.model_fields, (*values, others, worst, red), strict=True)))


def _sqlite_path(url: str) -> Path | None:
    path = url.removeprefix(_SQLITE_PREFIX)
    return Path(path) if url.startswith(_SQLITE_PREFIX) and path and "?" not in path else None


def _read_sqlite(path: Path) -> list[StatusRow] | None:
    """Read an up-to-date ledger; None if it is anything else, so that the ledger itself says what is wrong."""
    try:
        connection = sqlite3.connect(path, timeout=_WAIT_SECONDS)
    except sqlite3.Error:
        return None
    try:
        if connection.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchall() != [(HEAD,)]:  # noqa: S608 - a constant
            return None
        return read_status_rows(connection.execute(STATUS_SQL), connection.execute(TRIALS_SQL), connection.execute(CHECKS_SQL))
    except sqlite3.Error:
        return None
    finally:
        connection.close()
