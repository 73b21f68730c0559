"""What goes into the ledger and what comes out of it: frozen records.

All times are aware and in UTC. Nested values are JSON; a number that is not finite becomes null there.
"""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, FiniteFloat, JsonValue, ValidationError

from brandhouse_shared.errors import IncompleteRecordError, LedgerError, join_bounded
from brandhouse_shared.ledger.stages import Cause, Stage
from brandhouse_shared.metrics import Task
from brandhouse_shared.names import ModelKey, VersionKey

RunOutcome = Literal["registered", "unchanged", "gates_failed", "rehearsed", "scored", "failed", "cancelled", "crashed"]
"""rehearsed: trained and judged on purpose without registering a version; scored: a file was scored (template `score/`)."""

RunKind = Literal["full", "dry", "sample"]
"""full: may register a version; dry: judged on everything, registers nothing; sample: the same, learned from a part of the rows."""


_OPTIONAL = frozenset({"production_score"})
_MAY_BE_EMPTY = frozenset({"params", "slices"})


def _to_utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)


def _parse_key(value: object) -> object:
    return ModelKey.parse(value) if isinstance(value, str) else value


def _to_json(value: Any) -> Any:
    """Make plain JSON: NumPy's scalars become Python's; NaN and infinities become null, as PostgreSQL refuses them."""
    if isinstance(value, Mapping):
        return {str(name): _to_json(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_to_json(item) for item in value]
    value = _to_plain(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _to_plain(value: Any) -> Any:
    """Turn a NumPy scalar into Python's, without importing NumPy here."""
    return value.item() if type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0 else value


UtcTime = Annotated[AwareDatetime, AfterValidator(_to_utc)]
Key = Annotated[ModelKey, BeforeValidator(_parse_key)]
Document = Annotated[dict[str, JsonValue], BeforeValidator(_to_json)]
Count = Annotated[int, BeforeValidator(_to_plain)]
Flag = Annotated[bool, BeforeValidator(_to_plain)]
Text = Annotated[str, BeforeValidator(lambda value: str(value) if isinstance(value, str) else value)]
"""Text; a member of a text enumeration becomes its plain value."""


class Record(BaseModel):
    """Base of all records: immutable, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class SnapshotRecord(Record):
    """One content of one dataset, seen for the first time."""

    brand: str
    dataset: str
    file: str
    """Path below the brand's folder."""
    hash_md5: str
    """As in the `.dvc` pointer."""
    size_bytes: Count
    rows: Count
    source: str
    """Where the bytes came from, without credentials."""
    recorded_at: UtcTime


class RunRecord(Record):
    """The start of one run of a flow template for one model."""

    run_id: str
    key: Key
    template: str
    flow_run_url: str | None
    """None: run without a server."""
    git_commit: str
    params_digest: str
    actor: str
    started_at: UtcTime
    kind: RunKind = "full"
    asked: Document | None = None
    """What the caller asked for beside what the brand declares: `estimator`, `params`, `sample`. None: nothing, or an older release."""
    code_digest: str | None = None
    """SHA-256 of the brand's code; None, like the next two, for a run of a release that did not keep it."""
    lock_hash: str | None = None
    git_dirty: Flag | None = None


class RunResult(Record):
    """What a run measured, whether or not it registered a version."""

    run_id: str
    key: Key
    number: Count | None
    """Version that it registered or, if nothing had changed, found; None if it registered none."""
    metric: str
    score: FiniteFloat
    """On the hold-out, in the metric's unit; the same for the other scores."""
    score_low: FiniteFloat | None
    score_high: FiniteFloat | None
    baseline_score: FiniteFloat
    production_score: FiniteFloat | None
    gates_passed: Flag
    snapshot_hash: str
    snapshot_dataset: str
    rows_train: Count
    rows_holdout: Count
    candidate_name: str
    estimator: str
    """Class name of the fitted estimator."""
    trials: Count
    """Sets of parameters that the search tried; 0 if there was nothing to choose."""
    learning_seconds: FiniteFloat
    holdout_digest: str | None
    """Names the rows that were held out: runs with the same one can be compared row by row. None: an older release."""
    details_digest: str | None
    """Names the file below the home with trials and hold-out predictions; None if nothing was trained."""
    recorded_at: UtcTime
    gates: list[Document]
    params: Document
    slices: list[Document]


class Run(Record):
    """A run and how it ended."""

    record: RunRecord
    outcome: RunOutcome | None
    """None: still running, or its process died and nothing has said so yet."""
    detail: str | None
    ended_at: UtcTime | None


class VersionRecord(Record):
    """The lineage of one version: all that an audit or a replay needs. Every field is required."""

    key: Key
    kind: Literal["candidate", "baseline"]
    fingerprint: str
    """Digest of all inputs of the training (data, code, lock, params): equal means nothing to train."""
    artifact_digest: str
    runtime: Text
    """An `artifacts.Runtime`: compiled, python or constant."""
    task: Task
    target: str
    metric: str
    score: FiniteFloat
    """On the hold-out, in the metric's unit; the same for the other scores."""
    score_low: FiniteFloat
    score_high: FiniteFloat
    baseline_score: FiniteFloat
    production_score: FiniteFloat | None
    """Of the version in production on the same hold-out; None if there was none."""
    gates: list[Document]
    """One per gate: `name`, `passed`, `detail`. May be empty for a baseline only."""
    gates_passed: Flag
    snapshot_hash: str
    snapshot_dataset: str
    rows_train: Count
    rows_holdout: Count
    git_commit: str
    git_dirty: Flag
    lock_hash: str
    code_digest: str
    template_version: str
    estimator: str
    """Class name of the fitted estimator."""
    candidate_name: str
    """Which of the brand's listed estimators won."""
    params: Document
    seed: Count
    slices: list[Document]
    feature_statistics: Document
    owner: str
    run_id: str
    flow_run_url: str
    """`local` if run without a server."""
    trained_seconds: FiniteFloat
    created_at: UtcTime

    @classmethod
    def from_document(cls, document: Mapping[str, object]) -> Self:
        """Build a record from loose values, naming every field that is missing or empty.

        Raises:
            IncompleteRecordError: If fields are missing, None or empty.
            LedgerError: If a field is of the wrong type or not known.
        """
        if missing := missing_fields(document):
            raise IncompleteRecordError(document.get("key") or "version", missing)
        try:
            return cls.model_validate(dict(document))
        except ValidationError as error:
            # Only places and messages: pydantic's own text repeats the values it was given.
            problems = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors(include_input=False)]
            raise LedgerError(f"{document['key']}: not registered, its record is not valid: {join_bounded(problems)}") from None


def missing_fields(document: Mapping[str, object]) -> list[str]:
    """Names of the fields of a `VersionRecord` that a document lacks or leaves empty, in the record's order."""
    may_be_empty = _MAY_BE_EMPTY | ({"gates"} if document.get("kind") == "baseline" else set())
    return [name for name in VersionRecord.model_fields if not _is_given(name, document, may_be_empty)]


def _is_given(name: str, document: Mapping[str, object], may_be_empty: frozenset[str]) -> bool:
    if name not in document or (value := document[name]) is None:
        return name in document and name in _OPTIONAL
    if isinstance(value, str):
        return bool(value.strip())
    return bool(value) or not isinstance(value, list | tuple | dict) or name in may_be_empty


class Version(Record):
    """A registered version."""

    record: VersionRecord
    number: int
    stage: Stage
    stage_seq: int
    """`seq` of the event that brought it there."""
    share: float | None
    """Of the requests, if it is a canary; None for other stages, and for a canary of a release that knew no shares."""

    @property
    def key(self) -> VersionKey:
        """The version's key, `autoplein/price/v7`."""
        return self.record.key.version(self.number)

    def trial_since(self, production: "Version") -> int:
        """The `seq` of the event with which its trial beside a version in production began: the later entry of the two."""
        return max(self.stage_seq, production.stage_seq)


class StageChange(Record):
    """A wish to move a version to another stage."""

    version: VersionKey
    to: Stage
    actor: str
    reason: str
    automatic: bool = False
    """Whether a flow decided it, and not a person."""
    force: bool = False
    """Promote although the gates failed; recorded as `forced`."""
    share: FiniteFloat | None = None
    """Of the requests that a canary answers, above 0 and below 1. None: `stages.DEFAULT_SHARE` for a canary."""
    at: UtcTime | None = None
    """When it happens, for a caller with a clock of its own. None: now."""


class StageEvent(Record):
    """A stage change that happened."""

    seq: int
    """Place in the one order of all stage events, from 1, without gaps; equal to the order of commits."""
    version: VersionKey
    from_stage: Stage | None
    """None: the version was registered."""
    to: Stage
    cause: Cause
    actor: str
    reason: str
    automatic: bool
    forced: bool
    """Whether it went to production although its gates had failed."""
    at: UtcTime
    share: float | None = None
    """Of the requests that a canary answers from here on; None for other stages."""


class Approval(Record):
    """A person's agreement, and what came of it."""

    entry: "Entry"
    """As recorded."""
    missing: int
    """People who still have to agree."""
    event: StageEvent | None
    """The stage change, if nobody was missing any more."""


class OnTrial(Record):
    """A version in shadow or canary, beside a model's version in production."""

    version: int
    stage: Stage
    share: float | None
    """Of the requests, for a canary."""


class StatusRow(Record):
    """One model at a glance: its production version, or else its newest."""

    brand: str
    model: str
    version: int
    stage: Stage
    task: Task
    metric: str
    score: float
    baseline_score: float
    runtime: str
    created_at: UtcTime
    promoted_at: UtcTime | None
    """When it entered production; None if it is not there."""
    actor: str
    """Who made the version's latest stage change."""
    on_trial: tuple[OnTrial, ...] = ()
    """Other versions in canary and shadow, in the order in which they came there."""
    checks: str | None = None
    """The worst of the newest states of its monitors' checks: red, unknown, green, not_applicable. None: none ran of late."""
    red_checks: tuple[str, ...] = ()
    """Names of the checks that are red, in alphabetical order."""

    @property
    def key(self) -> VersionKey:
        """The version's key."""
        return VersionKey(self.brand, self.model, self.version)


class DeploymentRecord(Record):
    """A flow deployment that was created, changed or removed on the server."""

    name: str
    spec_hash: str
    action: str
    at: UtcTime
    actor: str


class KeyRecord(Record):
    """An API key, without the key: only a hash of its secret is known."""

    key_id: str
    brand: str
    hash: str = Field(repr=False)
    """SHA-256 of the secret, hexadecimal."""
    scopes: tuple[str, ...]
    created_at: UtcTime
    expires_at: UtcTime | None
    """None: until revoked."""
    actor: str
    revoked_at: UtcTime | None = None
    """None: not revoked. Set by the ledger."""


class KeyEvent(Record):
    """A key was added or revoked."""

    seq: int
    key_id: str
    brand: str
    action: Literal["added", "revoked"]
    actor: str
    reason: str
    at: UtcTime


class FallbackRecord(Record):
    """Serving answered with something else than the version in production."""

    key: Key
    number: int | None
    """The version that could not answer; None if there was none."""
    reason: str
    at: UtcTime


class EntryKind(StrEnum):
    """What an entry is about. Not the same axis as its state, which each kind has words of its own for."""

    CHECK = "check"
    """A monitor looked at a model: what it found, or that it could not say."""
    DECISION = "decision"
    """Whether a model is trained again, and why or why not."""
    APPROVAL = "approval"
    """A person agrees that a version may go to a stage."""
    ALERT = "alert"
    """Somebody was told, or was not, and why not."""
    ERASURE = "erasure"
    """A person's data were looked for or removed."""
    MARK = "mark"
    """A lasting remark on a version, such as that it learned from data erased since."""
    DRILL = "drill"
    """A rollback was practised."""
    COST = "cost"
    """What something used: CPU seconds, memory, storage, rows."""
    INFRA = "infra"
    """Infrastructure was planned, applied, had drifted, or was destroyed."""
    FAREWELL = "farewell"
    """A brand left."""
    EVIDENCE = "evidence"
    """Something was tried and how it went is kept: a brand's tests, a training repeated, importance of fields, a test done by hand."""


class Entry(Record):
    """One thing that happened after a deployment."""

    kind: EntryKind
    brand: str
    model: str = ""
    """Empty: about the brand as a whole."""
    number: int | None = None
    """The version's number; None: about no version."""
    name: str
    """What of its kind, such as the check's name. The newest entry of a kind, brand, model and name is what holds now."""
    state: str
    """How it turned out, in the kind's own words."""
    value: float | None = None
    """The number that decided, in the unit that `facts` says; None: there is none."""
    detail: str
    """One sentence for people. No row values, no secrets."""
    facts: Document = {}
    actor: str
    run_id: str | None = None
    at: UtcTime
    seq: int = 0
    """Place in the ledger; 0 before it is recorded."""
