"""Runs and how they ended. Inside a transaction that `database` opened."""

from datetime import UTC, datetime
from typing import Any, get_args

from sqlalchemy import Connection, Select, select

from brandhouse_shared.errors import LedgerError
from brandhouse_shared.ledger.records import RunOutcome, RunRecord, RunResult
from brandhouse_shared.ledger.rows import append, columns_of
from brandhouse_shared.ledger.tables import run_ends, run_results, runs

# What a retry of the same run may still change. A crash is often declared by another process than the run's own.
_PROVISIONAL = frozenset({"failed", "cancelled", "crashed"})


def start(connection: Connection, record: RunRecord) -> None:
    """Append a run; the same id again is the same run, retried.

    Raises:
        LedgerError: If the id belongs to a run of another model or template.
    """
    known = connection.execute(select(runs).where(runs.c.run_id == record.run_id)).one_or_none()
    if known is None:
        append(connection, runs, columns_of(record))
    elif (known.brand, known.model, known.template) != (record.key.brand, record.key.model, record.template):
        raise LedgerError(
            f"run {record.run_id} is already recorded as {known.template} of {known.brand}/{known.model}; give this run an id of its own"
        )


def end(connection: Connection, run_id: str, outcome: RunOutcome, detail: str) -> None:
    """Append how a run ended. The same outcome again is ignored; a failed, cancelled or crashed run may end once more.

    Raises:
        LedgerError: If the run or the outcome is unknown, or the run has ended otherwise for good.
    """
    if outcome not in get_args(RunOutcome):
        raise LedgerError(f"run {run_id}: {str(outcome)[:40]!r} is no outcome; allowed: {', '.join(get_args(RunOutcome))}")
    if connection.execute(select(runs.c.seq).where(runs.c.run_id == run_id)).first() is None:
        raise LedgerError(f"there is no run {run_id[:80]!r} to end; record its start first")
    present = connection.execute(
        select(run_ends.c.outcome).where(run_ends.c.run_id == run_id).order_by(run_ends.c.seq.desc()).limit(1)
    ).scalar()
    if present == outcome:
        return
    if present is not None and present not in _PROVISIONAL:
        raise LedgerError(f"run {run_id} has already ended as {present!r}; {outcome!r} was not recorded")
    append(connection, run_ends, {"run_id": run_id, "outcome": outcome, "detail": detail, "ended_at": datetime.now(UTC)})


def add_result(connection: Connection, result: RunResult) -> None:
    """Append what a run measured; of a retried run the newest counts.

    Raises:
        LedgerError: If there is no such run.
    """
    if connection.execute(select(runs.c.seq).where(runs.c.run_id == result.run_id)).first() is None:
        raise LedgerError(f"there is no run {result.run_id[:80]!r} to measure; record its start first")
    append(connection, run_results, columns_of(result))


def select_runs() -> Select[Any]:
    """Query runs with their newest end, newest run first."""
    later = run_ends.alias("later")
    newest = (
        select(later.c.seq).where(later.c.run_id == runs.c.run_id).order_by(later.c.seq.desc()).limit(1).correlate(runs).scalar_subquery()
    )
    ends = [run_ends.c[name] for name in ("outcome", "detail", "ended_at")]
    return select(runs, *ends).select_from(runs).outerjoin(run_ends, run_ends.c.seq == newest).order_by(runs.c.seq.desc())
