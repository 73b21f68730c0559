"""Fit the chosen candidate and the baselines, and say how good each is on the same hold-out."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from brandhouse_flows.baselines import build_baselines
from brandhouse_flows.gates import ProductionComparison
from brandhouse_flows.importance import Importance, measure_importance
from brandhouse_flows.leakage import Leak, rank_features
from brandhouse_flows.material import Material
from brandhouse_flows.planning import Plan
from brandhouse_flows.scores import ScoreReport, bootstrap
from brandhouse_flows.search import Choice, TrainingRows, build_candidate, choose_candidate, fit, predict
from brandhouse_flows.slices import SliceScore, slice_scores
from brandhouse_flows.statistics import feature_statistics
from brandhouse_shared.answering import load_predictor
from brandhouse_shared.artifacts import ArtifactStore, read_manifest
from brandhouse_shared.brands import ModelCode
from brandhouse_shared.contracts import Contract
from brandhouse_shared.errors import ArtifactCorruptError, BrandhouseError, ContractViolationError
from brandhouse_shared.ledger.records import Version
from brandhouse_shared.metrics import Task

PRODUCTION = "production"
IMPORTANCE_SECONDS = 0.4
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
    """

    choice: Choice
    estimator: Any
    baselines: Mapping[str, Any]
    seconds: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What the hold-out says.

    Attributes:
        prediction: Of the chosen candidate: (rows,) numbers, or (rows, classes) probabilities.
        report: Its score, and its gains over the baselines and production.
        ranked: Single features by how well each alone predicts, best first.
        production: None if no version is in production.
    """

    prediction: Floats
    report: ScoreReport
    slices: list[SliceScore]
    ranked: list[Leak]
    importance: list[Importance]
    production: ProductionComparison | None
    statistics: dict[str, Any]

    def suspected_leaks(self, limit: float) -> list[Leak]:
        """Features that alone predict the target suspiciously well."""
        return [leak for leak in self.ranked if leak.score >= limit]


def fit_models(plan: Plan, material: Material, code: ModelCode) -> Fitted:
    """Choose among the candidates on the training rows, then fit the choice and the baselines on all of them.

    Raises:
        EntrypointError: If brand code fails.
    """
    started = time.monotonic()
    subject, train = str(plan.key), material.split.train
    features, target = material.features.iloc[train], material.target.values[train]
    groups = None if material.groups is None else material.groups[train]
    choice = choose_candidate(code, plan.model, TrainingRows(features, target, groups), subject)
    estimator = fit(build_candidate(code, subject, choice.candidate, choice.params), features, target, subject)
    baselines = {name: fit(model, features, target, subject) for name, model in build_baselines(plan.model.task, features).items()}
    return Fitted(choice, estimator, baselines, time.monotonic() - started)


def evaluate(plan: Plan, material: Material, fitted: Fitted, production: Version | None, store: ArtifactStore) -> Evaluation:
    """Score the candidate, the baselines and the version in production on the hold-out."""
    model, subject = plan.model, str(plan.key)
    prediction = predict(fitted.estimator, model.task, material.holdout_features, subject)
    others = {name: predict(baseline, model.task, material.holdout_features, subject) for name, baseline in fitted.baselines.items()}
    comparison = None
    if production is not None:
        answer = _ask_production(production, material, store)
        comparison = ProductionComparison(None, answer) if isinstance(answer, str) else ProductionComparison(PRODUCTION)
        others |= {} if isinstance(answer, str) else {PRODUCTION: answer}
    gates, seed = model.gates, model.split.seed
    return Evaluation(
        prediction=prediction,
        report=bootstrap(
            model.metric, material.truth, prediction, others, gates.confidence, seed, groups=material.split.holdout_groups
        ),
        slices=slice_scores(
            model.metric, material.truth, prediction, material.holdout_table, model.slices, gates.slice_min_rows, gates.confidence, seed
        ),
        ranked=rank_features(material.features, material.target.values, model.task, seed),
        importance=measure_importance(
            lambda features: predict(fitted.estimator, model.task, features, subject),
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
    )


def _ask_production(production: Version, material: Material, store: ArtifactStore) -> Floats | str:
    """Let production answer the same hold-out rows, or say why it cannot."""
    try:
        folder = store.find(production.record.key, production.record.artifact_digest)
        manifest = read_manifest(folder)
        if manifest.target != production.record.target or manifest.classes != material.target.classes:
            return "it predicts other classes"
        contract = manifest.contract
        rows = contract.parse_table(material.holdout_table, str(production.key))
        answer = load_predictor(folder, manifest).predict(contract.columns_of(rows))
    except ContractViolationError as error:
        return f"the data no longer fit its input schema ({error.violations[0][:120]})"
    except (ArtifactCorruptError, BrandhouseError) as error:
        return str(error)[:300]
    return answer[:, 0] if manifest.task is Task.REGRESSION and answer.ndim == 2 else answer
