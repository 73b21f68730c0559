"""Alerts as the ledger has them; sending what waits; and trying a brand's routes."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from brandhouse_console.output import print_json, print_table
from brandhouse_shared.brands import Brand, discover_brands, find_brand
from brandhouse_shared.errors import BrandhouseError
from brandhouse_shared.ledger import open_ledger
from brandhouse_shared.ledger.records import Entry, EntryKind
from brandhouse_shared.settings import Settings, load_settings

if TYPE_CHECKING:
    from brandhouse_aftercare.alert_trying import TriedRoute


def listing(brand: str | None, *, send: bool, limit: int, as_json: bool) -> None:
    """Print alerts, newest first, of one brand or of all.

    Args:
        brand: None: all brands.
        send: Send first what waits: after a silence, in a group, or since a delivery failed.
        limit: Alerts to print.
        as_json: Print JSON.
    """
    settings = load_settings()
    brands = _brands(settings, brand)
    if send:
        _send(settings, brands)
    ledger = open_ledger(settings.ledger_url.get_secret_value())
    entries = ledger.entries(EntryKind.ALERT, brand, limit=limit)
    if as_json:
        print_json([as_document(entry) for entry in entries])
        return
    print_table(
        ["at", "brand", "model", "check", "signal", "severity", "what happened", "detail"],
        [_row(entry) for entry in entries],
        empty="nobody was told anything, and nothing was held back",
    )


def as_document(entry: Entry) -> dict[str, Any]:
    """One alert for machines."""
    facts = entry.facts
    return {
        "seq": entry.seq,
        "at": entry.at,
        "brand": entry.brand,
        "model": entry.model or None,
        "version": entry.number,
        "check": entry.name,
        "signal": facts.get("signal"),
        "severity": facts.get("severity"),
        "state": entry.state,
        "value": entry.value,
        "limit": facts.get("limit"),
        "detail": entry.detail,
        "count": facts.get("count"),
        "routes": facts.get("routes", []),
        "message": facts.get("message"),
        "undelivered": facts.get("undelivered", {}),
    }


def _row(entry: Entry) -> list[Any]:
    facts = entry.facts
    refused = facts.get("undelivered")
    why = "; ".join(f"{route}: {reason}" for route, reason in refused.items()) if isinstance(refused, dict) else ""
    happened = f"{entry.state} ({why})" if why else entry.state
    return [entry.at, entry.brand, entry.model or None, entry.name, facts.get("signal"), facts.get("severity"), happened, entry.detail]


def _brands(settings: Settings, brand: str | None) -> Sequence[Brand]:
    return [find_brand(settings.brands_dir, brand)] if brand else discover_brands(settings.brands_dir)[0]


def _send(settings: Settings, brands: Sequence[Brand]) -> None:
    from brandhouse_aftercare.alerting import tell

    ledger = open_ledger(settings.ledger_url.get_secret_value())
    for brand in brands:
        tell(ledger, brand, [], now=datetime.now(UTC), actor=settings.actor)


def test(brand: str | None, *, as_json: bool) -> None:
    """Send a test message over every route of a brand and print what took it.

    Raises:
        BrandhouseError: If no brand is named, or a route did not take it.
    """
    from brandhouse_aftercare.alert_trying import try_routes

    settings = load_settings()
    if brand is None:
        raise BrandhouseError("--test sends a message: name the brand, such as `brandhouse alerts --test BRAND`")
    ledger = open_ledger(settings.ledger_url.get_secret_value())
    tried = try_routes(ledger, find_brand(settings.brands_dir, brand), now=datetime.now(UTC), actor=settings.actor)
    if as_json:
        print_json(
            [{"brand": brand, "route": one.route, "kind": one.kind, "delivered": one.refusal is None, "why": one.refusal} for one in tried]
        )
    else:
        print_table(["route", "kind", "delivered", "why not"], [[one.route, one.kind, one.refusal is None, one.refusal] for one in tried])
    _complain(brand, tried)


def _complain(brand: str, tried: "Sequence[TriedRoute]") -> None:
    refused = [one for one in tried if one.refusal is not None]
    if refused:
        raise BrandhouseError(f"{brand}: {len(refused)} of {len(tried)} routes did not take the test message; see docs/runbooks/alerts.md")
