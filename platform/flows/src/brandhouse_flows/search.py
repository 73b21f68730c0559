"""Choose among a model's candidates: cross-validation on the training rows, and a search where spaces are declared.

The hold-out is never touched here. The budget is shared by all candidates and ends at trials or seconds, whichever
comes first; what was tried is part of the result.
"""

import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold, TimeSeriesSplit

from brandhouse_flows.scores import score
from brandhouse_shared.brands import ModelCode
from brandhouse_shared.config import Candidate, Distribution, ModelConfig, Scalar
from brandhouse_shared.errors import EntrypointError
from brandhouse_shared.metrics import Task

Params = Mapping[str, Scalar]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Trial:
    """One candidate with one set of parameters and its mean score over the folds."""

    candidate: str
    params: dict[str, Scalar]
    score: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen candidate, and everything that was tried for it."""

    candidate: str
    params: dict[str, Scalar]
    trials: tuple[Trial, ...]


@dataclass(frozen=True, slots=True)
class TrainingRows:
    """What the search may see.

    Attributes:
        features: Canonical feature frame of the training rows, in time order if the split is by time.
        target: Codes or values, shape (rows,).
        groups: Group of each row for a grouped split, else None.
    """

    features: pd.DataFrame
    target: npt.NDArray[Any]
    groups: npt.NDArray[Any] | None


def choose_candidate(code: ModelCode, model: ModelConfig, rows: TrainingRows, subject: str) -> Choice:
    """Return the candidate and params with the best cross-validated score.

    A single candidate without a search space is taken as it is: there is nothing to choose.

    Raises:
        EntrypointError: If `build_estimator` does not take the params, or no trial could be fitted.
    """
    candidates = model.candidates
    if len(candidates) == 1 and not next(iter(candidates.values())).space:
        name, candidate = next(iter(candidates.items()))
        return Choice(name, dict(candidate.params), ())
    deadline = time.monotonic() + model.search.seconds
    trials: list[Trial] = []
    searched = [name for name, candidate in candidates.items() if candidate.space]
    for name, candidate in candidates.items():
        trials.append(_try(code, model, rows, subject, name, dict(candidate.params)))
        if candidate.space and time.monotonic() < deadline:
            budget = max(1, (model.search.trials - len(candidates)) // len(searched))
            trials += _search(code, model, rows, subject, name, candidate, budget, deadline)
    finite = [trial for trial in trials if np.isfinite(trial.score)]
    if not finite:
        raise EntrypointError(f"{subject}: no candidate has a finite {model.metric} on the training rows; look at features and metric")
    sign = 1 if model.metric_spec.greater_is_better else -1
    best = max(finite, key=lambda trial: sign * trial.score)
    return Choice(best.candidate, best.params, tuple(trials))


def build_candidate(code: ModelCode, subject: str, name: str, params: Params) -> Any:
    """Call the brand's `build_estimator`.

    Raises:
        EntrypointError: If it raises, or returns something without `fit`.
    """
    try:
        estimator = code.build_estimator(**params)
    except Exception as error:  # brand code may raise anything; the brand fails alone
        raise EntrypointError(
            f"{subject}: build_estimator({', '.join(params)}) of candidate {name!r} raised {type(error).__name__}: {str(error)[:300]}"
        ) from error
    if not hasattr(estimator, "fit"):
        raise EntrypointError(f"{subject}: build_estimator returned {type(estimator).__name__}; allowed: a scikit-learn estimator")
    return estimator


def fit(estimator: Any, features: pd.DataFrame, target: npt.NDArray[Any], subject: str) -> Any:
    """Fit in place and return the estimator.

    Raises:
        EntrypointError: If fitting raises.
    """
    try:
        with warnings.catch_warnings():
            # A search may try params that do not converge; their score says so.
            warnings.simplefilter("ignore", ConvergenceWarning)
            return estimator.fit(features, target)
    except Exception as error:  # brand code may raise anything; the brand fails alone
        raise EntrypointError(f"{subject}: fitting {type(estimator).__name__} raised {type(error).__name__}: {str(error)[:300]}") from error


def predict(estimator: Any, task: Task, features: pd.DataFrame, subject: str) -> Floats:
    """Return numbers of shape (rows,) for regression, else probabilities of shape (rows, classes).

    Raises:
        EntrypointError: If a classifier has no `predict_proba`, or prediction raises.
    """
    if task is not Task.REGRESSION and not hasattr(estimator, "predict_proba"):
        raise EntrypointError(
            f"{subject}: {type(estimator).__name__} has no predict_proba; wrap it in sklearn.calibration.CalibratedClassifierCV"
        )
    try:
        answer = estimator.predict(features) if task is Task.REGRESSION else estimator.predict_proba(features)
    except Exception as error:  # brand code may raise anything; the brand fails alone
        name = type(estimator).__name__
        raise EntrypointError(f"{subject}: predicting with {name} raised {type(error).__name__}: {str(error)[:300]}") from error
    return np.asarray(answer, dtype=np.float64)


def _search(
    code: ModelCode, model: ModelConfig, rows: TrainingRows, subject: str, name: str, candidate: Candidate, budget: int, deadline: float
) -> list[Trial]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    direction = optuna.study.StudyDirection.MAXIMIZE if model.metric_spec.greater_is_better else optuna.study.StudyDirection.MINIMIZE
    study = optuna.create_study(direction=direction, sampler=optuna.samplers.TPESampler(seed=model.split.seed))
    trials: list[Trial] = []

    def objective(suggestion: Any) -> float:
        params = dict(candidate.params) | {key: _suggest(suggestion, key, space) for key, space in candidate.space.items()}
        trial = _try(code, model, rows, subject, name, params)
        trials.append(trial)
        return trial.score

    study.optimize(objective, n_trials=budget, timeout=max(0.0, deadline - time.monotonic()))
    return trials


def _suggest(suggestion: Any, name: str, space: Distribution) -> Scalar:
    if space.choices is not None:
        chosen: Scalar = suggestion.suggest_categorical(name, list(space.choices))
    elif space.integer:
        chosen = int(suggestion.suggest_int(name, int(space.low or 0), int(space.high or 0), log=space.log))
    else:
        chosen = float(suggestion.suggest_float(name, space.low, space.high, log=space.log))
    return chosen


def _try(code: ModelCode, model: ModelConfig, rows: TrainingRows, subject: str, name: str, params: dict[str, Scalar]) -> Trial:
    started = time.monotonic()
    scores = []
    for train, test in _folds(model, rows):
        estimator = build_candidate(code, subject, name, params)
        fit(estimator, rows.features.iloc[train], rows.target[train], subject)
        prediction = predict(estimator, model.task, rows.features.iloc[test], subject)
        scores.append(score(model.metric, rows.target[test], prediction))
    return Trial(name, params, float(np.mean(scores)), time.monotonic() - started)


def _folds(model: ModelConfig, rows: TrainingRows) -> list[tuple[Any, Any]]:
    folds = model.search.folds
    splitter: Any
    match model.split.kind:
        case "time":
            splitter = TimeSeriesSplit(folds)
        case "grouped":
            splitter = GroupKFold(folds)
        case _ if model.task is Task.REGRESSION:
            splitter = KFold(folds, shuffle=True, random_state=model.split.seed)
        case _:
            splitter = StratifiedKFold(folds, shuffle=True, random_state=model.split.seed)
    return list(splitter.split(rows.features, rows.target, rows.groups))
