"""Choose among a model's candidates: cross-validation on the training rows, and a search where spaces are declared.

The hold-out is never touched here. The budget is shared by all candidates and ends at trials or seconds, whichever
comes first; what was tried is part of the result. Where the folds are fitted is the matter of a `FoldScorer`: in this
process, or on a Dask cluster (`dask_folds`). The same points are tried in the same order either way (ADR 0010).
"""

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold, TimeSeriesSplit

from brandhouse_flows.scores import score
from brandhouse_shared.brands import ModelCode
from brandhouse_shared.config import Candidate, Distribution, ModelConfig, Scalar
from brandhouse_shared.errors import DatasetError, EntrypointError
from brandhouse_shared.metrics import Task

Params = Mapping[str, Scalar]
Floats = npt.NDArray[np.float64]
Fold = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
"""Positions of the rows to fit on and of those to score on."""

THREADED_ROWS = 50_000
"""Rows from which a fit gains by several threads. With fewer they wait for each other longer than they work, and where others
use the cores too, many times as long; what is learned is the same."""

RANDOM_TRIALS = 10
"""Points of a space that the sampler draws before it learns from scores. Only these may be scored at once: the points that
follow depend on all results before them."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One candidate with one set of parameters and its mean score over the folds; NaN if it could not be fitted."""

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


@dataclass(frozen=True, slots=True)
class Contest:
    """What all trials have in common."""

    code: ModelCode
    model: ModelConfig
    rows: TrainingRows
    folds: list[Fold]
    subject: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """One candidate with one set of params, before it is scored.

    Attributes:
        candidate: Its name.
        params: Its params, which `build_estimator` takes.
        tolerant: Whether a failing fit makes a trial without a score, since not all points of a space need to fit each other.
    """

    candidate: str
    params: dict[str, Scalar]
    tolerant: bool = False


@dataclass(frozen=True, slots=True)
class FoldScore:
    """What one fold said: a score, or why the brand's code gave none."""

    score: float
    seconds: float
    refusal: str = ""


class FoldScorer(Protocol):
    """Scores attempts fold by fold."""

    @property
    def at_once(self) -> int:
        """How many attempts it is worth giving at once."""

    def score(self, attempts: Sequence[Attempt]) -> list[list[FoldScore]]:
        """Return the folds of each attempt, in their order; none follow a refused one."""


OpenScorer = Callable[[Contest], AbstractContextManager[FoldScorer]]


class ScorerHere:
    """Scores in this process, one fold after another."""

    at_once = 1

    def __init__(self, contest: Contest) -> None:
        self._contest = contest

    def score(self, attempts: Sequence[Attempt]) -> list[list[FoldScore]]:
        """Fit and score each fold."""
        return [self._score(attempt) for attempt in attempts]

    def _score(self, attempt: Attempt) -> list[FoldScore]:
        scores: list[FoldScore] = []
        for fold in range(len(self._contest.folds)):
            scores.append(score_fold(self._contest, attempt, fold))
            if scores[-1].refusal:
                break
        return scores


def score_here(contest: Contest) -> AbstractContextManager[FoldScorer]:
    """Return what scores in this process."""
    return nullcontext(ScorerHere(contest))


def choose_candidate(code: ModelCode, model: ModelConfig, rows: TrainingRows, subject: str, open_scorer: OpenScorer = score_here) -> Choice:
    """Return the candidate and params with the best cross-validated score.

    A single candidate without a search space is taken as it is: there is nothing to choose.

    Args:
        code: The model's module.
        model: Declares candidates, budget and metric.
        rows: The training rows.
        subject: Model key for messages.
        open_scorer: Where folds are fitted; decides how long it takes, not what is chosen.

    Raises:
        EntrypointError: If `build_estimator` does not take the params, or no trial could be fitted.
        DatasetError: If the training rows cannot be divided into folds.
    """
    candidates = model.candidates
    if len(candidates) == 1 and not next(iter(candidates.values())).space:
        name, candidate = next(iter(candidates.items()))
        return Choice(name, dict(candidate.params), ())
    deadline = time.monotonic() + model.search.seconds
    contest = Contest(code, model, rows, divide_into_folds(model, rows, subject), subject)
    with open_scorer(contest) as scorer:
        trials = _run_trials(contest, scorer, deadline)
    finite = [trial for trial in trials if np.isfinite(trial.score)]
    if not finite:
        raise EntrypointError(f"{subject}: no candidate has a finite {model.metric} on the training rows; look at features and metric")
    sign = 1 if model.metric_spec.greater_is_better else -1
    best = max(finite, key=lambda trial: sign * trial.score)
    return Choice(best.candidate, best.params, tuple(trials))


