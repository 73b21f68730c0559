"""What a message says: JSON for machines, blocks for Slack and its kin, plain text for mail and logs.

Built from what the ledger holds of it, so that a message that is sent again says the same under the same id.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from brandhouse_aftercare.alert_signals import Signal, signal_of
from brandhouse_aftercare.runbook_pages import runbook_place
from brandhouse_shared.alerts import Severity
from brandhouse_shared.brands import Brand
from brandhouse_shared.ledger.records import Entry

MAX_LINES = 30
"""Checks that one message spells out; the rest is counted. Slack takes 50 blocks."""

MARKS = {"red": "RED", "green": "RECOVERED"}


@dataclass(frozen=True, slots=True)
class Message:
    """One message to one or more routes of a brand.

    Attributes:
        message: Its id; a receiver that gets the same id twice has it already.
        brand: Whose it is.
        entries: What it tells, as recorded.
        routes: Names of the routes that still have to take it.
        delivered: Names of those that took it.
        attempts: How often it was tried.
        first_try: When it was first tried; None: never.
    """

    message: str
    brand: str
    entries: tuple[Entry, ...]
    routes: tuple[str, ...]
    delivered: tuple[str, ...] = ()
    attempts: int = 0

    @property
    def signals(self) -> list[Signal]:
        """What it tells."""
        return [signal_of(entry) for entry in self.entries]

    @property
    def at(self) -> datetime:
        """When it was decided."""
        return self.entries[0].at

    @property
    def severity(self) -> Severity:
        """The most urgent of its checks'."""
        return max((signal.severity for signal in self.signals), key=list(Severity).index)


def message_of(message: str, entries: Sequence[Entry], outcome: Entry | None) -> Message:
    """Build a message from its planned entries and from how its last delivery went; None: it was never tried."""
    wanted = _names(entries[0].facts.get("routes"))
    delivered = _names(outcome.facts.get("delivered")) if outcome else ()
    attempts = int(str(outcome.facts["attempts"])) if outcome else 0
    left = tuple(name for name in wanted if name not in delivered)
    return Message(message, entries[0].brand, tuple(entries), left, delivered, attempts)


def _names(value: Any) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()


def title_of(message: Message) -> str:
    """One line: whose, of what, and how bad."""
    signals = message.signals
    red = [signal for signal in signals if signal.state == "red"]
    chosen = red or signals
    about = ", ".join(dict.fromkeys(signal.model for signal in chosen if signal.model))
    what = f"{chosen[0].check} is" if len(chosen) == 1 else f"{len(chosen)} checks are"
    urgent = "CRITICAL: " if red and message.severity is Severity.CRITICAL else ""
    return f"[{message.brand}] {urgent}{about + ': ' if about else ''}{what} {'red' if red else 'green again'}"


def as_document(brand: Brand, message: Message) -> dict[str, Any]:
    """What a webhook gets."""
    url = brand.config.alerts.runbooks_url
    return {
        "id": message.message,
        "brand": message.brand,
        "title": title_of(message),
        "severity": str(message.severity),
        "at": message.at.isoformat(),
        "alerts": [_item(entry, url) for entry in message.entries],
    }


def _item(entry: Entry, runbooks_url: str | None) -> dict[str, Any]:
    signal = signal_of(entry)
    return {
        "model": signal.model or None,
        "version": signal.number,
        "check": signal.check,
        "state": signal.state,
        "severity": str(signal.severity),
        "detail": signal.detail,
        "value": signal.value,
        "limit": signal.limit,
        "count": entry.facts.get("count", 1),
        "since": entry.facts.get("since", entry.at.isoformat()),
        "runbook": runbook_place(signal.check, runbooks_url),
        "link": signal.link,
    }


def as_text(brand: Brand, message: Message) -> str:
    """What a mail and the log get."""
    lines = [_text_of(entry, brand.config.alerts.runbooks_url) for entry in message.entries[:MAX_LINES]]
    rest = len(message.entries) - len(lines)
    more = [f"... and {rest} more: brandhouse alerts {brand.name}"] if rest > 0 else []
    return "\n\n".join([title_of(message), *lines, *more, f"id {message.message}"])


def _text_of(entry: Entry, runbooks_url: str | None) -> str:
    signal = signal_of(entry)
    where = f"{signal.model}: " if signal.model else ""
    version = f" (v{signal.number})" if signal.number is not None else ""
    lines = [f"{MARKS[signal.state]} {where}{signal.check}{version}, {signal.severity}", signal.detail]
    if signal.state == "red":
        count = int(str(entry.facts.get("count", 1)))
        lines += [f"found {count} times since {entry.facts['since']}"] if count > 1 else []
        lines.append(f"what to do: {runbook_place(signal.check, runbooks_url)}")
    return "\n".join([*lines, *([f"more: {signal.link}"] if signal.link else [])])


def as_blocks(brand: Brand, message: Message) -> dict[str, Any]:
    """What Slack's incoming webhooks get: a fallback text, and a block for each check."""
    url = brand.config.alerts.runbooks_url
    blocks: list[dict[str, Any]] = [{"type": "header", "text": {"type": "plain_text", "text": title_of(message)[:150]}}]
    blocks += [_block(_text_of(entry, url)) for entry in message.entries[:MAX_LINES]]
    rest = len(message.entries) - MAX_LINES
    blocks += [_block(f"... and {rest} more: brandhouse alerts {brand.name}")] if rest > 0 else []
    blocks.append({"type": "context", "elements": [{"type": "plain_text", "text": f"id {message.message}"}]})
    return {"text": title_of(message), "blocks": blocks}


def _block(text: str) -> dict[str, Any]:
    """Plain text: nothing in a detail can become a link or a mention."""
    return {"type": "section", "text": {"type": "plain_text", "text": text[:3000]}}
