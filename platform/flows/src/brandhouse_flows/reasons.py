"""What moves the answers of a packaged version, on the whole: explained hold-out rows for its card.

Bounded like `importance`: rows are explained until the time is over. It is for the card, not for a decision.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from brandhouse_shared.answering import Predictor
from brandhouse_shared.artifacts import Manifest
from brandhouse_shared.config import FieldType, InputField, Privacy
from brandhouse_shared.explaining import Question, build_background

MAX_ROWS = 200
BACKGROUND_ROWS = 8
"""Every fourth of those beside the version: the more rows can be explained in the same time."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Reasons:
    """Contributions to the answers of some hold-out rows.

    Attributes:
        fields: Input fields, those that contribute most first.
        contributions: Shape (rows, fields), in the answer's unit.
        places: Shape (rows, fields): where the row's number lies among all rows', from 0 (lowest) to 1; NaN where there is no
            order, or where single rows must not be shown.
        shown_apart: One a field: whether single rows may be shown.
    """

    fields: tuple[str, ...]
    contributions: Floats
    places: Floats
    shown_apart: tuple[bool, ...]

    @property
    def strengths(self) -> list[tuple[str, float]]:
        """Field to its mean absolute contribution."""
        return list(zip(self.fields, np.abs(self.contributions).mean(axis=0).tolist(), strict=True))


def collect_reasons(
    predictor: Predictor, manifest: Manifest, background: Sequence[Any], rows: pd.DataFrame, seconds: float, *, may_show: bool
) -> Reasons | None:
    """Explain hold-out rows for so long.

    Args:
        predictor: The packaged version.
        manifest: Its manifest.
        background: Its background rows, as JSON objects.
        rows: Canonical held-out rows. Not changed.
        seconds: After so long no further row is begun; one row takes some ten milliseconds.
        may_show: Whether single rows of the brand may be shown at all.

    Returns:
        None if there was no time, or if the brand's code does not take rows mixed of two.
    """
    thin = build_background(background, manifest).thinned(BACKGROUND_ROWS)
    chosen = rows.iloc[np.linspace(0, len(rows) - 1, min(len(rows), MAX_ROWS)).round().astype(np.intp)]
    columns = manifest.contract.columns_of(chosen)
    found: list[list[float]] = []
    # Not one after the other: the rows that there is time for shall be from everywhere.
    order = np.random.default_rng(0).permutation(len(chosen))
    deadline = time.monotonic() + seconds
    try:
        for place in order:
            if time.monotonic() > deadline:
                break
            question = Question(thin, {name: values[place] for name, values in columns.items()})
            explanation = question.explain(predictor.predict(question.columns).tolist(), manifest)
            found.append(list(explanation.contributions.values()))
    except Exception:  # brand code may refuse a row that mixes two; then nothing is said
        return None
    return _arranged(manifest, np.array(found), chosen.iloc[order[: len(found)]], may_show) if found else None


def _arranged(manifest: Manifest, contributions: Floats, rows: pd.DataFrame, may_show: bool) -> Reasons:
    strongest = np.argsort(-np.abs(contributions).mean(axis=0), kind="stable")
    names = [list(manifest.inputs)[field] for field in strongest]
    fields = [manifest.inputs[name] for name in names]
    shown = [may_show and field.privacy is Privacy.PUBLIC for field in fields]
    unknown = np.full(len(rows), np.nan)
    places = [_places(rows[name], field) if apart else unknown for name, field, apart in zip(names, fields, shown, strict=True)]
    return Reasons(tuple(names), contributions[:, strongest], np.column_stack(places), tuple(shown))


def _places(column: "pd.Series[Any]", field: InputField) -> Floats:
    """Ranks from 0 to 1; NaN for texts and missing values."""
    if not field.is_numeric and field.type is not FieldType.DATE:
        return np.full(len(column), np.nan)
    ranks = column.rank(method="dense")
    highest = ranks.max()
    return np.asarray((ranks - 1) / (highest - 1) if highest > 1 else ranks * np.nan, dtype=np.float64)
