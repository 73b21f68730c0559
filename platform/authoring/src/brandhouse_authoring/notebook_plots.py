"""Pictures of a notebook: distributions, slices, tries. A `Picture` shows itself in Jupyter and VS Code."""

import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from brandhouse_authoring.trying import Result
from brandhouse_shared.config import FieldType, InputField

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOR = "#2563a8"
FAINT = "#9db8d6"
MAX_FIELDS = 40
"""Fields drawn at once; `plot_inputs("a", "b")` draws chosen ones."""

MAX_BARS = 12
ACROSS = 4


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG that a notebook shows as the result of a cell."""

    png: bytes

    def _repr_png_(self) -> bytes:
        return self.png

    def __repr__(self) -> str:
        """Say what it is where pictures cannot be shown."""
        return f"a picture ({len(self.png)} bytes, PNG)"


def summarise(values: "pd.Series[Any]", field: InputField) -> dict[str, Any]:
    """Describe one input field by its declaration and its values."""
    missing = _is_missing(values)
    known = values[~missing]
    facts: dict[str, Any] = {
        "type": str(field.type),
        "privacy": str(field.privacy),
        "missing": float(missing.mean()),
        "distinct": int(known.nunique()),
    }
    if known.empty:
        return facts
    if pd.api.types.is_numeric_dtype(known) or pd.api.types.is_datetime64_any_dtype(known):
        return facts | {"lowest": known.min(), "median": known.median(), "highest": known.max()}
    return facts | {"most frequent": str(known.mode().iloc[0])[:40]}


def say(text: str) -> Picture:
    """A picture of one sentence, where there is nothing to draw yet."""

    def draw(axes: "Axes") -> None:
        axes.axis("off")
        axes.text(0.5, 0.5, text, ha="center", va="center")

    return _render([draw], 1, height=1.0)


def draw_target(target: "pd.Series[Any]") -> Picture:
    """Histogram of numbers, or rows a class."""
    return _render([lambda axes: _draw_column(axes, target, letters=40)], 1, height=2.6)


def draw_inputs(rows: pd.DataFrame, fields: Mapping[str, InputField]) -> Picture:
    """One small plot a field; of free texts, how long they are."""
    chosen = list(fields.items())[:MAX_FIELDS]
    return _render([partial(_draw_field, rows, name, field) for name, field in chosen], ACROSS, height=1.9)


def _draw_field(rows: pd.DataFrame, name: str, field: InputField, axes: "Axes") -> None:
    values = rows[name]
    if field.type is FieldType.BOOLEAN:
        values = values.map({1.0: "yes", 0.0: "no"}).rename(name)
    if field.type is FieldType.TEXT:
        values = values.astype(object).astype(str).str.len().rename(f"{name}: characters")
    _draw_column(axes, values)


def draw_slices(slices: pd.DataFrame, metric: str, whole: float) -> Picture:
    """Score and interval of each judged slice; the line is the whole hold-out."""
    judged = slices[slices["score"].notna()].iloc[::-1]
    if judged.empty:
        return say("no slice has enough rows to be judged; brand.toml names them in `slices`")

    def draw(axes: "Axes") -> None:
        at = np.arange(len(judged))
        middle = judged["score"].to_numpy(dtype=float)
        low, high = (judged[end].fillna(judged["score"]).to_numpy(dtype=float) for end in ("low", "high"))
        axes.errorbar(middle, at, xerr=np.abs([middle - low, high - middle]), fmt="o", color=COLOR, ecolor=FAINT, elinewidth=3)
        axes.axvline(whole, color="gray", linewidth=1)
        axes.set_yticks(at, [_text(f"{one} = {two} ({rows})") for one, two, rows in judged[["column", "value", "rows"]].to_numpy()])
        axes.set_xlabel(f"{metric} on the hold-out; the line: all of it")

    return _render([draw], 1, height=0.7 + 0.3 * len(judged))


def draw_tries(results: Sequence[Result], metric: str) -> Picture:
    """A dot a fold, and a bar at the mean."""
    if not results:
        return say("nothing tried yet")

    def draw(axes: "Axes") -> None:
        for at, result in enumerate(reversed(results)):
            axes.plot(result.scores, [at] * len(result.scores), "o", color=FAINT)
            axes.plot([result.mean], [at], "|", color=COLOR, markersize=14, markeredgewidth=3)
        axes.set_yticks(range(len(results)), [_text(result.name) for result in reversed(results)])
        axes.set_xlabel(f"{metric} on the folds of the training rows")

    return _render([draw], 1, height=0.8 + 0.35 * len(results))


def _draw_column(axes: "Axes", values: "pd.Series[Any]", letters: int = 10) -> None:
    axes.set_title(_text(str(values.name)), fontsize=9)
    axes.tick_params(labelsize=7)
    known = values[~_is_missing(values)]
    if pd.api.types.is_numeric_dtype(known) and known.nunique() > 2:
        axes.hist(known.to_numpy(dtype=float), bins=30, color=COLOR)
        axes.locator_params(axis="x", nbins=4)
    elif pd.api.types.is_datetime64_any_dtype(known):
        axes.hist(known.to_numpy(), bins=30, color=COLOR)
        axes.tick_params(axis="x", rotation=45)
    else:
        counts = known.astype(str).value_counts()
        shown = counts.iloc[:MAX_BARS].iloc[::-1]
        axes.barh(range(len(shown)), shown.to_numpy(), color=COLOR)
        axes.set_yticks(range(len(shown)), [_text(name, letters) for name in shown.index])
        if len(counts) > MAX_BARS:
            axes.set_xlabel(f"and {len(counts) - MAX_BARS} more", fontsize=7)


def _is_missing(values: "pd.Series[Any]") -> "pd.Series[bool]":
    """In canonical rows a missing text is the empty one."""
    return values.isna() | (values.astype(object) == "")


def _text(text: str, length: int = 32) -> str:
    """Shorten, and keep matplotlib from reading a dollar sign as mathematics."""
    short = text if len(text) <= length else f"{text[: length - 1]}…"
    return short.replace("$", r"\$")


def _render(drawings: Sequence[Callable[["Axes"], None]], across: int, height: float) -> Picture:
    # Not pyplot: a figure of its own needs no backend and is freed with its picture.
    from matplotlib.figure import Figure

    down = math.ceil(len(drawings) / across)
    # Fitting many small plots to their labels takes seconds; a grid has room for them instead.
    figure = Figure(figsize=(8.5, height * down), layout="constrained" if down == 1 else None)
    places = np.atleast_1d(figure.subplots(down, across)).ravel()
    if down > 1:
        figure.subplots_adjust(left=0.08, right=0.98, top=1 - 0.12 / down, bottom=0.2 / down, wspace=0.45, hspace=0.5)
    for axes, draw in zip(places, drawings, strict=False):
        draw(axes)
    for axes in places[len(drawings) :]:
        axes.axis("off")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    return Picture(buffer.getvalue())
