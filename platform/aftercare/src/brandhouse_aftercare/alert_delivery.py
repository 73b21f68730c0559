"""Bring a message to the routes that still have to take it, and write down how that went."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from brandhouse_aftercare.alert_carriers import NotDeliveredError, carry
from brandhouse_aftercare.alert_history import GIVE_UP
from brandhouse_aftercare.alert_messages import Message
from brandhouse_aftercare.alert_signals import AlertState
from brandhouse_flows.brand_secrets import secrets_of
from brandhouse_shared.brands import Brand, brand_folders
from brandhouse_shared.ledger.records import Entry


def deliver(
    brand: Brand, message: Message, environment: Mapping[str, str], now: datetime, *, actor: str, run_id: str | None
) -> Iterator[Entry]:
    """Send a message and yield, for each check in it, what became of it."""
    refusals = send(brand, message, environment)
    facts = {
        "message": message.message,
        "delivered": [*message.delivered, *(name for name in message.routes if name not in refusals)],
        "undelivered": refusals,
        "attempts": message.attempts + 1,
    }
    state = _state(refusals, message, now)
    for entry in message.entries:
        own = {name: value for name, value in entry.facts.items() if name != "waits"}
        yield entry.model_copy(
            update={"state": str(state), "facts": {**own, **facts}, "actor": actor, "run_id": run_id, "at": now, "seq": 0}
        )


def send(brand: Brand, message: Message, environment: Mapping[str, str]) -> dict[str, Any]:
    """Send a message to its routes.

    Returns:
        By route that did not take it: why not. Says nothing of addresses: they are secrets.
    """
    secrets = secrets_of(brand.name, (folder.name for folder in brand_folders(brand.folder.parent)), environment)
    refusals = {}
    for name in message.routes:
        try:
            carry(brand, name, message, secrets)
        except NotDeliveredError as error:
            refusals[name] = str(error)
    return refusals


def _state(refusals: Mapping[str, Any], message: Message, now: datetime) -> AlertState:
    if not refusals:
        return AlertState.SENT
    return AlertState.GIVEN_UP if message.at <= now - GIVE_UP else AlertState.FAILED
