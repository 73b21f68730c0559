"""The rollback drill: is the version before still there, and how soon does every gateway follow the ledger there and back?

The version that a rollback would return to becomes a canary that answers no request, and is taken back. Ledger event, artifact,
loading and routing are those of a real rollback, in every process of every gateway of this home; no user gets another answer.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from brandhouse_aftercare.alerting import Signal, tell
from brandhouse_aftercare.drill_marks import ACTOR, NAME, SHARE
from brandhouse_serving.following import Following, read_followers
from brandhouse_serving.trial_files import TrialFiles
from brandhouse_serving.trial_routes import LOADING
from brandhouse_shared.brands import Brand
from brandhouse_shared.errors import StageChangeError
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import Entry, EntryKind, StageChange, StageEvent, Version
from brandhouse_shared.ledger.stages import Stage, previous_production
from brandhouse_shared.names import ModelKey, VersionKey

PATIENCE_SECONDS = 60.0
"""A gateway that has not followed after so long does not follow."""

LOOK_SECONDS = 0.05

State = Literal["green", "red", "unknown", "not_applicable"]


@dataclass(frozen=True, slots=True)
class Drill:
    """What a drill found.

    Attributes:
        version: That a rollback would return to; None: there is none.
        there: Seconds until each process had loaded it, by the process's name.
        back: Seconds until each process had let go of it.
    """

    state: State
    detail: str
    version: VersionKey | None = None
    there: Mapping[str, float] = field(default_factory=dict)
    back: Mapping[str, float] = field(default_factory=dict)

    @property
    def seconds(self) -> float | None:
        """The longest that a process took; None: nothing was measured."""
        return max([*self.there.values(), *self.back.values()], default=None)


def rollback_drill(
    ledger: Ledger,
    home: Path,
    brand: Brand,
    key: ModelKey,
    now: datetime,
    *,
    run_id: str | None = None,
    patience_seconds: float = PATIENCE_SECONDS,
    sleep: Callable[[float], None] = time.sleep,
) -> Drill:
    """Practise the way back, record what was found, and tell if it is not well.

    Args:
        ledger: Of the gateways.
        home: Where the gateways write how far they are.
        brand: Declares how long it may take.
        key: The model.
        now: Aware, UTC.
        run_id: Of the run that drills.
        patience_seconds: How long a gateway is waited for.
        sleep: Waits between two looks.
    """
    drill = _drill(ledger, home, brand, key, patience_seconds, sleep)
    ledger.record_entry(_entry(key, drill, now, run_id))
    if drill.state in ("green", "red"):
        limit = brand.model(key.model).retraining.drill_max_seconds
        number = drill.version.number if drill.version else None
        state: Literal["green", "red"] = "green" if drill.state == "green" else "red"
        signal = Signal("drill", state, f"{key}: {drill.detail}", key.model, number, value=drill.seconds, limit=limit)
        tell(ledger, brand, [signal], now=now, run_id=run_id, actor=ACTOR)
    return drill


def _drill(ledger: Ledger, home: Path, brand: Brand, key: ModelKey, patience_seconds: float, sleep: Callable[[float], None]) -> Drill:
    production = ledger.production(key)
    if production is None:
        return Drill("not_applicable", "nothing is in production")
    version = _version_before(ledger, key, production)
    if version is None:
        return Drill("not_applicable", f"{production.key} is the first in production: there is nothing to roll back to")
    gateways = read_followers(home, brand.name)
    if not gateways:
        return Drill("unknown", "no gateway of this home runs, so nothing can be measured", version)
    try:
        came = _change(ledger, version)
    except StageChangeError as error:  # another canary is on trial, or the version itself is
        return Drill("unknown", str(error)[:500], version)
    clock = _Clock(patience_seconds, sleep)
    try:
        there, problems = clock.until(gateways, lambda one: _loaded(home, version, came, one))
    finally:
        left = _take_back(ledger, version)
    back, late = clock.until(gateways, lambda one: _left(home, brand.name, left, one))
    return _judge(brand, key, version, there, back, {**problems, **late})


def _version_before(ledger: Ledger, key: ModelKey, production: Version) -> VersionKey | None:
    entries = [_Entry(event) for event in ledger.stage_events(key, limit=100_000) if event.to is Stage.PRODUCTION]
    number = previous_production(entries, production.number)
    return None if number is None else key.version(number)


class _Entry:
    """An entry into production, as `previous_production` asks for it."""

    def __init__(self, event: StageEvent) -> None:
        self.number = event.version.number
        self.cause = str(event.cause)


def _change(ledger: Ledger, version: VersionKey) -> StageEvent:
    reason = "drill: loaded by every gateway, answers nobody, and is taken back"
    return ledger.change_stage(StageChange(version=version, to=Stage.CANARY, actor=ACTOR, reason=reason, automatic=True, share=SHARE))


def _take_back(ledger: Ledger, version: VersionKey) -> StageEvent | None:
    """Take the drill's canary back; None if somebody else did."""
    if ledger.find_version(version).stage is not Stage.CANARY:
        return None
    return ledger.retire(version.model_key, ACTOR, "end of the drill", version.number)


