"""Score an idea of a notebook by cross-validation on the training rows, on the folds that the template's search uses."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd

from brandhouse_flows.search import Attempt, Contest, TrainingRows, divide_into_folds, score_fold
from brandhouse_shared.brands import ModelCode
from brandhouse_shared.config import ModelConfig
from brandhouse_shared.errors import EntrypointError
from brandhouse_shared.metrics import Metric

MANY_ROWS = 20_000
"""Training rows from which a fit may use all cores. Measured on two cores that others used too: 1,000 rows took a tenth of the
time with one thread."""


@dataclass(frozen=True, slots=True)
class Try:
    """An idea.

    Attributes:
        name: What to call it.
        estimator: Unfitted; None: the brand's `build_estimator` with the params.
        params: For the brand's `build_estimator`.
    """

    name: str
    estimator: Any = None
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Result:
    """An idea's score on each fold."""

    name: str
    scores: tuple[float, ...]
    seconds: float

    @property
    def mean(self) -> float:
        """Over the folds on which the metric has a value."""
        return float(np.nanmean(self.scores))


def cross_validate(model: ModelConfig, rows: TrainingRows, attempt: Try, code: ModelCode | None = None) -> Result:
    """Fit and score an idea on each fold.

    Args:
        model: Declares metric, split and folds.
        rows: Features and target of the training rows.
        attempt: The idea.
        code: The brand's module; needed if the idea names no estimator.

    Raises:
        EntrypointError: If it cannot be built or fitted, or the metric has no value on any fold.
    """
    subject = attempt.name
    built = code if attempt.estimator is None else _code_for(attempt.estimator)
    contest = Contest(cast(ModelCode, built), model, rows, divide_into_folds(model, rows, subject), subject)
    params = dict(attempt.params) if attempt.estimator is None else {}
    with _few_threads(len(rows.target)):
        folds = [score_fold(contest, Attempt(attempt.name, params), fold) for fold in range(len(contest.folds))]
    refusal = next((fold.refusal for fold in folds if fold.refusal), "")
    if refusal or not np.isfinite([fold.score for fold in folds]).any():
        raise EntrypointError(refusal or f"{subject}: {model.metric} has no value on any fold of the training rows")
    return Result(attempt.name, tuple(fold.score for fold in folds), sum(fold.seconds for fold in folds))


def _few_threads(rows: int) -> AbstractContextManager[Any]:
    """Keep small fits to one thread, as runs do: boosting's threads wait for each other longer than they work."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    limits: AbstractContextManager[Any] = threadpool_limits(1 if rows < MANY_ROWS else None)
    return limits


def _code_for(estimator: Any) -> SimpleNamespace:
    from sklearn.base import clone

    return SimpleNamespace(build_estimator=lambda: clone(estimator))


class Scoreboard:
    """The ideas of one notebook. One that is tried again under the same name takes its own place."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self.tries: dict[str, Result] = {}

    def add(self, *results: Result) -> None:
        """Take results in."""
        self.tries |= {result.name: result for result in results}

    def ordered(self) -> list[Result]:
        """Best first."""
        return sorted(self.tries.values(), key=lambda result: result.mean, reverse=self._metric.greater_is_better)

    def as_frame(self) -> pd.DataFrame:
        """One line an idea."""
        lines = [
            {
                self._metric.name: result.mean,
                "spread of folds": float(np.nanstd(result.scores)),
                "worst": self._worst(result.scores),
                "best": -self._worst([-score for score in result.scores]),
                "folds": len(result.scores),
                "seconds": round(result.seconds, 2),
            }
            for result in self.ordered()
        ]
        return pd.DataFrame(lines, index=pd.Index([result.name for result in self.ordered()], name="tried"))

    def _worst(self, scores: Any) -> float:
        return float(np.nanmin(scores) if self._metric.greater_is_better else np.nanmax(scores))
