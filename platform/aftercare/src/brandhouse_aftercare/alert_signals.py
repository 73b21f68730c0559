"""What a check says to whoever wants to be told, and how it is written to the ledger."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from brandhouse_shared.alerts import Severity
from brandhouse_shared.ledger.records import Entry, EntryKind

ACTOR = "alerts"

MAX_DETAIL = 500
"""Characters of a detail that reach a message; more is cut."""


@dataclass(frozen=True, slots=True)
class Signal:
    """What one check of one model, or of the brand as a whole, says now.

    Attributes:
        check: Its name, `family` or `family.detail`; the family has a runbook page (`runbook_pages`).
        state: red: somebody should look. green: it is well, or well again.
        detail: One sentence for people. No row values, no secrets.
        model: Empty: about the brand as a whole.
        number: The version's number, if it is about one.
        severity: How soon somebody should look; the brand may say otherwise.
        value: The number that decided.
        limit: What it was held against.
        link: Where more is to be seen, such as the flow run's page.
    """

    check: str
    state: Literal["red", "green"]
    detail: str
    model: str = ""
    number: int | None = None
    severity: Severity = Severity.WARNING
    value: float | None = None
    limit: float | None = None
    link: str | None = None


class AlertState(StrEnum):
    """What became of an alert: the states of entries of kind alert."""

    SENDING = "sending"
    """In a message that is about to be sent; if nothing follows, the process died, and the next call sends it."""
    SENT = "sent"
    FAILED = "failed"
    """At least one route did not take the message; the next call tries it again."""
    GIVEN_UP = "given up"
    """It failed for a week."""
    GROUPED = "grouped"
    """Counted: it was told already, or comes with the next message about the model."""
    SILENCED = "silenced"
    """Comes after the silence, if it is still red then."""
    OVER_BUDGET = "over budget"
    MUTED = "muted"
    """The brand wants to be told nothing of this check, or of nothing so unimportant."""
    RECOVERED = "recovered"
    """It is green again, and nobody had been told that it was red."""


PLANNED = frozenset(AlertState) - {AlertState.SENT, AlertState.FAILED, AlertState.GIVEN_UP}
"""States that say what was decided of a signal; the others say how its delivery went."""


def alert_entry(
    brand: str,
    signal: Signal,
    state: AlertState,
    facts: Mapping[str, Any],
    now: datetime,
    *,
    actor: str,
    run_id: str | None,
) -> Entry:
    """Write down what was decided of a signal."""
    own = {"signal": signal.state, "severity": str(signal.severity), "limit": signal.limit, "link": signal.link}
    return Entry(
        kind=EntryKind.ALERT,
        brand=brand,
        model=signal.model,
        number=signal.number,
        name=signal.check,
        state=str(state),
        value=signal.value,
        detail=" ".join(signal.detail.split())[:MAX_DETAIL],
        facts={**own, **facts},
        actor=actor,
        run_id=run_id,
        at=now,
    )


def signal_of(entry: Entry) -> Signal:
    """Read the signal back from what was written down of it."""
    limit = entry.facts.get("limit")
    link = entry.facts.get("link")
    return Signal(
        check=entry.name,
        state="green" if entry.facts.get("signal") == "green" else "red",
        detail=entry.detail,
        model=entry.model,
        number=entry.number,
        severity=Severity(str(entry.facts["severity"])),
        value=entry.value,
        limit=float(limit) if isinstance(limit, int | float) else None,
        link=str(link) if link is not None else None,
    )