def _run_trials(contest: Contest, scorer: FoldScorer, deadline: float) -> list[Trial]:
    """Try the candidates as declared, then search the spaces; each candidate's trials follow each other in the result."""
    candidates = contest.model.candidates
    declared = _score(contest, scorer, [Attempt(name, dict(candidate.params)) for name, candidate in candidates.items()])
    searched = [name for name, candidate in candidates.items() if candidate.space]
    trials: list[Trial] = []
    for trial, (name, candidate) in zip(declared, candidates.items(), strict=True):
        trials.append(trial)
        if candidate.space:
            budget = max(1, (contest.model.search.trials - len(candidates)) // len(searched))
            trials += _search(contest, scorer, name, candidate, budget, deadline)
    return trials


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
        with warnings.catch_warnings(), _fitting_threads(len(features)):
            # A search may try params that do not converge; their score says so.
            warnings.simplefilter("ignore", ConvergenceWarning)
            return estimator.fit(features, target)
    except Exception as error:  # brand code may raise anything; the brand fails alone
        raise EntrypointError(f"{subject}: fitting {type(estimator).__name__} raised {type(error).__name__}: {str(error)[:300]}") from error


def predict(estimator: Any, task: Task, features: pd.DataFrame, subject: str, classes: int = 0) -> Floats:
    """Return numbers of shape (rows,) for regression, else probabilities of shape (rows, classes).

    Args:
        estimator: Fitted.
        task: What it predicts.
        features: Canonical feature frame.
        subject: Model key for messages.
        classes: How many classes there are, if the estimator may have been fitted on rows that lack some of them.

    Raises:
        EntrypointError: If a classifier has no `predict_proba`, or prediction raises or is of the wrong shape.
    """
    if task is not Task.REGRESSION and not hasattr(estimator, "predict_proba"):
        raise EntrypointError(
            f"{subject}: {type(estimator).__name__} has no predict_proba; wrap it in sklearn.calibration.CalibratedClassifierCV"
        )
    try:
        with _fitting_threads(len(features)):
            answer = estimator.predict(features) if task is Task.REGRESSION else estimator.predict_proba(features)
    except Exception as error:  # brand code may raise anything; the brand fails alone
        name = type(estimator).__name__
        raise EntrypointError(f"{subject}: predicting with {name} raised {type(error).__name__}: {str(error)[:300]}") from error
    values = np.asarray(answer, dtype=np.float64)
    if task is Task.REGRESSION:
        values = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
    elif values.ndim == 2 and values.shape[1] < classes:
        values = _with_all_classes(values, estimator, classes)
    wanted = (len(features),) if task is Task.REGRESSION else (len(features), classes or values.shape[-1])
    if values.shape != wanted:
        raise EntrypointError(f"{subject}: {type(estimator).__name__} predicts an array of shape {values.shape}; allowed: {wanted}")
    return values


def _fitting_threads(rows: int) -> AbstractContextManager[Any]:
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    return nullcontext() if rows >= THREADED_ROWS else cast("AbstractContextManager[Any]", threadpool_limits(1))


def _with_all_classes(probabilities: Floats, estimator: Any, classes: int) -> Floats:
    """Give a class that was absent from the rows of the fit the probability 0."""
    known = getattr(estimator, "classes_", None)
    if known is None or len(known) != probabilities.shape[1]:
        return probabilities
    whole = np.zeros((len(probabilities), classes))
    whole[:, np.asarray(known, dtype=np.int64)] = probabilities
    return whole


def _search(contest: Contest, scorer: FoldScorer, name: str, candidate: Candidate, budget: int, deadline: float) -> list[Trial]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)  # a trial without a score is told by the trials themselves
    model = contest.model
    direction = optuna.study.StudyDirection.MAXIMIZE if model.metric_spec.greater_is_better else optuna.study.StudyDirection.MINIMIZE
    sampler = optuna.samplers.TPESampler(seed=model.split.seed, n_startup_trials=RANDOM_TRIALS)
    study = optuna.create_study(direction=direction, sampler=sampler)
    trials: list[Trial] = []
    while len(trials) < budget and time.monotonic() < deadline:
        wave = min(max(1, min(scorer.at_once, RANDOM_TRIALS - len(trials))), budget - len(trials))
        asked = [study.ask() for _ in range(wave)]
        attempts = [Attempt(name, _suggest_all(suggestion, candidate), tolerant=True) for suggestion in asked]
        for suggestion, trial in zip(asked, _score(contest, scorer, attempts), strict=True):
            trials.append(trial)
            pruned = None if np.isfinite(trial.score) else optuna.trial.TrialState.PRUNED
            study.tell(suggestion, None if pruned else trial.score, state=pruned)
    return trials


