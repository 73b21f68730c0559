"""What becomes of each signal: told now, counted, held back until later, or kept in the ledger alone.

No clock, no network, no ledger: the same history, signals and moment give the same plan.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

from brandhouse_aftercare.alert_history import NOTICE, Book, Line, read_book
from brandhouse_aftercare.alert_signals import AlertState, Signal, alert_entry, signal_of
from brandhouse_aftercare.silences import find_silence
from brandhouse_shared.alerts import Alerts, CheckAlerts, Severity
from brandhouse_shared.brands import Brand
from brandhouse_shared.ledger.records import Entry

BUDGET_CHECK = "alerts.budget"
DIGEST = "digest"


@dataclass(frozen=True, slots=True)
class Draft:
    """A signal with what is decided of it.

    Attributes:
        signal: With the severity that the brand gives it.
        state: SENDING: as soon as it is in a message.
        routes: Names of the routes that it goes to.
        group: Drafts of the same group and routes come in one message.
        facts: What else is written down.
    """

    signal: Signal
    state: AlertState
    routes: tuple[str, ...] = ()
    group: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


def plan(
    brand: Brand, history: Iterable[Entry], signals: Sequence[Signal], now: datetime, *, actor: str, run_id: str | None
) -> list[Entry]:
    """Decide of a brand's signals, and of what was held back and is due.

    Args:
        brand: What it declares in `[alerts]` counts.
        history: Its alerts so far, oldest first.
        signals: What its checks say now.
        now: The moment.
        actor: As written to the ledger.
        run_id: Of the run that found it.

    Returns:
        Entries to be recorded. Those of one message have the same id in `facts["message"]`.
    """
    alerts = brand.config.alerts
    book = read_book(history)
    judged = [_judge(alerts, book, signal, now) for signal in map(_with_severity(alerts), signals)]
    drafts = [draft for draft in judged if draft is not None]
    spoken = {(signal.model, signal.check) for signal in signals}
    drafts += [draft for key, line in book.lines.items() if key not in spoken for draft in _due(alerts, book, line, now)]
    bundled = _within_budget(brand, book, drafts, now)
    return [alert_entry(brand.name, one.signal, one.state, _facts(one), now, actor=actor, run_id=run_id) for one in bundled]


def _facts(draft: Draft) -> dict[str, Any]:
    return {"routes": list(draft.routes), **draft.facts} if draft.routes else draft.facts


def _with_severity(alerts: Alerts) -> Any:
    """Give signals the severity that the brand declares for their checks."""
    return lambda signal: replace(signal, severity=check_alerts(alerts, signal.check).severity or signal.severity)


def check_alerts(alerts: Alerts, check: str) -> CheckAlerts:
    """What the brand declares for a check: the first pattern that fits."""
    return next((one for pattern, one in alerts.checks.items() if fnmatchcase(check, pattern)), CheckAlerts())


def routes_for(alerts: Alerts, signal: Signal) -> tuple[str, ...]:
    """Names of the routes that a signal goes to; none if the brand wants to hear nothing of it."""
    own = check_alerts(alerts, signal.check)
    if own.muted or not signal.severity.reaches(alerts.min_severity):
        return ()
    extra = alerts.critical_route if signal.severity is Severity.CRITICAL else None
    return tuple(dict.fromkeys(name for name in (own.route or alerts.route, extra) if name is not None))


def _judge(alerts: Alerts, book: Book, signal: Signal, now: datetime) -> Draft | None:
    line = book.line(signal.model, signal.check)
    return _judge_red(alerts, book, line, signal, now) if signal.state == "red" else _judge_green(alerts, line, signal, now)


def _judge_red(alerts: Alerts, book: Book, line: Line, signal: Signal, now: datetime) -> Draft:
    routes = routes_for(alerts, signal)
    count = line.count + 1 if line.is_red else 1
    facts = {"count": count, "since": (line.since if line.is_red and line.since else now).isoformat()}
    if not routes:
        return Draft(signal, AlertState.MUTED, facts=facts)
    if _was_told(alerts, line, signal, now):
        return Draft(signal, AlertState.GROUPED, routes, facts=facts)
    return _judge_moment(alerts, book, line, Draft(signal, AlertState.SENDING, routes, signal.model, facts), now)


def _was_told(alerts: Alerts, line: Line, signal: Signal, now: datetime) -> bool:
    """Whether somebody knows: told in the last `repeat_hours`, as no less urgent, and not well since."""
    if not line.is_red or line.told is None or line.told.at <= now - timedelta(hours=alerts.repeat_hours):
        return False
    return Severity(str(line.told.facts["severity"])).reaches(signal.severity)


def _judge_green(alerts: Alerts, line: Line, signal: Signal, now: datetime) -> Draft | None:
    """A recovery is told once, on the routes that were told of the trouble; nothing is said of what was green all along."""
    if not line.is_red:
        return _held_recovery(alerts, line, now)
    told = line.told
    if told is None:
        return Draft(signal, AlertState.RECOVERED)
    routes = tuple(str(name) for name in _listed(told.facts.get("routes")))
    recovery = replace(signal, severity=Severity(str(told.facts["severity"])))
    return _held_by_silence(alerts, Draft(recovery, AlertState.SENDING, routes, signal.model), now)


def _held_recovery(alerts: Alerts, line: Line, now: datetime) -> Draft | None:
    return None if line.held is None else next(_redraft(alerts, line.held, now), None)


def _judge_moment(alerts: Alerts, book: Book, line: Line, draft: Draft, now: datetime) -> Draft:
    """Whether now is the time: not in a silence, and not right after another message about the model."""
    silenced = _held_by_silence(alerts, draft, now)
    if silenced.state is AlertState.SILENCED:
        return silenced
    if line.held is not None and line.held.state == AlertState.SILENCED:
        return replace(draft, group=DIGEST)
    if book.told_lately(draft.signal.model, draft.signal.severity, now - timedelta(minutes=alerts.group_minutes)):
        return replace(draft, state=AlertState.GROUPED, facts={**draft.facts, "waits": True})
    return draft


def _held_by_silence(alerts: Alerts, draft: Draft, now: datetime) -> Draft:
    silence = find_silence(alerts.silences, draft.signal.severity, now)
    if silence is None:
        return draft
    return replace(draft, state=AlertState.SILENCED, facts={**draft.facts, "silence": silence, "waits": True})


def _due(alerts: Alerts, book: Book, line: Line, now: datetime) -> Iterator[Draft]:
    """What was held back of a check that says nothing now, if its time has come."""
    held = line.held
    if held is None:
        return
    window = timedelta(minutes=alerts.group_minutes)
    if held.state == AlertState.GROUPED and book.told_lately(held.model, Severity(str(held.facts["severity"])), now - window):
        return
    yield from _redraft(alerts, held, now)


def _redraft(alerts: Alerts, held: Entry, now: datetime) -> Iterator[Draft]:
    signal = signal_of(held)
    if find_silence(alerts.silences, signal.severity, now) is not None:
        return
    routes = routes_for(alerts, signal)
    facts: dict[str, Any] = {name: held.facts[name] for name in ("count", "since") if name in held.facts}
    if routes:
        yield Draft(signal, AlertState.SENDING, routes, DIGEST if held.state == AlertState.SILENCED else signal.model, facts)
    else:
        yield Draft(signal, AlertState.MUTED, facts=facts)


def _within_budget(brand: Brand, book: Book, drafts: Sequence[Draft], now: datetime) -> Iterator[Draft]:
    """Put what is to be sent into messages, the most urgent first, as long as the week's budget lasts."""
    alerts = brand.config.alerts
    yield from (draft for draft in drafts if draft.state is not AlertState.SENDING)
    spent, has_refused = book.spent(now), False
    for bundle in _bundles(drafts):
        is_critical = any(draft.signal.severity is Severity.CRITICAL for draft in bundle)
        is_trouble = any(draft.signal.state == "red" for draft in bundle)
        if is_trouble and spent >= alerts.weekly_budget and not is_critical:
            has_refused = True
            yield from (replace(draft, state=AlertState.OVER_BUDGET) for draft in bundle)
            continue
        beyond = {"beyond_budget": True} if is_trouble and spent >= alerts.weekly_budget else {}
        spent += is_trouble
        message = {"message": _message_id(brand.name, bundle, now), **beyond}
        yield from (replace(draft, facts={**draft.facts, **message}) for draft in bundle)
    if has_refused and not book.said_that_budget_is_used_up(now):
        yield _notice(brand, now)


