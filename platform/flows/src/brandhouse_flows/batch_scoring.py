"""Score a file: stream its rows through one version and write them with the answers, going on where a crash ended it.

Python versions bring the brand's code into this process, which holds the rows of that brand only: a command or a run of its
own, never the gateway. What is scored, with which version and how it ended is a run in the ledger; rows and answers are in
the output only, never in the prediction log.
"""

import hashlib
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from brandhouse_flows.batch_answers import Answers, RowAnswerer, RowsInfluenceError
from brandhouse_flows.batch_input import RowSource, check_ending, open_source
from brandhouse_flows.batch_journal import Job, OtherScoringError, Part, WorkFolder, check_alike, held_work_folder, sync
from brandhouse_flows.batch_output import OutputShape, put_together, write_part
from brandhouse_flows.batch_wishes import Progress, Report, Scored, Wish
from brandhouse_flows.planning import read_git_state, read_lock_hash
from brandhouse_flows.row_independence import what_influences
from brandhouse_flows.run_usage import metered
from brandhouse_shared.answering import load_predictor
from brandhouse_shared.artifacts import ArtifactStore, Manifest, Runtime, read_manifest
from brandhouse_shared.brands import Brand, unload_brand
from brandhouse_shared.errors import BrandhouseError, ContractViolationError, DatasetError, UnknownVersionError, join_bounded
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import RunOutcome, RunRecord, Version
from brandhouse_shared.names import ModelKey
from brandhouse_shared.settings import Settings

TEMPLATE = "score/1"
CHUNK_ROWS = 20_000
SLOW_CHUNK_ROWS = 500
"""Of a python version whose rows are asked one by one: some milliseconds each, and a crash costs at most a chunk."""


def score_file(
    settings: Settings, brand: Brand, wish: Wish, ledger: Ledger, store: ArtifactStore, report: Report, run_id: str, run_url: str
) -> Scored:
    """Score a file, or go on with it.

    Args:
        settings: Of this process.
        brand: Whose model it is.
        wish: What is asked for.
        ledger: Where version and run are recorded.
        store: Where artifacts are.
        report: Told after each chunk.
        run_id: Names the run in the ledger, unless an earlier attempt has a name already.
        run_url: Of the flow run; "local" without a server.

    Raises:
        DatasetError: If input or output cannot be used.
        ContractViolationError: If the input lacks a column, or with `strict` at the first row that contradicts the schema.
        OtherScoringError: If something else was begun under the output's name, or the output exists.
        UnknownVersionError: If there is no such version.
        DiskFullError: If there is no space; what is done stays done.
    """
    started = time.monotonic()
    for path in (wish.input, wish.output):
        check_place(settings, brand.name, path)
    check_ending(wish.output)
    if not wish.output.parent.is_dir():
        raise DatasetError(f"{wish.output}: its folder does not exist")
    version = _find_version(ledger, wish)
    source = open_source(wish.input, brand.config.datasets[brand.model(wish.key.model).dataset], wish.separator, wish.encoding)
    folder = store.find(wish.key, version.record.artifact_digest)
    scoring = _Scoring(wish, version, source, folder, read_manifest(folder), report)
    scoring.check()
    with held_work_folder(wish.output) as work:
        abandoned = work.job
        job = scoring.settle(work, run_id)
        if abandoned is not None and abandoned.run_id != job.run_id:
            _end_abandoned(ledger, wish.key, abandoned.run_id)
        ledger.start_run(_start_of(settings, scoring, job, run_url))
        try:
            with metered(ledger, wish.key, "score", job.run_id, settings.actor):
                scored = scoring.carry_out(work, started)
        except BaseException as error:  # of any kind: a run that ended is recorded, and fails all the same
            outcome: RunOutcome = "cancelled" if isinstance(error, KeyboardInterrupt) else "failed"
            ledger.end_run(job.run_id, outcome, f"{type(error).__name__}: {str(error)[:500]}")
            raise
        ledger.end_run(job.run_id, "scored", scored.detail)
        work.remove()
    return scored


