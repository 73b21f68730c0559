"""Which features a fitted model leans on: how much its score suffers when one is shuffled (Breiman 2001).

Bounded on purpose: a sample of hold-out rows, a few shuffles, and a time limit. It is for the card, not for a decision.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from brandhouse_flows.scores import score
from brandhouse_shared.metrics import METRICS

MAX_ROWS = 400
REPEATS = 2
ROWS_AT_ONCE = 4_000
"""Shuffled copies are predicted together: a pipeline's fixed cost per call is larger than its cost per row."""

Predict = Callable[[pd.DataFrame], NDArray[Any]]


@dataclass(frozen=True)
class Importance:
    """What the score loses when one feature is shuffled, in the metric's unit; positive means the feature helps."""

    feature: str
    loss: float

    def as_document(self) -> dict[str, Any]:
        """The importance as plain values."""
        return asdict(self)


def measure_importance(
    predict: Predict, features: pd.DataFrame, truth: NDArray[Any], metric_name: str, seed: int = 0, seconds: float = 1.0
) -> list[Importance]:
    """Shuffle one feature after another and score again.

    Args:
        predict: Takes such a frame; returns numbers, or probabilities of shape (rows, classes).
        features: Hold-out rows as the model receives them. Not changed.
        truth: Of the same rows.
        metric_name: The model's metric.
        seed: Of the sample and the shuffles.
        seconds: Features that this time does not suffice for are left out, and so is everything if the score is undefined.

    Returns:
        Features by falling loss; those not reached in time are absent.
    """
    generator = np.random.default_rng(seed)
    rows = generator.permutation(len(truth))[:MAX_ROWS]
    sample, answers = features.iloc[rows].reset_index(drop=True), np.asarray(truth)[rows]
    whole = score(metric_name, answers, predict(sample))
    deadline = time.monotonic() + seconds  # from here: the first call also imports what it needs
    sign = 1.0 if METRICS[metric_name].greater_is_better else -1.0
    losses: dict[str, float] = {}
    for names in _batches(list(sample.columns), len(sample)):
        if time.monotonic() > deadline or np.isnan(whole):
            break
        shuffled = pd.concat([_shuffled(sample, name, generator) for name in names for _ in range(REPEATS)], ignore_index=True)
        predicted = np.split(predict(shuffled), len(names) * REPEATS)
        scores = np.array([score(metric_name, answers, part) for part in predicted]).reshape(len(names), REPEATS)
        losses |= {str(name): float(sign * (whole - mean)) for name, mean in zip(names, scores.mean(axis=1), strict=True)}
    return sorted((Importance(name, loss) for name, loss in losses.items()), key=lambda item: (-item.loss, item.feature))


def _batches(names: list[Any], rows: int) -> list[list[Any]]:
    size = max(1, ROWS_AT_ONCE // max(rows * REPEATS, 1))
    return [names[start : start + size] for start in range(0, len(names), size)]


def _shuffled(sample: pd.DataFrame, name: Any, generator: np.random.Generator) -> pd.DataFrame:
    shuffled = sample.copy(deep=False)  # `assign` cannot take a feature named `self`
    shuffled[name] = sample[name].to_numpy()[generator.permutation(len(sample))]
    return shuffled
