"""Which retrainings are owed: those that had to wait and need not any more, and those whose event never started anything.

Events are lost while the Prefect server is away, and a run may die before it decided. What the ledger says is compared with the newest
decision of the model, so that nothing stays undone for long, and nothing is done twice: the decision itself is made as always.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from brandhouse_aftercare.retrain_run import DECISION
from brandhouse_aftercare.retraining_facts import OUTCOME, check_trigger, retrained_on_trial
from brandhouse_flows.events import trigger_of
from brandhouse_shared.brands import Brand
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import Entry, EntryKind
from brandhouse_shared.names import ModelKey
from brandhouse_shared.operation import Trigger

GRACE_MINUTES = 5.0
"""An event has so long to start its retraining before it counts as lost."""


@dataclass(frozen=True, slots=True)
class Due:
    """A retraining that is to be decided about now."""

    key: ModelKey
    trigger: Trigger
    reason: str


def due_retrainings(ledger: Ledger, brands: Iterable[Brand], now: datetime) -> list[Due]:
    """Find what is owed to the models of some brands, one at most a model.

    Args:
        ledger: Which says what was decided and what happened since.
        brands: Whose models to look at.
        now: Aware, UTC.
    """
    decided = {(entry.brand, entry.model): entry for entry in ledger.newest_entries(EntryKind.DECISION) if entry.name == DECISION}
    red: dict[tuple[str, str], list[Entry]] = {}
    for entry in ledger.newest_entries(EntryKind.CHECK):
        if entry.state == "red" and trigger_of(entry.name) != "none":
            red.setdefault((entry.brand, entry.model), []).append(entry)
    found = []
    for brand in brands:
        for key in brand.model_keys:
            place = (key.brand, key.model)
            due = _due(ledger, brand, key, decided.get(place), red.get(place, []), now)
            if due is not None and due.trigger in brand.model(key.model).retraining.triggers:
                found.append(due)
    return found


def _due(ledger: Ledger, brand: Brand, key: ModelKey, decision: Entry | None, red: list[Entry], now: datetime) -> Due | None:
    if decision is not None and decision.state == "wait":
        return _waited(ledger, key, decision, now)
    if decision is not None and decision.facts.get("trigger") == "erasure" and (failed := _failed_erasure(ledger, brand, decision, now)):
        return failed
    return _unheard(key, decision, red, now) or _unseen_snapshot(ledger, brand, key, decision, now)


def _waited(ledger: Ledger, key: ModelKey, decision: Entry, now: datetime) -> Due | None:
    until = decision.facts.get("until")
    trial_has_ended = bool(decision.facts.get("on_trial")) and not retrained_on_trial(ledger, key)
    if isinstance(until, str) and datetime.fromisoformat(until) > now and not trial_has_ended:
        return None
    trigger = check_trigger(str(decision.facts.get("trigger", "schedule")))
    return Due(key, trigger, f"waited since {decision.at:%Y-%m-%d %H:%M} UTC: {decision.facts.get('asked_because', '')}")


def _failed_erasure(ledger: Ledger, brand: Brand, decision: Entry, now: datetime) -> Due | None:
    """A retraining that failed is told, and that is all; but data that were erased must not go on answering."""
    key = ModelKey(decision.brand, decision.model)
    newest = next(iter(ledger.entries(EntryKind.DECISION, key.brand, key.model, OUTCOME, after_seq=decision.seq, limit=1)), None)
    pause = timedelta(hours=brand.model(key.model).retraining.cooldown_hours)
    if newest is None or newest.state != "failed" or now - newest.at < pause:
        return None
    return Due(key, "erasure", f"the retraining after an erasure failed: {decision.facts.get('asked_because', '')}")


def _unheard(key: ModelKey, decision: Entry | None, red: list[Entry], now: datetime) -> Due | None:
    """A check that became red after the newest decision, and long enough ago for its event to have come."""
    for entry in red:
        is_later = decision is None or entry.seq > decision.seq
        if is_later and now - entry.at > timedelta(minutes=GRACE_MINUTES):
            return Due(key, check_trigger(trigger_of(entry.name)), f"{entry.detail} (its event started nothing)")
    return None


def _unseen_snapshot(ledger: Ledger, brand: Brand, key: ModelKey, decision: Entry | None, now: datetime) -> Due | None:
    """A snapshot that came after production was trained and after the newest decision."""
    production = ledger.production(key)
    newest = next((one for one in ledger.snapshots(brand.name) if one.dataset == brand.model(key.model).dataset), None)
    if production is None or newest is None or newest.hash_md5 == production.record.snapshot_hash:
        return None
    begun = max(production.record.created_at, decision.at if decision is not None else production.record.created_at)
    if newest.recorded_at <= begun or now - newest.recorded_at <= timedelta(minutes=GRACE_MINUTES):
        return None
    return Due(key, "snapshot", f"new snapshot {newest.hash_md5[:12]} of {newest.dataset} (its event started nothing)")
