"""How far two distributions of one column lie apart: one number in [0, 1] for every kind of column, and a word for it.

Numbers and dates: the Kolmogorov-Smirnov distance, the largest gap between the two cumulative distributions. Categories:
the total variation distance, half the sum of the absolute differences of the shares. Both say which share of the rows
would have to be other rows at least, so that 0.1 means the same for an age and for a colour.
"""

import math

import numpy as np
from numpy.typing import NDArray

CLEAR_EFFECT, LARGE_EFFECT = 0.1, 0.25
"""From where on a difference is called clear, and large. `monitoring.drift_effect` lies between them by default."""

CHANCE_CONFIDENCE = 0.95


def number_effect(values: NDArray[np.float64], before: NDArray[np.int64], after: NDArray[np.int64]) -> float | None:
    """The Kolmogorov-Smirnov distance of two samples.

    Args:
        values: The different values, in any order; one may appear more than once.
        before: Rows of each in the first sample.
        after: Rows of each in the second.

    Returns:
        A number in [0, 1]; None if a sample is empty.
    """
    if not before.sum() or not after.sum():
        return None
    _, places = np.unique(values, return_inverse=True)
    gaps = np.cumsum(np.bincount(places, before)) / before.sum() - np.cumsum(np.bincount(places, after)) / after.sum()
    return float(np.abs(gaps).max())


def share_effect(before: NDArray[np.int64], after: NDArray[np.int64]) -> float | None:
    """The total variation distance of two vectors of counts over the same categories; None if one is empty."""
    if not before.sum() or not after.sum():
        return None
    return float(np.abs(before / before.sum() - after / after.sum()).sum() / 2)


def number_chance(rows_before: int, rows_after: int) -> float:
    """The distance that two samples of one distribution exceed in one of twenty cases (Smirnov 1948, for large samples)."""
    if not rows_before or not rows_after:
        return 1.0
    return min(1.0, math.sqrt(-math.log((1 - CHANCE_CONFIDENCE) / 2) / 2) * math.sqrt(1 / rows_before + 1 / rows_after))


def share_chance(before: NDArray[np.int64], after: NDArray[np.int64]) -> float:
    """A distance that two samples of one distribution exceed in at most one of twenty cases.

    The expected distance, by the normal approximation for each category, plus the deviation that McDiarmid's inequality
    (1989) allows: one row moves the distance by at most one over the number of rows.
    """
    rows_before, rows_after = int(before.sum()), int(after.sum())
    if not rows_before or not rows_after:
        return 1.0
    spread = 1 / rows_before + 1 / rows_after
    shares = (before + after) / (rows_before + rows_after)
    expected = 0.5 * math.sqrt(2 / math.pi * spread) * float(np.sqrt(shares * (1 - shares)).sum())
    return min(1.0, expected + math.sqrt(-math.log(1 - CHANCE_CONFIDENCE) / 2 * spread))


def say_effect(effect: float | None, chance: float) -> str:
    """Name an effect: none, within chance, small, clear, large; `unknown` where a side has no value."""
    if effect is None:
        return "unknown"
    if effect == 0:
        return "none"
    if effect <= chance:
        return "within chance"
    return "large" if effect >= LARGE_EFFECT else "clear" if effect >= CLEAR_EFFECT else "small"
