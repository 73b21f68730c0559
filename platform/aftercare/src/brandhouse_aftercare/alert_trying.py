"""A test message over every route of a brand: what a team does before it trusts its alerts."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from brandhouse_aftercare.alert_delivery import send
from brandhouse_aftercare.alert_history import NOTICE
from brandhouse_aftercare.alert_messages import message_of
from brandhouse_aftercare.alert_signals import AlertState, Signal, alert_entry
from brandhouse_shared.alerts import LOG, Severity
from brandhouse_shared.brands import Brand
from brandhouse_shared.ledger.ledger import Ledger

TEST_CHECK = "alerts.test"


@dataclass(frozen=True, slots=True)
class TriedRoute:
    """One route and whether it took the message.

    Attributes:
        route: Its name.
        kind: Its kind.
        refusal: Why it did not take it; None: it did.
    """

    route: str
    kind: str
    refusal: str | None


def try_routes(
    ledger: Ledger, brand: Brand, *, now: datetime, actor: str, environment: Mapping[str, str] | None = None
) -> list[TriedRoute]:
    """Send a test message over every declared route, or the log if there is none, whatever budget and silence say.

    It is recorded, and counts neither in the budget nor as anything red.
    """
    routes = tuple(brand.config.alerts.routes) or (LOG,)
    signal = Signal(TEST_CHECK, "red", f"A test message, asked for by {actor}. Nothing is wrong.", severity=Severity.INFO)
    facts = {"signal": NOTICE, "routes": list(routes), "message": f"{brand.name}-test-{now:%Y%m%dT%H%M%S%f}"}
    entry = alert_entry(brand.name, signal, AlertState.SENT, facts, now, actor=actor, run_id=None)
    refusals = send(brand, message_of(str(facts["message"]), [entry], None), os.environ if environment is None else environment)
    state = AlertState.GIVEN_UP if refusals else AlertState.SENT
    delivered = [name for name in routes if name not in refusals]
    outcome = {**entry.facts, "delivered": delivered, "undelivered": refusals, "attempts": 1}
    ledger.record_entry(entry.model_copy(update={"state": str(state), "facts": outcome}))
    return [TriedRoute(name, _kind(brand, name), refusals.get(name)) for name in routes]


def _kind(brand: Brand, name: str) -> str:
    route = brand.config.alerts.routes.get(name)
    return route.kind if route is not None else LOG
