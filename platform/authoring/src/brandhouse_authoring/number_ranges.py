"""The range of numbers a field allows: wider than what was seen, so that tomorrow's rows pass, and not so wide as to say nothing."""

import math
from typing import Any

from brandhouse_authoring.name_words import SHARE, YEAR, name_words
from brandhouse_authoring.profiling import ColumnProfile

MIN_ROWS = 20
"""With fewer rows what was seen says too little about what may come."""

_PHYSICAL = {"lat": (-90, 90), "latitude": (-90, 90), "lon": (-180, 180), "lng": (-180, 180), "longitude": (-180, 180)}
_YEARS = range(1900, 2101)
_YEARS_AROUND = 20


def declare_range(profile: ColumnProfile) -> dict[str, Any]:
    """Return `min` and `max` of a column of numbers.

    The range seen is widened by its own width on both sides and rounded outwards to two digits; it does not go below zero
    where nothing seen does.
    """
    if profile.known < MIN_ROWS:
        return {}
    low, high = float(profile.numbers.min()), float(profile.numbers.max())
    words = name_words(profile.name)
    for word in words:
        if word in _PHYSICAL and low >= _PHYSICAL[word][0] and high <= _PHYSICAL[word][1]:
            return {"min": _PHYSICAL[word][0], "max": _PHYSICAL[word][1]}
    if low >= 0 and high <= 1 and set(words) & SHARE:
        return {"min": 0, "max": 1}
    if profile.all_whole and low in _YEARS and high in _YEARS and YEAR & set(words):
        return {"min": int(low) - _YEARS_AROUND, "max": int(high) + _YEARS_AROUND}
    width = max(high - low, 1.0 if profile.all_whole else 0.0)
    lowest = 0.0 if low >= 0 else _outwards(low - width, down=True)
    return {"min": _plain(lowest), "max": _plain(_outwards(high + width, down=False))}


def _outwards(value: float, *, down: bool) -> float:
    """Round to two digits, away from what was seen."""
    if value == 0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(abs(value))) - 1)
    rounded = (math.floor if down else math.ceil)(value / step) * step
    return float(f"{rounded:.6g}")


def _plain(value: float) -> int | float:
    return int(value) if value == int(value) and abs(value) < 1e15 else value
