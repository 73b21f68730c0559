"""Versions and their stages: queries and appends, inside a transaction that `database` opened."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, and_, exists, false, func, or_, select

from brandhouse_shared.errors import IncompleteRecordError, StageChangeError, UnknownVersionError
from brandhouse_shared.ledger import approvals
from brandhouse_shared.ledger.records import Approval, StageChange, StageEvent, Version, VersionRecord, missing_fields
from brandhouse_shared.ledger.rows import append, columns_of, of_model, of_version, read_version
from brandhouse_shared.ledger.stages import (
    Cause,
    Stage,
    check_change,
    check_gates,
    check_only_canary,
    check_reason,
    previous_production,
    share_of_change,
)
from brandhouse_shared.ledger.tables import runs, stage_events, versions
from brandhouse_shared.names import ModelKey, VersionKey


def register(connection: Connection, record: VersionRecord) -> VersionKey:
    """Append a version with the model's next number, and its first stage event.

    Raises:
        IncompleteRecordError: If fields are empty.
    """
    if missing := missing_fields({name: getattr(record, name) for name in VersionRecord.model_fields}):
        raise IncompleteRecordError(record.key, missing)
    if registered := _find_same(connection, record):
        return registered
    version = record.key.version(_newest_number(connection, record.key) + 1)
    append(connection, versions, {"number": version.number, **columns_of(record)})
    actor = connection.execute(select(runs.c.actor).where(runs.c.run_id == record.run_id)).scalar_one_or_none() or record.owner
    change = StageChange(version=version, to=Stage.CANDIDATE, actor=actor, reason=f"registered by run {record.run_id}", automatic=True)
    _append_event(connection, change, None, Cause.REGISTERED)
    return version


def find(connection: Connection, version: VersionKey) -> Version:
    """Return one version.

    Raises:
        UnknownVersionError: If there is none of that number.
    """
    row = connection.execute(select_versions().where(of_version(versions, version))).one_or_none()
    if row is None:
        raise UnknownVersionError(
            version.model_key, f"v{version.number}", [f"v{number}" for number in _numbers(connection, version.model_key)]
        )
    return read_version(row)


@cache
def select_versions() -> Select[Any]:
    """Query versions with their stage, that of the newest event."""
    stage = (stage_events.c.to_stage, stage_events.c.seq.label("stage_seq"), stage_events.c.share)
    return select(versions, *stage).select_from(versions).join(stage_events, _newest_event())


@cache
def select_production() -> Select[Any]:
    """Query the versions in production: those whose newest event is an entry into it."""
    return select_versions().where(stage_events.c.to_stage == Stage.PRODUCTION)


@cache
def select_trials() -> Select[Any]:
    """Query the versions on trial, in shadow or canary."""
    return select_versions().where(stage_events.c.to_stage.in_([Stage.SHADOW, Stage.CANARY])).order_by(stage_events.c.seq)


def select_deployed(keys: Collection[ModelKey] | None) -> Select[Any]:
    """Query the versions in production or on trial, of these models only if they are given."""
    query = select_versions().where(stage_events.c.to_stage.in_([Stage.PRODUCTION, Stage.SHADOW, Stage.CANARY]))
    if keys is not None:
        query = query.where(or_(false(), *(of_model(versions, key) for key in sorted(keys))))
    return query.order_by(stage_events.c.seq)


def find_production(connection: Connection, key: ModelKey) -> Version | None:
    """Return a model's version in production, None if it has none."""
    row = connection.execute(select_production().where(of_model(stage_events, key))).one_or_none()
    return None if row is None else read_version(row)


def change_stage(connection: Connection, change: StageChange, cause: Cause = Cause.CHANGED) -> StageEvent:
    """Move a version to another stage; one that enters production sends its predecessor into retirement.

    Raises:
        StageChangeError: If actor or reason is empty, or the present stage does not allow it.
        GateError: If the gates failed, production is asked for, and it is neither forced nor a rollback.
        ApprovalError: If people still have to agree to it, and it is no rollback.
        UnknownVersionError: If there is no such version.
    """
    version, share = _check_change(connection, change, cause)
    if cause is not Cause.ROLLED_BACK:  # one person may always go back to what people have agreed to before
        approvals.check_approved(connection, version.key, change.to, share)
    if change.to is Stage.PRODUCTION:
        _replace_production(connection, change)
    change = change.model_copy(update={"share": share})
    return _append_event(connection, change, version.stage, cause, forced=change.force and not version.record.gates_passed)


def approve(connection: Connection, change: StageChange, login: str | None) -> Approval:
    """Record that the change's actor agrees to it, and make it if nobody is missing any more.

    Raises:
        StageChangeError: If the change is not allowed, needs no agreement, or the actor has agreed already.
        GateError: If the gates failed, production is asked for, and it is not forced.
        UnknownVersionError: If there is no such version.
    """
    _, share = _check_change(connection, change, Cause.CHANGED)
    if change.automatic:
        raise StageChangeError(f"{change.version}: only a person can agree to a stage change; {change.actor} is none")
    at = change.at or datetime.now(UTC)
    entry, missing = approvals.add(connection, change.version, change.to, share, change.actor, change.reason, at, login)
    if missing:
        return Approval(entry=entry, missing=missing, event=None)
    people = [one.actor for one in approvals.approvals(connection, change.version, change.to, share)]
    agreed = change.model_copy(update={"reason": f"{change.reason} (approved by {', '.join(people)})"})
    return Approval(entry=entry, missing=0, event=change_stage(connection, agreed))


