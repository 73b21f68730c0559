"""API keys of the brands: created and shown once, listed without the key, revoked at once."""

from datetime import UTC, datetime, timedelta

from brandhouse_console.output import print_json, print_table
from brandhouse_shared.api_keys import create_key
from brandhouse_shared.brands import find_brand
from brandhouse_shared.errors import LedgerError, join_bounded
from brandhouse_shared.ledger import open_ledger
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.settings import Settings, load_settings

DEFAULT_SCOPES = ("predict", "feedback", "read")


def create(brand: str, *, scopes: list[str], expires_days: int | None, as_json: bool) -> None:
    """Create a key and print it; it cannot be shown again."""
    settings, ledger = _open(brand)
    expires_at = datetime.now(UTC) + timedelta(days=expires_days) if expires_days else None
    plain, record = create_key(brand, tuple(scopes) or DEFAULT_SCOPES, expires_at, actor=settings.actor)
    ledger.add_key(record)
    if as_json:
        print_json({"brand": brand, "key": plain, "key_id": record.key_id, "scopes": record.scopes, "expires_at": expires_at})
        return
    print(f"key of {brand} ({', '.join(record.scopes)}), shown this once:\n{plain}\nsend it as: Authorization: Bearer KEY")


def revoke(brand: str, *, key_id: str | None, reason: str, as_json: bool) -> None:
    """Revoke one key of a brand, or all of them."""
    settings, ledger = _open(brand)
    live = [key.key_id for key in ledger.keys(brand) if key.revoked_at is None]
    if key_id is not None and key_id not in live:
        raise LedgerError(f"{brand} has no live key {key_id[:40]!r}; live keys: {join_bounded(live)}")
    revoked = [key_id] if key_id else live
    for each in revoked:
        ledger.revoke_key(each, actor=settings.actor, reason=reason)
    if as_json:
        print_json({"brand": brand, "revoked": revoked})
        return
    print(f"revoked {len(revoked)} key(s) of {brand}: {join_bounded(revoked)}")


def listing(brand: str, *, as_json: bool) -> None:
    """Print a brand's keys."""
    _, ledger = _open(brand)
    keys = ledger.keys(brand)
    if as_json:
        print_json([key.model_dump(mode="json", exclude={"hash"}) for key in keys])
        return
    print_table(
        ["key", "scopes", "created", "by", "expires", "revoked"],
        [[key.key_id, ", ".join(key.scopes), key.created_at, key.actor, key.expires_at, key.revoked_at] for key in keys],
        empty=f"{brand} has no key yet; create one with `brandhouse keys create {brand}`",
    )


def _open(brand: str) -> tuple[Settings, Ledger]:
    settings = load_settings()
    find_brand(settings.brands_dir, brand)
    return settings, open_ledger(settings.ledger_url.get_secret_value())
