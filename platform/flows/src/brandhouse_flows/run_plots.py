"""Plots of the page of runs: small SVGs inside the page, whose colours are the page's and so follow light and dark.

Every plot has a text alternative, and what it shows is also in a table of the page.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from brandhouse_flows.search import Trial
from brandhouse_flows.wording import say_interval, say_number, shorten

WIDTH = 480
LEFT = 120
RIGHT = 64
ROW = 30
HEIGHT_OF_TRIALS = 260


@dataclass(frozen=True)
class Mark:
    """One row of a plot: a value with its interval."""

    name: str
    value: float
    low: float | None
    high: float | None
    kind: str = "run"
    """Class of its colour: run, first, good, bad, quiet."""


def draw_marks(title: str, marks: Sequence[Mark], line: float | None = None, unit: str = "") -> Markup:
    """Draw values with intervals, one a row, and a dashed line to compare them with.

    Args:
        title: Text alternative.
        marks: Top to bottom.
        line: Where the line is; None: no line.
        unit: Written below the axis.
    """
    edges = [edge for mark in marks for edge in (mark.value, mark.low, mark.high) if edge is not None and math.isfinite(edge)]
    place = _scale([*edges, *([line] if line is not None else [])])
    height = len(marks) * ROW + 44
    parts = list(_axis(place, len(marks) * ROW + 8, unit))
    if line is not None:
        parts.append(f'<line class="whole" x1="{place(line):.1f}" x2="{place(line):.1f}" y1="4" y2="{len(marks) * ROW + 8}"/>')
    for row, mark in enumerate(marks):
        parts += _mark(mark, row * ROW + ROW / 2 + 4, place)
    return _svg(title, height, parts)


def _mark(mark: Mark, y: float, place: "_Scale") -> Iterable[str]:
    told = f"{mark.name}: {say_number(mark.value)}, interval {say_interval(mark.low, mark.high)}"
    yield f'<g class="{mark.kind}"><title>{escape(told)}</title>'
    yield f'<text class="name" x="{LEFT - 12}" y="{y + 4:.1f}" text-anchor="end">{escape(shorten(mark.name, 15))}</text>'
    if mark.low is not None and mark.high is not None:
        yield f'<line class="between" x1="{place(mark.low):.1f}" x2="{place(mark.high):.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
    yield f'<circle cx="{place(mark.value):.1f}" cy="{y:.1f}" r="5.5"/>'
    yield f'<text class="value" x="{WIDTH - RIGHT + 12}" y="{y + 4:.1f}">{escape(say_number(mark.value))}</text></g>'


def draw_trials(title: str, trials: Sequence[Trial], metric: str, *, greater_is_better: bool) -> Markup:
    """Draw the score of every trial of a search in its order, and the best so far as a stair."""
    known = [(number, trial) for number, trial in enumerate(trials, start=1) if math.isfinite(trial.score)]
    low, high = min(trial.score for _, trial in known), max(trial.score for _, trial in known)
    ticks = _ticks(low, high)
    low, high = min(low, ticks[0]), max(high, ticks[-1])
    top, bottom, left, right = 14, HEIGHT_OF_TRIALS - 40, 70, WIDTH - 16

    def x(number: float) -> float:
        return left + (number - 0.5) / len(trials) * (right - left)

    def y(score: float) -> float:
        return bottom - (score - low) / ((high - low) or 1.0) * (bottom - top)

    parts = [
        f'<g class="tick"><line x1="{left}" x2="{right}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>' + _label(left - 8, y(tick) + 4, tick)
        for tick in ticks
    ]
    stair, best = [], math.nan
    for number, trial in known:
        is_better = math.isnan(best) or (trial.score > best if greater_is_better else trial.score < best)
        best = trial.score if is_better else best
        stair.append(f"{x(number - 0.5):.1f},{y(best):.1f} {x(number + 0.5):.1f},{y(best):.1f}")
    parts.append(f'<polyline class="stair" points="{" ".join(stair)}"/>')
    for number, trial in known:
        told = f"trial {number}, {trial.candidate}: {metric} {say_number(trial.score)}"
        parts.append(f'<g class="run"><title>{escape(told)}</title><circle cx="{x(number):.1f}" cy="{y(trial.score):.1f}" r="4.5"/></g>')
    below = f'x="{(left + right) / 2}" y="{HEIGHT_OF_TRIALS - 10}" text-anchor="middle"'
    parts.append(f'<text class="unit" {below}>trial 1 to {len(trials)}; line: best so far</text>')
    return _svg(title, HEIGHT_OF_TRIALS, parts)


class _Scale:
    """Where a value is on the horizontal axis."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high

    def __call__(self, value: float) -> float:
        return LEFT + (value - self.low) / (self.high - self.low) * (WIDTH - LEFT - RIGHT)


def _scale(values: Sequence[float]) -> _Scale:
    low, high = min(values), max(values)
    margin = (high - low) * 0.06 or abs(high) * 0.05 or 1.0
    return _Scale(low - margin, high + margin)


def _axis(place: _Scale, y: float, unit: str) -> Iterable[str]:
    for tick in _ticks(place.low, place.high):
        if place.low <= tick <= place.high:
            yield f'<g class="tick"><line x1="{place(tick):.1f}" x2="{place(tick):.1f}" y1="4" y2="{y:.1f}"/>'
            yield f'<text x="{place(tick):.1f}" y="{y + 16:.1f}" text-anchor="middle">{escape(_say_tick(tick))}</text></g>'
    yield f'<text class="unit" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{y + 32:.1f}" text-anchor="middle">{escape(unit)}</text>'


def _label(x: float, y: float, tick: float) -> str:
    return f'<text x="{x}" y="{y:.1f}" text-anchor="end">{escape(_say_tick(tick))}</text></g>'


def _say_tick(tick: float) -> str:
    return f"{tick:,.6g}" if abs(tick) < 1e6 else f"{tick:.3g}"


def _ticks(low: float, high: float) -> list[float]:
    """About five round numbers that cover a range."""
    span = high - low or abs(high) or 1.0
    step: float = 10 ** math.floor(math.log10(span / 4))
    step *= next(factor for factor in (1, 2, 5, 10) if span / (step * factor) <= 5)
    return [round(number * step, 12) for number in range(math.floor(low / step), math.ceil(high / step) + 1)]


def _svg(title: str, height: float, parts: Iterable[str]) -> Markup:
    # Safe: every text in `parts` was escaped where it was put in, all else is numbers.
    body = "".join(parts)
    return Markup(f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title)}">{body}</svg>')  # noqa: S704
