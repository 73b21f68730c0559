"""How far the shares of two samples lie apart, how sure that is, and how many rows it takes to see it.

The distance is the total variation: half the sum of the absolute differences of the shares. It says which share of the
rows would have to be other rows, for an age as for a colour, and is what comparisons of snapshots show too.

Two samples of one distribution differ as well. The expected chance distance is taken off (a normal approximation cell by
cell), and how far beyond it chance can reach is bounded by McDiarmid's inequality (1989): one row moves the distance by at
most one over the number of rows. That bound holds for every distribution and number of rows, and both samples count.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MISSED_SHARE = 0.1
"""A drift of the size that is looked for is missed so often at most, given the rows that are asked for."""

Shares = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Distance:
    """How far two samples lie apart.

    Attributes:
        measured: Total variation distance of the shares, in [0, 1].
        effect: The same without what chance and rounding are expected to make of no difference; what limits are held against.
        low: Smallest distance of the two distributions that goes with the samples, at the confidence asked for.
        high: Greatest.
        probability: Of such a distance, or a greater one, if the distributions are the same; an upper bound.
    """

    measured: float
    effect: float
    low: float
    high: float
    probability: float


def measure_distance(before: NDArray[np.float64], after: NDArray[np.int64], alpha: float, slack: float = 0.0) -> Distance:
    """Compare counts over the same cells.

    Args:
        before: Rows of each cell in the first sample; at least one row in all.
        after: The same of the second.
        alpha: The interval may miss the distance with this probability on each side.
        slack: By how much the first sample's shares may be off through rounding, as a distance.
    """
    m, n = float(before.sum()), float(after.sum())
    spread = 1 / m + 1 / n
    p, q = before / m, after / n
    measured = float(np.abs(p - q).sum() / 2)
    pooled = (before + after) / (m + n)
    effect = max(0.0, measured - _chance(pooled * (1 - pooled) * spread) - slack)
    reach = _reach(alpha) * math.sqrt(spread)
    return Distance(
        measured=measured,
        effect=effect,
        low=max(0.0, measured - _chance(p * (1 - p) / m + q * (1 - q) / n) - slack - reach),
        high=min(1.0, measured + slack + reach),
        probability=math.exp(-2 * effect**2 / spread),
    )


def rows_needed(before: NDArray[np.float64], limit: float, alpha: float, slack: float = 0.0) -> float:
    """How many rows the second sample must have, so that a distance of `target_effect(limit)` is called red nine times of ten.

    Args:
        before: Rows of each cell in the first sample.
        limit: Effect that is called drift.
        alpha: Largest probability of a false alarm.
        slack: As in `measure_distance`.

    Returns:
        Infinite if the first sample itself has too few rows for that, see `reference_rows_needed`.
    """
    spread = _spread_needed(before, limit, alpha, slack)
    left = spread - 1 / float(before.sum())
    return math.ceil(1 / left) if left > 0 else math.inf


def reference_rows_needed(before: NDArray[np.float64], limit: float, alpha: float, slack: float = 0.0) -> int:
    """How many rows the first sample must have, however many the second has."""
    return math.ceil(1 / _spread_needed(before, limit, alpha, slack)) + 1


def target_effect(limit: float) -> float:
    """The distance that is to be found surely, where `limit` is what is called drift: twice as much, or half way to all."""
    return min(2 * limit, (1 + limit) / 2)


def holm(probabilities: Mapping[str, float]) -> dict[str, float]:
    """Adjust for looking at several things at once (Holm 1979): those at or below alpha hold together with 1 - alpha."""
    adjusted: dict[str, float] = {}
    largest = 0.0
    for place, name in enumerate(sorted(probabilities, key=lambda one: probabilities[one])):
        largest = max(largest, min(1.0, probabilities[name] * (len(probabilities) - place)))
        adjusted[name] = largest
    return adjusted


def shares_of(counts: Sequence[float] | NDArray[np.float64] | NDArray[np.int64]) -> Shares:
    """Counts as shares of their sum."""
    whole = np.asarray(counts, dtype=np.float64)
    return np.asarray(whole / max(float(whole.sum()), 1.0))


def _spread_needed(before: NDArray[np.float64], limit: float, alpha: float, slack: float) -> float:
    """The sum of one over the numbers of rows below which both conditions of red are met surely enough."""
    shares = before / before.sum()
    chance, missed = _chance(shares * (1 - shares)), _reach(MISSED_SHARE)
    target = target_effect(limit) - slack
    to_limit = max(target - limit, 1e-6) / (chance + missed)
    to_alpha = target / (chance + missed + _reach(alpha))
    return float(min(to_limit, to_alpha) ** 2)


def _chance(variances: NDArray[np.float64]) -> float:
    """Half the expected sum of absolute deviations of shares with these variances."""
    return float(np.sqrt(2 / math.pi * np.maximum(variances, 0)).sum() / 2)


def _reach(alpha: float) -> float:
    """How far beyond its expectation the distance lies with probability alpha at most, in units of the root of the spread."""
    return math.sqrt(-math.log(alpha) / 2)
