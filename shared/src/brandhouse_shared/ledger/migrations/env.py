"""Alembic's entry point: run the revisions on the connection that `schema` hands over, inside its transaction."""

from alembic import context

from brandhouse_shared.ledger.revisions import VERSION_TABLE

# No offline mode: the ledger's lock must be held while its schema changes.
context.configure(connection=context.config.attributes["connection"], version_table=VERSION_TABLE)
context.run_migrations()
