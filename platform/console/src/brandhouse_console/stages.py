"""Versions and their stages: list, promote, roll back, retire. Every change says who and why."""

from brandhouse_console.output import print_json, print_table, say_stage
from brandhouse_console.targets import find_model
from brandhouse_shared.brands import find_brand
from brandhouse_shared.errors import UnknownVersionError
from brandhouse_shared.ledger import open_ledger
from brandhouse_shared.ledger.guarding import guard
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import Approval, StageChange, StageEvent
from brandhouse_shared.ledger.stages import Stage
from brandhouse_shared.names import ModelKey, VersionKey, parse_version
from brandhouse_shared.settings import Settings, load_settings, login_name


def versions(target: str, *, as_json: bool) -> None:
    """Print a model's versions, newest first."""
    _, key, ledger = _open(target)
    found = ledger.versions(key)
    if as_json:
        print_json(
            [
                {"brand": key.brand, "model": key.model, "version": f"v{item.number}", "stage": str(item.stage), "share": item.share}
                | item.record.model_dump(mode="json", exclude={"key"})
                for item in found
            ]
        )
        return
    print_table(
        ["version", "stage", "metric", "score", "baseline", "gates", "runtime", "kind", "trained"],
        [
            [
                f"v{item.number}",
                say_stage(item.stage, item.share),
                item.record.metric,
                item.record.score,
                item.record.baseline_score,
                "passed" if item.record.gates_passed else "failed",
                item.record.runtime,
                item.record.kind,
                item.record.created_at,
            ]
            for item in found
        ],
        title=str(key),
        empty=f"{key} has no version yet; train one with `brandhouse train {key}`",
    )


def promote(
    target: str, *, reason: str, version: str | None, to: str, share: float | None, force: bool, approve: bool, as_json: bool
) -> None:
    """Move a version to shadow, canary or production; a canary may get another share. Or agree to it, where people have to."""
    settings, key, ledger = _open(target)
    guard(ledger, find_brand(settings.brands_dir, key.brand), settings.actor)
    chosen = key.version(parse_version(version)) if version else _newest_candidate(ledger, key, Stage(to))
    change = StageChange(version=chosen, to=Stage(to), actor=settings.actor, reason=reason, force=force, share=share)
    if approve:
        _print_approval(ledger.approve(change, login_name()), as_json=as_json)
    else:
        _print_event(ledger.change_stage(change), as_json=as_json)


def rollback(target: str, *, reason: str, to: str | None, as_json: bool) -> None:
    """Put the version back that was in production before."""
    settings, key, ledger = _open(target)
    number = parse_version(to) if to else None
    _print_event(ledger.rollback(key, actor=settings.actor, reason=reason, to=number), as_json=as_json)


def retire(target: str, *, reason: str, version: str | None, as_json: bool) -> None:
    """Take a model out of production, or end a version's shadow or canary."""
    settings, key, ledger = _open(target)
    number = parse_version(version) if version else None
    _print_event(ledger.retire(key, actor=settings.actor, reason=reason, number=number), as_json=as_json)


def history(target: str, *, as_json: bool) -> None:
    """Print every stage change of a model."""
    _, key, ledger = _open(target)
    events = ledger.stage_events(key)
    if as_json:
        print_json([_event_document(event) for event in events])
        return
    print_table(
        ["when", "version", "from", "to", "who", "why"],
        [
            [event.at, f"v{event.version.number}", event.from_stage, say_stage(event.to, event.share), event.actor, event.reason]
            for event in events
        ],
        title=str(key),
        empty=f"{key} has no history yet",
    )


def _open(target: str) -> tuple[Settings, ModelKey, Ledger]:
    settings = load_settings()
    _, key = find_model(settings, target)
    return settings, key, open_ledger(settings.ledger_url.get_secret_value())


def _newest_candidate(ledger: Ledger, key: ModelKey, to: Stage) -> VersionKey:
    """The version that a promotion without a number means: of a running canary its own, if it is to get another share."""
    found = ledger.versions(key)
    running = next((item.key for item in found if to is item.stage is Stage.CANARY), None)
    if running is not None:
        return running
    for item in found:
        if item.stage in (Stage.CANDIDATE, Stage.SHADOW, Stage.CANARY):
            return item.key
    known = [f"v{item.number} ({item.stage})" for item in found]
    raise UnknownVersionError(key, "that waits for promotion; name one with --version", known)


def _event_document(event: StageEvent) -> dict[str, object]:
    return event.model_dump(mode="json", exclude={"version"}) | {
        "brand": event.version.brand,
        "model": event.version.model,
        "version": f"v{event.version.number}",
    }


def _print_approval(approval: Approval, *, as_json: bool) -> None:
    entry = approval.entry
    if as_json:
        event = None if approval.event is None else _event_document(approval.event)
        print_json({"approval": entry.model_dump(mode="json"), "missing": approval.missing, "event": event})
    elif approval.event is not None:
        _print_event(approval.event, as_json=False)
    else:
        others = "1 other person has" if approval.missing == 1 else f"{approval.missing} other people have"
        print(f"{entry.brand}/{entry.model}/v{entry.number}: {entry.actor} agrees to {entry.name}; {others} to agree before it goes there")


def _print_event(event: StageEvent, *, as_json: bool) -> None:
    if as_json:
        print_json(_event_document(event))
        return
    to = say_stage(event.to, event.share)
    print(f"{event.version}: {event.from_stage or 'new'} -> {to} by {event.actor}: {event.reason}")
