"""The training template as plain Python: one object, one way through, for every model of every brand.

snapshot -> contract, split, features -> choice and fit (with baselines) -> evaluation -> package, gates, card -> store ->
register -> promote. Each step is a function of the results before it; `run_training` is read top-down. How a step is
carried out (as a Prefect task, or just called) is the caller's `Step`.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from brandhouse_flows.content import disk_full_named
from brandhouse_flows.data_project import Snapshot
from brandhouse_flows.evaluation import Evaluation, evaluate, fit_models
from brandhouse_flows.gates import GateResult, gates_passed
from brandhouse_flows.importance_records import record_importance
from brandhouse_flows.locks import training_lock
from brandhouse_flows.material import prepare_material
from brandhouse_flows.planning import TEMPLATE_VERSION, Plan
from brandhouse_flows.registration import build_record, deploy_model_zero, package_and_judge, store_and_register
from brandhouse_flows.results import Learned, build_result, repeat_result
from brandhouse_flows.resuming import find_finished
from brandhouse_flows.run_usage import metered
from brandhouse_flows.scores import ScoreReport
from brandhouse_flows.search import Choice
from brandhouse_flows.snapshot_records import take_snapshot
from brandhouse_flows.steps import Step
from brandhouse_flows.wishes import check_params
from brandhouse_shared.artifacts import CARD_HTML_FILE, ArtifactStore
from brandhouse_shared.brands import Brand, load_brand_module
from brandhouse_shared.config import Risk
from brandhouse_shared.errors import BrandhouseError
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import RunOutcome, RunRecord, Version
from brandhouse_shared.ledger.stages import Stage
from brandhouse_shared.names import VersionKey
from brandhouse_shared.settings import Settings


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a training ended.

    Attributes:
        kind: registered, gates_failed (registered, but may not serve) or unchanged.
        version: The version that this training made, or that an earlier one made from the same inputs.
        stage: Its stage now.
        gates: Results of the gates; empty if unchanged.
        slices: Slices as plain values; empty if unchanged.
        model_zero: The baseline that was put into production because nothing else may serve yet.
        card: Markdown of the card; empty if unchanged.
        card_path: The card as HTML in the artifact store; None if unchanged.
        detail: One sentence for people.
        seconds: Of all steps.
        learning_seconds: Of search and fits alone.
    """

    kind: RunOutcome
    version: VersionKey
    stage: Stage
    gates: list[GateResult]
    slices: list[dict[str, Any]]
    model_zero: VersionKey | None
    card: str
    card_path: Path | None
    detail: str
    seconds: float
    learning_seconds: float


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What a run found that registers nothing.

    Attributes:
        gates: Results of the gates, production compared on the same hold-out.
        passed: Whether a version of this run could serve.
        report: The score with its interval, and its gains over the baselines and `production`.
        production: The version it was compared with; None if there is none.
        choice: The chosen candidate, its params and all trials.
        estimator: Fitted on the training rows.
        slices: Slices as plain values.
        snapshot_hash: Of the data.
        rows_train: Rows learned from.
        rows_holdout: Rows judged on.
        card: The card as Markdown.
        detail: One sentence for people.
        seconds: Of all steps.
        learning_seconds: Of search and fits alone.
    """

    gates: list[GateResult]
    passed: bool
    report: ScoreReport
    production: VersionKey | None
    choice: Choice
    estimator: Any
    slices: list[dict[str, Any]]
    snapshot_hash: str
    rows_train: int
    rows_holdout: int
    card: str
    detail: str
    seconds: float
    learning_seconds: float


def train(plan: Plan, ledger: Ledger, store: ArtifactStore, step: Step, *, force: bool = False) -> Outcome:
    """Run a training under the model's lock and record its start, its result and its end, however it ends.

    A run of the model whose process was killed is recorded as crashed first: that its lock is free proves it.

    Raises:
        AlreadyRunningError: If the same model is being trained; nothing is recorded.
        DiskFullError: If there is no space; no version is registered then.
        BrandhouseError: If a step fails, or the plan is for a rehearsal; no version is registered then.
    """
    if not plan.wishes.may_register:
        raise BrandhouseError(f"{plan.key}: a {plan.wishes.kind} run registers no version; use `rehearse`")
    with _mirrored(plan, ledger, store), _on_record(plan, ledger) as ending:
        outcome = run_training(plan, ledger, store, step, force=force)
        ending.outcome, ending.detail = outcome.kind, outcome.detail
    return outcome


def rehearse(plan: Plan, ledger: Ledger, store: ArtifactStore, step: Step) -> Rehearsal:
    """Train and judge one model, and register nothing: a dry run, also of code or data that nobody has committed.

    The way is that of `train` up to the gates, always from the beginning, whatever was trained before. The run, its
    params, its score and its trials are on record like those of any run (`kind` dry or sample, outcome `rehearsed`); no
    version, artifact or stage comes of it. It does not wait for a training of the model, nor keep one from starting.

    Args:
        plan: What to train; `plan_training(..., wishes=Wishes(dry=True))` or with more wishes.
        ledger: Where the run is recorded, and the version in production is found.
        store: Where production's artifact is.
        step: How a step is carried out; `brandhouse_flows.steps.call_step` just calls it.

    Raises:
        AlreadyRunningError: If the same model is being rehearsed.
        WishError: If the candidate does not take the params asked for.
        BrandhouseError: If a step fails: data, contract, brand code.
    """
    if plan.wishes.may_register:
        raise BrandhouseError(f"{plan.key}: the plan asks for a version; plan a rehearsal with Wishes(dry=True)")
    started = time.monotonic()
    with _mirrored(plan, ledger, store), _on_record(plan, ledger) as ending:
        with TemporaryDirectory(prefix="brandhouse-package-") as folder:
            learned = learn(plan, ledger, store, step, step("snapshot", take_snapshot, *_dataset(plan), ledger), Path(folder))
        ledger.record_result(build_result(plan, learned, None))
        rehearsal = _rehearsal(plan, learned, time.monotonic() - started)
        ending.outcome, ending.detail = "rehearsed", rehearsal.detail
    return rehearsal


@dataclass(slots=True)
class _Ending:
    """How a run ended, as its body says at its end."""

    outcome: RunOutcome = "failed"
    detail: str = ""


@contextmanager
def _on_record(plan: Plan, ledger: Ledger) -> Iterator[_Ending]:
    """Hold the model's lock and record start and end of a run around its body."""
    with training_lock(plan.settings.home, plan.key, plan.run_id, rehearsal=not plan.wishes.may_register) as abandoned:
        _end_abandoned(plan, ledger, abandoned)
        ledger.start_run(_start_of(plan))
        ending = _Ending()
        try:
            # Libraries that write (ONNX, skops, BentoML, temporary folders) say it in the operating system's words.
            with disk_full_named(plan.settings.home), metered(ledger, plan.key, "train", plan.run_id, plan.settings.actor):
                yield ending
        except BaseException as error:
            _record_failure(plan, ledger, error)
            raise
        ledger.end_run(plan.run_id, ending.outcome, ending.detail)


