"""The background rows beside a model, that explained answers are compared with: held-out rows, or what may be told of them.

Real rows are taken only where they may be kept beside a model (`samples.may_show_rows`). Otherwise fields are drawn apart from
each other, so that no row is anybody's, and by privacy class:

- public: the middles of the tenths of a number; classes of at least `MIN_DISCLOSED_ROWS` rows;
- personal: the rounded middles of a number's quarters; booleans and listed classes of at least `MIN_DISCLOSED_ROWS` rows;
- sensitive: one value for all rows, the rounded median or the most frequent class.

Dates are numbers of days, of people rounded to years. Texts, and classes of people that are not listed, are left out: missing, or
the value that an invented row has.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from brandhouse_flows.samples import invent_value, may_show_rows
from brandhouse_flows.statistics import MIN_DISCLOSED_ROWS
from brandhouse_shared.answering import Predictor
from brandhouse_shared.artifacts import Manifest
from brandhouse_shared.brands import Brand
from brandhouse_shared.config import FieldType, InputField, Privacy
from brandhouse_shared.metrics import Task

BACKGROUND_ROWS = 32
"""An exact explanation asks about 256 times as many rows. From 32, the mean answer is a good one since they are spread evenly."""

RANKED_ROWS = 2_000
"""Of the hold-out; they are put in the order of their answers, and every n-th is taken."""

SEED = 0
DAY_2000 = 10_957.0
PARTS = {Privacy.PUBLIC: 10, Privacy.PERSONAL: 4, Privacy.SENSITIVE: 1}


def build_background_rows(brand: Brand, manifest: Manifest, predictor: Predictor, rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Choose or make the background rows of a model.

    Args:
        brand: Says what may be kept.
        manifest: The model's.
        predictor: The packaged model.
        rows: Canonical held-out rows. Not changed.

    Returns:
        JSON objects as a request has them; the same every time.
    """
    contract = manifest.contract
    if may_show_rows(brand, manifest):
        return contract.instances_of(rows.iloc[_spread(manifest, predictor, rows)])
    generator = np.random.default_rng(SEED)
    instances = contract.instances_of(rows)
    may_tell = brand.config.capabilities.may_store_predictions
    columns = {}
    for name, field in contract.fields.items():
        privacy = field.privacy if may_tell or field.privacy is Privacy.SENSITIVE else Privacy.PERSONAL
        drawn = _generic(rows[name], [instance[name] for instance in instances], field, privacy)
        columns[name] = [drawn[place] for place in generator.permutation(len(drawn))]
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _spread(manifest: Manifest, predictor: Predictor, rows: pd.DataFrame) -> NDArray[np.intp]:
    """Rows whose answers are spread evenly over those of all rows."""
    sample = np.linspace(0, len(rows) - 1, min(len(rows), RANKED_ROWS)).round().astype(np.intp)
    answers = predictor.predict(manifest.contract.columns_of(rows.iloc[sample]))
    ranked = answers if manifest.task is Task.REGRESSION else answers[:, -1] if answers.shape[1] == 2 else answers.max(axis=1)
    places = np.arange(min(len(sample), BACKGROUND_ROWS)) + 0.5
    return sample[np.argsort(ranked, kind="stable")[(places / len(places) * len(sample)).astype(np.intp)]]


# -- what may be told of a field ---------------------------------------------------------------------------------------


def _generic(column: "pd.Series[Any]", values: Sequence[Any], field: InputField, privacy: Privacy) -> list[Any]:
    """`BACKGROUND_ROWS` values of one field, none of which tells of a person."""
    if field.type in (FieldType.NUMBER, FieldType.INTEGER):
        middles = _middles(column.to_numpy(), field, privacy)
        return [None if middle is None else _allowed(middle, field) for middle in middles]
    if field.type is FieldType.DATE:
        days = (column - pd.Timestamp(0)) / pd.Timedelta(days=1)
        return [None if day is None else _date(day, field, privacy) for day in _middles(days.to_numpy(), field, privacy)]
    is_told = field.type is FieldType.BOOLEAN or (field.type is FieldType.CATEGORY and (field.values or privacy is Privacy.PUBLIC))
    return _of_classes(values if is_told else [], field, only_first=privacy is Privacy.SENSITIVE)


def _middles(column: NDArray[Any], field: InputField, privacy: Privacy) -> list[float | None]:
    """Middles of equal parts of the known numbers, each as often as the part is large, and missing ones where there are enough."""
    known = np.sort(column[np.isfinite(column)].astype(np.float64))
    if len(known) < MIN_DISCLOSED_ROWS:
        return [None if field.nullable else DAY_2000 if field.type is FieldType.DATE else float(invent_value(field))] * BACKGROUND_ROWS
    parts = max(1, min(PARTS[privacy], len(known) // MIN_DISCLOSED_ROWS))
    step = 0.0 if privacy is Privacy.PUBLIC else _step(known)
    middles = [float(np.median(part)) for part in np.array_split(known, parts)]
    missing = len(column) - len(known)
    of_missing = missing / len(column) if missing >= MIN_DISCLOSED_ROWS and field.nullable else 0.0
    rounded = [round(middle / step) * step if step else middle for middle in middles]
    return _apportion([*rounded, None], [*[(1 - of_missing) / parts] * parts, of_missing])


def _step(known: NDArray[np.float64]) -> float:
    """To what a middle is rounded: a power of ten, several of which lie between most of the numbers. 0: all are the same."""
    low, high = np.quantile(known, [0.05, 0.95])
    return float(10.0 ** math.floor(math.log10((high - low) / 3))) if high > low else 0.0


def _allowed(middle: float, field: InputField) -> float | int:
    low, high = (-math.inf if field.min is None else field.min), (math.inf if field.max is None else field.max)
    kept = min(max(middle, low), high)
    return round(kept) if field.type is FieldType.INTEGER else kept


def _date(day: float, field: InputField, privacy: Privacy) -> str:
    found = pd.Timestamp(0) + pd.Timedelta(days=round(day))
    return (found if privacy is Privacy.PUBLIC else found.replace(month=1, day=1)).strftime(field.format)


def _of_classes(values: Sequence[Any], field: InputField, *, only_first: bool) -> list[Any]:
    counts: dict[Any, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    told = [value for value, count in counts.items() if count >= MIN_DISCLOSED_ROWS]
    if not told:
        return [None if field.nullable else invent_value(field)] * BACKGROUND_ROWS
    told.sort(key=lambda value: (-counts[value], str(value)))
    told = told[:1] if only_first else told
    whole = sum(counts[value] for value in told)
    return _apportion(told, [counts[value] / whole for value in told])


def _apportion(values: Sequence[Any], shares: Sequence[float]) -> list[Any]:
    """`BACKGROUND_ROWS` values in these shares: at the middle of each row's place, the value whose turn it is."""
    edges = np.cumsum(shares) / sum(shares)
    places = (np.arange(BACKGROUND_ROWS) + 0.5) / BACKGROUND_ROWS
    return [values[int(place)] for place in np.minimum(np.searchsorted(edges, places), len(values) - 1)]
