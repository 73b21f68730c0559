"""Runs say what they were asked for, and what they measured: experiments are on record whether or not a version came of them.

Adds columns, and one append-only table. No row of the first schema is changed, so that its triggers stay as they are.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TIMESTAMP

from brandhouse_shared.ledger.migrations.append_only import protect

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_SEQ = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.String(32).with_variant(TIMESTAMP(timezone=True), "postgresql")


def upgrade() -> None:
    """Widen the runs, then add their results."""
    # All runs of the first schema were full ones. The default also lets a process of that release, still open, go on writing.
    op.add_column("ledger_runs", sa.Column("kind", sa.Text(), nullable=False, server_default="full"))
    op.add_column("ledger_runs", sa.Column("asked", sa.JSON()))
    for name in ("code_digest", "lock_hash"):
        op.add_column("ledger_runs", sa.Column(name, sa.Text()))
    op.add_column("ledger_runs", sa.Column("git_dirty", sa.Boolean()))
    _run_results()


def _run_results() -> None:
    op.create_table(
        "ledger_run_results",
        sa.Column("seq", _SEQ, primary_key=True, autoincrement=False),
        *_texts("run_id", "brand", "model"),
        sa.Column("number", sa.BigInteger()),
        *_texts("metric"),
        sa.Column("score", sa.Float(53), nullable=False),
        sa.Column("score_low", sa.Float(53)),
        sa.Column("score_high", sa.Float(53)),
        sa.Column("baseline_score", sa.Float(53), nullable=False),
        sa.Column("production_score", sa.Float(53)),
        sa.Column("gates_passed", sa.Boolean(), nullable=False),
        *_texts("snapshot_hash", "snapshot_dataset"),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("rows_train", "rows_holdout")),
        *_texts("candidate_name", "estimator"),
        sa.Column("trials", sa.BigInteger(), nullable=False),
        sa.Column("learning_seconds", sa.Float(53), nullable=False),
        sa.Column("holdout_digest", sa.Text()),
        sa.Column("details_digest", sa.Text()),
        sa.Column("recorded_at", _TIME, nullable=False),
        *(sa.Column(name, sa.JSON(), nullable=False) for name in ("gates", "params", "slices")),
        sa.ForeignKeyConstraint(["run_id"], ["ledger_runs.run_id"]),
    )
    op.create_index("ledger_run_results_by_model", "ledger_run_results", ["brand", "model", "seq"])
    protect(op.get_bind(), "ledger_run_results", [("seq",)])


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]
