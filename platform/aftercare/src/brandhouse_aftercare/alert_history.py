"""What the ledger says about a brand's alerts: what is red, what was told when, and which messages still have to go out."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from brandhouse_aftercare.alert_messages import Message, message_of
from brandhouse_aftercare.alert_signals import PLANNED, AlertState
from brandhouse_shared.alerts import Severity
from brandhouse_shared.ledger.records import Entry

HISTORY = timedelta(days=62)
"""How far back alerts are read: twice the longest `repeat_hours`. What was said before is forgotten."""

BUDGET_WEEK = timedelta(days=7)

GIVE_UP = timedelta(days=7)
"""A message that no route takes for so long is given up: nobody could act on it any more."""

IN_DOUBT = timedelta(minutes=2)
"""A message without outcome that is younger may be on its way in another process; longer than all timeouts of a delivery."""

NOTICE = "notice"
"""Signal of a message about alerts themselves; it opens and closes nothing."""


@dataclass(slots=True)
class Line:
    """One check of one model through time.

    Attributes:
        is_red: By its last signal.
        told: The entry with which somebody was last told that it is red, since it became red; None: nobody was.
        held: The last entry, if it still has to be told: after a silence, or with the next message about the model.
        count: Red signals since it became red.
        since: When it became red.
    """

    is_red: bool = False
    told: Entry | None = None
    held: Entry | None = None
    count: int = 0
    since: datetime | None = None

    def follow(self, entry: Entry) -> None:
        """Take in the next planned entry."""
        if entry.facts["signal"] == "red" and not self.is_red:
            self.is_red, self.told, self.count, self.since = True, None, 0, entry.at
        self.is_red = entry.facts["signal"] == "red"
        self.count += self.is_red
        self.held = entry if entry.facts.get("waits") else None
        if entry.state == AlertState.SENDING and self.is_red:
            self.told = entry


@dataclass(slots=True)
class Book:
    """All alerts of a brand as they stand."""

    lines: dict[tuple[str, str], Line] = field(default_factory=dict)
    red_messages: dict[str, Entry] = field(default_factory=dict)
    """By message: one of its entries. Only messages that say that something is red; they count in the budget."""
    notices: list[Entry] = field(default_factory=list)

    def line(self, model: str, check: str) -> Line:
        """The line of a check; an empty one if nothing was ever said."""
        return self.lines.get((model, check)) or Line()

    def spent(self, now: datetime) -> int:
        """Messages of the last seven days that count in the budget."""
        return sum(1 for entry in self.red_messages.values() if entry.at > now - BUDGET_WEEK)

    def said_that_budget_is_used_up(self, now: datetime) -> bool:
        """Whether the last seven days have a message that says so."""
        return any(entry.at > now - BUDGET_WEEK for entry in self.notices)

    def told_lately(self, model: str, severity: Severity, since: datetime) -> bool:
        """Whether a message at least as urgent about the model went out after `since`."""
        told = (line.told for (of, _), line in self.lines.items() if of == model)
        return any(entry is not None and entry.at > since and Severity(str(entry.facts["severity"])).reaches(severity) for entry in told)


def read_book(entries: Iterable[Entry]) -> Book:
    """Read alerts, oldest first."""
    book = Book()
    for entry in entries:
        if entry.state not in PLANNED:
            continue
        if entry.facts["signal"] == NOTICE:
            book.notices.append(entry)
            continue
        book.lines.setdefault((entry.model, entry.name), Line()).follow(entry)
        if entry.state == AlertState.SENDING and entry.facts["signal"] == "red":
            book.red_messages[str(entry.facts["message"])] = entry
    return book


def open_messages(entries: Sequence[Entry], now: datetime, fresh: Collection[str]) -> list[Message]:
    """The messages that still have to go out, oldest first.

    Args:
        entries: Alerts of one brand, oldest first.
        now: Decides what is in doubt: on its way in another process, perhaps.
        fresh: Ids of messages that this process has planned just now.
    """
    planned: dict[str, list[Entry]] = {}
    outcomes: dict[str, Entry] = {}
    for entry in entries:
        message = str(entry.facts.get("message", ""))
        if entry.state == AlertState.SENDING:
            planned.setdefault(message, []).append(entry)
        elif entry.state not in PLANNED:
            outcomes[message] = entry
    due = (message for message in planned if _is_due(message, planned[message][0], outcomes.get(message), now, fresh))
    return [message_of(message, planned[message], outcomes.get(message)) for message in due]


def _is_due(message: str, first: Entry, outcome: Entry | None, now: datetime, fresh: Collection[str]) -> bool:
    if outcome is not None:
        return outcome.state == AlertState.FAILED
    return message in fresh or first.at <= now - IN_DOUBT