@contextmanager
def _mirrored(plan: Plan, ledger: Ledger, store: ArtifactStore) -> Iterator[None]:
    """Mirror the run to an MLflow server after its end, if one is set; whoever cancels a run does not wait for that."""
    failure: Exception | None = None
    try:
        yield
    except Exception as error:  # of any kind: a failed run is mirrored like any other, and fails all the same
        failure = error
    if plan.settings.mlflow_url is not None:
        from brandhouse_flows.mlflow_mirror import mirror_after_run

        mirror_after_run(plan.settings, ledger, store, plan.key)
    if failure is not None:
        raise failure


def _start_of(plan: Plan) -> RunRecord:
    return RunRecord(
        run_id=plan.run_id,
        key=plan.key,
        template=TEMPLATE_VERSION,
        flow_run_url=plan.run_url or None,
        git_commit=plan.git.commit,
        params_digest=plan.declaration_digest,
        actor=plan.settings.actor,
        started_at=datetime.now(UTC),
        kind=plan.wishes.kind,
        asked=plan.wishes.as_document(plan.model),
        code_digest=plan.code_digest,
        lock_hash=plan.lock_hash,
        git_dirty=plan.git.dirty,
    )


def _end_abandoned(plan: Plan, ledger: Ledger, run_id: str | None) -> None:
    if run_id is None or run_id == plan.run_id:  # the same run, taken up again
        return
    if any(run.record.run_id == run_id and run.outcome is None for run in ledger.runs(plan.key)):
        ledger.end_run(run_id, "crashed", "its process ended without saying how; noticed by the model's next training")


