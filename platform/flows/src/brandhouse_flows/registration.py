"""From a fitted model to a registered version: package, gates, card, record, promotion, and model zero."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from brandhouse_flows.baselines import DUMMY
from brandhouse_flows.card import Card, CardData, CodeFacts, DataFacts, render_card
from brandhouse_flows.data_project import Snapshot
from brandhouse_flows.environment import read_environment
from brandhouse_flows.evaluation import PRODUCTION, Evaluation, Fitted
from brandhouse_flows.gates import GateResult, gates_passed, judge
from brandhouse_flows.material import Material
from brandhouse_flows.packaging import Package, package, package_constant
from brandhouse_flows.planning import TEMPLATE_VERSION, Plan
from brandhouse_flows.plots import draw_plots
from brandhouse_shared.artifacts import CARD_HTML_FILE, CARD_MARKDOWN_FILE, ArtifactStore
from brandhouse_shared.brands import ModelCode
from brandhouse_shared.config import Risk
from brandhouse_shared.errors import BrandhouseError, EntrypointError, RetryableError
from brandhouse_shared.ledger.guarding import guard
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import StageChange
from brandhouse_shared.ledger.stages import Stage
from brandhouse_shared.names import VersionKey

ACTOR = "training template"
REASON_SECONDS = 1.0
"""For so long rows are explained for the card, of every training that gets as far; then at most one more row."""

BASELINE_PREFIX = "baseline-"
"""Before the fingerprint of a model zero: made from the same inputs, but not what these inputs were to yield."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A packaged model, the verdict of its gates, and its card."""

    packaged: Package
    gates: list[GateResult]
    card: Card


def package_and_judge(
    folder: Path, plan: Plan, snapshot: Snapshot, material: Material, fitted: Fitted, evaluation: Evaluation, code: ModelCode
) -> Judged:
    """Write the artifact's files into `folder`: the model, what serving needs to know of it, and its card."""
    packaged = package(
        folder,
        brand=plan.brand,
        model_name=plan.key.model,
        estimator=fitted.estimator,
        rows_holdout=material.holdout_rows,
        features_holdout=material.holdout_features,
        classes=material.target.classes,
        constant=constant_answer(material),
        code=code,
        reason_seconds=REASON_SECONDS,
    )
    gates = judge(
        plan.model,
        evaluation.report,
        list(fitted.baselines),
        evaluation.production,
        evaluation.slices,
        evaluation.suspected_leaks(plan.model.gates.leakage_score),
        packaged.median_row_ms,
        plan.against,
        evaluation.fairness,
    )
    card = render_card(_collect_card_data(plan, snapshot, material, fitted, evaluation, packaged, gates))
    (folder / CARD_MARKDOWN_FILE).write_text(card.markdown, encoding="utf-8")
    (folder / CARD_HTML_FILE).write_text(card.html, encoding="utf-8")
    return Judged(packaged, gates, card)


def _collect_card_data(
    plan: Plan,
    snapshot: Snapshot,
    material: Material,
    fitted: Fitted,
    evaluation: Evaluation,
    packaged: Package,
    gates: list[GateResult],
) -> CardData:
    rows = DataFacts(
        dataset=snapshot.dataset,
        file=snapshot.file,
        hash_md5=snapshot.hash_md5,
        rows_train=len(material.split.train),
        rows_holdout=len(material.split.holdout),
        rows_dropped=material.target.missing,
        rows_quarantined=material.quarantined,
    )
    code = CodeFacts(plan.git.commit, plan.git.dirty, plan.code_digest, TEMPLATE_VERSION, plan.lock_hash, read_environment())
    plots = draw_plots(
        plan.model.task,
        material.truth,
        evaluation.prediction,
        material.target.classes,
        evaluation.report,
        evaluation.importance,
        plan.model.target,
        packaged.reasons,
    )
    return CardData(
        brand=plan.brand.config,
        key=plan.key,
        version="candidate",
        estimator=estimator_name(fitted.estimator),
        candidate=fitted.choice.candidate,
        params=fitted.choice.params,
        seed=plan.model.split.seed,
        report=evaluation.report,
        gates=gates,
        slices=evaluation.slices,
        features=evaluation.ranked,
        data=rows,
        code=code,
        statistics=evaluation.statistics,
        plots=plots,
        runtime=packaged.manifest.runtime,
        trained_seconds=fitted.seconds,
        usage=fitted.usage,
        segments=evaluation.segments,
        fairness=evaluation.fairness,
        reasons=packaged.reasons,
        created_at=datetime.now(UTC),
        run_url=plan.run_url,
    )