def check_place(settings: Settings, brand: str, path: Path) -> None:
    """Refuse files in another brand's folder, or among the platform's own state, which holds data of all brands.

    Raises:
        DatasetError: If `path` lies there.
    """
    place, brands_dir = path.resolve(), settings.brands_dir.resolve()
    if place.is_relative_to(brands_dir) and not place.is_relative_to(brands_dir / brand):
        raise DatasetError(f"{brand}: {path} lies in another brand's folder; choose a place in brands/{brand} or outside brands/")
    if place.is_relative_to(settings.home.resolve()):
        raise DatasetError(f"{brand}: {path} lies in the platform's own state, {settings.home}; choose a place outside it")


def _find_version(ledger: Ledger, wish: Wish) -> Version:
    if wish.number is not None:
        return ledger.find_version(wish.key.version(wish.number))
    version = ledger.production(wish.key)
    if version is None:
        raise UnknownVersionError(wish.key, "in production; promote one, or name one with --version", [])
    return version


@dataclass
class _Scoring:
    """One wish, with everything that was looked up for it."""

    wish: Wish
    version: Version
    source: RowSource
    folder: Path
    manifest: Manifest
    report: Report
    influence: str = field(init=False)
    shape: OutputShape = field(init=False)

    def __post_init__(self) -> None:
        self.influence = what_influences(self.folder, self.manifest)
        kept = self.source.columns if self.wish.keep is None else self.wish.keep
        self.shape = OutputShape(kept, self.manifest, f"v{self.version.number}", _written_as(self.source))

    def check(self) -> None:
        """Refuse what cannot end well, before any work."""
        subject, columns = f"{self.wish.key} {self.source.path.name}", self.source.columns
        unknown = [name for name in self.shape.kept if name not in columns]
        if unknown:
            raise DatasetError(f"{subject}: --keep names no column: {join_bounded(unknown)}; columns: {join_bounded(columns, 40)}")
        self.shape.check(subject)
        import pandas as pd

        self.manifest.contract.require_columns(pd.DataFrame(columns=list(columns)), subject)

    def settle(self, work: WorkFolder, run_id: str) -> Job:
        """Say what is done: go on with what was begun, or begin."""
        wanted = self._job(run_id)
        if work.job is not None and not self.wish.restart:
            check_alike(work.job, wanted, self.wish.output)
            return work.job
        if self.wish.output.exists() and not self.wish.overwrite:
            if work.job is None:
                work.remove()
            raise OtherScoringError(f"{self.wish.output} exists; choose another name, or replace it with --overwrite")
        work.begin(wanted)
        return wanted

    def _job(self, run_id: str) -> Job:
        return Job(
            run_id=run_id,
            version=str(self.version.key),
            artifact_digest=self.version.record.artifact_digest,
            input_sha256=_digest(self.source.path),
            input_bytes=self.source.path.stat().st_size,
            columns=self.shape.kept,
            reading=(self.source.dataset.separator, self.source.dataset.encoding),
            alone=bool(self.influence),
        )

    def carry_out(self, work: WorkFolder, started: float) -> Scored:
        """Score the rows that are not done, and put the output in place."""
        resumed = work.next_row
        job = _job_of(work)
        if not job.output_sha256:
            before = _identity(self.source.path)
            self._score_rows(work)
            if _identity(self.source.path) != before:
                raise DatasetError(f"{self.source.path}: it was changed while it was being scored; score it again with --restart")
            job = self._finish(work)
        whole = self._whole(work)
        if whole.exists():
            whole.replace(self.wish.output)
            sync(self.wish.output.parent)
        elif not self.wish.output.exists():
            raise DatasetError(f"{self.wish.output}: it was finished and is gone; score again with --restart")
        return Scored(
            run_id=job.run_id,
            version=job.version,
            output=self.wish.output,
            rows=work.next_row,
            refused=sum(part.refused for part in work.parts),
            failed=sum(part.failed for part in work.parts),
            resumed_rows=resumed,
            seconds=time.monotonic() - started,
            alone=(self.influence or "rows that influence each other") if job.alone else "",
            input_sha256=job.input_sha256,
            output_sha256=job.output_sha256,
        )

    def _score_rows(self, work: WorkFolder) -> None:
        try:
            predictor = load_predictor(self.folder, self.manifest)
            try:
                self._stream(work, predictor)
            except RowsInfluenceError:  # what the version is made of did not show it; no number of a block can be trusted
                work.begin(replace(_job_of(work), alone=True))
                self._stream(work, predictor)
        finally:
            if self.manifest.runtime is Runtime.PYTHON:
                unload_brand(self.wish.key.brand)

    def _stream(self, work: WorkFolder, predictor: Any) -> None:
        alone = _job_of(work).alone
        answerer = RowAnswerer(predictor, self.manifest, self.source.dataset, alone=alone)
        slow = alone and self.manifest.runtime is Runtime.PYTHON
        begun, first_row = time.monotonic(), work.next_row
        for chunk in self.source.chunks(self.wish.chunk_rows or (SLOW_CHUNK_ROWS if slow else CHUNK_ROWS), first_row):
            answers = answerer.answer(chunk)
            if self.wish.strict:
                self._require_all(answers, work.next_row)
            number = len(work.parts) + 1
            path = work.part_path(number, self._ending)
            size = write_part(path, self.shape, chunk, answers)
            work.commit(Part(number, work.next_row, chunk.rows, answers.refused, answers.failed, size), path)
            here = work.next_row - first_row
            self.report(Progress(work.next_row, here, time.monotonic() - begun, chunk.share_read))

    def _require_all(self, answers: Answers, first: int) -> None:
        if answers.refused or answers.failed:
            index, reason = next((index, reason) for index, reason in enumerate(answers.errors) if reason is not None)
            raise ContractViolationError(f"{self.wish.key} {self.source.path.name}", [f"row {first + index + 1}: {reason}"])

    def _finish(self, work: WorkFolder) -> Job:
        parts = [work.part_path(part.number, self._ending) for part in work.parts]
        for part, path in zip(work.parts, parts, strict=True):
            if not path.exists() or path.stat().st_size != part.size_bytes:
                raise DatasetError(f"{path}: a finished part is missing or altered; score again with --restart")
        digest = put_together(self._whole(work), self.shape, self.source, parts)
        work.write_job(replace(_job_of(work), output_sha256=digest))
        return _job_of(work)

    def _whole(self, work: WorkFolder) -> Path:
        return work.path / f"whole{self._ending}"

    @property
    def _ending(self) -> str:
        return "".join(self.wish.output.suffixes[-2:]) if self.wish.output.suffix in (".gz", ".bz2") else self.wish.output.suffix


