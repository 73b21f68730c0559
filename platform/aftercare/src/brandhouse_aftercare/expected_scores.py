"""How good answers probably are while nobody knows the truth yet: an estimate, from what the hold-out taught.

Classes: the probabilities are calibrated on the hold-out, and truths are drawn from them (confidence-based performance
estimation). Numbers: errors are drawn from the hold-out's errors at predictions of the same size. Both hold as long as
the same inputs still mean the same; a world in which they do not (concept drift) looks as good as ever here.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brandhouse_flows.resampling import draw_weights, normalised, resample_scores
from brandhouse_flows.scores import score as score_of
from brandhouse_flows.scores import undefined_reason

Floats = NDArray[np.float64]

REFITS = 20
"""Bootstrap samples of the hold-out from which calibration or errors are learned: how sure these are themselves."""

DRAWS_A_REFIT = 10
"""Sets of truths drawn from each."""

MAX_ROWS = 20_000
"""More answers are sampled: the chance in their truths no longer matters beside that of the hold-out."""

DRAWN_AT_ONCE = 4_000_000
"""Numbers held in memory at a time (32 MB)."""

LOWEST = 1e-3
"""Probabilities are clipped here before they are calibrated: a forest that says 0 or 1 is not infinitely sure."""

PRIOR_ROWS = 4.0
"""The calibration starts from "as the model says" and is moved by rows as many as these would hold it."""

ERROR_BINS = 10
BIN_ROWS = 25
"""Fewest hold-out rows of a bin of predictions; smaller hold-outs get fewer bins."""

NEWTON_STEPS = 30
STEP_HALVINGS = 30


@dataclass(frozen=True, slots=True)
class Known:
    """Answers whose truth is known: a hold-out.

    Attributes:
        truth: Shape (rows,): numbers, or class codes from 0.
        prediction: Shape (rows,) or (rows, classes).
        groups: Group of each row from 0, for hold-outs of a grouped split.
    """

    truth: NDArray[Any]
    prediction: Floats
    groups: NDArray[np.int64] | None = None


@dataclass(frozen=True, slots=True)
class Estimate:
    """What the score of some answers probably is.

    Attributes:
        score: Expected; NaN if the metric cannot be estimated on these rows.
        low: Lower end of the interval in which the measured score will probably lie, once the truth is known.
        high: Upper end.
        error: Standard deviation of what may be measured.
        rows: Answers that were looked at.
    """

    score: float
    low: float
    high: float
    error: float
    rows: int


def estimate_score(metric: str, known: Known, prediction: Floats, confidence: float = 0.95, seed: int = 0) -> Estimate:
    """Estimate the score of answers without truth.

    Args:
        metric: A key of `METRICS`.
        known: What calibration or errors are learned from.
        prediction: The answers: shape (rows,) or (rows, classes).
        confidence: Of the interval.
        seed: Of all draws.
    """
    generator = np.random.default_rng(seed)
    if len(prediction) > MAX_ROWS:
        prediction = prediction[np.sort(generator.choice(len(prediction), MAX_ROWS, replace=False))]
    draw = _draw_numbers if prediction.ndim == 1 else _draw_classes
    scores = np.concatenate([draw(metric, known, weights, prediction, generator) for weights in _refits(known, seed)])
    finite = scores[np.isfinite(scores)]
    if len(finite) * 2 < len(scores):
        return Estimate(math.nan, math.nan, math.nan, math.nan, len(prediction))
    tail = (1 - confidence) / 2
    low, high = np.quantile(finite, [tail, 1 - tail])
    return Estimate(float(finite.mean()), float(low), float(high), float(finite.std(ddof=1)), len(prediction))


def _refits(known: Known, seed: int) -> Iterator[Floats]:
    for weights in draw_weights(len(known.truth), known.groups, seed, REFITS):
        yield from weights.T


# -- classes ---------------------------------------------------------------------------------------------------------


def _draw_classes(metric: str, known: Known, weights: Floats, prediction: Floats, generator: np.random.Generator) -> Floats:
    calibrated = fit_calibration(known.truth, known.prediction, weights)(prediction)
    answers, classes = normalised(prediction), prediction.shape[1]
    # One row for each class it may turn out to be; a draw gives one of them the weight 1.
    truth, repeated = np.tile(np.arange(classes), len(answers)), np.repeat(answers, classes, axis=0)
    at_once = max(1, DRAWN_AT_ONCE // len(truth))
    return np.concatenate(
        [
            resample_scores(metric, truth, repeated, _drawn_truths(calibrated, min(at_once, DRAWS_A_REFIT - start), generator))
            for start in range(0, DRAWS_A_REFIT, at_once)
        ]
    )


def _drawn_truths(probabilities: Floats, draws: int, generator: np.random.Generator) -> Floats:
    """Weights of shape (rows * classes, draws): 1 for the class that was drawn, else 0."""
    rows, classes = probabilities.shape
    chosen = (generator.random((rows, draws, 1)) > np.cumsum(probabilities, axis=1)[:, None, :-1]).sum(axis=2)
    weights = np.zeros((rows, classes, draws))
    np.put_along_axis(weights, chosen[:, None, :], 1.0, axis=1)
    return weights.reshape(rows * classes, draws)


def fit_calibration(truth: NDArray[Any], prediction: Floats, weights: Floats) -> Callable[[Floats], Floats]:
    """Fit how sure the model may be: a common slope and an offset per class on the logarithms of its probabilities.

    For two classes this is Platt's scaling (1999), for more vector scaling with one slope (Guo et al. 2017). Two numbers
    more than no calibration at all: a hold-out of some hundred rows does not carry a free curve.

    Args:
        truth: Class codes, shape (rows,).
        prediction: Shape (rows, classes).
        weights: How much each row counts, shape (rows,).

    Returns:
        A function from probabilities to calibrated probabilities.
    """
    classes = prediction.shape[1]
    logs = _logs(prediction)
    design = np.zeros((len(truth), classes, classes))  # of each row and class: its logarithm, then its offset's switch
    design[:, :, 0] = logs
    design[:, np.arange(1, classes), np.arange(1, classes)] = 1.0
    start = np.zeros(classes)
    start[0] = 1.0
    found = _newton(design, np.asarray(truth, dtype=np.int64), weights, start)
    slope, offsets = max(found[0], 0.05), np.concatenate([[0.0], found[1:]])
    return lambda probabilities: _softmax(slope * _logs(probabilities) + offsets)


def _newton(design: Floats, truth: NDArray[np.int64], weights: Floats, start: Floats) -> Floats:
    """Maximise the weighted likelihood of a multinomial model, with a normal prior around `start`."""
    rows = np.arange(len(truth))

    def likelihood(at: Floats) -> float:
        chances = _softmax(design @ at)[rows, truth]
        return float(weights @ np.log(np.maximum(chances, 1e-300)) - PRIOR_ROWS / 2 * ((at - start) ** 2).sum())

    found, reached = start.copy(), likelihood(start)
    for _ in range(NEWTON_STEPS):
        chances = _softmax(design @ found)
        mean = np.einsum("rc,rcp->rp", chances, design)
        slope = np.einsum("r,rp->p", weights, design[rows, truth] - mean) - PRIOR_ROWS * (found - start)
        spread = np.einsum("r,rc,rcp,rcq->pq", weights, chances, design, design, optimize=True)
        spread -= np.einsum("r,rp,rq->pq", weights, mean, mean, optimize=True)
        step = np.linalg.solve(spread + PRIOR_ROWS * np.eye(len(found)), slope)
        # A model that is far too sure sends the whole step beyond the top; half of it, or a quarter, goes up.
        halves = [step / 2**half for half in range(STEP_HALVINGS)]
        taken = next((one for one in halves if likelihood(found + one) > reached), None)
        if taken is None:
            break
        found, reached = found + taken, likelihood(found + taken)
        if np.abs(taken).max() < 1e-6:
            break
    return found


def _logs(probabilities: Floats) -> Floats:
    return np.log(normalised(np.clip(probabilities, LOWEST, 1.0)))


def _softmax(scores: Floats) -> Floats:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


# -- numbers ---------------------------------------------------------------------------------------------------------


def _draw_numbers(metric: str, known: Known, weights: Floats, prediction: Floats, generator: np.random.Generator) -> Floats:
    errors, counts = known.prediction - known.truth, weights.astype(np.int64)
    rows = np.repeat(np.arange(len(errors)), counts)
    edges = _bin_edges(known.prediction[rows])
    of_known, of_asked = np.searchsorted(edges, known.prediction[rows]), np.searchsorted(edges, prediction)
    pools = [errors[rows[of_known == number]] for number in range(len(edges) + 1)]
    scores = np.full(DRAWS_A_REFIT, np.nan)
    for draw in range(DRAWS_A_REFIT):
        drawn = np.empty(len(prediction))
        for number, pool in enumerate(pools):
            asked = of_asked == number
            drawn[asked] = pool[generator.integers(0, len(pool), int(asked.sum()))] if len(pool) else 0.0
        truth = prediction - drawn
        if not undefined_reason(metric, truth, prediction):
            scores[draw] = score_of(metric, truth, prediction)
    return scores


def _bin_edges(prediction: Floats) -> Floats:
    bins = max(1, min(ERROR_BINS, len(prediction) // BIN_ROWS))
    return np.unique(np.quantile(prediction, np.arange(1, bins) / bins))
