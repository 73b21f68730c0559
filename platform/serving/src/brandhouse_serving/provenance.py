"""What is known of one prediction: who answered, what that version was made of, and who let it answer.

From the prediction log and the ledger alone: nothing is loaded, and no brand's folder is read. Values of the request are no
part of it; the answer is, since whoever holds the id was given it.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from brandhouse_serving.prediction_ids import parse
from brandhouse_serving.prediction_lookup import LoggedRequest, find_label, find_request
from brandhouse_serving.prediction_records import record_of
from brandhouse_serving.replies import BASELINE, CANARY, PREVIOUS
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import Entry, EntryKind, Run, StageEvent, Version
from brandhouse_shared.ledger.stages import Stage
from brandhouse_shared.names import ModelKey, VersionKey

CLOCKS_APART = timedelta(seconds=1)
"""How far the clocks of two processes may differ: an event that much later is taken for one before."""

MANY = 100_000
"""Events of one model; a promotion a day for two centuries."""


class StageStep(BaseModel):
    """One stage change of the version that answered."""

    model_config = ConfigDict(frozen=True)

    at: datetime
    stage: str
    """Where it went."""
    came_from: str | None
    """None: it was registered."""
    by: str
    """Who did it."""
    why: str
    cause: str
    """registered, changed, replaced or rolled_back."""
    automatic: bool
    """Whether a flow decided it, and not a person."""
    forced: bool
    """Whether it went there although its gates had failed."""


class Remark(BaseModel):
    """An approval of the version, or a lasting mark on it."""

    model_config = ConfigDict(frozen=True)

    at: datetime
    name: str
    state: str
    by: str
    detail: str


class Provenance(BaseModel):
    """Where one prediction came from."""

    model_config = ConfigDict(frozen=True)

    prediction_id: str
    brand: str
    model: str
    version: str
    """Such as v3."""
    at: datetime
    """When it was answered, UTC."""
    served_by: str
    """production, canary, previous or baseline."""
    fallback: bool
    """Whether another version was to answer and could not."""
    fallback_reason: str | None
    """Why, as the ledger noted it last before the answer; None: no fallback, or nobody noted it."""
    prediction: Any = None
    """The answer; missing where the brand may not store it."""
    probabilities: list[float] | None = None
    """In the order of the model's classes."""
    label: Any = None
    """What turned out to be true; None: not known."""
    label_at: datetime | None = None
    request_rows: int
    """Rows that were asked together."""
    stage: str | None
    """Where the version was when it answered; None: the ledger knows of no stage at that time."""
    promoted_by: str | None
    """Who brought it there; like the next two None if that is not known."""
    promoted_at: datetime | None
    promoted_why: str | None
    stage_history: list[StageStep]
    """All stage changes of the version, oldest first."""
    approvals: list[Remark]
    marks: list[Remark]
    run_id: str
    run_by: str | None
    """Who started the training; None: the ledger does not hold the run."""
    run_started_at: datetime | None
    flow_run_url: str
    """`local`: trained without a server."""
    git_commit: str
    git_dirty: bool
    """Whether the work tree differed from the commit."""
    snapshot_dataset: str
    snapshot_hash: str
    lock_hash: str
    """SHA-256 of the lock of all packages."""
    template_version: str
    code_digest: str
    """SHA-256 of the brand's code."""
    artifact_digest: str
    """SHA-256 of all files of the version."""
    runtime: str
    estimator: str
    candidate: str
    params: dict[str, Any]
    seed: int
    trained_at: datetime
    owner: str
    metric: str
    score: float
    gates_passed: bool
    rows_train: int = Field(ge=0)

    @property
    def key(self) -> VersionKey:
        """The version that answered."""
        return ModelKey(self.brand, self.model).version(int(self.version.removeprefix("v")))


def read_provenance(home: Path, ledger: Ledger, prediction_id: str) -> Provenance | None:
    """Collect what is known of a prediction; None if it is not in the log.

    Raises:
        InvalidNameError: If the text is no prediction id.
        LogDamagedError: If a file of the log in which it may be cannot be read.
        UnknownVersionError: If the ledger does not know the version that answered.
    """
    request = find_request(home, prediction_id)
    return None if request is None else provenance_of(home, ledger, request)


