"""The slices of a version's hold-out, found again among logged inputs, so that both can be compared.

A slice's description is what the ledger keeps of it: a value, or a range with four digits. Only slices of public input
fields can be found: of others the log holds hashes, or nothing.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brandhouse_flows.slices import MISSING, OTHERS
from brandhouse_flows.wording import shorten
from brandhouse_shared.config import FieldType, InputField, Privacy
from brandhouse_shared.table_columns import FALSE_WORDS, TRUE_WORDS

_NUMBER = r"(-?[0-9][0-9,]*(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?)"
_RANGE = re.compile(rf"(?:up to {_NUMBER}|above {_NUMBER}|{_NUMBER} to {_NUMBER})")


@dataclass(frozen=True)
class LiveSlice:
    """Rows of one slice.

    Attributes:
        mask: Shape (rows,).
        registered: The slice in the version's record: `score`, `low`, `high`, `rows`.
    """

    column: str
    value: str
    mask: NDArray[np.bool_]
    registered: Mapping[str, Any]


def find_slices(
    slices: Sequence[Mapping[str, Any]], fields: Mapping[str, InputField], inputs: Sequence[Mapping[str, Any] | None]
) -> tuple[list[LiveSlice], list[str]]:
    """Find the rows of each slice.

    Args:
        slices: As in `VersionRecord.slices`.
        fields: Input schema of the version.
        inputs: Logged inputs, one a row; None where they are not kept.

    Returns:
        The slices whose column is a public input field, and the names of the columns that are not.
    """
    columns = dict.fromkeys(str(one["column"]) for one in slices)
    seen = [name for name in columns if name in fields and fields[name].privacy is Privacy.PUBLIC]
    found = []
    for name in seen:
        own = [one for one in slices if one["column"] == name]
        named = {str(one["value"]) for one in own}
        values = [_Missing if row is None else _canonical(fields[name], row.get(name)) for row in inputs]
        found += [LiveSlice(name, str(one["value"]), _mask(str(one["value"]), named, values, fields[name]), one) for one in own]
    return found, [name for name in columns if name not in seen]


class _Missing:
    """A row whose inputs are not known belongs to no slice."""


def _canonical(field: InputField, value: Any) -> Any:
    """A number where the field or the text is one, else a text; None is missing."""
    if value is None or value == "":
        return None
    if isinstance(value, bool) or field.type is FieldType.BOOLEAN:
        return _truth(value)
    return value if isinstance(value, int | float) else _number_or_text(str(value).strip())


def _truth(value: Any) -> Any:
    word = str(value).strip().lower()
    return 1.0 if word in TRUE_WORDS else 0.0 if word in FALSE_WORDS else word


def _number_or_text(text: str) -> Any:
    try:
        number = float(text)
    except ValueError:
        return shorten(text)
    return number if math.isfinite(number) else shorten(text)


def _mask(value: str, named: set[str], values: Sequence[Any], field: InputField) -> NDArray[np.bool_]:
    if value == MISSING:
        return np.array([one is None for one in values], dtype=np.bool_)
    if value == OTHERS:
        known = {_canonical(field, one) for one in named - {MISSING, OTHERS}}
        return np.array([one is not None and one is not _Missing and one not in known for one in values], dtype=np.bool_)
    bounds = _RANGE.fullmatch(value) if field.is_numeric and field.type is not FieldType.BOOLEAN else None
    if bounds:
        most, least = _edge(bounds, 1, 4, math.inf), _edge(bounds, 2, 3, -math.inf)
        return np.array([isinstance(one, int | float) and least < one <= most for one in values], dtype=np.bool_)
    wanted = _canonical(field, value)
    return np.array([one is not _Missing and one == wanted for one in values], dtype=np.bool_)


def _edge(bounds: re.Match[str], alone: int, of_two: int, otherwise: float) -> float:
    text = bounds[alone] or bounds[of_two]
    return otherwise if text is None else float(text.replace(",", ""))
