"""The tables as queries see them. The database gets them from `migrations`; a test keeps the two equal.

Core only: the ledger appends and reads records, there is no object graph to map.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Float,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.types import TypeEngine


class UtcTime(TypeDecorator[datetime]):
    """An aware UTC time: `timestamptz` in PostgreSQL, ISO text of fixed width in SQLite, which has no type for it."""

    impl = String(32)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose the column type."""
        return dialect.type_descriptor(TIMESTAMP(timezone=True) if dialect.name == "postgresql" else String(32))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Write in UTC, always with microseconds, so that text sorts like time."""
        if value is None or dialect.name == "postgresql":
            return value
        return value.astimezone(UTC).isoformat(timespec="microseconds")

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Read in UTC, whatever the session's time zone is."""
        if value is None:
            return None
        return (datetime.fromisoformat(value) if isinstance(value, str) else value).astimezone(UTC)


METADATA = MetaData()

# SQLite keeps rows in the order of an INTEGER primary key and of no other integer type.
_SEQ = BigInteger().with_variant(Integer(), "sqlite")


def _seq() -> Column[int]:
    """Place in the table's order. Allotted by the ledger inside its lock, never by the database: a sequence leaves gaps."""
    return Column("seq", _SEQ, primary_key=True, autoincrement=False)


def _text(name: str, nullable: bool = False) -> Column[str]:
    return Column(name, Text, nullable=nullable)


def _number(name: str, nullable: bool = False) -> Column[float]:
    return Column(name, Float(53), nullable=nullable)


def _count(name: str, nullable: bool = False) -> Column[int]:
    return Column(name, BigInteger, nullable=nullable)


def _time(name: str, nullable: bool = False) -> Column[datetime]:
    return Column(name, UtcTime, nullable=nullable)


def _flag(name: str) -> Column[bool]:
    return Column(name, Boolean, nullable=False)


def _json(name: str) -> Column[Any]:
    return Column(name, JSON, nullable=False)


snapshots = Table(
    "ledger_snapshots",
    METADATA,
    _seq(),
    *(_text(name) for name in ("brand", "dataset", "file", "hash_md5")),
    _count("size_bytes"),
    _count("rows"),
    _text("source"),
    _time("recorded_at"),
    UniqueConstraint("brand", "dataset", "hash_md5"),
)

runs = Table(
    "ledger_runs",
    METADATA,
    _seq(),
    *(_text(name) for name in ("run_id", "brand", "model", "template")),
    _text("flow_run_url", nullable=True),
    *(_text(name) for name in ("git_commit", "params_digest", "actor")),
    _time("started_at"),
    _text("kind"),
    Column("asked", JSON(none_as_null=True), nullable=True),
    *(_text(name, nullable=True) for name in ("code_digest", "lock_hash")),
    Column("git_dirty", Boolean, nullable=True),
    UniqueConstraint("run_id"),
    Index("ledger_runs_by_model", "brand", "model", "seq"),
)

run_ends = Table(
    "ledger_run_ends",
    METADATA,
    _seq(),
    *(_text(name) for name in ("run_id", "outcome", "detail")),
    _time("ended_at"),
    ForeignKeyConstraint(["run_id"], ["ledger_runs.run_id"]),
    Index("ledger_run_ends_by_run", "run_id", "seq"),
)

run_results = Table(
    "ledger_run_results",
    METADATA,
    _seq(),
    *(_text(name) for name in ("run_id", "brand", "model")),
    _count("number", nullable=True),
    _text("metric"),
    _number("score"),
    *(_number(name, nullable=True) for name in ("score_low", "score_high")),
    _number("baseline_score"),
    _number("production_score", nullable=True),
    _flag("gates_passed"),
    *(_text(name) for name in ("snapshot_hash", "snapshot_dataset")),
    *(_count(name) for name in ("rows_train", "rows_holdout")),
    *(_text(name) for name in ("candidate_name", "estimator")),
    _count("trials"),
    _number("learning_seconds"),
    *(_text(name, nullable=True) for name in ("holdout_digest", "details_digest")),
    _time("recorded_at"),
    *(_json(name) for name in ("gates", "params", "slices")),
    ForeignKeyConstraint(["run_id"], ["ledger_runs.run_id"]),
    Index("ledger_run_results_by_model", "brand", "model", "seq"),
)

