"""The open ledger: everything that may be written to it or asked of it.

Appends only; the database refuses everything else. All writes, of all processes, take turns, so that `seq` is the
order of commits. Each method is one transaction.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Self

from sqlalchemy import Select, Table, select, text

from brandhouse_shared.ledger import approvals as approval_log
from brandhouse_shared.ledger import entries as entry_log
from brandhouse_shared.ledger import keys as key_log
from brandhouse_shared.ledger import runs as run_log
from brandhouse_shared.ledger import versions as version_log
from brandhouse_shared.ledger.database import Database
from brandhouse_shared.ledger.records import (
    Approval,
    DeploymentRecord,
    Entry,
    EntryKind,
    FallbackRecord,
    KeyEvent,
    KeyRecord,
    Run,
    RunOutcome,
    RunRecord,
    RunResult,
    SnapshotRecord,
    StageChange,
    StageEvent,
    StatusRow,
    Version,
    VersionRecord,
)
from brandhouse_shared.ledger.rows import (
    append,
    columns_of,
    last_seq,
    of_model,
    read_deployment,
    read_entry,
    read_fallback,
    read_key,
    read_key_event,
    read_run,
    read_run_result,
    read_snapshot,
    read_stage_event,
    read_version,
)
from brandhouse_shared.ledger.stages import Stage
from brandhouse_shared.ledger.status import CHECKS_SQL, STATUS_SQL, TRIALS_SQL, read_status_rows
from brandhouse_shared.ledger.tables import deployments, fallbacks, key_events, run_results, runs, snapshots, stage_events, versions
from brandhouse_shared.names import ModelKey, VersionKey


class Ledger:
    """An open ledger. May be shared by threads; forked children may keep using it."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections. The ledger may be used again; it then reconnects."""
        self.database.engine.dispose()

    # Snapshots

    def record_snapshot(self, record: SnapshotRecord) -> None:
        """Append a snapshot; the same content of the same dataset again is ignored."""
        same = (snapshots.c.brand == record.brand, snapshots.c.dataset == record.dataset, snapshots.c.hash_md5 == record.hash_md5)
        with self.database.writing() as connection:
            if connection.execute(select(snapshots.c.seq).where(*same)).first() is None:
                append(connection, snapshots, columns_of(record))

    def snapshots(self, brand: str) -> list[SnapshotRecord]:
        """All snapshots of a brand, newest first."""
        return [read_snapshot(row) for row in self._rows(_newest_first(snapshots).where(snapshots.c.brand == brand))]

    # Runs

    def start_run(self, record: RunRecord) -> None:
        """Append the start of a run; the same id again is the same run, retried.

        Raises:
            LedgerError: If the id belongs to a run of another model or template.
        """
        with self.database.writing() as connection:
            run_log.start(connection, record)

    def end_run(self, run_id: str, outcome: RunOutcome, detail: str) -> None:
        """Append how a run ended. A retry may follow `failed`, `cancelled` and `crashed`; the other outcomes are final.

        Raises:
            LedgerError: If the run or the outcome is unknown, or the run has ended otherwise for good.
        """
        with self.database.writing() as connection:
            run_log.end(connection, run_id, outcome, detail)

    def runs(self, key: ModelKey | None = None, limit: int = 1000, *, template: str = "") -> list[Run]:
        """Runs of one model or of all, newest first; of one template if its name is given, such as `train`."""
        query = run_log.select_runs().limit(limit)
        if template:
            query = query.where((runs.c.template == template) | runs.c.template.startswith(f"{template}/", autoescape=True))
        return [read_run(row) for row in self._rows(query if key is None else query.where(of_model(runs, key)))]

    def record_result(self, result: RunResult) -> None:
        """Append what a run measured; of a retried run the newest counts.

        Raises:
            LedgerError: If there is no such run.
        """
        with self.database.writing() as connection:
            run_log.add_result(connection, result)

    def results(self, key: ModelKey, limit: int = 1000) -> dict[str, RunResult]:
        """What a model's newest runs measured, by run id; runs of releases that kept no results are missing."""
        query = _newest_first(run_results).where(of_model(run_results, key)).limit(limit)
        found = [read_run_result(row) for row in self._rows(query)]
        return {result.run_id: result for result in reversed(found)}

    # Versions and their stages

    def register_version(self, record: VersionRecord) -> VersionKey:
        """Append a version with the model's next number and stage `candidate`.

        The same artifact from the same inputs again is the same version, so that a registration can be retried.

        Raises:
            IncompleteRecordError: If fields are empty.
        """
        with self.database.writing() as connection:
            return version_log.register(connection, record)

    def register_version_document(self, document: Mapping[str, object]) -> VersionKey:
        """Do the same from loose values.

        Raises:
            IncompleteRecordError: If fields are missing, None or empty; it lists them.
            LedgerError: If a field is of the wrong type or not known.
        """
        return self.register_version(VersionRecord.from_document(document))

    def find_version(self, version: VersionKey) -> Version:
        """Return one version.

        Raises:
            UnknownVersionError: If there is none of that number.
        """
        with self.database.reading() as connection:
            return version_log.find(connection, version)

    def versions(self, key: ModelKey) -> list[Version]:
        """All versions of a model, newest first."""
        query = version_log.select_versions().where(of_model(versions, key)).order_by(versions.c.number.desc())
        return [read_version(row) for row in self._rows(query)]

    def find_by_fingerprint(self, key: ModelKey, fingerprint: str) -> Version | None:
        """Return the newest version that came from these inputs, None if they were never trained on."""
        query = version_log.select_versions().where(of_model(versions, key), versions.c.fingerprint == fingerprint)
        rows = self._rows(query.order_by(versions.c.number.desc()).limit(1))
        return read_version(rows[0]) if rows else None

    def change_stage(self, change: StageChange) -> StageEvent:
        """Move a version to another stage; one that enters production retires its predecessor in the same transaction.

        Raises:
            StageChangeError: If actor or reason is empty, or the present stage does not allow it.
            GateError: If it is to enter production, its gates failed, and the change is not forced.
            ApprovalError: If it would answer users and people still have to agree.
            UnknownVersionError: If there is no such version.
        """
        with self.database.writing() as connection:
            return version_log.change_stage(connection, change)

    def require_people(self, brand: str, people: int, actor: str, reason: str) -> Entry | None:
        """Record how many people must agree before a version of a brand answers users; None if that is known already.

        More are needed at once, of every version; fewer only of versions that are registered afterwards.
        """
        if people == self.people_required(brand):  # the common case takes no turn of the writers
            return None
        with self.database.writing() as connection:
            return approval_log.require(connection, brand, people, actor, reason, datetime.now(UTC))

    def people_required(self, brand: str) -> int:
        """How many people must agree to a version of a brand that is registered now."""
        newest = self.entries(EntryKind.APPROVAL, brand, "", approval_log.RULE, limit=1)
        return int(newest[0].value or 0) if newest else 0

    def people_needed(self, version: VersionKey) -> int:
        """How many people must agree before this version answers users; 0: nobody has to be asked."""
        with self.database.reading() as connection:
            return approval_log.people_needed(connection, version)

    def approvals(self, version: VersionKey, to: Stage = Stage.PRODUCTION) -> list[Entry]:
        """Who agrees that a version goes to a stage, one entry a person; what was used up by a promotion does not count."""
        with self.database.reading() as connection:
            return approval_log.approvals(connection, version, to)

    def approve(self, change: StageChange, login: str | None = None) -> Approval:
        """Record that the change's actor agrees to it, and make it if nobody is missing any more.

        Args:
            change: To canary or production.
            login: Under which name the actor was logged in on the machine, kept as a fact.

        Raises:
            StageChangeError: If the change is not allowed, needs no agreement, or the actor has agreed already.
            GateError: If its gates failed, and it is not forced.
            UnknownVersionError: If there is no such version.
        """
        with self.database.writing() as connection:
            return version_log.approve(connection, change, login)

    def rollback(self, key: ModelKey, actor: str, reason: str, to: int | None = None) -> StageEvent:
        """Bring the version back that was in production before, or version `to` if it ever was there.

        Two rollbacks in a row go two versions back. After a retirement, the retired version comes back.

        Raises:
            StageChangeError: If there is none.
        """
        with self.database.writing() as connection:
            return version_log.roll_back(connection, key, actor, reason, to)

    def retire(self, key: ModelKey, actor: str, reason: str, number: int | None = None) -> StageEvent:
        """Take a model's version out of production; the model then has none. With `number`, end that version's shadow or canary.

        Raises:
            StageChangeError: If it has none already, or that version is retired.
            UnknownVersionError: If there is no such version.
        """
        with self.database.writing() as connection:
            return version_log.retire(connection, key, actor, reason, number)

    def stop_canary(self, version: VersionKey, since: int, actor: str, reason: str) -> StageEvent | None:
        """Send a canary back to the shadow because of what its trial showed. Of several callers at once one does it.

        Args:
            version: The canary.
            since: `Version.trial_since` of the trial that showed it; None is returned if that trial has ended meanwhile.
            actor: What decided it.
            reason: What was seen.
        """
        with self.database.writing() as connection:
            return version_log.stop_canary(connection, version, since, actor, reason)

    def stage_events(self, key: ModelKey | None = None, after_seq: int = 0, limit: int = 1000) -> list[StageEvent]:
        """Stage events of one model or of all in their one order, oldest first, starting behind `after_seq`."""
        query = select(stage_events).where(stage_events.c.seq > after_seq).order_by(stage_events.c.seq).limit(limit)
        return [read_stage_event(row) for row in self._rows(query if key is None else query.where(of_model(stage_events, key)))]

    def last_seq(self) -> int:
        """The `seq` of the newest stage event, 0 if there is none. Cheap enough to ask several times a second."""
        return self._last_seq(stage_events)

    def production(self, key: ModelKey) -> Version | None:
        """A model's version in production, None if it has none."""
        with self.database.reading() as connection:
            return version_log.find_production(connection, key)

    def production_versions(self) -> dict[ModelKey, Version]:
        """The versions in production of all models that have one."""
        found = (read_version(row) for row in self._rows(version_log.select_production()))
        return {version.record.key: version for version in found}

    def deployed_versions(self, keys: Collection[ModelKey] | None = None) -> list[Version]:
        """The versions in production, shadow or canary of these models, None: of all, in the order in which they came there."""
        return [read_version(row) for row in self._rows(version_log.select_deployed(keys))]

    def trial_versions(self) -> list[Version]:
        """The versions of all models that are in shadow or canary, in the order in which they came there."""
        return [read_version(row) for row in self._rows(version_log.select_trials())]

    def status_rows(self) -> list[StatusRow]:
        """One row per model: its production version, or else its newest; ordered by brand and model."""
        with self.database.reading() as connection:
            return read_status_rows(*(connection.execute(text(query)) for query in (STATUS_SQL, TRIALS_SQL, CHECKS_SQL)))

    # Deployments, keys, fallbacks

    def record_deployment(self, record: DeploymentRecord) -> None:
        """Append that a flow deployment was created, changed or removed."""
        self._append(deployments, columns_of(record))

    def deployments(self) -> list[DeploymentRecord]:
        """What happened to flow deployments, newest first."""
        return [read_deployment(row) for row in self._rows(_newest_first(deployments))]

    def add_key(self, record: KeyRecord) -> None:
        """Append an API key.

        Raises:
            LedgerError: If its id is taken.
        """
        with self.database.writing() as connection:
            key_log.add(connection, record)

    def revoke_key(self, key_id: str, actor: str, reason: str) -> KeyEvent:
        """End an API key for good.

        Raises:
            LedgerError: If there is no such key, it is revoked already, or actor or reason is empty.
        """
        with self.database.writing() as connection:
            return key_log.revoke(connection, key_id, actor, reason)

    def keys(self, brand: str | None = None) -> list[KeyRecord]:
        """API keys of one brand or of all, oldest first; revoked and expired ones too, for listings and audits."""
        query = key_log.select_keys()
        return [read_key(row) for row in self._rows(query if brand is None else query.where(key_events.c.brand == brand))]

    def key_events_after(self, after_seq: int, limit: int = 1000) -> list[KeyEvent]:
        """Key events behind `after_seq`, oldest first."""
        return [read_key_event(row) for row in self._rows(key_log.select_events().where(key_events.c.seq > after_seq).limit(limit))]

    def keys_seq(self) -> int:
        """The `seq` of the newest key event, 0 if there is none. Cheap enough to ask several times a second."""
        return self._last_seq(key_events)

    def record_fallback(self, key: ModelKey, version: int | None, reason: str, at: datetime) -> None:
        """Append that serving answered with something else than `version`, the number in production (None: none)."""
        self._append(fallbacks, columns_of(FallbackRecord(key=key, number=version, reason=reason, at=at)))

    def fallbacks(self, key: ModelKey | None = None, limit: int = 1000) -> list[FallbackRecord]:
        """Fallbacks of one model or of all, newest first."""
        query = _newest_first(fallbacks).limit(limit)
        return [read_fallback(row) for row in self._rows(query if key is None else query.where(of_model(fallbacks, key)))]

    # After deployment

    def record_entry(self, entry: Entry) -> Entry:
        """Append what happened after a deployment, and return it with its place.

        Raises:
            LedgerError: If it is an approval: those are made by `approve` and `require_people` only.
        """
        approval_log.refuse_loose([entry])
        with self.database.writing() as connection:
            return entry_log.add(connection, entry)

    def entries(
        self,
        kind: EntryKind | None = None,
        brand: str | None = None,
        model: str | None = None,
        name: str | None = None,
        *,
        after_seq: int = 0,
        limit: int = 1000,
        oldest_first: bool = False,
    ) -> list[Entry]:
        """Entries by what is given, newest first unless asked otherwise; `model=""` are those of a brand as a whole."""
        query = entry_log.select_entries(kind, brand, model, name, after_seq, limit, oldest_first=oldest_first)
        return [read_entry(row) for row in self._rows(query)]

    def record_decided(
        self, kind: EntryKind, brand: str, since: datetime, decide: Callable[[Sequence[Entry]], Sequence[Entry]]
    ) -> list[Entry]:
        """Append the entries that `decide` makes of a brand's entries of a kind, oldest first, in one turn.

        Nobody writes between the reading and the writing, so that of several processes that decide at once each sees what the
        one before it decided. `decide` must be quick and must not use the ledger: all writers wait for it.
        """
        with self.database.writing() as connection:
            known = [read_entry(row) for row in connection.execute(entry_log.select_since(kind, brand, since))]
            decided = decide(known)
            approval_log.refuse_loose(decided)
            return [entry_log.add(connection, entry) for entry in decided]

    def newest_entries(self, kind: EntryKind, brand: str | None = None, states: Sequence[str] = ()) -> list[Entry]:
        """What holds now: the newest entry of each brand, model and name, ordered by these; with states, among those alone."""
        return [read_entry(row) for row in self._rows(entry_log.select_newest(kind, brand, states))]

    def measured_entries(self, kind: EntryKind, name: str) -> list[Entry]:
        """What was measured last of each version: its newest entry of a kind and name that has a value, newest first."""
        return [read_entry(row) for row in self._rows(entry_log.select_measured(kind, name))]

    def _append(self, table: Table, values: dict[str, Any]) -> None:
        with self.database.writing() as connection:
            append(connection, table, values)

    def _rows(self, query: Any) -> list[Any]:
        with self.database.reading() as connection:
            return list(connection.execute(query))

    def _last_seq(self, table: Table) -> int:
        with self.database.reading() as connection:
            return last_seq(connection, table)


def _newest_first(table: Table) -> Select[Any]:
    return select(table).order_by(table.c.seq.desc())
