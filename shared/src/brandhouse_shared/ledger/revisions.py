"""Which schema of the ledger this release expects. Imports nothing, so that opening a ledger needs no Alembic."""

from typing import Literal

VERSION_TABLE = "ledger_revision"
"""Alembic's table. Not its default name: Prefect keeps `alembic_version` in the same database if the two share one."""

REVISIONS = ("0001", "0002", "0003", "0004")
"""All revisions, oldest first: the files in `migrations/versions`."""

HEAD = REVISIONS[-1]

Age = Literal["current", "older", "newer"]


def compare_revision(found: str | None) -> Age:
    """Say how a ledger's schema stands to this release's.

    A revision that this release does not know can only come from a newer one. None, where ledger tables carry no
    revision, counts as older.
    """
    if found == HEAD:
        return "current"
    return "older" if found is None or found in REVISIONS else "newer"