@dataclass(frozen=True, slots=True)
class _Clock:
    """Looks at every process until it has followed."""

    patience_seconds: float
    sleep: Callable[[float], None]

    def until(self, gateways: list[Following], look: Callable[[Following], bool | str]) -> tuple[dict[str, float], dict[str, str]]:
        """Return the seconds that each process took, and of the others what is wrong.

        `look` says True: it has followed, False: not yet, or in words why it never will.
        """
        begun = time.monotonic()
        seconds: dict[str, float] = {}
        problems: dict[str, str] = {}
        while len(seconds) + len(problems) < len(gateways) and time.monotonic() - begun < self.patience_seconds:
            for one in gateways:
                if one.worker in seconds or one.worker in problems:
                    continue
                found = look(one)
                if isinstance(found, str):
                    problems[one.worker] = found
                elif found:
                    seconds[one.worker] = round(time.monotonic() - begun, 3)
            self.sleep(LOOK_SECONDS)
        rest = [one.worker for one in gateways if one.worker not in seconds and one.worker not in problems]
        return seconds, {**problems, **dict.fromkeys(rest, f"has not followed within {self.patience_seconds:g} s")}


def _loaded(home: Path, version: VersionKey, came: StageEvent, gateway: Following) -> bool | str:
    """Whether a process has the version ready, as it writes about the trial that the canary began."""
    for document in TrialFiles(home).read(version, came.seq):
        if document.get("worker") == gateway.worker:
            problem = str(document.get("problem") or "")
            return not problem if problem in ("", LOADING) else f"cannot load {version}: {problem}"
    return False


def _left(home: Path, brand: str, left: StageEvent | None, gateway: Following) -> bool:
    if left is None:
        return True
    return any(one.worker == gateway.worker and one.seq >= left.seq for one in read_followers(home, brand))


def _judge(
    brand: Brand, key: ModelKey, version: VersionKey, there: dict[str, float], back: dict[str, float], problems: dict[str, str]
) -> Drill:
    limit = brand.model(key.model).retraining.drill_max_seconds
    if problems:
        return Drill("red", "; ".join(f"gateway process {worker} {what}" for worker, what in problems.items())[:900], version, there, back)
    longest = max([*there.values(), *back.values()])
    said = f"{len(back)} gateway process(es) had {version} ready after {max(there.values()):.2f} s, gone after {max(back.values()):.2f} s"
    if longest > limit:
        return Drill("red", f"{said}; at most {limit:g} s are allowed", version, there, back)
    return Drill("green", said, version, there, back)


def _entry(key: ModelKey, drill: Drill, now: datetime, run_id: str | None) -> Entry:
    facts: dict[str, Any] = {"there_seconds": dict(drill.there), "back_seconds": dict(drill.back)}
    return Entry(
        kind=EntryKind.DRILL,
        brand=key.brand,
        model=key.model,
        number=drill.version.number if drill.version else None,
        name=NAME,
        state=drill.state,
        value=drill.seconds,
        detail=drill.detail,
        facts=facts,
        actor=ACTOR,
        run_id=run_id,
        at=now,
    )
