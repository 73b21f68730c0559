"""Whether a model is trained again, decided in one place: facts in, a decision with its reason out. Knows no clock and no ledger.

`retraining_facts` collects the facts, `retrain_run` carries the decision out and writes it down.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from brandhouse_flows.gates import AgainstProduction
from brandhouse_shared.names import ModelKey
from brandhouse_shared.operation import Retraining, Trigger

Action = Literal["train", "wait", "skip"]

CANNOT_WAIT: tuple[Trigger, ...] = ("hand", "erasure")
"""A person who asks has thought about time and money, and erased data may not go on answering."""

SYMPTOMS: tuple[Trigger, ...] = ("drift", "quality", "staleness")
"""What only newer data can mend: the same data would give the same model."""


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a decision looks at.

    Attributes:
        trigger: What asks.
        running: The run that trains the model now; empty: none.
        production: The version in production, such as `v7`; empty: none.
        trained: What came of exactly these data, code, lock and declaration, such as `v8 (candidate)`; empty: never trained on.
        snapshot_is_new: Whether the data are others than production learned from, or nothing is in production.
        gets_new_data: What the brand declares.
        on_trial: A retrained version in shadow or canary, such as `v8 (shadow)`; empty: none.
        trial_since: When its trial began.
        last_training: When the last one ended that did not fail; None: never.
        seconds_this_month: Of training in the calendar month of `now`.
        expected_loss_share: How much worse production is expected to be for its age, as a share; None: no staleness curve.
    """

    key: ModelKey
    trigger: Trigger
    rules: Retraining
    now: datetime
    running: str = ""
    production: str = ""
    trained: str = ""
    snapshot_is_new: bool = True
    gets_new_data: bool = True
    on_trial: str = ""
    trial_since: datetime | None = None
    last_training: datetime | None = None
    seconds_this_month: float = 0.0
    expected_loss_share: float | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What is done, and why.

    Attributes:
        until: When a training that waits is looked at again at the latest; None: it does not wait.
        is_helpless: A symptom was found that training again cannot mend: somebody has to be told.
    """

    action: Action
    reason: str
    until: datetime | None = None
    is_helpless: bool = False


def decide(facts: Facts) -> Decision:
    """Decide whether to train now. The first rule that has something to say decides."""
    for rule in (_trigger_is_off, _already_running, _nothing_new, _is_helpless, _on_trial, _cooling_down, _budget_used):
        decision = rule(facts)
        if decision is not None:
            return decision
    return Decision("train", _why_train(facts))


def required_gain(trigger: Trigger, *, symptom_is_red: bool) -> AgainstProduction:
    """What a retrained version must show against production.

    Args:
        trigger: Data that were erased must not go on answering, and a model that is too old is to be replaced: as good as production
            is enough then. An old model in a world that stands still would be too old for ever.
        symptom_is_red: Whether drift or quality is red, whatever asked for the training.
    """
    if trigger in ("erasure", "staleness"):
        return AgainstProduction.NOT_WORSE
    is_symptom = symptom_is_red or trigger in ("drift", "quality")
    return AgainstProduction.BETTER_OR_BROKEN if is_symptom else AgainstProduction.BETTER


def _trigger_is_off(facts: Facts) -> Decision | None:
    if facts.trigger in facts.rules.triggers:
        return None
    return Decision("skip", f"the model's retraining.triggers leave out {facts.trigger}")


def _already_running(facts: Facts) -> Decision | None:
    return Decision("skip", f"it is being trained already ({facts.running})") if facts.running else None


def _nothing_new(facts: Facts) -> Decision | None:
    if not facts.trained:
        return None
    if facts.trained == facts.on_trial:  # help is on its way: nobody has to be told day after day
        return Decision("skip", f"{facts.on_trial} learned from the newest data and is being tried")
    return _without_news(facts, f"nothing is new: data, code, lock and declaration are those of {facts.trained}")


def _is_helpless(facts: Facts) -> Decision | None:
    """New code on old data is no answer to a symptom in the data; a schedule or a person may still train with it."""
    if facts.trigger not in SYMPTOMS or facts.snapshot_is_new:
        return None
    return _without_news(facts, f"there are no new data since {facts.production}")


def _without_news(facts: Facts, what: str) -> Decision:
    if facts.trigger not in SYMPTOMS:
        return Decision("skip", what)
    source = "bring new data in" if facts.gets_new_data else "the brand declares that it gets no new data"
    return Decision("skip", f"{facts.trigger} is red, but {what}: training again cannot help; {source}", is_helpless=True)


def _on_trial(facts: Facts) -> Decision | None:
    if not facts.on_trial or facts.trial_since is None or facts.trigger in CANNOT_WAIT:
        return None
    until = facts.trial_since + timedelta(days=facts.rules.patience_days)
    if facts.now >= until:  # it waits for people or requests that do not come: the newer version takes its place
        return None
    return Decision("wait", f"{facts.on_trial} is still being tried; a newer version would begin that anew", until)


def _cooling_down(facts: Facts) -> Decision | None:
    if facts.last_training is None or facts.trigger in CANNOT_WAIT:
        return None
    until = facts.last_training + timedelta(hours=facts.rules.cooldown_hours)
    if facts.now >= until:
        return None
    return Decision("wait", f"the last training ended at {_say(facts.last_training)}; the next may begin at {_say(until)}", until)


def _budget_used(facts: Facts) -> Decision | None:
    if facts.seconds_this_month < facts.rules.budget_seconds_month or facts.trigger in CANNOT_WAIT:
        return None
    used = f"{facts.seconds_this_month:,.0f} of {facts.rules.budget_seconds_month:,.0f} seconds of training are used this month"
    return Decision("wait", f"{used}; raise retraining.budget_seconds_month, or train by hand", _next_month(facts.now))


def _why_train(facts: Facts) -> str:
    news = "nothing is in production" if not facts.production else "new data" if facts.snapshot_is_new else "new code, lock or declaration"
    expected = facts.expected_loss_share
    gain = "" if expected is None else f"; at its age {facts.production} is expected to be {100 * expected:.1f} % worse"
    return f"{facts.trigger}: {news} since {facts.production}{gain}" if facts.production else f"{facts.trigger}: {news}"


def _next_month(now: datetime) -> datetime:
    return datetime(now.year + now.month // 12, now.month % 12 + 1, 1, tzinfo=UTC)


def _say(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