def _check_change(connection: Connection, change: StageChange, cause: Cause) -> tuple[Version, float | None]:
    """Refuse what people's agreement cannot make right; return the version and the share that it is to get."""
    check_reason(change.version, change.actor, change.reason)
    version = find(connection, change.version)
    share = share_of_change(version.key, change.to, change.share)
    check_change(version.key, version.stage, change.to, share_differs=share != version.share)
    if change.to is Stage.CANARY:
        check_only_canary(version.key, _canary_number(connection, change.version.model_key))
    if cause is not Cause.ROLLED_BACK:  # it has been in production before, and the present one is worse
        _check_gates(version, change)
    return version, share


def roll_back(connection: Connection, key: ModelKey, actor: str, reason: str, to: int | None) -> StageEvent:
    """Bring a version back into production that was there before.

    Raises:
        StageChangeError: If there is none, or version `to` was never in production.
    """
    present = find_production(connection, key)
    entries = _production_entries(connection, key)
    number = previous_production(entries, present.number if present else None) if to is None else to
    if number is None:
        raise StageChangeError(f"{key} has no version that was in production before; there is nothing to roll back to")
    version = find(connection, key.version(number)).key
    if number not in {entry.number for entry in entries}:
        raise StageChangeError(f"{version} was never in production, so it is nothing to roll back to; promote it instead")
    return change_stage(connection, StageChange(version=version, to=Stage.PRODUCTION, actor=actor, reason=reason), Cause.ROLLED_BACK)


def stop_canary(connection: Connection, version: VersionKey, since: int, actor: str, reason: str) -> StageEvent | None:
    """Send a canary back to the shadow; None if it is not on the trial any more that began with event `since`."""
    canary, production = find(connection, version), find_production(connection, version.model_key)
    if canary.stage is not Stage.CANARY or production is None or canary.trial_since(production) != since:
        return None
    return change_stage(connection, StageChange(version=version, to=Stage.SHADOW, actor=actor, reason=reason, automatic=True))


def retire(connection: Connection, key: ModelKey, actor: str, reason: str, number: int | None = None) -> StageEvent:
    """Take a model's version out of production, or version `number` out of whatever stage it is in.

    Raises:
        StageChangeError: If it has none.
    """
    if number is not None:
        return change_stage(connection, StageChange(version=key.version(number), to=Stage.RETIRED, actor=actor, reason=reason))
    present = find_production(connection, key)
    if present is None:
        raise StageChangeError(f"{key} has no version in production; nothing to retire")
    return change_stage(connection, StageChange(version=present.key, to=Stage.RETIRED, actor=actor, reason=reason))


def _check_gates(version: Version, change: StageChange) -> None:
    failed = [str(gate.get("name")) for gate in version.record.gates if not gate.get("passed")]
    check_gates(version.key, change.to, version.record.gates_passed, change.force, failed)


def _replace_production(connection: Connection, change: StageChange) -> None:
    present = find_production(connection, change.version.model_key)
    if present is not None:
        retire = change.model_copy(update={"version": present.key, "to": Stage.RETIRED, "share": None})
        _append_event(connection, retire, Stage.PRODUCTION, Cause.REPLACED)


def _append_event(connection: Connection, change: StageChange, present: Stage | None, cause: Cause, forced: bool = False) -> StageEvent:
    values = {
        "from_stage": present,
        "cause": cause,
        "actor": change.actor,
        "reason": change.reason,
        "automatic": change.automatic,
        "forced": forced,
        "at": change.at or datetime.now(UTC),
        "share": change.share,
    }
    version = {"brand": change.version.brand, "model": change.version.model, "number": change.version.number}
    seq = append(connection, stage_events, {**version, "to_stage": change.to, **values})
    return StageEvent.model_validate({"seq": seq, "version": change.version, "to": change.to, **values})


def _canary_number(connection: Connection, key: ModelKey) -> int | None:
    query = select_trials().where(of_model(stage_events, key), stage_events.c.to_stage == Stage.CANARY)
    numbers = [row.number for row in connection.execute(query)]
    return numbers[-1] if numbers else None  # a release that knew no canaries' rules may have left several


class _Entry(NamedTuple):
    number: int
    cause: str


def _production_entries(connection: Connection, key: ModelKey) -> list[_Entry]:
    columns = (stage_events.c.number, stage_events.c.cause)
    query = select(*columns).where(of_model(stage_events, key), stage_events.c.to_stage == Stage.PRODUCTION).order_by(stage_events.c.seq)
    return [_Entry(*row) for row in connection.execute(query)]


def _find_same(connection: Connection, record: VersionRecord) -> VersionKey | None:
    query = select(versions.c.number).where(
        of_model(versions, record.key),
        versions.c.artifact_digest == record.artifact_digest,
        versions.c.fingerprint == record.fingerprint,
    )
    number = connection.execute(query).scalar_one_or_none()
    return None if number is None else record.key.version(number)


def _newest_number(connection: Connection, key: ModelKey) -> int:
    return connection.execute(select(func.max(versions.c.number)).where(of_model(versions, key))).scalar_one() or 0


def _numbers(connection: Connection, key: ModelKey) -> Sequence[int]:
    """All version numbers of a model, newest first."""
    return connection.execute(select(versions.c.number).where(of_model(versions, key)).order_by(versions.c.number.desc())).scalars().all()


def _newest_event() -> ColumnElement[bool]:
    """Join each version with its newest event. Without a correlated maximum: queries by stage then start at the few events of it."""
    event, later = stage_events.c, stage_events.alias("later").c
    is_later = (later.brand == event.brand, later.model == event.model, later.number == event.number, later.seq > event.seq)
    return and_(
        event.brand == versions.c.brand,
        event.model == versions.c.model,
        event.number == versions.c.number,
        ~exists().where(*is_later).correlate(stage_events),
    )
