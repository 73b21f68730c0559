"""The one record of truth, append-only: snapshots, runs, versions, stage changes, deployments, keys and fallbacks.

`open_ledger` is the door. It lives here, unlike elsewhere, so that naming the ledger does not import its engine:
SQLAlchemy takes longer than most commands do. `status.read_status` answers a listing without it altogether.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from brandhouse_shared.ledger.ledger import Ledger


def open_ledger(url: str) -> "Ledger":
    """Open the ledger at a SQLAlchemy URL; an empty place gets a new one.

    Args:
        url: `sqlite:///FILE` or `postgresql://...`. Missing folders of a file are made.

    Raises:
        LedgerVersionError: If it is from an older release (`brandhouse ledger upgrade` helps) or a newer one.
        LedgerError: If the URL or the database cannot be used.
        RetryableError: If the database does not answer.
    """
    from brandhouse_shared.ledger.database import Database
    from brandhouse_shared.ledger.ledger import Ledger
    from brandhouse_shared.ledger.schema import ensure_schema

    database = Database(url)
    ensure_schema(database)
    return Ledger(database)


def upgrade_ledger(url: str) -> str | None:
    """Bring a ledger to this release's schema and return the revision it had before, None if it was new.

    Raises:
        LedgerVersionError: If it is from a newer release.
    """
    from brandhouse_shared.ledger.database import Database
    from brandhouse_shared.ledger.schema import upgrade_schema

    return upgrade_schema(Database(url))
