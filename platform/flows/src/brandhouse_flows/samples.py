"""Rows beside a model: held-out rows for `sample.json`, rows with missing values for comparison.

A brand that may not store predictions, or whose input holds personal or sensitive fields, gets invented rows instead.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from brandhouse_shared.answering import Predictor
from brandhouse_shared.artifacts import Manifest
from brandhouse_shared.brands import Brand
from brandhouse_shared.config import FieldType, InputField, Privacy
from brandhouse_shared.contracts import MISSING_TEXT, Contract
from brandhouse_shared.errors import BrandhouseError
from brandhouse_shared.metrics import Task

SAMPLE_ROWS = 20
BLANKED_ROWS = 25


def blank_out(rows: pd.DataFrame, contract: Contract) -> pd.DataFrame:
    """A few rows once more for every nullable field, with that field missing. Empty if no field is nullable."""
    few = rows.iloc[:BLANKED_ROWS]
    blanked = [_without(few, name, field) for name, field in contract.fields.items() if field.nullable]
    return pd.concat(blanked, ignore_index=True) if blanked else few.iloc[:0]


def _without(rows: pd.DataFrame, name: str, field: InputField) -> pd.DataFrame:
    missing: Any = np.nan if field.is_numeric else (pd.NaT if field.type is FieldType.DATE else MISSING_TEXT)
    copied = rows.copy()
    copied[name] = pd.Series([missing] * len(rows), index=rows.index, dtype=rows[name].dtype)
    return copied


def build_sample(
    brand: Brand, manifest: Manifest, predictor: Predictor, rows: pd.DataFrame, truth: Sequence[Any] | None
) -> list[dict[str, Any]]:
    """A few requests with the expected answer.

    Returns:
        Objects with `instance`, `expected` (a number, or label and probabilities), and, for held-out rows, `truth`.
        Empty if the rows must not be stored and the model answers no invented row.
    """
    if not may_show_rows(brand, manifest):
        return _invented(manifest, predictor)
    few = rows.iloc[:SAMPLE_ROWS]
    answers = predictor.predict(manifest.contract.columns_of(few))
    sample = [
        {"instance": instance, "expected": describe_answer(manifest, answer)}
        for instance, answer in zip(manifest.contract.instances_of(few), answers, strict=True)
    ]
    for entry, value in zip(sample, list(truth)[: len(few)] if truth is not None else [], strict=False):
        entry["truth"] = value.item() if isinstance(value, np.generic) else value
    return sample


def may_show_rows(brand: Brand, manifest: Manifest) -> bool:
    """Whether real rows may be kept beside the model."""
    return brand.config.capabilities.may_store_predictions and all(field.privacy is Privacy.PUBLIC for field in manifest.inputs.values())


def describe_answer(manifest: Manifest, answer: Any) -> Any:
    """One row's answer as JSON: a number, or the label and the probability of each class."""
    if manifest.task is Task.REGRESSION:
        return float(answer)
    return {"label": manifest.classes[int(np.argmax(answer))], "probabilities": [float(share) for share in answer]}


def _invented(manifest: Manifest, predictor: Predictor) -> list[dict[str, Any]]:
    instance = {name: invent_value(field) for name, field in manifest.inputs.items()}
    try:
        (answer,) = predictor.predict(manifest.contract.parse_rows([instance]))
    except (BrandhouseError, ValueError, TypeError):  # the brand's code may not take such a row: then there is no sample
        return []
    return [{"instance": instance, "expected": describe_answer(manifest, answer), "invented": True}]


def invent_value(field: InputField) -> Any:
    """A value the schema allows, the same every time."""
    match field.type:
        case FieldType.NUMBER | FieldType.INTEGER:
            low = field.min if field.min is not None else min(0.0, field.max if field.max is not None else 0.0)
            return math.ceil(low) if field.type is FieldType.INTEGER else low
        case FieldType.BOOLEAN:
            return False
        case FieldType.DATE:
            return pd.Timestamp(2000, 1, 1).strftime(field.format)
    return field.values[0] if field.values else "a"