def constant_answer(material: Material) -> tuple[float, ...]:
    """The answer that needs no model: the training rows' median, or the shares of the classes."""
    train = material.target.values[material.split.train]
    if not material.target.classes:
        return (float(np.median(train)),)
    shares = np.bincount(train, minlength=len(material.target.classes)) / len(train)
    return tuple(float(share) for share in shares)


def build_record(
    plan: Plan, snapshot: Snapshot, material: Material, fitted: Fitted, evaluation: Evaluation, judged: Judged
) -> dict[str, Any]:
    """Collect the lineage of one version, all but its artifact's digest; the ledger refuses it if a field is missing."""
    report = evaluation.report
    differences = report.differences
    production = differences.get(PRODUCTION)
    return {
        "key": plan.key,
        "kind": "candidate",
        "fingerprint": plan.fingerprint(snapshot.hash_md5),
        "runtime": judged.packaged.manifest.runtime,
        "task": plan.model.task,
        "target": plan.model.target,
        "metric": plan.model.metric,
        "score": report.score,
        "score_low": report.low,
        "score_high": report.high,
        "baseline_score": best_baseline(plan, fitted, evaluation)[1],
        "production_score": production.score if production and np.isfinite(production.score) else None,
        "gates": [gate.as_document() for gate in judged.gates],
        "gates_passed": gates_passed(judged.gates),
        "snapshot_hash": snapshot.hash_md5,
        "snapshot_dataset": snapshot.dataset,
        "rows_train": len(material.split.train),
        "rows_holdout": len(material.split.holdout),
        "git_commit": plan.git.commit,
        "git_dirty": plan.git.dirty,
        "lock_hash": plan.lock_hash,
        "code_digest": plan.code_digest,
        "template_version": TEMPLATE_VERSION,
        "estimator": estimator_name(fitted.estimator),
        "candidate_name": fitted.choice.candidate,
        "params": fitted.choice.params,
        "seed": plan.model.split.seed,
        "slices": [item.as_document() for item in evaluation.slices],
        "feature_statistics": evaluation.statistics,
        "owner": plan.brand.config.owner,
        "run_id": plan.run_id,
        "flow_run_url": plan.run_url,
        "trained_seconds": fitted.seconds,
        "created_at": datetime.now(UTC),
    }


def store_and_register(plan: Plan, ledger: Ledger, store: ArtifactStore, folder: Path, record: dict[str, Any]) -> tuple[VersionKey, Stage]:
    """Store the artifact, register the version, and promote it if the template may; return its key and stage.

    May be repeated after a passing fault: equal content is one artifact, and an equal record one version.
    """
    guard(ledger, plan.brand, ACTOR)
    digest = store.save(plan.key, folder, {"fingerprint": record["fingerprint"]})
    version = register(ledger, store, record | {"artifact_digest": digest})
    return version, promote_if_allowed(plan, ledger, version, record["gates_passed"])


def register(ledger: Ledger, store: ArtifactStore, record: dict[str, Any]) -> VersionKey:
    """Register a version whose artifact was just stored; if the ledger refuses it, the artifact does not stay behind.

    Raises:
        IncompleteRecordError, LedgerError, RetryableError: If it was not registered.
    """
    try:
        return ledger.register_version_document(record)
    except RetryableError:  # the next attempt needs the artifact
        raise
    except BrandhouseError:
        store.delete(record["key"], record["artifact_digest"])
        raise


def promote_if_allowed(plan: Plan, ledger: Ledger, version: VersionKey, passed: bool) -> Stage:
    """Put a version that passed its gates into its model's first stage, unless a person has to decide; return its stage."""
    to = _first_stage(plan, ledger)
    # The shadow of a retraining answers nobody: what it shows is what people decide by.
    if not passed or (_needs_people(plan, ledger, version) and not (plan.is_retraining and to is Stage.SHADOW)):
        return ledger.find_version(version).stage
    reason = "all gates passed on the hold-out"
    change = StageChange(version=version, to=to, actor=ACTOR, reason=reason, automatic=True)
    return ledger.change_stage(change).to


