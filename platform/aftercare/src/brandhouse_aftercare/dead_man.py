"""The monitor of the monitors: a check that did not run is red. Told by the ledger alone, which knows when each one did.

What must have run is what is deployed: every model with a version in production, whatever became of its deployment on
the Prefect server, its worker or its brand's folder.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from brandhouse_aftercare.checks import Finding, State
from brandhouse_shared.brands import Brand
from brandhouse_shared.config import Schedule
from brandhouse_shared.errors import join_bounded
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import Entry, EntryKind, StatusRow
from brandhouse_shared.ledger.stages import Stage
from brandhouse_shared.names import ModelKey

NAME = "monitor_runs"
"""Of the finding; it is no check of the monitor, which cannot notice that it does not run."""

ACTOR = "watch of the watch"

GRACE = timedelta(hours=3)
"""After its time a monitor may be so late: a full queue, or a night's trainings before it."""

UNKNOWN_DAYS = 14
"""A check that has said nothing but "unknown" for so long is named: it watches nothing."""

REPEATED_AFTER = timedelta(hours=23)
"""What has not changed is written down once a day, to show that somebody looked."""

MOST_ENTRIES = 200
MOST_EVENTS = 10_000
CLOCK = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Watched:
    """What became of the checks of one deployed model.

    Attributes:
        version: Number in production.
        due: When the newest run should have begun that must have ended by now; None: the first one is still to come.
        missed: Check to the time of its newest run before that; None: it never ran.
        ahead: Checks whose newest run is dated after now.
        unknown: Check to since when it has said nothing but "unknown", for `UNKNOWN_DAYS` or more.
    """

    key: ModelKey
    version: int
    due: datetime | None
    missed: Mapping[str, datetime | None]
    ahead: Sequence[str]
    unknown: Mapping[str, datetime]
    is_declared: bool = True


def watch_the_watch(
    ledger: Ledger, brands: Iterable[Brand], now: datetime, *, names: Sequence[str] | None = None, run_id: str | None = None
) -> list[Entry]:
    """Look at all deployed models, and append to the ledger what is new, or a day old.

    Args:
        ledger: Is read and written.
        brands: All that can be read.
        now: Aware of its time zone.
        names: Checks that must have run; None: the standard ones.
        run_id: Of the flow run; None: by hand.

    Returns:
        The entry that holds now of each deployed model.
    """
    known = {(entry.brand, entry.model): entry for entry in ledger.newest_entries(EntryKind.CHECK) if entry.name == NAME}
    entries = [_entry(watched, judge(watched), now, run_id) for watched in look_at_all(ledger, brands, now, names=names)]
    return [_record(ledger, entry, known.get((entry.brand, entry.model))) for entry in entries]


def tell_missed(ledger: Ledger, brands: Iterable[Brand], entries: Sequence[Entry], now: datetime, *, run_id: str | None = None) -> None:
    """Tell each brand of its own models' monitors. A brand that cannot be read has no routes: only the ledger knows."""
    from brandhouse_aftercare.alert_signals import Signal
    from brandhouse_aftercare.alerting import tell

    for brand in brands:
        own = [entry for entry in entries if entry.brand == brand.name]
        signals = [
            Signal(entry.name, "red" if entry.state == State.RED else "green", entry.detail, entry.model, entry.number)
            for entry in own
            if entry.state in (State.RED, State.GREEN)
        ]
        if signals:
            tell(ledger, brand, signals, now=now, run_id=run_id)


def look_at_all(ledger: Ledger, brands: Iterable[Brand], now: datetime, *, names: Sequence[str] | None = None) -> list[Watched]:
    """See when the checks of each deployed model ran. Reads the ledger only."""
    if names is None:
        from brandhouse_aftercare.monitoring import standard_checks

        names = [check.name for check in standard_checks()]
    declared = {brand.name: brand for brand in brands}
    newest = {(entry.brand, entry.model, entry.name): entry for entry in ledger.newest_entries(EntryKind.CHECK)}
    deployed = [row for row in ledger.status_rows() if row.stage is Stage.PRODUCTION]
    return [_look(ledger, row, declared.get(row.brand), newest, names, now) for row in deployed]


