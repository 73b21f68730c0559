"""The ledger's first schema: eight append-only tables."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TIMESTAMP

from brandhouse_shared.ledger.migrations.append_only import protect

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_SEQ = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.String(32).with_variant(TIMESTAMP(timezone=True), "postgresql")
_VERSION = ("brand", "model", "number")


def upgrade() -> None:
    """Create the tables, then close them to changes."""
    for create in (_snapshots, _runs, _run_ends, _versions, _stage_events, _deployments, _key_events, _fallbacks):
        create()


def _snapshots() -> None:
    unique = ("brand", "dataset", "hash_md5")
    columns = [*_texts("brand", "dataset", "file", "hash_md5"), *_counts("size_bytes", "rows"), *_texts("source"), *_times("recorded_at")]
    _create("ledger_snapshots", columns, unique)


def _runs() -> None:
    columns = [
        *_texts("run_id", "brand", "model", "template"),
        sa.Column("flow_run_url", sa.Text()),
        *_texts("git_commit", "params_digest", "actor"),
        *_times("started_at"),
    ]
    _create("ledger_runs", columns, ("run_id",))
    op.create_index("ledger_runs_by_model", "ledger_runs", ["brand", "model", "seq"])


def _run_ends() -> None:
    run = sa.ForeignKeyConstraint(["run_id"], ["ledger_runs.run_id"])
    _create("ledger_run_ends", [*_texts("run_id", "outcome", "detail"), *_times("ended_at"), run])
    op.create_index("ledger_run_ends_by_run", "ledger_run_ends", ["run_id", "seq"])


def _versions() -> None:
    columns = [
        *_texts("brand", "model"),
        *_counts("number"),
        *_texts("kind", "fingerprint", "artifact_digest", "runtime", "task", "target", "metric"),
        *_numbers("score", "score_low", "score_high", "baseline_score"),
        sa.Column("production_score", sa.Float(53)),
        *_flags("gates_passed"),
        *_texts("snapshot_hash", "snapshot_dataset"),
        *_counts("rows_train", "rows_holdout"),
        *_texts("git_commit"),
        *_flags("git_dirty"),
        *_texts("lock_hash", "code_digest", "template_version", "estimator", "candidate_name"),
        *_counts("seed"),
        *_texts("owner", "run_id", "flow_run_url"),
        *_numbers("trained_seconds"),
        *_times("created_at"),
        *(sa.Column(name, sa.JSON(), nullable=False) for name in ("gates", "params", "slices", "feature_statistics")),
    ]
    _create("ledger_versions", columns, _VERSION, ("brand", "model", "artifact_digest", "fingerprint"))
    op.create_index("ledger_versions_by_fingerprint", "ledger_versions", ["brand", "model", "fingerprint"])


def _stage_events() -> None:
    columns = [
        *_texts("brand", "model"),
        *_counts("number"),
        sa.Column("from_stage", sa.Text()),
        *_texts("to_stage", "cause", "actor", "reason"),
        *_flags("automatic", "forced"),
        *_times("at"),
        sa.ForeignKeyConstraint(_VERSION, [f"ledger_versions.{name}" for name in _VERSION]),
    ]
    _create("ledger_stage_events", columns)
    op.create_index("ledger_stage_events_by_version", "ledger_stage_events", [*_VERSION, "seq"])
    op.create_index("ledger_stage_events_by_stage", "ledger_stage_events", ["to_stage", "brand", "model", "seq"])


def _deployments() -> None:
    _create("ledger_deployments", [*_texts("name", "spec_hash", "action"), *_times("at"), *_texts("actor")])


def _key_events() -> None:
    columns = [
        *_texts("key_id", "brand", "action"),
        sa.Column("hash", sa.Text()),
        sa.Column("scopes", sa.JSON()),
        sa.Column("expires_at", _TIME),
        *_texts("actor", "reason"),
        *_times("at"),
    ]
    _create("ledger_key_events", columns, ("key_id", "action"))
    op.create_index("ledger_key_events_by_brand", "ledger_key_events", ["brand", "seq"])


def _fallbacks() -> None:
    columns = [*_texts("brand", "model"), sa.Column("number", sa.BigInteger()), *_texts("reason"), *_times("at")]
    _create("ledger_fallbacks", columns)
    op.create_index("ledger_fallbacks_by_model", "ledger_fallbacks", ["brand", "model", "seq"])


def _create(table: str, columns: list[Any], *unique: tuple[str, ...]) -> None:
    seq = sa.Column("seq", _SEQ, primary_key=True, autoincrement=False)
    op.create_table(table, seq, *columns, *(sa.UniqueConstraint(*names) for names in unique))
    protect(op.get_bind(), table, [("seq",), *unique])


def _texts(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]


def _counts(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.BigInteger(), nullable=False) for name in names]


def _numbers(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.Float(53), nullable=False) for name in names]


def _flags(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.Boolean(), nullable=False) for name in names]


def _times(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, _TIME, nullable=False) for name in names]
