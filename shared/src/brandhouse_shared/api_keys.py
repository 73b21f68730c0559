"""API keys: made, shown once, and checked. Only a hash of the secret is ever stored.

A key reads `bh_<key_id>_<secret>`; the prefix lets secret scanners find a leaked one.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime

from brandhouse_shared.errors import UnauthenticatedError
from brandhouse_shared.ledger.records import KeyRecord

PREFIX = "bh"
_SECRET_BYTES = 32
_NO_SECRET = "0" * 64


def create_key(brand: str, scopes: Iterable[str], expires_at: datetime | None, *, actor: str) -> tuple[str, KeyRecord]:
    """Make a key for a brand.

    Args:
        brand: The only brand it opens.
        scopes: What it allows, such as `predict` and `feedback`.
        expires_at: Aware time after which it is refused; None: until revoked.
        actor: Who makes it.

    Returns:
        The key itself, to be shown once and never stored, and the record for the ledger.
    """
    key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(_SECRET_BYTES)
    record = KeyRecord(
        key_id=key_id,
        brand=brand,
        hash=hash_secret(secret),
        scopes=tuple(scopes),
        created_at=datetime.now(UTC),
        expires_at=expires_at,
        actor=actor,
    )
    return f"{PREFIX}_{key_id}_{secret}", record


def verify(plain: str, records: Iterable[KeyRecord]) -> KeyRecord:
    """Return the record of a key that is known, not expired and not revoked.

    Who asks often keeps the records by id and calls `parse_key` and `check_secret` instead.

    Raises:
        UnauthenticatedError: Otherwise. Only the holder of the right secret learns that it expired or was revoked.
    """
    key_id, secret = parse_key(plain)
    return check_secret(secret, next((record for record in records if record.key_id == key_id), None))


def parse_key(plain: str) -> tuple[str, str]:
    """Split a key into its id and its secret.

    Raises:
        UnauthenticatedError: If it does not have the form of a key.
    """
    prefix, _, rest = plain.partition("_")
    key_id, _, secret = rest.partition("_")  # a secret may hold underscores, an id does not
    if prefix != PREFIX or not key_id or not secret or not plain.isascii():
        raise UnauthenticatedError(f"this is no API key; it looks like {PREFIX}_ID_SECRET and is sent as `Authorization: Bearer KEY`")
    return key_id, secret


def check_secret(secret: str, record: KeyRecord | None, now: datetime | None = None) -> KeyRecord:
    """Return the record if the secret is its own and it is still valid `now`; None: at this moment.

    Takes as long for an unknown id (`record` is None) as for a wrong secret, so that ids cannot be found out by timing.

    Raises:
        UnauthenticatedError: If it is not.
    """
    is_equal = hmac.compare_digest(hash_secret(secret), record.hash if record else _NO_SECRET)
    if record is None or not is_equal:
        raise UnauthenticatedError("unknown API key; `brandhouse keys create BRAND` makes one")
    if record.revoked_at is not None:
        raise UnauthenticatedError(f"API key {record.key_id} was revoked; `brandhouse keys create {record.brand}` makes a new one")
    if record.expires_at is not None and record.expires_at <= (now or datetime.now(UTC)):
        raise UnauthenticatedError(f"API key {record.key_id} has expired; `brandhouse keys create {record.brand}` makes a new one")
    return record


def hash_secret(secret: str) -> str:
    """SHA-256 of a secret, hexadecimal.

    A fast hash is right here: slow ones slow down guessing at passwords, but nobody guesses 256 random bits, and this
    runs on every request.
    """
    return hashlib.sha256(secret.encode()).hexdigest()
