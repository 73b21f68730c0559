"""DORA's four metrics, from the ledger: how often, how soon, how often wrongly, and how soon put right.

A change is a version that began to answer users, as canary or in production. It failed if within some days it was rolled back,
stopped as canary, or retired with nothing in its place. Drills are no changes.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from statistics import median
from typing import Any, Literal

from brandhouse_aftercare.commit_times import read_commit_times
from brandhouse_aftercare.drill_marks import ACTOR as DRILL_ACTOR
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import Run, RunResult, StageEvent
from brandhouse_shared.ledger.stages import Cause, Stage
from brandhouse_shared.names import ModelKey, VersionKey
from brandhouse_shared.settings import Settings

FAILURE_DAYS = 7.0
"""What goes wrong later is put down to the world and not to the change. Default: a week shows every day of the week."""

MANY = 100_000

Begin = Literal["commit", "snapshot", "run"]


@dataclass(frozen=True, slots=True)
class Change:
    """A version that began to answer users.

    Attributes:
        at: When it began to.
        production_at: When it entered production; None: it did not.
        begun_at: When what is new in it arose: its commit or its snapshot; None: not known.
        begun_with: Which of them.
        failed_at: When it was taken back; None: it was not, or so late that it was not the change's fault.
        restored_at: When users were answered well again; None: not yet, or there was nothing to restore.
    """

    version: VersionKey
    at: datetime
    production_at: datetime | None = None
    begun_at: datetime | None = None
    begun_with: Begin | None = None
    failed_at: datetime | None = None
    restored_at: datetime | None = None

    @property
    def lead(self) -> timedelta | None:
        """From what is new to production."""
        return None if self.production_at is None or self.begun_at is None else self.production_at - self.begun_at


@dataclass(frozen=True, slots=True)
class Delivery:
    """The four metrics of some models over some days.

    Attributes:
        brand: Empty: the house.
        promotions: Entries into production that were no way back.
        leads: Of those whose beginning is known.
        repairs: From a failed change to the way back, where it has been gone.
    """

    brand: str
    days: float
    changes: int
    promotions: int
    leads: tuple[timedelta, ...]
    failures: int
    repairs: tuple[timedelta, ...]

    @property
    def per_week(self) -> float:
        """Promotions a week."""
        return self.promotions * 7 / self.days

    @property
    def failure_rate(self) -> float | None:
        """Share of the changes that failed; None: there were none."""
        return self.failures / self.changes if self.changes else None

    def as_document(self) -> dict[str, Any]:
        """Plain values; times in hours, medians."""
        return {
            "brand": self.brand or None,
            "days": self.days,
            "promotions": self.promotions,
            "promotions_per_week": self.per_week,
            "lead_hours": _hours(self.leads),
            "lead_known": len(self.leads),
            "changes": self.changes,
            "failures": self.failures,
            "change_failure_rate": self.failure_rate,
            "restore_hours": _hours(self.repairs),
            "restored": len(self.repairs),
        }


def measure_delivery(settings: Settings, ledger: Ledger, brands: Sequence[str], now: datetime, days: float) -> list[Delivery]:
    """The metrics of each brand, then those of all of them together.

    Args:
        settings: Where Git is.
        ledger: Is only read.
        brands: Names; also of such as have left.
        now: Aware, UTC.
        days: Look at so many before now.
    """
    events = [event for event in ledger.stage_events(limit=MANY) if event.version.brand in brands]
    runs = {run.record.run_id: run for run in ledger.runs(limit=MANY) if run.record.key.brand in brands}
    committed = read_commit_times(settings.root, (run.record.git_commit for run in runs.values()))
    seen = {(brand, one.dataset, one.hash_md5): one.recorded_at for brand in brands for one in ledger.snapshots(brand)}
    since = now - timedelta(days=days)
    changes = [
        change
        for key in sorted({event.version.model_key for event in events}, key=str)
        for change in _with_begin(
            find_changes([event for event in events if event.version.model_key == key]), _Origins(ledger, key, runs, committed, seen)
        )
        if since <= change.at <= now
    ]
    of_brands = [summarise(brand, [one for one in changes if one.version.brand == brand], days) for brand in brands]
    return [*of_brands, summarise("", changes, days)]


def summarise(brand: str, changes: Sequence[Change], days: float) -> Delivery:
    """Count changes."""
    leads = [change.lead for change in changes if change.lead is not None and change.lead >= timedelta()]
    failed = [change for change in changes if change.failed_at is not None]
    repairs = [change.restored_at - change.at for change in failed if change.restored_at is not None]
    promotions = sum(change.production_at is not None for change in changes)
    return Delivery(brand, days, len(changes), promotions, tuple(leads), len(failed), tuple(repairs))


def find_changes(events: Iterable[StageEvent], failure_days: float = FAILURE_DAYS) -> list[Change]:
    """Read the changes of one model off its stage events.

    Args:
        events: Of one model, oldest first.
        failure_days: What is taken back later did not fail.
    """
    history = _History(timedelta(days=failure_days))
    for event in events:
        history.read(event)
    return history.changes


class _History:
    """Follows one model through its events."""

    def __init__(self, patience: timedelta) -> None:
        self.patience = patience
        self.changes: list[Change] = []
        self.open: dict[int, int] = {}
        """Version that answers users now to its place in `changes`."""
        self.newest_tried: tuple[int, datetime] | None = None
        self.holder: int | None = None
        self.broken: int | None = None
        """Place of the change whose retirement left the model without a version."""

    def read(self, event: StageEvent) -> None:
        """Take in the next event."""
        match event.to:
            case Stage.PRODUCTION:
                self._enter_production(event)
            case Stage.CANARY if event.actor != DRILL_ACTOR:
                self._begin(event)
            case Stage.SHADOW | Stage.RETIRED if event.cause != Cause.REPLACED:
                self._leave(event)
        if event.to in (Stage.SHADOW, Stage.CANARY, Stage.PRODUCTION) and event.actor != DRILL_ACTOR:
            number = max(event.version.number, self.newest_tried[0] if self.newest_tried else 0)
            self.newest_tried = (number, event.at)

    def _enter_production(self, event: StageEvent) -> None:
        number, before = event.version.number, self.holder
        is_way_back = event.cause == Cause.ROLLED_BACK or (before is not None and number < before)
        if before is not None and before != number:
            place = self.open.pop(before, None)
            if is_way_back and place is not None:
                self._fail(place, event.at, event.at)
        if self.broken is not None:
            self.changes[self.broken] = replace(self.changes[self.broken], restored_at=event.at)
            self.broken = None
        self.holder = number
        if not is_way_back:
            place = self._begin(event)
            self.changes[place] = replace(self.changes[place], production_at=event.at)

    def _begin(self, event: StageEvent) -> int:
        number = event.version.number
        if number not in self.open:
            self.open[number] = len(self.changes)
            self.changes.append(Change(event.version, event.at))
        return self.open[number]

    def _leave(self, event: StageEvent) -> None:
        number = event.version.number
        place = self.open.pop(number, None)
        if event.from_stage is Stage.PRODUCTION:
            self.holder = None
            if place is not None and self._fail(place, event.at, None):
                self.broken = place
        elif place is not None and not self._is_superseded(event):
            self._fail(place, event.at, event.at)

    def _is_superseded(self, event: StageEvent) -> bool:
        """Whether a canary made way for a newer version; what goes back to the shadow was stopped."""
        return event.to is Stage.RETIRED and self.newest_tried is not None and self.newest_tried[0] > event.version.number

    def _fail(self, place: int, at: datetime, restored_at: datetime | None) -> bool:
        if at - self.changes[place].at > self.patience:
            return False
        self.changes[place] = replace(self.changes[place], failed_at=at, restored_at=restored_at)
        return True


class _Origins:
    """Knows of one model where its versions came from."""

    def __init__(
        self,
        ledger: Ledger,
        key: ModelKey,
        runs: Mapping[str, Run],
        committed: Mapping[str, datetime],
        seen: Mapping[tuple[str, str, str], datetime],
    ) -> None:
        self.committed, self.seen, self.runs = committed, seen, runs
        self.results: dict[int, RunResult] = {}
        for result in ledger.results(key, limit=MANY).values():
            if result.number is not None and result.run_id in runs:
                known = self.results.get(result.number)
                # The oldest run that names a version made it; later ones found that nothing had changed.
                if known is None or result.recorded_at < known.recorded_at:
                    self.results[result.number] = result

    def begin(self, change: Change, before: Change | None) -> tuple[datetime, Begin] | None:
        """When the oldest of what is new in a version arose, compared with the one before; None: not known."""
        own = self.results.get(change.version.number)
        if own is None:
            return None
        run = self.runs[own.run_id].record
        other = None if before is None else self.results.get(before.version.number)
        found: list[tuple[datetime, Begin]] = []
        if other is None or own.snapshot_hash != other.snapshot_hash:
            at = self.seen.get((run.key.brand, own.snapshot_dataset, own.snapshot_hash))
            found += [(at, "snapshot")] if at else []
        if other is not None and run.code_digest != self.runs[other.run_id].record.code_digest and run.git_commit in self.committed:
            found.append((self.committed[run.git_commit], "commit"))
        return min(found, default=(run.started_at, "run"))


def _with_begin(changes: Sequence[Change], origins: _Origins) -> list[Change]:
    found = []
    for change, before in zip(changes, [None, *changes], strict=False):
        begin = origins.begin(change, before)
        found.append(change if begin is None else replace(change, begun_at=begin[0], begun_with=begin[1]))
    return found


def _hours(spans: Sequence[timedelta]) -> float | None:
    return median(span / timedelta(hours=1) for span in spans) if spans else None
