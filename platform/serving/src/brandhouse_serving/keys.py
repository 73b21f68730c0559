"""Who calls: API keys as the ledger knows them, kept in memory and read again when the ledger has a new key event."""

import logging
from enum import StrEnum

from brandhouse_shared.api_keys import check_secret, parse_key
from brandhouse_shared.errors import ForbiddenError, UnauthenticatedError
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import KeyRecord

logger = logging.getLogger(__name__)


class Scope(StrEnum):
    """What a key may do, within its brand."""

    PREDICT = "predict"
    FEEDBACK = "feedback"
    READ = "read"
    """Listings, the brand's API description, its metrics."""
    ADMIN = "admin"
    """All of the others."""


class KeyRing:
    """The keys of all brands, by id."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._seq = -1
        self._records: dict[str, KeyRecord] = {}

    def refresh(self) -> None:
        """Read the keys again if one was added or revoked since."""
        seq = self._ledger.keys_seq()
        if seq != self._seq:
            records = self._ledger.keys()
            self._records = {record.key_id: record for record in records}
            self._seq = seq

    def authenticate(self, authorization: bytes | None) -> KeyRecord:
        """Return the key of an `Authorization` header.

        Raises:
            UnauthenticatedError: If there is none, or it is unknown, expired or revoked.
        """
        scheme, _, plain = (authorization or b"").decode("latin-1").partition(" ")
        if scheme.lower() != "bearer" or not plain:
            raise UnauthenticatedError("no API key; send it as `Authorization: Bearer KEY`")
        key_id, secret = parse_key(plain.strip())
        return check_secret(secret, self._records.get(key_id))


def permit(key: KeyRecord, brand: str, scope: Scope) -> None:
    """Refuse a key that is another brand's or lacks the scope.

    Raises:
        ForbiddenError: The same for every other brand, whether it exists or not.
    """
    if key.brand != brand:
        raise ForbiddenError("this API key does not open that brand")
    if scope not in key.scopes and Scope.ADMIN not in key.scopes:
        raise ForbiddenError(f"this API key lacks the scope {scope}; `brandhouse keys create {brand} --scope {scope}` makes one with it")
