"""Telling a brand what its checks found: the one way through which anybody is told anything.

What is told, held back or dropped is decided by `alert_planning` from the brand's declaration and from what the ledger says was
told before; `alert_delivery` brings messages to where they go. Everything is in the ledger before it is sent: a crash between the
two sends a message twice, with the same id, and never not at all.
"""

import os
from collections.abc import Mapping, Sequence
from datetime import datetime

from brandhouse_aftercare.alert_delivery import deliver
from brandhouse_aftercare.alert_history import HISTORY, open_messages
from brandhouse_aftercare.alert_planning import plan
from brandhouse_aftercare.alert_signals import ACTOR
from brandhouse_aftercare.alert_signals import Signal as Signal
from brandhouse_shared.brands import Brand
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import Entry, EntryKind


def tell(
    ledger: Ledger,
    brand: Brand,
    signals: Sequence[Signal],
    *,
    now: datetime,
    environment: Mapping[str, str] | None = None,
    run_id: str | None = None,
    actor: str = ACTOR,
) -> list[Entry]:
    """Tell a brand's routes what checks found, as far as the brand wants to be told now, and send what still waits.

    Args:
        ledger: Where it is recorded, and read what was told before.
        brand: Only its own routes and secrets are used.
        signals: What a run's checks say, the green ones too: they close what red ones opened. May be empty.
        now: Aware, UTC.
        environment: Where the routes' secrets are; None: the process's.
        run_id: Of the run that found it.
        actor: Who tells, as written to the ledger.

    Returns:
        What was recorded: of each signal that matters one entry (`sending`, `grouped`, `silenced`, `over budget`, `muted` or
        `recovered`), and of each message that was due, for each of its checks, `sent`, `failed` (the next call tries again) or
        `given up`. A failed delivery raises nothing.
    """
    seen: list[Entry] = []

    def decide(known: Sequence[Entry]) -> list[Entry]:
        seen.extend(known)
        return plan(brand, known, signals, now, actor=actor, run_id=run_id)

    planned = ledger.record_decided(EntryKind.ALERT, brand.name, now - HISTORY, decide)
    secrets = os.environ if environment is None else environment
    fresh = {str(entry.facts["message"]) for entry in planned if "message" in entry.facts}
    outcomes = [
        ledger.record_entry(outcome)
        for message in open_messages([*seen, *planned], now, fresh)
        for outcome in deliver(brand, message, secrets, now, actor=actor, run_id=run_id)
    ]
    return [*planned, *outcomes]