def _bundles(drafts: Sequence[Draft]) -> list[list[Draft]]:
    bundles: dict[tuple[str, tuple[str, ...]], list[Draft]] = {}
    for draft in drafts:
        if draft.state is AlertState.SENDING:
            bundles.setdefault((draft.group, draft.routes), []).append(draft)
    return sorted(bundles.values(), key=lambda bundle: not any(draft.signal.severity is Severity.CRITICAL for draft in bundle))


def _notice(brand: Brand, now: datetime) -> Draft:
    """The last message of the week: that there are no more."""
    budget = brand.config.alerts.weekly_budget
    detail = (
        f"The budget of {budget} messages in seven days is used up. What is found from now on is kept in the ledger: "
        f"`brandhouse alerts {brand.name}` shows it. Critical alerts still come."
    )
    draft = Draft(Signal(BUDGET_CHECK, "red", detail), AlertState.SENDING, (brand.config.alerts.route,))
    return replace(draft, facts={"signal": NOTICE, "message": _message_id(brand.name, [draft], now)})


def _message_id(brand: str, bundle: Sequence[Draft], now: datetime) -> str:
    """Equal for the same checks of the same brand and routes at the same moment, and for nothing else."""
    parts = [brand, now.isoformat(), *bundle[0].routes, *(f"{one.signal.model}/{one.signal.check}" for one in bundle)]
    return f"{brand}-{hashlib.sha256('|'.join(parts).encode()).hexdigest()[:16]}"


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
