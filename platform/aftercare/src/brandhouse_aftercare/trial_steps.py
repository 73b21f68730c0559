"""What happens next to a retrained version on trial: facts in, a step with its reason out. Knows no clock and no ledger.

low risk: shadow, canary and production by itself, each when the trial has shown enough. medium: the same, but the canary lasts its
minimum. high: the shadow shows what it can, then people decide.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from brandhouse_shared.config import Risk
from brandhouse_shared.ledger.stages import Stage
from brandhouse_shared.operation import Retraining

StepState = Literal["moved", "waiting", "approval", "stuck", "stopped", "superseded"]
"""approval: waits for people. stuck: gets too few requests. stopped: showed harm, or somebody took it back; a person decides."""


@dataclass(frozen=True, slots=True)
class TrialFacts:
    """All that a step looks at.

    Attributes:
        version: Such as `v8`.
        stage: shadow or canary.
        since: When it came there.
        is_ours: Whether the platform put it there, and not a person or the gateway.
        newer: A newer version on trial or in production that makes this one needless; empty: none.
        people: Who agreed so far.
        people_needed: How many must.
        requests: That said something.
        requests_needed: To notice harm by the trial's tests.
        harm: What was found to be wrong; empty: nothing.
        problem: Why a gateway has not loaded it; empty: none.
        other_canary: A canary of the model that is another version; empty: none.
    """

    version: str
    stage: Stage
    since: datetime
    now: datetime
    risk: Risk
    rules: Retraining
    is_ours: bool = True
    newer: str = ""
    people: tuple[str, ...] = ()
    people_needed: int = 0
    requests: int = 0
    requests_needed: int = 0
    harm: str = ""
    problem: str = ""
    other_canary: str = ""

    @property
    def lasted(self) -> timedelta:
        """How long the trial goes on."""
        return self.now - self.since

    @property
    def wanted(self) -> int:
        """Requests that are enough."""
        return max(self.requests_needed, self.rules.trial_requests or 0)


@dataclass(frozen=True, slots=True)
class TrialStep:
    """What happens next; `to` is None if the version stays where it is."""

    state: StepState
    reason: str
    to: Stage | None = None


def next_step(facts: TrialFacts) -> TrialStep:
    """Decide what happens to a version on trial. The first rule that has something to say decides."""
    for rule in (_superseded, _stopped, _harmful, _not_loaded, _too_short, _too_few, _needs_people, _no_room):
        step = rule(facts)
        if step is not None:
            return step
    return TrialStep("moved", _why(facts), Stage.CANARY if facts.stage is Stage.SHADOW else Stage.PRODUCTION)


def _superseded(facts: TrialFacts) -> TrialStep | None:
    if not facts.newer or not facts.is_ours:
        return None
    return TrialStep("superseded", f"{facts.newer} is newer", Stage.RETIRED)


def _stopped(facts: TrialFacts) -> TrialStep | None:
    if facts.is_ours:
        return None
    return TrialStep("stopped", f"{facts.version} came to {facts.stage} by somebody else's decision; a person decides what becomes of it")


def _harmful(facts: TrialFacts) -> TrialStep | None:
    return TrialStep("stopped", f"its {facts.stage} shows harm: {facts.harm}; a person decides") if facts.harm else None


def _not_loaded(facts: TrialFacts) -> TrialStep | None:
    return TrialStep(_late(facts), f"a gateway cannot load it: {facts.problem}") if facts.problem else None


def _too_short(facts: TrialFacts) -> TrialStep | None:
    hours = facts.rules.shadow_hours
    if facts.stage is Stage.CANARY:
        hours = facts.rules.canary_hours if facts.risk is not Risk.LOW else 0.0
    if facts.lasted >= timedelta(hours=hours):
        return None
    return TrialStep("waiting", f"its {facts.stage} lasts {hours:g} hours at least, {_say(facts.lasted)} are over")


def _too_few(facts: TrialFacts) -> TrialStep | None:
    if facts.requests >= facts.wanted or (facts.risk is Risk.LOW and facts.lasted >= _patience(facts)):
        return None
    seen = f"its {facts.stage} has seen {facts.requests:,} of {facts.wanted:,} requests"
    if len(facts.people) < facts.people_needed:  # they may agree with less
        return TrialStep("approval", f"{_agreed(facts)}; {seen}")
    return TrialStep(_late(facts), seen)


def _needs_people(facts: TrialFacts) -> TrialStep | None:
    if len(facts.people) >= facts.people_needed:
        return None
    return TrialStep("approval", f"{_agreed(facts)}; its {facts.stage} showed no harm in {facts.requests:,} requests")


def _no_room(facts: TrialFacts) -> TrialStep | None:
    if facts.stage is Stage.CANARY or not facts.other_canary:
        return None
    return TrialStep(_late(facts), f"{facts.other_canary} is canary, and a model has one at most")


def _why(facts: TrialFacts) -> str:
    if facts.requests >= facts.wanted:
        return f"no harm in {facts.requests:,} requests and {_say(facts.lasted)} as {facts.stage}"
    return (
        f"no harm in {_say(facts.lasted)} as {facts.stage}; only {facts.requests:,} of {facts.wanted:,} requests came, which is enough for "
        "a model of low risk that was better on the hold-out"
    )


def _late(facts: TrialFacts) -> StepState:
    return "stuck" if facts.lasted >= _patience(facts) else "waiting"


def _patience(facts: TrialFacts) -> timedelta:
    return timedelta(days=facts.rules.patience_days)


def _agreed(facts: TrialFacts) -> str:
    return f"{len(facts.people)} of {facts.people_needed} people agreed" + (f" ({', '.join(facts.people)})" if facts.people else "")


def _say(lasted: timedelta) -> str:
    hours = lasted.total_seconds() / 3600
    return f"{hours:.1f} hours" if hours < 48 else f"{hours / 24:.1f} days"
