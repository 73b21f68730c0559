"""Rows that come as JSON objects, and the columns that a brand keeps of them."""

import json
from collections.abc import Sequence
from typing import Any

from brandhouse_shared.brands import Brand


class NoRowError(ValueError):
    """A message is no row; the text says why and holds no value."""


def named_columns(brand: Brand, dataset: str) -> list[str]:
    """Columns that the brand's models on a dataset name: inputs, target, slices, split. Nothing else is kept of a message."""
    names: dict[str, None] = {}
    for model in brand.config.models.values():
        if model.dataset == dataset:
            names |= dict.fromkeys([*model.inputs, model.target, *model.slices, *([model.split.by] if model.split.by else [])])
    return list(names)


def read_row(message: bytes | str, columns: Sequence[str]) -> list[str | None]:
    """Turn one JSON object into the cells of these columns; numbers keep their digits, a key that is not there is no value.

    Raises:
        NoRowError: If it is no object, holds none of the columns, or nests values.
    """
    try:
        found = json.loads(message, parse_int=str, parse_float=str, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        raise NoRowError("no JSON") from None
    if not isinstance(found, dict):
        raise NoRowError("no JSON object")
    if not found.keys() & set(columns):
        raise NoRowError("none of the columns that the models name")
    return [_cell(found.get(name), name) for name in columns]


def _cell(value: Any, name: str) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        raise NoRowError(f"a list or object in {name}")
    return None if value is None else str(value)
