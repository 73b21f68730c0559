"""Where a version is worse than the one in production: both are scored on the same hold-out rows of each slice.

It informs whoever promotes; what decides is the gate over all rows. Of many segments some look worse by chance: each interval has
the declared confidence by itself.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from brandhouse_flows.scores import bootstrap
from brandhouse_flows.slices import SLICE_RESAMPLES, each_value
from brandhouse_shared.config import ModelConfig

OTHER = "production"


@dataclass(frozen=True)
class Segment:
    """This version and the one in production on the hold-out rows of one value of one column.

    Attributes:
        column: Name of the column.
        value: The value or range, as shown to people.
        rows: Hold-out rows.
        score: Of this version.
        production: Score of the version in production.
        gain: How much better this version is, in the metric's unit; negative is worse.
        low: Lower end of the gain's paired interval.
        high: Upper end.
    """

    column: str
    value: str
    rows: int
    score: float
    production: float
    gain: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """What the interval says."""
        if self.high < 0:
            return "worse"
        return "better" if self.low > 0 else "no difference shown"


def compare_segments(
    model: ModelConfig,
    truth: NDArray[Any],
    prediction: NDArray[Any],
    production: NDArray[Any],
    columns: pd.DataFrame,
    names: Sequence[str],
    groups: NDArray[Any] | None = None,
) -> list[Segment]:
    """Compare by segment.

    Args:
        model: Declares metric, confidence, seed and the fewest rows of a segment.
        truth: Shape (rows,) of the hold-out.
        prediction: Of the new version.
        production: Of the version in production, on the same rows.
        columns: Raw text columns of the same rows. Not changed.
        names: Columns to cut by.
        groups: Group of each row for a grouped split, else None.

    Returns:
        Segments with enough rows and a known score, the greatest loss first.
    """
    found = []
    for name in names:
        for value, mask in each_value(columns[name]):
            if mask.sum() < model.gates.slice_min_rows:
                continue
            report = bootstrap(
                model.metric,
                truth[mask],
                prediction[mask],
                {OTHER: production[mask]},
                model.gates.confidence,
                model.split.seed,
                SLICE_RESAMPLES,
                None if groups is None else groups[mask],
            )
            gain = report.differences[OTHER]
            if math.isfinite(gain.low) and np.isfinite([report.score, gain.score]).all():
                shown = 0.0 if abs(gain.gain) < 1e-12 else gain.gain  # what equal versions differ by is rounding
                found.append(Segment(name, value, report.rows, report.score, gain.score, shown, gain.low, gain.high))
    return sorted(found, key=lambda segment: segment.gain)
