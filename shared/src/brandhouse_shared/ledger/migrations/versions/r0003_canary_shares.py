"""A stage event says which share of the requests a canary answers.

Adds one column. No row is changed, so that the triggers stay as they are: a canary of an older release has no share, and
gets no requests until it is given one.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Widen the stage events."""
    op.add_column("ledger_stage_events", sa.Column("share", sa.Float(53)))
