"""Rows that fit an input schema and are nobody's: what checks and a brand's own tests run code on. No data are read."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from brandhouse_shared.config import FieldType, InputField

DISTINCT = 8
"""So many rows differ; then they repeat."""

_ORDERS = (1, 3, 5, 7)
"""Steps that visit each of the distinct values once."""

_WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight")


def invent_rows(fields: Mapping[str, InputField], count: int = DISTINCT) -> list[dict[str, Any]]:
    """Make up instances as a request would hold them; deterministic. Numbers span their range, and a nullable field is null once.

    Numbers run through their values in different orders, so that one does not say what another is.
    """
    return [
        {
            name: None if field.nullable and index == 1 else _invent_value(field, index, _ORDERS[place % len(_ORDERS)])
            for place, (name, field) in enumerate(fields.items())
        }
        for index in range(count)
    ]


def _invent_value(field: InputField, index: int, order: int) -> Any:
    share = (index * order % DISTINCT) / (DISTINCT - 1)
    match field.type:
        case FieldType.NUMBER | FieldType.INTEGER:
            low = field.min if field.min is not None else min(0.0, field.max if field.max is not None else 0.0)
            high = field.max if field.max is not None else max(low, 0.0) + 10.0
            if field.type is FieldType.NUMBER:
                return low + (high - low) * share
            return math.ceil(low) + round((math.floor(high) - math.ceil(low)) * share)
        case FieldType.BOOLEAN:
            return index % 2 == 0
        case FieldType.CATEGORY if field.values:
            return field.values[index % len(field.values)]
        case FieldType.CATEGORY:
            return _WORDS[index % DISTINCT][: field.max_length]
        case FieldType.DATE:
            return datetime(2024, 1 + index % 12, 1 + index % 28, tzinfo=UTC).strftime(field.format)
        case FieldType.TEXT:
            return f"{_WORDS[index % DISTINCT]} of a few words to try the code with"[: field.max_length]
