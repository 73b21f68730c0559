"""Alembic revisions of the ledger, and the environment they run in."""