def provenance_of(home: Path, ledger: Ledger, request: LoggedRequest) -> Provenance:
    """Collect what is known of a prediction that was found.

    Raises:
        UnknownVersionError: If the ledger does not know the version that answered.
    """
    row = record_of(request.row)
    identifier = parse(row["id"])
    version = ledger.find_version(identifier.version)
    events = [event for event in ledger.stage_events(version.record.key, limit=MANY) if event.version == version.key]
    return Provenance(
        prediction_id=row["id"],
        brand=identifier.version.brand,
        model=identifier.version.model,
        version=f"v{version.number}",
        at=identifier.at,
        request_rows=row["request_rows"],
        prediction=row.get("prediction"),
        probabilities=row.get("probabilities"),
        **_label(home, row["id"]),
        **_served(ledger, version.record.key, row["served_by"], identifier.at),
        **_promotion(events, row["served_by"], identifier.at),
        stage_history=[_step(event) for event in events],
        approvals=_remarks(ledger, EntryKind.APPROVAL, version),
        marks=_remarks(ledger, EntryKind.MARK, version),
        **_made_of(version),
        **_run(ledger, version),
    )


def _label(home: Path, prediction_id: str) -> dict[str, Any]:
    found = find_label(home, prediction_id)
    return {} if found is None else {"label": found["label"], "label_at": found["at"]}


def _served(ledger: Ledger, key: ModelKey, served_by: str, at: datetime) -> dict[str, Any]:
    is_fallback = served_by in (PREVIOUS, BASELINE)
    before = [one.reason for one in ledger.fallbacks(key) if one.at <= at + CLOCKS_APART] if is_fallback else []
    return {"served_by": served_by, "fallback": is_fallback, "fallback_reason": before[0] if before else None}


def _promotion(events: Sequence[StageEvent], served_by: str, at: datetime) -> dict[str, Any]:
    """Where the version was when it answered, and who brought it there.

    Of a version that answered in another's place the last entry into production is told: that is what it was promoted by.
    """
    before = [event for event in events if event.at <= at + CLOCKS_APART]
    wanted = Stage.CANARY if served_by == CANARY else Stage.PRODUCTION
    entries = [event for event in before if event.to is wanted and event.from_stage is not wanted]
    entry = entries[-1] if entries else None
    return {
        "stage": str(before[-1].to) if before else None,
        "promoted_by": entry and entry.actor,
        "promoted_at": entry and entry.at,
        "promoted_why": entry and entry.reason,
    }


def _step(event: StageEvent) -> StageStep:
    return StageStep(
        at=event.at,
        stage=event.to,
        came_from=event.from_stage,
        by=event.actor,
        why=event.reason,
        cause=event.cause,
        automatic=event.automatic,
        forced=event.forced,
    )


def _remarks(ledger: Ledger, kind: EntryKind, version: Version) -> list[Remark]:
    key = version.record.key
    entries = ledger.entries(kind, key.brand, key.model, oldest_first=True, limit=MANY)
    return [_remark(entry) for entry in entries if entry.number == version.number]


def _remark(entry: Entry) -> Remark:
    return Remark(at=entry.at, name=entry.name, state=entry.state, by=entry.actor, detail=entry.detail)


def _made_of(version: Version) -> dict[str, Any]:
    record = version.record
    named = (
        *("run_id", "flow_run_url", "git_commit", "git_dirty", "snapshot_dataset", "snapshot_hash", "lock_hash", "template_version"),
        *("code_digest", "artifact_digest", "runtime", "estimator", "params", "seed", "owner", "metric", "score", "gates_passed"),
        "rows_train",
    )
    return {name: getattr(record, name) for name in named} | {"candidate": record.candidate_name, "trained_at": record.created_at}


def _run(ledger: Ledger, version: Version) -> dict[str, Any]:
    run = find_run(ledger, version)
    return {"run_by": run and run.record.actor, "run_started_at": run and run.record.started_at}


def find_run(ledger: Ledger, version: Version) -> Run | None:
    """Return the run that registered a version; None if the ledger does not hold it."""
    runs = ledger.runs(version.record.key, limit=MANY)
    return next((run for run in runs if run.record.run_id == version.record.run_id), None)