def _needs_people(plan: Plan, ledger: Ledger, version: VersionKey) -> bool:
    """Whether people decide: by the present declaration, or by that under which the version was registered."""
    return plan.brand.config.risk is Risk.HIGH or ledger.people_needed(version) > 0


def _first_stage(plan: Plan, ledger: Ledger) -> Stage:
    """Production, or a trial beside it if there is something to be tried against; beside a canary, of which there is one, shadow."""
    if ledger.production(plan.key) is None:
        return Stage.PRODUCTION
    if plan.is_retraining:
        return Stage.SHADOW
    declared = Stage(plan.model.trial.first_stage)
    canaries = [version for version in ledger.trial_versions() if version.record.key == plan.key and version.stage is Stage.CANARY]
    return Stage.SHADOW if declared is Stage.CANARY and canaries else declared


def deploy_model_zero(
    plan: Plan,
    ledger: Ledger,
    store: ArtifactStore,
    snapshot: Snapshot,
    material: Material,
    fitted: Fitted,
    evaluation: Evaluation,
    code: ModelCode,
) -> VersionKey | None:
    """Register the best baseline and put it into production, so that a brand is live on its first day.

    A high-risk brand's baseline waits for people like any other version.
    """
    name, score = best_baseline(plan, fitted, evaluation)
    difference = evaluation.report.differences[name]
    guard(ledger, plan.brand, ACTOR)
    with TemporaryDirectory(prefix="brandhouse-zero-") as folder:
        judged = package_baseline(Path(folder), plan, material, fitted.baselines[name], name, code)
        digest = store.save(plan.key, Path(folder), {"kind": "baseline"})
    record = build_record(plan, snapshot, material, fitted, evaluation, Judged(judged, [], Card("", ""))) | {
        "artifact_digest": digest,
        "kind": "baseline",
        "fingerprint": BASELINE_PREFIX + plan.fingerprint(snapshot.hash_md5),
        "score": score,
        "score_low": difference.score_low,
        "score_high": difference.score_high,
        "gates_passed": True,
        "estimator": name,
        "candidate_name": name,
        "params": {},
        "slices": [],
    }
    version = ledger.register_version_document(record)
    promote_model_zero(plan, ledger, version, name)
    return version


def promote_model_zero(plan: Plan, ledger: Ledger, version: VersionKey, name: str) -> None:
    """Put a registered baseline into production, unless people have to agree to it."""
    if _needs_people(plan, ledger, version):
        return
    reason = f"model zero: nothing passed its gates yet, the {name} baseline serves meanwhile"
    ledger.change_stage(StageChange(version=version, to=Stage.PRODUCTION, actor=ACTOR, reason=reason, automatic=True))


def package_baseline(folder: Path, plan: Plan, material: Material, estimator: Any, name: str, code: ModelCode) -> Package:
    """Write the artifact of a model zero into `folder`: the named baseline, fitted."""
    if name == DUMMY:
        return package_constant(
            folder,
            brand=plan.brand,
            model_name=plan.key.model,
            rows_holdout=material.holdout_rows,
            classes=material.target.classes,
            constant=constant_answer(material),
            code=code,
        )
    return package(
        folder,
        brand=plan.brand,
        model_name=plan.key.model,
        estimator=estimator,
        rows_holdout=material.holdout_rows,
        features_holdout=material.holdout_features,
        classes=material.target.classes,
        constant=constant_answer(material),
        code=code,
    )


def best_baseline(plan: Plan, fitted: Fitted, evaluation: Evaluation) -> tuple[str, float]:
    """Name and hold-out score of the baseline to beat.

    Raises:
        EntrypointError: If no baseline has a score.
    """
    scores = {name: evaluation.report.differences[name].score for name in fitted.baselines}
    sign = 1 if plan.model.metric_spec.greater_is_better else -1
    known = [name for name in scores if np.isfinite(scores[name])]
    if not known:
        raise EntrypointError(f"{plan.key}: no baseline has a {plan.model.metric} on the hold-out; look at features and metric")
    best = max(known, key=lambda name: sign * scores[name])
    return best, scores[best]


def estimator_name(estimator: Any) -> str:
    """Class name of an estimator; of a pipeline, that of its last step."""
    steps = getattr(estimator, "steps", None)
    return estimator_name(steps[-1][1]) if steps else type(estimator).__name__