def _record_failure(plan: Plan, ledger: Ledger, error: BaseException) -> None:
    outcome: RunOutcome = "failed" if isinstance(error, Exception) else "cancelled"
    try:
        ledger.end_run(plan.run_id, outcome, f"{type(error).__name__}: {str(error)[:500]}")
    except BrandhouseError as unrecorded:  # must not hide why the training failed; the next one records it as crashed
        error.add_note(f"the end of run {plan.run_id} could not be recorded: {unrecorded}")


def run_training(plan: Plan, ledger: Ledger, store: ArtifactStore, step: Step, *, force: bool = False) -> Outcome:
    """Train, judge, package and register one model; promote where the brand's risk class lets the template decide.

    Args:
        plan: What to train.
        ledger: Where it is recorded.
        store: Where the artifact is kept.
        step: How a step is carried out.
        force: Train although data, code, lock and params are those of a registered version.
    """
    started = time.monotonic()
    snapshot = step("snapshot", take_snapshot, *_dataset(plan), ledger)
    known = None if force else find_finished(plan, ledger, store, plan.fingerprint(snapshot.hash_md5))
    if known is not None:
        ledger.record_result(repeat_result(plan, known))
        return _unchanged(known, time.monotonic() - started)
    with TemporaryDirectory(prefix="brandhouse-package-") as folder:
        learned = learn(plan, ledger, store, step, snapshot, Path(folder))
        record = build_record(plan, snapshot, learned.material, learned.fitted, learned.evaluation, learned.judged)
        version, stage = step("store, register, promote", store_and_register, plan, ledger, store, Path(folder), record)
    ledger.record_result(build_result(plan, learned, version.number))
    record_importance(ledger, version, learned.evaluation.importance, _count_features(learned), plan.run_id, plan.settings.actor)
    zero = _deploy_zero(plan, ledger, store, step, learned)
    gates = learned.judged.gates
    return Outcome(
        kind="registered" if gates_passed(gates) else "gates_failed",
        version=version,
        stage=stage,
        gates=gates,
        slices=[item.as_document() for item in learned.evaluation.slices],
        model_zero=zero,
        card=learned.judged.card.markdown,
        card_path=store.find(plan.key, ledger.find_version(version).record.artifact_digest) / CARD_HTML_FILE,
        detail=_say(plan, learned.evaluation, version, stage, gates, zero) + _say_quarantined(learned),
        seconds=time.monotonic() - started,
        learning_seconds=learned.fitted.seconds,
    )


def _count_features(learned: Learned) -> int:
    return len(learned.material.holdout_features.columns)


def _dataset(plan: Plan) -> tuple[Settings, Brand, str]:
    return plan.settings, plan.brand, plan.model.dataset