# Wide documents come last: SQLite then reads the narrow columns of a row without them.
versions = Table(
    "ledger_versions",
    METADATA,
    _seq(),
    _text("brand"),
    _text("model"),
    _count("number"),
    *(_text(name) for name in ("kind", "fingerprint", "artifact_digest", "runtime", "task", "target", "metric")),
    *(_number(name) for name in ("score", "score_low", "score_high", "baseline_score")),
    _number("production_score", nullable=True),
    _flag("gates_passed"),
    *(_text(name) for name in ("snapshot_hash", "snapshot_dataset")),
    *(_count(name) for name in ("rows_train", "rows_holdout")),
    _text("git_commit"),
    _flag("git_dirty"),
    *(_text(name) for name in ("lock_hash", "code_digest", "template_version", "estimator", "candidate_name")),
    _count("seed"),
    *(_text(name) for name in ("owner", "run_id", "flow_run_url")),
    _number("trained_seconds"),
    _time("created_at"),
    *(_json(name) for name in ("gates", "params", "slices", "feature_statistics")),
    UniqueConstraint("brand", "model", "number"),
    UniqueConstraint("brand", "model", "artifact_digest", "fingerprint"),
    Index("ledger_versions_by_fingerprint", "brand", "model", "fingerprint"),
)

stage_events = Table(
    "ledger_stage_events",
    METADATA,
    _seq(),
    _text("brand"),
    _text("model"),
    _count("number"),
    _text("from_stage", nullable=True),
    *(_text(name) for name in ("to_stage", "cause", "actor", "reason")),
    _flag("automatic"),
    _flag("forced"),
    _time("at"),
    _number("share", nullable=True),
    ForeignKeyConstraint(["brand", "model", "number"], ["ledger_versions.brand", "ledger_versions.model", "ledger_versions.number"]),
    Index("ledger_stage_events_by_version", "brand", "model", "number", "seq"),
    Index("ledger_stage_events_by_stage", "to_stage", "brand", "model", "seq"),
)

deployments = Table(
    "ledger_deployments",
    METADATA,
    _seq(),
    *(_text(name) for name in ("name", "spec_hash", "action")),
    _time("at"),
    _text("actor"),
)

key_events = Table(
    "ledger_key_events",
    METADATA,
    _seq(),
    *(_text(name) for name in ("key_id", "brand", "action")),
    _text("hash", nullable=True),
    Column("scopes", JSON(none_as_null=True), nullable=True),
    _time("expires_at", nullable=True),
    *(_text(name) for name in ("actor", "reason")),
    _time("at"),
    UniqueConstraint("key_id", "action"),
    Index("ledger_key_events_by_brand", "brand", "seq"),
)

fallbacks = Table(
    "ledger_fallbacks",
    METADATA,
    _seq(),
    _text("brand"),
    _text("model"),
    _count("number", nullable=True),
    _text("reason"),
    _time("at"),
    Index("ledger_fallbacks_by_model", "brand", "model", "seq"),
)

entries = Table(
    "ledger_entries",
    METADATA,
    _seq(),
    *(_text(name) for name in ("kind", "brand", "model")),
    _count("number", nullable=True),
    *(_text(name) for name in ("name", "state")),
    _number("value", nullable=True),
    *(_text(name) for name in ("detail", "actor")),
    _text("run_id", nullable=True),
    _time("at"),
    _json("facts"),
    Index("ledger_entries_by_kind", "kind", "brand", "model", "name", "seq"),
)
