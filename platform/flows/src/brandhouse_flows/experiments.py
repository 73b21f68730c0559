"""A model's runs as people look for them: what was tried, what it measured, and which version came of it.

From the ledger alone; a listing must not wait for a learning library to be imported.
"""

from dataclasses import dataclass

from brandhouse_shared.errors import BrandhouseError, join_bounded
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import Run, RunResult, Version
from brandhouse_shared.names import ModelKey

MADE_A_VERSION = frozenset({"registered", "gates_failed"})
SHORT_ID = 8
MIN_ID = 4


class UnknownRunError(BrandhouseError):
    """No run of the model, or more than one, is called so."""


@dataclass(frozen=True)
class Experiment:
    """One run.

    Attributes:
        run: How it began and ended.
        result: What it measured; None if it ended before it could, or was given up.
        version: The version that it registered, or found unchanged; None if there is none.
    """

    run: Run
    result: RunResult | None
    version: Version | None

    @property
    def run_id(self) -> str:
        """Names the run."""
        return self.run.record.run_id

    @property
    def label(self) -> str:
        """`v3` for the run that made version 3, else the beginning of its id."""
        if self.version is not None and (self.run.outcome in MADE_A_VERSION or self.version.record.kind == "baseline"):
            return f"v{self.version.number}"
        return self.run_id[:SHORT_ID]

    @property
    def seconds(self) -> float | None:
        """From start to end; None if it has not ended."""
        return None if self.run.ended_at is None else (self.run.ended_at - self.run.record.started_at).total_seconds()

    @property
    def git_dirty(self) -> bool | None:
        """Whether the work tree differed from the commit; None if nobody kept it."""
        return self._made.record.git_dirty if self.run.record.git_dirty is None and self._made else self.run.record.git_dirty

    @property
    def code_digest(self) -> str | None:
        """Of the brand's code."""
        return self.run.record.code_digest or (self._made.record.code_digest if self._made else None)

    @property
    def lock_hash(self) -> str | None:
        """Of the lock of all packages."""
        return self.run.record.lock_hash or (self._made.record.lock_hash if self._made else None)

    @property
    def _made(self) -> Version | None:
        """The version whose record tells what a run of an older release did not."""
        return self.version if self.version is not None and self.version.record.run_id == self.run_id else None


def list_experiments(ledger: Ledger, key: ModelKey, limit: int = 1000) -> list[Experiment]:
    """A model's trainings, newest first."""
    results, versions = ledger.results(key, limit=2 * limit), ledger.versions(key)
    numbered = {version.number: version for version in versions}
    # One run may register two versions, a candidate and the baseline that serves instead: the run measured the candidate.
    made = {version.record.run_id: version for version in versions if version.record.kind == "candidate"}
    return [_experiment(run, results.get(run.record.run_id), numbered, made) for run in ledger.runs(key, limit=limit, template="train")]


def _experiment(run: Run, result: RunResult | None, numbered: dict[int, Version], made: dict[str, Version]) -> Experiment:
    if result is not None:
        return Experiment(run, result, numbered.get(result.number) if result.number is not None else None)
    version = made.get(run.record.run_id)
    return Experiment(run, result_of_version(version) if version else None, version)


def find_experiment(ledger: Ledger, key: ModelKey, name: str) -> Experiment:
    """Return the run that is meant by `v3`, `production`, `newest`, or the beginning of its id.

    Raises:
        UnknownRunError: If there is none, or more than one.
    """
    experiments = list_experiments(ledger, key)
    if name == "newest":
        found = [one for one in experiments if one.result is not None][:1]
    elif name == "production":
        version = ledger.production(key)
        found = [_of_version(experiments, version)] if version else []
    elif name.startswith("v") and name[1:].isdigit():
        found = [_of_version(experiments, version) for version in ledger.versions(key) if version.number == int(name[1:])]
    else:
        found = [one for one in experiments if len(name) >= MIN_ID and one.run_id.startswith(name)]
    if len(found) != 1:
        raise _unknown(key, name, experiments, len(found))
    return found[0]


def _of_version(experiments: list[Experiment], version: Version) -> Experiment:
    """The run that made a version; for a baseline what the baseline measured, not the candidate that failed."""
    for one in experiments:
        if one.run_id == version.record.run_id:
            is_own = one.result is not None and one.result.number == version.number and version.record.kind == "candidate"
            return one if is_own else Experiment(one.run, result_of_version(version), version)
    raise UnknownRunError(
        f"{version.key}: its run {version.record.run_id[:SHORT_ID]} is not among the newest {len(experiments)} of the ledger"
    )


def _unknown(key: ModelKey, name: str, experiments: list[Experiment], count: int) -> UnknownRunError:
    known = join_bounded(one.label for one in experiments)
    if count > 1:
        return UnknownRunError(f"{count} runs of {key} begin with {name!r}; give more of the id: `brandhouse runs {key} --json` lists them")
    if name == "production":
        return UnknownRunError(f"{key} has no version in production; its runs: {known}")
    return UnknownRunError(
        f"{key} has no run {name[:60]!r}; allowed: v1, production, newest, or {MIN_ID} letters of an id; its runs: {known}"
    )


def result_of_version(version: Version) -> RunResult:
    """What the run of a registered version measured, for a run of a release that kept no results."""
    record = version.record
    same = {name: getattr(record, name) for name in RunResult.model_fields if name in type(record).model_fields}
    own = {
        "number": version.number,
        "trials": 0,
        "learning_seconds": record.trained_seconds,
        "holdout_digest": None,
        "details_digest": None,
        "recorded_at": record.created_at,
    }
    return RunResult.model_validate(same | own)