def learn(plan: Plan, ledger: Ledger, store: ArtifactStore, step: Step, snapshot: Snapshot, folder: Path) -> Learned:
    """Go the way from a snapshot to a judged package in `folder`. Nothing is registered."""
    code = load_brand_module(plan.brand, plan.model.entrypoint)
    check_params(code, plan.model, plan.wishes, str(plan.key))
    material = step("contract, split, features", prepare_material, plan, snapshot, code)
    fitted = step("choose and fit", fit_models, plan, material, code)
    production = ledger.production(plan.key)
    evaluation = step("evaluate", evaluate, plan, material, fitted, production, store)
    judged = step("package, gates, card", package_and_judge, folder, plan, snapshot, material, fitted, evaluation, code)
    return Learned(snapshot, code, material, fitted, production, evaluation, judged)


def _deploy_zero(plan: Plan, ledger: Ledger, store: ArtifactStore, step: Step, learned: Learned) -> VersionKey | None:
    if gates_passed(learned.judged.gates) or learned.production is not None:
        return None
    made = (learned.snapshot, learned.material, learned.fitted, learned.evaluation, learned.code)
    return step("model zero", deploy_model_zero, plan, ledger, store, *made)


def _rehearsal(plan: Plan, learned: Learned, seconds: float) -> Rehearsal:
    split = learned.material.split
    return Rehearsal(
        gates=learned.judged.gates,
        passed=gates_passed(learned.judged.gates),
        report=learned.evaluation.report,
        production=learned.production.key if learned.production else None,
        choice=learned.fitted.choice,
        estimator=learned.fitted.estimator,
        slices=[item.as_document() for item in learned.evaluation.slices],
        snapshot_hash=learned.snapshot.hash_md5,
        rows_train=len(split.train),
        rows_holdout=len(split.holdout),
        card=learned.judged.card.markdown,
        detail=_say_rehearsal(plan, learned),
        seconds=seconds,
        learning_seconds=learned.fitted.seconds,
    )


def _say_rehearsal(plan: Plan, learned: Learned) -> str:
    failed = _failed_gates(learned.judged.gates)
    verdict = f"gates not passed: {', '.join(failed)}" if failed else "all gates passed"
    score = f"{learned.evaluation.report.metric} {learned.evaluation.report.score:.4g}"
    part = f"; learned from a part, {len(learned.material.split.train):,} rows" if plan.wishes.sample is not None else ""
    return f"{plan.key}: {score}; {verdict}{part}; a {plan.wishes.kind} run, nothing was registered" + _say_quarantined(learned)


def _say_quarantined(learned: Learned) -> str:
    count = learned.material.quarantined
    return f"; {count:,} rows of the snapshot are in quarantine" if count else ""


def _failed_gates(gates: list[GateResult]) -> list[str]:
    return [gate.name for gate in gates if gate.applicable and gate.passed is not True]


def _unchanged(known: Version, seconds: float) -> Outcome:
    detail = f"unchanged: data, code, lock and params are those of {known.key} ({known.stage})"
    return Outcome("unchanged", known.key, known.stage, [], [], None, "", None, detail, seconds, 0.0)


def _say(plan: Plan, evaluation: Evaluation, version: VersionKey, stage: Stage, gates: list[GateResult], zero: VersionKey | None) -> str:
    score = f"{evaluation.report.metric} {evaluation.report.score:.4g}"
    failed = _failed_gates(gates)
    if failed:
        instead = f"; {zero} (baseline) serves until one passes" if zero else ""
        return f"{version}: {score}; gates not passed: {', '.join(failed)}{instead}"
    if stage is Stage.PRODUCTION:
        return f"{version}: {score}; all gates passed, in production"
    if stage is not Stage.CANDIDATE:
        return f"{version}: {score}; all gates passed, in {stage}; what it shows there: brandhouse trial {plan.key}"
    is_high = plan.brand.config.risk is Risk.HIGH
    why, how = ("a high-risk brand's version waits for two people", " --approve") if is_high else ("waits for promotion", "")
    return f"{version}: {score}; all gates passed; {why}: brandhouse promote {plan.key} --version v{version.number}{how} --reason ..."
