"""What the training rows looked like, as plain values for the ledger: the reference that drift is measured against.

Public fields keep deciles and frequent categories. Of personal and sensitive fields no row's value is kept: only shares
of coarse ranges with rounded edges, and shares of categories that `brand.toml` itself lists, each with enough rows that
it says nothing about one person.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from brandhouse_shared.config import FieldType, InputField, Privacy, Scalar
from brandhouse_shared.contracts import Contract

TOP_CATEGORIES = 20
MIN_DISCLOSED_ROWS = 10
"""Smallest group of rows whose share is told of a personal or sensitive field (a usual limit of statistical offices)."""

_DECILES = np.linspace(0, 1, 11)
_QUARTILES = np.linspace(0, 1, 5)

Document = dict[str, Any]


def feature_statistics(
    rows: pd.DataFrame, contract: Contract, prediction: NDArray[Any] | None = None, classes: Sequence[Scalar] = ()
) -> Document:
    """Describe the input fields, and the predictions if given.

    Args:
        rows: Canonical frame (see `contracts`), one column per input field. Not changed.
        contract: Says type and privacy class of each field.
        prediction: Shape (rows,) numbers, or (rows, classes) probabilities; of any rows.
        classes: Their classes, as in the data.

    Returns:
        JSON-able: `rows`, `fields` (name to statistics) and, if given, `prediction`.
    """
    fields = {name: _describe(rows[name], field) for name, field in contract.fields.items()}
    described: Document = {"rows": len(rows), "fields": fields}
    if prediction is not None:
        described["prediction"] = prediction_statistics(prediction, classes)
    return described


def prediction_statistics(prediction: NDArray[Any], classes: Sequence[Scalar] = ()) -> Document:
    """Describe predictions: deciles of numbers, or mean probability and share of each class.

    Of two classes also the deciles of the second one's probability, of more those of the greatest probability of a row.
    """
    if prediction.ndim == 1:
        return {"rows": len(prediction), **_numbers(np.asarray(prediction, dtype=np.float64))}
    chosen = np.bincount(prediction.argmax(axis=1), minlength=prediction.shape[1])
    means = prediction.mean(axis=0)
    names = [str(name) for name in classes] or [str(code) for code in range(prediction.shape[1])]
    described = {
        name: {"mean_probability": _plain(mean), "predicted_share": _share(count, len(prediction))}
        for name, mean, count in zip(names, means, chosen, strict=True)
    }
    told = {"probability": prediction[:, 1]} if prediction.shape[1] == 2 else {"confidence": prediction.max(axis=1)}
    views = {name: _numbers(np.asarray(values, dtype=np.float64)) for name, values in told.items()}
    return {"rows": len(prediction), "classes": described, **views}


def _describe(column: "pd.Series[Any]", field: InputField) -> Document:
    missing = column.isna().to_numpy() if field.is_numeric or field.type is FieldType.DATE else (column == "").to_numpy()
    known = column[~missing]
    told: Document = {
        "type": str(field.type),
        "privacy": str(field.privacy),
        "rows": len(column),
        "missing_share": _share(int(missing.sum()), len(column)),
    }
    if known.empty:
        return told
    if field.privacy is Privacy.PUBLIC:
        return told | _PUBLIC[field.type](known)
    return told | {"coarse": True} | _coarse(known, field)


def _numbers(values: NDArray[np.float64]) -> Document:
    known = values[np.isfinite(values)]
    if not len(known):
        return {}
    return {
        "mean": _plain(known.mean()),
        "std": _plain(known.std()),
        "min": _plain(known.min()),
        "max": _plain(known.max()),
        "deciles": [_plain(value) for value in np.quantile(known, _DECILES)],
        "bins": _bins(known),
    }


def _bins(known: NDArray[np.float64]) -> Document:
    """How many rows lie up to each inner decile and above the one before: exact where many rows have one value."""
    edges = np.unique(np.quantile(known, _DECILES[1:-1]))
    counts = np.bincount(np.searchsorted(edges, known, "left"), minlength=len(edges) + 1)
    return {"edges": [_plain(edge) for edge in edges], "counts": [int(count) for count in counts]}


def _number_field(known: "pd.Series[Any]") -> Document:
    values = known.to_numpy(dtype=np.float64)
    # Few distinct numbers (flags, counts) drift in their shares, which deciles hide.
    distinct = np.unique(values)
    shares = {f"{value:g}": _share(int((values == value).sum()), len(values)) for value in distinct} if len(distinct) <= 10 else None
    return _numbers(values) | ({"shares": shares} if shares else {})


def _boolean_field(known: "pd.Series[Any]") -> Document:
    return {"true_share": _plain(known.to_numpy(dtype=np.float64).mean())}


def _category_field(known: "pd.Series[Any]") -> Document:
    counts = known.value_counts()
    top = {str(value)[:80]: int(count) for value, count in counts.head(TOP_CATEGORIES).items()}
    return {"distinct": len(counts), "top": top, "other_rows": int(counts.iloc[TOP_CATEGORIES:].sum())}


def _text_field(known: "pd.Series[Any]") -> Document:
    lengths = np.asarray(known.str.len(), dtype=np.float64)
    words = np.asarray(known.str.count(r"\S+"), dtype=np.float64)
    return {"distinct": int(known.nunique()), "length": _numbers(lengths), "words_mean": _plain(words.mean())}


def _date_field(known: "pd.Series[Any]") -> Document:
    deciles = [stamp.isoformat() for stamp in known.sort_values().iloc[(_DECILES * (len(known) - 1)).astype(int)]]
    return {"min": deciles[0], "max": deciles[-1], "deciles": deciles}


_PUBLIC: dict[FieldType, Callable[["pd.Series[Any]"], Document]] = {
    FieldType.NUMBER: _number_field,
    FieldType.INTEGER: _number_field,
    FieldType.BOOLEAN: _boolean_field,
    FieldType.CATEGORY: _category_field,
    FieldType.TEXT: _text_field,
    FieldType.DATE: _date_field,
}


def _coarse(known: "pd.Series[Any]", field: InputField) -> Document:
    if field.type is FieldType.BOOLEAN:
        return _coarse_shares(known.map({1.0: "true", 0.0: "false"}), ("false", "true"))
    if field.is_numeric:
        return _coarse_ranges(known.to_numpy(dtype=np.float64))
    if field.type is FieldType.DATE:
        return _coarse_shares(known.dt.year.astype(str), sorted({str(year) for year in known.dt.year}))
    if field.type is FieldType.CATEGORY and field.values is not None:
        return _coarse_shares(known, [str(value) for value in field.values])
    return {"length_mean": _plain(round(float(known.str.len().mean())))}


def _coarse_shares(known: "pd.Series[Any]", disclosed: Sequence[str]) -> Document:
    counts = known.value_counts()
    told = {value: int(counts.get(value, 0)) for value in disclosed if counts.get(value, 0) >= MIN_DISCLOSED_ROWS}
    shares = {value: round(count / len(known), 2) for value, count in told.items()}
    return {"shares": shares, "other_share": round(1 - sum(told.values()) / len(known), 2)}


def _coarse_ranges(values: NDArray[np.float64]) -> Document:
    """Shares of ranges between quartiles that were rounded to two digits, so that no edge is a row's value."""
    if len(values) < len(_QUARTILES) * MIN_DISCLOSED_ROWS:
        return {}
    edges = np.unique([_rounded(value) for value in np.quantile(values, _QUARTILES[1:-1])])
    counts = np.bincount(np.searchsorted(edges, values, "right"), minlength=len(edges) + 1)
    if counts.min() < MIN_DISCLOSED_ROWS:
        return {}
    return {"edges": [_plain(edge) for edge in edges], "shares": [round(float(count) / len(values), 2) for count in counts]}


def _rounded(value: float) -> float:
    return 0.0 if value == 0 else float(f"{value:.1e}")


def _share(count: int, total: int) -> float | None:
    return round(int(count) / total, 6) if total else None


def _plain(value: Any) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None