def judge(watched: Watched) -> Finding:
    """Put what was seen into one finding."""
    facts = {
        "due": watched.due and watched.due.isoformat(),
        "missed": {name: at and at.isoformat() for name, at in watched.missed.items()},
        "ahead": list(watched.ahead),
        "unknown_since": {name: at.isoformat() for name, at in watched.unknown.items()},
    }
    said = list(_say_faults(watched))
    if said:
        return Finding(NAME, State.RED, "; ".join(said), len(watched.missed), 0, facts=facts)
    if watched.unknown:
        since = min(watched.unknown.values())
        detail = (
            f"all checks ran; nothing but unknown for {UNKNOWN_DAYS} days or more: {join_bounded(watched.unknown)} (since {since:%Y-%m-%d})"
        )
        return Finding(NAME, State.UNKNOWN, detail, 0, 0, facts=facts)
    detail = "the first run is still to come" if watched.due is None else f"all checks ran after {_say_time(watched.due)}"
    return Finding(NAME, State.GREEN, detail, 0, 0, facts=facts)


def due_time(schedule: Schedule, now: datetime) -> datetime:
    """When the newest run should have begun that must have ended by now, UTC."""
    from cronsim import CronSim

    return next(CronSim(schedule.cron, (now - GRACE).astimezone(ZoneInfo(schedule.timezone)), reverse=True)).astimezone(UTC)


def _look(
    ledger: Ledger, row: StatusRow, brand: Brand | None, newest: Mapping[tuple[str, str, str], Entry], names: Sequence[str], now: datetime
) -> Watched:
    key = row.key.model_key
    if brand is None or key.model not in brand.config.models:
        return Watched(key, row.version, None, {}, (), {}, is_declared=False)
    due: datetime | None = due_time(brand.model(key.model).monitoring.schedule_of(key), now)
    own = {name: newest[key.brand, key.model, name] for name in names if (key.brand, key.model, name) in newest}
    ahead = [name for name, entry in own.items() if entry.at > now + CLOCK]
    if due is not None and not _was_deployed(ledger, row, due):
        due = None
    missed = {} if due is None else {name: _time_of(own.get(name)) for name in names if name not in own or own[name].at < due}
    unknown = {name: _unknown_since(ledger, entry) for name, entry in own.items() if entry.state == State.UNKNOWN and name not in missed}
    long = {name: since for name, since in unknown.items() if now - since >= timedelta(days=UNKNOWN_DAYS)}
    return Watched(key, row.version, due, missed, ahead, long)


def _record(ledger: Ledger, entry: Entry, before: Entry | None) -> Entry:
    """Append an entry, unless the last one says the same: it is looked every hour."""
    is_old = before is not None and (before.state, before.detail) == (entry.state, entry.detail) and entry.at - before.at < REPEATED_AFTER
    return before if before is not None and is_old else ledger.record_entry(entry)


def _was_deployed(ledger: Ledger, row: StatusRow, at: datetime) -> bool:
    """Whether the model had a version in production at that time, be it another one."""
    if row.promoted_at is None or row.promoted_at <= at:
        return True
    events = ledger.stage_events(row.key.model_key, limit=MOST_EVENTS)
    return any(event.to is Stage.PRODUCTION and event.at <= at for event in events)


def _time_of(entry: Entry | None) -> datetime | None:
    return None if entry is None else entry.at


def _unknown_since(ledger: Ledger, newest: Entry) -> datetime:
    """Time of the oldest of the newest entries that all say "unknown"."""
    since = newest.at
    for entry in ledger.entries(EntryKind.CHECK, newest.brand, newest.model, newest.name, limit=MOST_ENTRIES):
        if entry.state != State.UNKNOWN:
            break
        since = entry.at
    return since


def _say_faults(watched: Watched) -> Iterable[str]:
    if not watched.is_declared:
        yield "it answers, and no brand.toml that can be read declares it: nobody watches it"
    if watched.missed and watched.due is not None:
        named = [f"{name} ({'never' if at is None else f'last {_say_time(at)}'})" for name, at in watched.missed.items()]
        yield f"{len(named)} checks did not run at {_say_time(watched.due)} or since: {join_bounded(named, 20)}"
    if watched.ahead:
        yield f"dated after now, so a clock is wrong: {join_bounded(watched.ahead)}"


def _say_time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _entry(watched: Watched, finding: Finding, now: datetime, run_id: str | None) -> Entry:
    return Entry(
        kind=EntryKind.CHECK,
        brand=watched.key.brand,
        model=watched.key.model,
        number=watched.version,
        name=finding.name,
        state=finding.state,
        value=finding.value,
        detail=finding.detail,
        facts={**finding.facts, "limit": finding.limit, "rows": None},
        actor=ACTOR,
        run_id=run_id,
        at=now,
    )