def _job_of(work: WorkFolder) -> Job:
    if work.job is None:
        raise BrandhouseError(f"{work.path}: nothing was begun here")
    return work.job


def _written_as(source: RowSource) -> Any:
    """A text encoding that begins every piece with a mark cannot be put together from parts."""
    marked = source.dataset.encoding.lower().replace("_", "-").startswith(("utf-16", "utf-32"))
    return source.dataset.model_copy(update={"encoding": "utf-8"}) if marked else source.dataset


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _identity(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _end_abandoned(ledger: Ledger, key: ModelKey, run_id: str) -> None:
    if any(run.record.run_id == run_id and run.outcome is None for run in ledger.runs(key, template="score")):
        ledger.end_run(run_id, "crashed", "its process ended without saying how; its output was begun anew")


def _start_of(settings: Settings, scoring: _Scoring, job: Job, run_url: str) -> RunRecord:
    git = read_git_state(settings.root)
    record = scoring.version.record
    asked = {
        "version": str(scoring.version.key),
        "input": scoring.source.path.name,
        "input_sha256": job.input_sha256,
        "input_bytes": job.input_bytes,
        "output": scoring.wish.output.name,
        "columns": list(job.columns),
    }
    return RunRecord(
        run_id=job.run_id,
        key=scoring.wish.key,
        template=TEMPLATE,
        flow_run_url=run_url or None,
        git_commit=git.commit,
        params_digest=record.artifact_digest,
        actor=settings.actor,
        started_at=datetime.now(UTC),
        asked=asked,
        code_digest=record.code_digest,
        lock_hash=read_lock_hash(settings.lock_file) if settings.lock_file.exists() else None,
        git_dirty=git.dirty,
    )
