"""Runs as one self-contained page: no script, nothing from the network, light and dark."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from brandhouse_flows.experiments import Experiment
from brandhouse_flows.run_comparison import Gain, RunComparison, diff_commands
from brandhouse_flows.run_plots import Mark, draw_marks, draw_trials
from brandhouse_flows.wording import say_interval, say_number, say_share, say_signed, shorten
from brandhouse_shared.metrics import METRICS
from brandhouse_shared.names import ModelKey

MAX_SLICE_PLOTS = 6
MAX_DRAWN = 40
_TEMPLATES = Path(__file__).with_name("card_templates")


@dataclass(frozen=True)
class _Figure:
    title: str
    svg: Markup
    caption: str


def render_runs(key: ModelKey, title: str, experiments: Sequence[Experiment], comparison: RunComparison | None) -> str:
    """Render the list of runs, and their comparison if there is one.

    Args:
        key: The model.
        title: The brand's, for people.
        experiments: Newest first.
        comparison: None: the list alone.
    """
    figures = [*_history(experiments), *(_figures(comparison) if comparison else [])]
    page = _environment().get_template("runs.html.jinja")
    commands = diff_commands(comparison) if comparison else []
    return page.render(key=key, title=title, experiments=experiments, comparison=comparison, figures=figures, commands=commands)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    loader = FileSystemLoader(_TEMPLATES)
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"number": say_number, "signed": say_signed, "share": say_share, "shorten": shorten, "value": _say_value}
    environment.filters["moment"] = lambda moment: f"{moment:%Y-%m-%d %H:%M} UTC"
    environment.globals |= {"interval": say_interval, "verdict_class": _verdict_class}
    return environment


def _say_value(value: Any) -> str:
    if value is None:
        return "–"
    return say_number(value) if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def _verdict_class(gain: Gain) -> str:
    return {"better": "passed", "worse": "failed"}.get(gain.verdict, "unknown")


def _history(experiments: Sequence[Experiment]) -> list[_Figure]:
    """Scores of the listed runs, oldest at the top; runs that found a version unchanged are left out."""
    shown = [one for one in experiments if one.result is not None and one.run.outcome != "unchanged"][:MAX_DRAWN]
    metrics = {one.result.metric for one in shown if one.result is not None}
    if len(shown) < 2 or len(metrics) != 1:
        return []
    (metric,) = metrics
    marks = [
        Mark(one.label, one.result.score, one.result.score_low, one.result.score_high, "run" if one.run.record.kind == "full" else "quiet")
        for one in reversed(shown)
        if one.result is not None
    ]
    caption = "Bars: intervals on each run's own hold-out. Grey: dry runs and samples, which register nothing."
    return [_Figure("Score, run by run", draw_marks("Score of each run, oldest first", marks, unit=_unit(metric)), caption)]


def _unit(metric: str) -> str:
    return f"{metric} ({'greater' if METRICS[metric].greater_is_better else 'smaller'} is better)"


def _figures(comparison: RunComparison) -> list[_Figure]:
    labels = [one.label for one in comparison.experiments]
    figures = [_gains(comparison, labels)] if any(gain and gain.gain is not None for gain in comparison.gains) else []
    figures += _slices(comparison, labels)
    return figures + _trials(comparison, labels)


def _gains(comparison: RunComparison, labels: list[str]) -> _Figure:
    colours = {"better": "good", "worse": "bad"}
    marks = [
        Mark(label, gain.gain, gain.low, gain.high, colours.get(gain.verdict, "quiet"))
        for label, gain in zip(labels, comparison.gains, strict=True)
        if gain is not None and gain.gain is not None
    ]
    caption = f"Right of the dashed line is better than {labels[0]}. An interval that touches the line: the difference may be noise."
    title = f"Gain over {labels[0]}"
    return _Figure(title, draw_marks(title, marks, line=0.0, unit=f"gain of {comparison.metric}, positive is better"), caption)


def _slices(comparison: RunComparison, labels: list[str]) -> list[_Figure]:
    figures = []
    for row in comparison.slices[:MAX_SLICE_PLOTS]:
        marks = [
            Mark(label, item["score"], item.get("low"), item.get("high"), "first" if label == labels[0] else "run")
            for label, item in zip(labels, row.scores, strict=True)
            if item is not None and item.get("score") is not None
        ]
        name = f"{row.column} = {row.value}"
        rows = next(item["rows"] for item in row.scores if item is not None)
        svg = draw_marks(f"Score of the slice {name}", marks, unit=_unit(comparison.metric))
        figures.append(_Figure(shorten(name), svg, f"{rows:,} held-out rows of the first run that has the slice."))
    return figures


def _trials(comparison: RunComparison, labels: list[str]) -> list[_Figure]:
    figures = []
    for label, details in zip(labels, comparison.details, strict=True):
        trials = details.trials if details else ()
        if sum(math.isfinite(trial.score) for trial in trials) < 2:
            continue
        title = f"Search of {label}"
        svg = draw_trials(title, trials, comparison.metric, greater_is_better=comparison.greater_is_better)
        figures.append(_Figure(title, svg, f"Cross-validated {comparison.metric} of {len(trials)} trials on the training rows."))
    return figures
