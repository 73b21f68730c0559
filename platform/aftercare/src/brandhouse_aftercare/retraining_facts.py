"""What a decision about a retraining looks at, collected from the ledger, the brand's data project and the machine's locks."""

from datetime import UTC, datetime, timedelta

from brandhouse_aftercare.retraining import Facts
from brandhouse_flows.data_project import DataProject
from brandhouse_flows.events import trigger_of
from brandhouse_flows.locks import abandoned_training, training_under_way
from brandhouse_flows.planning import Plan
from brandhouse_shared.errors import BrandhouseError
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import EntryKind, Run, Version
from brandhouse_shared.ledger.stages import Stage
from brandhouse_shared.names import ModelKey
from brandhouse_shared.operation import Trigger

OUTCOME = "retraining.outcome"
"""Name of the entry that says which version a retraining made."""

ELSEWHERE_HOURS = 6.0
"""A run that another machine began so long ago and that has not ended counts as dead: nobody can look at its process from here."""

COUNTED = ("registered", "gates_failed")
"""Ends of runs after which a cool-down begins. What failed or was killed may be tried again; its seconds count all the same."""


def collect(plan: Plan, ledger: Ledger, trigger: Trigger, now: datetime) -> Facts:
    """Collect the facts about a model.

    Args:
        plan: Of the training that would begin.
        ledger: What happened so far.
        trigger: What asks.
        now: Aware, UTC.
    """
    key, rules = plan.key, plan.model.retraining
    production = ledger.production(key)
    snapshot = _present_snapshot(plan)
    trained = ledger.find_by_fingerprint(key, plan.fingerprint(snapshot)) if snapshot else None
    tried = retrained_on_trial(ledger, key)
    ended = [run.ended_at for run in _trainings(ledger, key) if run.outcome in COUNTED and run.ended_at is not None]
    return Facts(
        key=key,
        trigger=trigger,
        rules=rules,
        now=now,
        running=_running(plan, ledger, now),
        production=f"v{production.number}" if production else "",
        trained=_say(trained),
        snapshot_is_new=production is None or production.record.snapshot_hash != snapshot,
        gets_new_data=plan.brand.config.capabilities.gets_new_data,
        on_trial=_say(tried[0]) if tried else "",
        trial_since=_since(ledger, tried[0]) if tried else None,
        last_training=max(ended, default=None),
        seconds_this_month=sum(_seconds_in_month(run, now) for run in _trainings(ledger, key)),
        expected_loss_share=_expected_loss(ledger, key),
    )


def settle_killed_run(ledger: Ledger, plan: Plan) -> str | None:
    """Record a training whose process was killed as crashed, and return its run id; None if there is none."""
    run_id = abandoned_training(plan.settings.home, plan.key)
    if run_id is None or not any(run.record.run_id == run_id and run.outcome is None for run in ledger.runs(plan.key)):
        return None
    ledger.end_run(run_id, "crashed", "its process ended without saying how; noticed by the next look at the model")
    return run_id


def retrained_on_trial(ledger: Ledger, key: ModelKey) -> list[Version]:
    """Versions of a model in shadow or canary that the platform made by retraining, newest first."""
    made = {entry.number for entry in ledger.entries(EntryKind.DECISION, key.brand, key.model, OUTCOME)}
    found = [version for version in ledger.versions(key) if version.stage in (Stage.SHADOW, Stage.CANARY)]
    return [version for version in found if version.number in made]


def red_symptoms(ledger: Ledger, key: ModelKey) -> list[str]:
    """Names of the checks of drift and quality that are red now."""
    newest = ledger.newest_entries(EntryKind.CHECK, key.brand)
    return [
        entry.name
        for entry in newest
        if entry.model == key.model and entry.state == "red" and trigger_of(entry.name) in ("drift", "quality")
    ]


def _present_snapshot(plan: Plan) -> str:
    """Hash of the data that a training would learn from; empty if the dataset never had a snapshot."""
    project = DataProject(plan.brand, plan.settings)
    return project.pointer(plan.model.dataset).hash_md5 if project.has_pointer(plan.model.dataset) else ""


def _running(plan: Plan, ledger: Ledger, now: datetime) -> str:
    here = training_under_way(plan.settings.home, plan.key)
    if here:
        return here
    begun = now - timedelta(hours=ELSEWHERE_HOURS)
    abandoned = abandoned_training(plan.settings.home, plan.key)
    for run in _trainings(ledger, plan.key):
        is_open = run.outcome is None and run.record.run_id not in (abandoned, plan.run_id)
        if is_open and run.record.started_at > begun:
            return f"run {run.record.run_id}, begun {run.record.started_at:%H:%M} UTC and not ended"
    return ""


def _trainings(ledger: Ledger, key: ModelKey) -> list[Run]:
    return [run for run in ledger.runs(key, template="train") if run.record.kind == "full"]


def _seconds_in_month(run: Run, now: datetime) -> float:
    """Seconds of a run that began in the calendar month of `now`; of one that was killed or goes on nobody knows how many."""
    begun = run.record.started_at.astimezone(UTC)
    if run.ended_at is None or run.outcome == "crashed" or (begun.year, begun.month) != (now.year, now.month):
        return 0.0
    return max(0.0, (run.ended_at - begun).total_seconds())


def _since(ledger: Ledger, version: Version) -> datetime:
    return next(event.at for event in ledger.stage_events(version.key.model_key, limit=100_000) if event.seq == version.stage_seq)


def _expected_loss(ledger: Ledger, key: ModelKey) -> float | None:
    """What the newest staleness check expects production to have lost by its age, if it has a curve."""
    newest = ledger.entries(EntryKind.CHECK, key.brand, key.model, "staleness", limit=1)
    loss = newest[0].facts.get("expected_loss_share") if newest else None
    return float(loss) if isinstance(loss, int | float) else None


def _say(version: Version | None) -> str:
    if version is None:
        return ""
    failed = [str(gate.get("name")) for gate in version.record.gates if gate.get("applicable", True) and gate.get("passed") is not True]
    reason = "" if version.record.gates_passed else f", gates not passed: {', '.join(failed) or 'unnamed'}"
    return f"v{version.number} ({version.stage}{reason})"


def check_trigger(name: str) -> Trigger:
    """Return the trigger of that name.

    Raises:
        BrandhouseError: If there is none.
    """
    from typing import get_args

    if name not in get_args(Trigger):
        raise BrandhouseError(f"{name[:40]!r} is no trigger of a retraining; allowed: {', '.join(get_args(Trigger))}")
    return name  # type: ignore[return-value]
