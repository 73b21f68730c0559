"""What happens after a deployment is on record too: checks, decisions, approvals, alerts, erasures, drills, costs, farewells.

Adds one append-only table for all of them: they are read one after another by brand and kind, and each kind has facts of its own.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TIMESTAMP

from brandhouse_shared.ledger.migrations.append_only import protect

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_SEQ = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.String(32).with_variant(TIMESTAMP(timezone=True), "postgresql")


def upgrade() -> None:
    """Add the entries."""
    op.create_table(
        "ledger_entries",
        sa.Column("seq", _SEQ, primary_key=True, autoincrement=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("kind", "brand", "model")),
        sa.Column("number", sa.BigInteger()),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("name", "state")),
        sa.Column("value", sa.Float(53)),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("detail", "actor")),
        sa.Column("run_id", sa.Text()),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
    )
    op.create_index("ledger_entries_by_kind", "ledger_entries", ["kind", "brand", "model", "name", "seq"])
    protect(op.get_bind(), "ledger_entries", [("seq",)])
