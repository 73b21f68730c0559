"""Moves retrained versions from shadow to canary to production, and says why. The one place that does so by itself.

Only versions that a retraining made: what a person put on trial is that person's business. The drill's canary is taken back here
if its process died.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from brandhouse_aftercare.alerting import Signal, tell
from brandhouse_aftercare.drill_marks import ACTOR as DRILL_ACTOR
from brandhouse_aftercare.retraining_facts import retrained_on_trial
from brandhouse_aftercare.trial_steps import TrialFacts, TrialStep, next_step
from brandhouse_flows.registration import ACTOR as TRAINING_ACTOR
from brandhouse_serving.trial_listing import ListedTrial, list_trials
from brandhouse_shared.brands import Brand
from brandhouse_shared.errors import ApprovalError, StageChangeError
from brandhouse_shared.ledger.guarding import guard
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import Entry, EntryKind, StageChange, StageEvent, Version
from brandhouse_shared.ledger.stages import Stage
from brandhouse_shared.names import ModelKey

ACTOR = "trial progress"
STEP = "trial"
"""Name of the entry that says what happens next to a version on trial."""

DEAD_DRILL_MINUTES = 30.0
_OURS = (TRAINING_ACTOR, ACTOR)
_LOADING = "still loading"


@dataclass(frozen=True, slots=True)
class Moved:
    """What was decided about one version; `is_news` if it differs from the decision before."""

    version: Version
    step: TrialStep
    is_news: bool


def move_on(ledger: Ledger, home: Path, brand: Brand, key: ModelKey, now: datetime, *, run_id: str | None = None) -> list[Moved]:
    """Look at a model's retrained versions on trial and let them go on where they may.

    Args:
        ledger: What happened, and where it is recorded.
        home: Where gateways keep what they saw of trials.
        brand: Declares risk and rules.
        key: The model.
        now: Aware, UTC.
        run_id: Of the run that looks.
    """
    guard(ledger, brand, ACTOR)
    events = ledger.stage_events(key, limit=100_000)
    _end_dead_drills(ledger, key, events, now)
    tried = retrained_on_trial(ledger, key)
    reports = {one.version: one for one in list_trials(ledger, home, key, only_running=True)} if tried else {}
    moved = []
    for version in tried:
        facts = _facts(ledger, brand, version, tried, events, reports.get(version.key), now)
        moved.append(_carry_out(ledger, brand, version, next_step(facts), now, run_id))
    _tell(ledger, brand, key, [one for one in moved if one.is_news], now, run_id)
    return moved


def _facts(
    ledger: Ledger, brand: Brand, version: Version, tried: list[Version], events: list[StageEvent], trial: ListedTrial | None, now: datetime
) -> TrialFacts:
    key = version.key.model_key
    came = next(event for event in events if event.seq == version.stage_seq)
    report = trial.report if trial is not None else None
    return TrialFacts(
        version=f"v{version.number}",
        stage=version.stage,
        since=came.at,
        now=now,
        risk=brand.config.risk,
        rules=brand.model(key.model).retraining,
        is_ours=came.automatic and came.actor in _OURS,
        newer=_newer(ledger, version, tried),
        people=tuple(entry.actor for entry in ledger.approvals(version.key)),
        people_needed=ledger.people_needed(version.key),
        requests=report.seen if report else 0,
        requests_needed=report.needed if report else 1,
        harm="; ".join(report.harm) if report else "",
        problem=report.problem if report and report.problem != _LOADING else "",
        other_canary=next((f"v{one.number}" for one in ledger.versions(key) if one.stage is Stage.CANARY and one.key != version.key), ""),
    )


def _newer(ledger: Ledger, version: Version, tried: list[Version]) -> str:
    production = ledger.production(version.key.model_key)
    others = [*tried, *([production] if production else [])]
    newest = max(others, key=lambda one: one.number)
    return f"v{newest.number} ({newest.stage})" if newest.number > version.number else ""


def _carry_out(ledger: Ledger, brand: Brand, version: Version, step: TrialStep, now: datetime, run_id: str | None) -> Moved:
    is_news = _is_news(ledger, version, step)
    if step.to is not None:
        share = brand.model(version.key.model).retraining.canary_share if step.to is Stage.CANARY else None
        change = StageChange(
            version=version.key,
            to=step.to,
            actor=ACTOR,
            reason=step.reason,
            automatic=True,
            share=share,
            at=max(now, _came(ledger, version)),
        )
        try:
            ledger.change_stage(change)
        except (ApprovalError, StageChangeError) as error:  # somebody was faster; the next look sees what it is now
            step = TrialStep("waiting", str(error)[:500])
    if is_news:
        ledger.record_entry(_entry(version, step, now, run_id))
    return Moved(version, step, is_news)


def _came(ledger: Ledger, version: Version) -> datetime:
    """When the version came to its stage: what happens next to it does not happen before that, whatever a clock says."""
    return next(event.at for event in ledger.stage_events(version.key.model_key, limit=100_000) if event.seq == version.stage_seq)


def _is_news(ledger: Ledger, version: Version, step: TrialStep) -> bool:
    """Whether the newest decision about this trial of the version says something else; the wording alone is no news."""
    known = ledger.entries(EntryKind.DECISION, version.key.brand, version.key.model, STEP)
    newest = next((entry for entry in known if entry.number == version.number), None)
    return newest is None or (newest.state, newest.facts.get("since")) != (step.state, version.stage_seq)


def _entry(version: Version, step: TrialStep, now: datetime, run_id: str | None) -> Entry:
    return Entry(
        kind=EntryKind.DECISION,
        brand=version.key.brand,
        model=version.key.model,
        number=version.number,
        name=STEP,
        state=step.state,
        detail=step.reason,
        facts={"from": str(version.stage), "to": None if step.to is None else str(step.to), "since": version.stage_seq},
        actor=ACTOR,
        run_id=run_id,
        at=now,
    )


def _tell(ledger: Ledger, brand: Brand, key: ModelKey, news: list[Moved], now: datetime, run_id: str | None) -> None:
    signals = [signal for one in news for signal in _signals(key, one)]
    if signals:
        tell(ledger, brand, signals, now=now, run_id=run_id, actor=ACTOR)


def _signals(key: ModelKey, moved: Moved) -> list[Signal]:
    """Harm and standstill want somebody, and so does an approval; a step forward closes both."""
    number, detail = moved.version.number, f"{moved.version.key}: {moved.step.reason}"
    is_bad = moved.step.state in ("stopped", "stuck")
    signals = [Signal("trial", "red" if is_bad else "green", detail, key.model, number)]
    if moved.step.state == "approval":
        signals.append(Signal("approval", "red", detail, key.model, number))
    elif moved.step.state in ("moved", "superseded"):
        signals.append(Signal("approval", "green", detail, key.model, number))
    return signals


def _end_dead_drills(ledger: Ledger, key: ModelKey, events: list[StageEvent], now: datetime) -> None:
    for version in ledger.versions(key):
        came = next((event for event in events if event.seq == version.stage_seq), None)
        is_drill = came is not None and version.stage is Stage.CANARY and came.actor == DRILL_ACTOR
        if is_drill and came is not None and now - came.at > timedelta(minutes=DEAD_DRILL_MINUTES):
            ledger.retire(key, ACTOR, "the drill that put it there has ended without taking it back", version.number)
