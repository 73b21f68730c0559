"""The training template as plain Python: one object, one way through, for every model of every brand.

snapshot -> contract, split, features -> choice and fit (with baselines) -> evaluation -> package, gates, card -> store ->
register -> promote. Each step is a function of the results before it; `run_training` is read top-down. How a step is
carried out (as a Prefect task, or just called) is the caller's `Step`.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from brandhouse_flows.content import disk_full_named
from brandhouse_flows.evaluation import Evaluation, evaluate, fit_models
from brandhouse_flows.gates import GateResult, gates_passed
from brandhouse_flows.locks import training_lock
from brandhouse_flows.material import prepare_material, take_snapshot
from brandhouse_flows.planning import TEMPLATE_VERSION, Plan
from brandhouse_flows.registration import build_record, deploy_model_zero, package_and_judge, store_and_register
from brandhouse_flows.resuming import find_finished
from brandhouse_flows.steps import Step
from brandhouse_shared.artifacts import CARD_HTML_FILE, ArtifactStore
from brandhouse_shared.brands import load_brand_module
from brandhouse_shared.config import Risk
from brandhouse_shared.errors import BrandhouseError
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import RunOutcome, RunRecord, Version
from brandhouse_shared.ledger.stages import Stage
from brandhouse_shared.names import VersionKey


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


def train(plan: Plan, ledger: Ledger, store: ArtifactStore, step: Step, *, force: bool = False) -> Outcome:
    """Run a training under the model's lock and record its start and its end, however it ends.

    A run of the model whose process was killed is recorded as crashed first: that its lock is free proves it.

    Raises:
        AlreadyRunningError: If the same model is being trained; nothing is recorded.
        DiskFullError: If there is no space; no version is registered then.
        BrandhouseError: If a step fails; no version is registered then.
    """
    with training_lock(plan.settings.home, plan.key, plan.run_id) as abandoned:
        _end_abandoned(plan, ledger, abandoned)
        ledger.start_run(_start_of(plan))
        try:
            # Libraries that write (ONNX, skops, BentoML, temporary folders) say it in the operating system's words.
            with disk_full_named(plan.settings.home):
                outcome = run_training(plan, ledger, store, step, force=force)
        except BaseException as error:
            _record_failure(plan, ledger, error)
            raise
        ledger.end_run(plan.run_id, outcome.kind, outcome.detail)
        return outcome


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
    snapshot = step("snapshot", take_snapshot, plan.settings, plan.brand, plan.model.dataset, ledger)
    fingerprint = plan.fingerprint(snapshot.hash_md5)
    known = None if force else find_finished(plan, ledger, store, fingerprint)
    if known is not None:
        return _unchanged(known, time.monotonic() - started)
    code = load_brand_module(plan.brand, plan.model.entrypoint)
    material = step("contract, split, features", prepare_material, plan, snapshot, code)
    fitted = step("choose and fit", fit_models, plan, material, code)
    production = ledger.production(plan.key)
    evaluation = step("evaluate", evaluate, plan, material, fitted, production, store)
    with TemporaryDirectory(prefix="brandhouse-package-") as folder:
        judged = step("package, gates, card", package_and_judge, Path(folder), plan, snapshot, material, fitted, evaluation, code)
        record = build_record(plan, snapshot, material, fitted, evaluation, judged)
        version, stage = step("store, register, promote", store_and_register, plan, ledger, store, Path(folder), record)
    passed = gates_passed(judged.gates)
    zero = None
    if not passed and production is None:
        zero = step("model zero", deploy_model_zero, plan, ledger, store, snapshot, material, fitted, evaluation, code)
    return Outcome(
        kind="registered" if passed else "gates_failed",
        version=version,
        stage=stage,
        gates=judged.gates,
        slices=[item.as_document() for item in evaluation.slices],
        model_zero=zero,
        card=judged.card.markdown,
        card_path=store.find(plan.key, ledger.find_version(version).record.artifact_digest) / CARD_HTML_FILE,
        detail=_say(plan, evaluation, version, stage, judged.gates, zero),
        seconds=time.monotonic() - started,
        learning_seconds=fitted.seconds,
    )


def _unchanged(known: Version, seconds: float) -> Outcome:
    detail = f"unchanged: data, code, lock and params are those of {known.key} ({known.stage})"
    return Outcome("unchanged", known.key, known.stage, [], [], None, "", None, detail, seconds, 0.0)


def _say(plan: Plan, evaluation: Evaluation, version: VersionKey, stage: Stage, gates: list[GateResult], zero: VersionKey | None) -> str:
    score = f"{evaluation.report.metric} {evaluation.report.score:.4g}"
    failed = [gate.name for gate in gates if gate.applicable and gate.passed is not True]
    if failed:
        instead = f"; {zero} (baseline) serves until one passes" if zero else ""
        return f"{version}: {score}; gates not passed: {', '.join(failed)}{instead}"
    if stage is Stage.PRODUCTION:
        return f"{version}: {score}; all gates passed, in production"
    why = "a high-risk brand's version waits for a person" if plan.brand.config.risk is Risk.HIGH else "waits for promotion"
    return f"{version}: {score}; all gates passed; {why}: brandhouse promote {plan.key} --reason ..."
