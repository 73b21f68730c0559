"""What a run measured, as the ledger keeps it, whether or not a version came of it."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime

from brandhouse_flows.data_project import Snapshot
from brandhouse_flows.evaluation import PRODUCTION, Evaluation, Fitted
from brandhouse_flows.experiments import result_of_version
from brandhouse_flows.gates import gates_passed
from brandhouse_flows.material import Material
from brandhouse_flows.planning import Plan
from brandhouse_flows.registration import Judged, best_baseline, estimator_name
from brandhouse_flows.run_details import holdout_digest, keep_details
from brandhouse_shared.brands import ModelCode
from brandhouse_shared.ledger.records import RunResult, Version


@dataclass(frozen=True, slots=True)
class Learned:
    """One way from a snapshot to a judged package; nothing of it is registered yet."""

    snapshot: Snapshot
    code: ModelCode
    material: Material
    fitted: Fitted
    production: Version | None
    evaluation: Evaluation
    judged: Judged


def build_result(plan: Plan, learned: Learned, number: int | None) -> RunResult:
    """Collect what a run measured, and keep its details in a file of its own.

    Args:
        plan: Of the run.
        learned: What came of it.
        number: The version that was registered, None if none was.
    """
    report, material, choice = learned.evaluation.report, learned.material, learned.fitted.choice
    production = report.differences.get(PRODUCTION)
    return RunResult(
        run_id=plan.run_id,
        key=plan.key,
        number=number,
        metric=report.metric,
        score=report.score,
        score_low=_finite(report.low),
        score_high=_finite(report.high),
        baseline_score=best_baseline(plan, learned.fitted, learned.evaluation)[1],
        production_score=_finite(production.score) if production else None,
        gates_passed=gates_passed(learned.judged.gates),
        snapshot_hash=learned.snapshot.hash_md5,
        snapshot_dataset=learned.snapshot.dataset,
        rows_train=len(material.split.train),
        rows_holdout=len(material.split.holdout),
        candidate_name=choice.candidate,
        estimator=estimator_name(learned.fitted.estimator),
        trials=len(choice.trials),
        learning_seconds=learned.fitted.seconds,
        holdout_digest=holdout_digest(material),
        details_digest=keep_details(plan, material, learned.fitted, learned.evaluation),
        recorded_at=datetime.now(UTC),
        gates=[gate.as_document() for gate in learned.judged.gates],
        params=choice.params,
        slices=[item.as_document() for item in learned.evaluation.slices],
    )


def repeat_result(plan: Plan, known: Version) -> RunResult:
    """The result of a run that found a version made from the same inputs: that version's, and nothing learned anew."""
    return result_of_version(known).model_copy(
        update={"run_id": plan.run_id, "learning_seconds": 0.0, "recorded_at": datetime.now(UTC)},
    )


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