def _suggest_all(suggestion: Any, candidate: Candidate) -> dict[str, Scalar]:
    return dict(candidate.params) | {key: _suggest(suggestion, key, space) for key, space in candidate.space.items()}


def _suggest(suggestion: Any, name: str, space: Distribution) -> Scalar:
    if space.choices is not None:
        chosen: Scalar = suggestion.suggest_categorical(name, list(space.choices))
    elif space.integer:
        chosen = int(suggestion.suggest_int(name, int(space.low or 0), int(space.high or 0), log=space.log))
    else:
        chosen = float(suggestion.suggest_float(name, space.low, space.high, log=space.log))
    return chosen


def _score(contest: Contest, scorer: FoldScorer, attempts: Sequence[Attempt]) -> list[Trial]:
    for attempt in attempts:  # that `build_estimator` takes the params is checked in any case, before any fold is fitted
        build_candidate(contest.code, contest.subject, attempt.candidate, attempt.params)
    return [_trial_of(attempt, folds) for attempt, folds in zip(attempts, scorer.score(attempts), strict=True)]


def _trial_of(attempt: Attempt, folds: Sequence[FoldScore]) -> Trial:
    refusal = next((fold.refusal for fold in folds if fold.refusal), "")
    if refusal and not attempt.tolerant:
        raise EntrypointError(refusal)
    known = [fold.score for fold in folds if np.isfinite(fold.score)]
    mean = float(np.mean(known)) if known and not refusal else float("nan")
    return Trial(attempt.candidate, attempt.params, mean, sum(fold.seconds for fold in folds))


def score_fold(contest: Contest, attempt: Attempt, fold: int) -> FoldScore:
    """Fit an attempt on one fold's training part and score it on the rest."""
    started = time.monotonic()
    try:
        value, refusal = _score_rows(contest, attempt, *contest.folds[fold]), ""
    except EntrypointError as error:
        value, refusal = float("nan"), str(error)
    return FoldScore(value, time.monotonic() - started, refusal)


def _score_rows(contest: Contest, attempt: Attempt, train: npt.NDArray[np.int64], test: npt.NDArray[np.int64]) -> float:
    rows, task, subject = contest.rows, contest.model.task, contest.subject
    classes = 0 if task is Task.REGRESSION else int(rows.target.max()) + 1
    estimator = build_candidate(contest.code, subject, attempt.candidate, attempt.params)
    fit(estimator, rows.features.iloc[train], rows.target[train], subject)
    return score(contest.model.metric, rows.target[test], predict(estimator, task, rows.features.iloc[test], subject, classes))


def divide_into_folds(model: ModelConfig, rows: TrainingRows, subject: str) -> list[Fold]:
    """Divide the training rows for cross-validation, in the manner of the model's split.

    Folds whose training part would hold one class only are left out: nothing can be learned from them.

    Raises:
        DatasetError: If no fold is left, or there are fewer groups than two.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of classes rarer than the folds; their folds are judged without them
            folds = list(_splitter(model, rows).split(rows.features, rows.target, rows.groups))
    except ValueError as error:
        raise DatasetError(f"{subject}: the training rows cannot be divided into folds: {str(error)[:200]}") from error
    if model.task is not Task.REGRESSION:
        folds = [(train, test) for train, test in folds if len(np.unique(rows.target[train])) > 1]
    if not folds:
        raise DatasetError(
            f"{subject}: every fold of the search would learn from one class only; declare one candidate without a space, or another split"
        )
    return folds


def _splitter(model: ModelConfig, rows: TrainingRows) -> Any:
    folds = model.search.folds
    match model.split.kind:
        case "time":
            return TimeSeriesSplit(folds)
        case "grouped" if rows.groups is not None:
            return GroupKFold(min(folds, len(np.unique(rows.groups))))
        case _ if model.task is Task.REGRESSION:
            return KFold(folds, shuffle=True, random_state=model.split.seed)
    # scikit-learn refuses more folds than the most frequent class has rows.
    return StratifiedKFold(max(2, min(folds, int(np.bincount(rows.target).max()))), shuffle=True, random_state=model.split.seed)
