"""Fit the chosen candidate and the baselines, and say how good each is on the same hold-out."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from brandhouse_flows.baselines import build_baselines
from brandhouse_flows.dask_folds import choose_scorer
from brandhouse_flows.fairness import FairnessReport, measure_fairness
from brandhouse_flows.fresh_rows import find_fresh_rows
from brandhouse_flows.gates import AgainstProduction, ProductionComparison
from brandhouse_flows.importance import Importance, measure_importance
from brandhouse_flows.leakage import Leak, rank_features
from brandhouse_flows.material import Material
from brandhouse_flows.planning import Plan
from brandhouse_flows.prices import Usage
from brandhouse_flows.run_usage import Meter
from brandhouse_flows.scores import ScoreReport, bootstrap
from brandhouse_flows.search import Choice, TrainingRows, build_candidate, choose_candidate, fit, predict
from brandhouse_flows.segments import Segment, compare_segments
from brandhouse_flows.slices import SliceScore, slice_scores
from brandhouse_flows.statistics import feature_statistics
from brandhouse_shared.answering import load_predictor
from brandhouse_shared.artifacts import ArtifactStore, read_manifest
from brandhouse_shared.brands import ModelCode, unload_brand
from brandhouse_shared.contracts import Contract
from brandhouse_shared.errors import BrandhouseError, ContractViolationError, DatasetError, EntrypointError
from brandhouse_shared.ledger.records import Version
from brandhouse_shared.metrics import Task

PRODUCTION = "production"
FRESH_MIN_ROWS = 30
"""Fewer hold-out rows that are new to production say nothing about which version is better."""

IMPORTANCE_SECONDS = 0.2
"""For the card only, so it is kept short."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Fitted:
    """The chosen candidate and the baselines, fitted on the same rows.

    Attributes:
        choice: Which candidate, which params, and what was tried.
        estimator: Fitted.
        baselines: Name to fitted baseline.
        seconds: Of search and fits.
        usage: Of the machine, by search and fits.
    """

    choice: Choice
    estimator: Any
    baselines: Mapping[str, Any]
    seconds: float
    usage: Usage


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What the hold-out says.

    Attributes:
        prediction: Of the chosen candidate: (rows,) numbers, or (rows, classes) probabilities.
        report: Its score, and its gains over the baselines and production.
        ranked: Single features by how well each alone predicts, best first.
        production: None if no version is in production.
        segments: This version beside production by slice and group; empty if production did not answer.
        fairness: None if nothing is declared.
    """

    prediction: Floats
    report: ScoreReport
    slices: list[SliceScore]
    ranked: list[Leak]
    importance: list[Importance]
    production: ProductionComparison | None
    statistics: dict[str, Any]
    segments: list[Segment] = field(default_factory=list)
    fairness: FairnessReport | None = None

    def suspected_leaks(self, limit: float) -> list[Leak]:
        """Features that alone predict the target suspiciously well."""
        return [leak for leak in self.ranked if leak.score >= limit]


def fit_models(plan: Plan, material: Material, code: ModelCode) -> Fitted:
    """Choose among the candidates on the training rows, then fit the choice and the baselines on all of them.

    Raises:
        EntrypointError: If brand code fails.
    """
    meter = Meter()
    subject, train = str(plan.key), material.split.train
    features, target = material.features.iloc[train], material.target.values[train]
    groups = None if material.groups is None else material.groups[train]
    choice = choose_candidate(code, plan.model, TrainingRows(features, target, groups), subject, choose_scorer(plan))
    estimator = fit(build_candidate(code, subject, choice.candidate, choice.params), features, target, subject)
    baselines = {name: fit(model, features, target, subject) for name, model in build_baselines(plan.model.task, features).items()}
    return Fitted(choice, estimator, baselines, meter.seconds, meter.read(rows=len(train)))


def evaluate(plan: Plan, material: Material, fitted: Fitted, production: Version | None, store: ArtifactStore) -> Evaluation:
    """Score the candidate, the baselines and the version in production on the hold-out.

    Raises:
        EntrypointError: If the candidate predicts something that is not finite.
        DatasetError: If the metric has no value on this hold-out.
    """
    model, subject = plan.model, str(plan.key)
    classes = len(material.target.classes)
    prediction = predict(fitted.estimator, model.task, material.holdout_features, subject, classes)
    if not np.isfinite(prediction).all():
        raise EntrypointError(f"{subject}: the estimator predicts values that are not finite; look at its features and params")
    others = {
        name: predict(baseline, model.task, material.holdout_features, subject, classes) for name, baseline in fitted.baselines.items()
    }
    comparison = None
    if production is not None:
        answer = _ask_production(plan, production, material, store)
        comparison = ProductionComparison(None, answer) if isinstance(answer, str) else ProductionComparison(PRODUCTION)
        others |= {} if isinstance(answer, str) else {PRODUCTION: answer}
    gates, seed = model.gates, model.split.seed
    if plan.against is not AgainstProduction.NOT_WORSE and production is not None and PRODUCTION in others:
        comparison = ProductionComparison(PRODUCTION, fresh=_compare_fresh(plan, material, production, prediction, others))
    report = bootstrap(model.metric, material.truth, prediction, others, gates.confidence, seed, groups=material.split.holdout_groups)
    if report.reason:
        raise DatasetError(f"{subject}: {model.metric} has no value on the hold-out: {report.reason}; choose another metric or split")
    return Evaluation(
        prediction=prediction,
        report=report,
        slices=slice_scores(
            model.metric, material.truth, prediction, material.holdout_table, model.slices, gates.slice_min_rows, gates.confidence, seed
        ),
        ranked=rank_features(material.features, material.target.values, model.task, seed),
        importance=measure_importance(
            lambda features: predict(fitted.estimator, model.task, features, subject, classes),
            material.holdout_features,
            material.truth,
            model.metric,
            seed,
            IMPORTANCE_SECONDS,
        ),
        production=comparison,
        statistics=feature_statistics(
            material.rows.iloc[material.split.train], Contract(model.inputs), prediction, material.target.classes
        ),
        segments=_compare_segments(plan, material, prediction, others.get(PRODUCTION)),
        fairness=measure_fairness(model, material.truth, prediction, material.holdout_table, material.split.holdout_groups),
    )


def _compare_segments(plan: Plan, material: Material, prediction: Floats, production: Floats | None) -> list[Segment]:
    if production is None:
        return []
    grouped = plan.model.fairness.fields if plan.model.fairness is not None else ()
    names = list(dict.fromkeys([*plan.model.slices, *grouped]))
    groups = material.split.holdout_groups
    return compare_segments(plan.model, material.truth, prediction, production, material.holdout_table, names, groups)


def _compare_fresh(
    plan: Plan, material: Material, production: Version, prediction: Floats, others: Mapping[str, Floats]
) -> ScoreReport | str:
    """Compare on the hold-out rows that production has not learned from, or say why that cannot be done."""
    fresh = find_fresh_rows(plan, material, production)
    if isinstance(fresh, str):
        return fresh
    if fresh.sum() < FRESH_MIN_ROWS:
        return f"only {fresh.sum():,} of {len(fresh):,} hold-out rows are new to it; at least {FRESH_MIN_ROWS} are needed"
    groups = material.split.holdout_groups
    return bootstrap(
        plan.model.metric,
        material.truth[fresh],
        prediction[fresh],
        {name: other[fresh] for name, other in others.items()},
        plan.model.gates.confidence,
        plan.model.split.seed,
        groups=None if groups is None else groups[fresh],
    )


def _ask_production(plan: Plan, production: Version, material: Material, store: ArtifactStore) -> Floats | str:
    """Let production answer the same hold-out rows, or say why it cannot."""
    try:
        folder = store.find(production.record.key, production.record.artifact_digest)
        manifest = read_manifest(folder)
        asked = (plan.model.task, plan.model.target, material.target.classes)
        if (manifest.task, manifest.target, manifest.classes) != asked:
            return f"{production.key} predicts something else: another task, target or classes"
        contract = manifest.contract
        rows = contract.parse_table(material.holdout_table, str(production.key))
        with _own_code_kept(plan.key.brand):
            answer = load_predictor(folder, manifest).predict(contract.columns_of(rows))
    except ContractViolationError as error:
        return f"the data no longer fit the input schema of {production.key} ({error.violations[0][:120]})"
    except BrandhouseError as error:
        return str(error)[:300]
    except Exception as error:  # packaged code of the brand and ONNX Runtime may raise anything
        return f"{production.key} raised {type(error).__name__}: {str(error)[:200]}"
    return answer[:, 0] if manifest.task is Task.REGRESSION and answer.ndim == 2 else answer


@contextmanager
def _own_code_kept(brand: str) -> Iterator[None]:
    """Let an older version bring the brand's code as it was then, and put the present code back afterwards."""
    package = f"brand_{brand}"
    present = {name: module for name, module in sys.modules.items() if name == package or name.startswith(f"{package}.")}
    try:
        yield
    finally:
        unload_brand(brand)
        sys.modules.update(present)
