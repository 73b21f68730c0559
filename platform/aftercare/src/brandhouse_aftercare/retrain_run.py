"""Carries a decision about a retraining out: writes it down, trains by the existing template, and tells what came of it."""

from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from brandhouse_aftercare.alerting import Signal, tell
from brandhouse_aftercare.retraining import Decision, Facts, decide, required_gain
from brandhouse_aftercare.retraining_facts import OUTCOME, collect, red_symptoms, settle_killed_run
from brandhouse_flows.learning import Outcome, train
from brandhouse_flows.planning import Plan
from brandhouse_flows.steps import Step
from brandhouse_shared.artifacts import ArtifactStore
from brandhouse_shared.errors import AlreadyRunningError, RetryableError
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import Entry, EntryKind
from brandhouse_shared.operation import Trigger

ACTOR = "retraining"
DECISION = "retraining"
"""Name of the entry that says whether a model is trained again."""


@dataclass(frozen=True, slots=True)
class Retrained:
    """What was decided, and what came of it; no outcome: nothing was trained."""

    decision: Decision
    entry: Entry
    outcome: Outcome | None = None

    @property
    def detail(self) -> str:
        """One sentence for people."""
        return self.outcome.detail if self.outcome is not None else f"{self.decision.action}: {self.decision.reason}"


def retrain(plan: Plan, ledger: Ledger, store: ArtifactStore, step: Step, *, trigger: Trigger, reason: str, now: datetime) -> Retrained:
    """Decide whether to train a model now, and do so.

    Args:
        plan: As for a training that nobody asks more of.
        ledger: Where decision and outcome are recorded.
        store: Where the artifact is kept.
        step: How a step of the training is carried out.
        trigger: What asks.
        reason: Why, for people: what the check found, or what the person says.
        now: Aware, UTC.

    Raises:
        BrandhouseError: If the training fails; that is recorded and told.
    """
    settle_killed_run(ledger, plan)
    facts = collect(plan, ledger, trigger, now)
    decision = decide(facts)
    red = red_symptoms(ledger, plan.key)
    entry = _record(ledger, plan, facts, decision, reason, red)
    if decision.action != "train":
        if decision.is_helpless:
            _tell(ledger, plan, "red", decision.reason, now)
        return Retrained(decision, entry)
    against = required_gain(trigger, symptom_is_red=bool(red))
    try:
        outcome = train(replace(plan, against=against, is_retraining=True), ledger, store, step)
    except AlreadyRunningError as error:  # another one was faster, between the decision and the lock
        late = Decision("skip", str(error))
        return Retrained(late, _record(ledger, plan, facts, late, reason, red))
    except RetryableError:  # whoever runs this tries again
        raise
    except Exception as error:
        _record_outcome(ledger, plan, "failed", None, f"{plan.key}: the retraining failed: {type(error).__name__}", now)
        _tell(ledger, plan, "red", f"the retraining failed: {type(error).__name__}: {str(error)[:300]}", now)
        raise
    _report(ledger, plan, outcome, now, is_needed=bool(red))
    return Retrained(decision, entry, outcome)


def _report(ledger: Ledger, plan: Plan, outcome: Outcome, now: datetime, *, is_needed: bool) -> None:
    """Record what came of it, and tell of a refusal that somebody should look at.

    Production that is still as good as anything new is no news while nothing is red: every quiet week ends so.
    """
    _record_outcome(ledger, plan, outcome.kind, outcome.version.number, outcome.detail, now)
    if outcome.kind == "gates_failed" and not is_needed and _is_only_not_better(outcome):
        _tell(ledger, plan, "green", outcome.detail, now, outcome.version.number)
    elif outcome.kind == "gates_failed":
        _tell(ledger, plan, "red", f"the new version is refused: {outcome.detail}", now, outcome.version.number)
    else:
        _tell(ledger, plan, "green", outcome.detail, now, outcome.version.number)


def _is_only_not_better(outcome: Outcome) -> bool:
    """Whether the comparison with production, which was made, is all that the new version did not pass."""
    missed = [gate for gate in outcome.gates if gate.applicable and gate.passed is not True]
    return [(gate.name, gate.passed) for gate in missed] == [("production", False)]


def _record(ledger: Ledger, plan: Plan, facts: Facts, decision: Decision, reason: str, red: list[str]) -> Entry:
    entry = Entry(
        kind=EntryKind.DECISION,
        brand=plan.key.brand,
        model=plan.key.model,
        name=DECISION,
        state=decision.action,
        detail=decision.reason,
        facts={**_plain(facts), "asked_because": reason[:500], "until": _iso(decision.until), "red_checks": red},
        actor=ACTOR,
        run_id=plan.run_id,
        at=facts.now,
    )
    return ledger.record_entry(entry)


def _record_outcome(ledger: Ledger, plan: Plan, state: str, number: int | None, detail: str, now: datetime) -> None:
    entry = Entry(
        kind=EntryKind.DECISION,
        brand=plan.key.brand,
        model=plan.key.model,
        number=number,
        name=OUTCOME,
        state=state,
        detail=detail[:1000],
        actor=ACTOR,
        run_id=plan.run_id,
        at=now,
    )
    ledger.record_entry(entry)


def _tell(ledger: Ledger, plan: Plan, state: Any, detail: str, now: datetime, number: int | None = None) -> None:
    signal = Signal("retrain", state, detail[:1000], plan.key.model, number, link=None if plan.run_url == "local" else plan.run_url)
    tell(ledger, plan.brand, [signal], now=now, run_id=plan.run_id, actor=ACTOR)


def _plain(facts: Facts) -> dict[str, Any]:
    """The facts as JSON: the rules only as far as they decide."""
    values = asdict(replace(facts, rules=facts.rules))
    del values["key"]
    values["rules"] = facts.rules.model_dump(mode="json", exclude={"drill", "drill_max_seconds"})
    return {name: _iso(value) if isinstance(value, datetime) else value for name, value in values.items()}


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
