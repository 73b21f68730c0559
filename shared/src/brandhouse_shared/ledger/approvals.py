"""How many people must agree before a version answers users, and who has. Inside a transaction that `database` opened.

Enforced by every stage change, whoever asks for it. What was before what is told by stage events' `seq`, never by clocks.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, func, select

from brandhouse_shared.errors import ApprovalError, LedgerError, StageChangeError
from brandhouse_shared.ledger import entries as entry_log
from brandhouse_shared.ledger.records import Entry, EntryKind
from brandhouse_shared.ledger.rows import last_seq, of_version, read_entry
from brandhouse_shared.ledger.stages import Stage
from brandhouse_shared.ledger.tables import entries, stage_events
from brandhouse_shared.names import VersionKey

RULE = "rule"
"""Name of the entry that says how many people a brand's versions need; its value is the number."""

APPROVED = "approved"
AFTER_EVENT = "after_event"
"""Fact of an entry: the `seq` of the newest stage event when it was made."""

SHARE = "share"
"""Fact of an approval of a canary: the share of the requests that was agreed to."""

ANSWERING = (Stage.CANARY, Stage.PRODUCTION)
"""Stages in which a version answers users, so that people have to agree."""


def require(connection: Connection, brand: str, people: int, actor: str, reason: str, at: datetime) -> Entry | None:
    """Record how many people a brand's versions need from now on; None if that is known already.

    More are needed at once, of every version. Fewer are enough only for versions that are registered afterwards: nobody gets a
    waiting version through by changing what the brand declares.
    """
    rules = _rules(connection, brand)
    if people == (int(rules[-1].value or 0) if rules else 0):
        return None
    word = "nobody" if people == 0 else "one person" if people == 1 else f"{people} different people"
    entry = Entry(
        kind=EntryKind.APPROVAL,
        brand=brand,
        name=RULE,
        state="needed" if people else "not needed",
        value=people,
        detail=f"{word} must agree before a version of {brand} answers users: {reason}",
        facts={AFTER_EVENT: last_seq(connection, stage_events)},
        actor=actor,
        at=at,
    )
    return entry_log.add(connection, entry)


def people_needed(connection: Connection, version: VersionKey) -> int:
    """How many must agree: what held when the version was registered, or more if more were asked for since."""
    registered = connection.execute(select(func.min(stage_events.c.seq)).where(of_version(stage_events, version))).scalar() or 0
    needed = 0
    for rule in _rules(connection, version.brand):
        people = int(rule.value or 0)
        needed = people if _event_of(rule) < registered else max(needed, people)
    return needed


def approvals(connection: Connection, version: VersionKey, to: Stage, share: float | None = None) -> list[Entry]:
    """Who agrees that the version goes to a stage, one entry a person, oldest first.

    Who agreed to production agreed to any canary, and who agreed to a canary to one of that share or less. What was agreed before
    the version was last in production is used up.
    """
    used = connection.execute(
        select(func.max(stage_events.c.seq)).where(of_version(stage_events, version), stage_events.c.to_stage == Stage.PRODUCTION)
    ).scalar()
    query = select(entries).where(entries.c.kind == str(EntryKind.APPROVAL), of_version(entries, version), entries.c.state == APPROVED)
    found = [read_entry(row) for row in connection.execute(query.order_by(entries.c.seq))]
    people: dict[str, Entry] = {}
    for entry in found:
        if _covers(entry, to, share) and _event_of(entry) >= (used or 0):
            people.setdefault(same_person(entry.actor), entry)
    return list(people.values())


def check_approved(connection: Connection, version: VersionKey, to: Stage, share: float | None) -> None:
    """Refuse a stage in which a version answers users before enough people agreed.

    A canary of a version that was in production before needs nobody: a rollback may bring it back altogether, at once.

    Raises:
        ApprovalError: If somebody still has to agree.
    """
    if to not in ANSWERING or not (needed := people_needed(connection, version)):
        return
    if to is Stage.CANARY and was_in_production(connection, version):
        return
    agreed = approvals(connection, version, to, share)
    if len(agreed) < needed:
        raise ApprovalError(version, to, needed, [entry.actor for entry in agreed])


def add(
    connection: Connection, version: VersionKey, to: Stage, share: float | None, actor: str, reason: str, at: datetime, login: str | None
) -> tuple[Entry, int]:
    """Record that a person agrees, and return the entry and how many others still have to.

    Raises:
        StageChangeError: If the stage needs nobody's agreement, or the person has agreed already.
    """
    if to not in ANSWERING:
        raise StageChangeError(f"{version}: nobody has to agree to {to}, it answers no user; promote without an approval")
    agreed = approvals(connection, version, to, share)
    if same_person(actor) in {same_person(entry.actor) for entry in agreed}:
        raise StageChangeError(f"{version}: {actor} has agreed to {to} already; another person has to")
    missing = max(0, people_needed(connection, version) - len(agreed) - 1)
    entry = Entry(
        kind=EntryKind.APPROVAL,
        brand=version.brand,
        model=version.model,
        number=version.number,
        name=str(to),
        state=APPROVED,
        value=missing,
        detail=f"{version} may go to {to}: {reason}",
        facts={AFTER_EVENT: last_seq(connection, stage_events), SHARE: share, "login": login, "still_needed": missing},
        actor=actor,
        at=at,
    )
    return entry_log.add(connection, entry), missing


def refuse_loose(offered: Sequence[Entry]) -> None:
    """Refuse approvals that were not made here: they would count without having been checked.

    Raises:
        LedgerError: If one of the entries is of that kind.
    """
    for entry in offered:
        if entry.kind is EntryKind.APPROVAL:
            raise LedgerError(f"{entry.brand}: an approval is recorded by `approve` alone, which checks it; nothing was written")


def was_in_production(connection: Connection, version: VersionKey) -> bool:
    """Whether the version has ever answered all users."""
    query = select(stage_events.c.seq).where(of_version(stage_events, version), stage_events.c.to_stage == Stage.PRODUCTION)
    return connection.execute(query.limit(1)).first() is not None


def same_person(actor: str) -> str:
    """An actor's name as it is compared: letter case and blanks make nobody another person."""
    return " ".join(actor.casefold().split())


def _rules(connection: Connection, brand: str) -> Sequence[Entry]:
    query = entry_log.select_entries(EntryKind.APPROVAL, brand, "", RULE, 0, 10_000, oldest_first=True)
    return [read_entry(row) for row in connection.execute(query)]


def _covers(entry: Entry, to: Stage, share: float | None) -> bool:
    if entry.name == Stage.PRODUCTION:
        return True
    return entry.name == str(to) and float(str(entry.facts.get(SHARE) or 0)) >= (share or 0)


def _event_of(entry: Entry) -> int:
    return int(str(entry.facts.get(AFTER_EVENT, 0)))
