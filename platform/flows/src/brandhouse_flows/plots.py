"""The pictures of a card: small PNGs in one house look, drawn without pyplot's global state.

Colours are from the palette of Okabe and Ito (2008), which people with any common colour blindness can tell apart.
Labels may hold any characters: mathematics markup is off, and what the font lacks is drawn as a box.
"""

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter
from numpy.typing import NDArray

from brandhouse_flows.importance import Importance
from brandhouse_flows.reasons import Reasons
from brandhouse_flows.scores import ScoreReport
from brandhouse_flows.wording import say_number, say_share, shorten
from brandhouse_shared.config import Scalar
from brandhouse_shared.metrics import METRICS, Task

BLUE, ORANGE, VERMILLION, GREEN = "#0072B2", "#E69F00", "#D55E00", "#009E73"
INK, MUTED, RULE, PAPER = "#1F2933", "#66727F", "#DDE3E9", "#FFFFFF"
SHADES = LinearSegmentedColormap.from_list("house", ["#F3F8FC", "#7FB8DA", BLUE, "#00395A"])
LOW_TO_HIGH = LinearSegmentedColormap.from_list("low to high", [BLUE, "#9AA5B1", ORANGE])

WIDTH_INCHES, HEIGHT_INCHES, DOTS_PER_INCH = 4.6, 3.4, 130
MAX_POINTS = 1_500
MAX_CLASSES = 12
MAX_BARS = 12
RARE_SHARE = 0.2
"""Below this share of positives precision and recall say more than ROC (Saito and Rehmsmeier 2015)."""


@dataclass(frozen=True)
class Plot:
    """One picture.

    Attributes:
        name: Short identifier, such as `calibration`.
        title: What it shows.
        caption: How to read it; also the text alternative.
        png: The picture's bytes.
    """

    name: str
    title: str
    caption: str
    png: bytes

    @property
    def data_uri(self) -> str:
        """The picture as an address that needs no server."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode()


def draw_plots(
    task: Task,
    truth: NDArray[Any],
    prediction: NDArray[Any],
    classes: Sequence[Scalar],
    report: ScoreReport,
    importances: Sequence[Importance] = (),
    target: str = "target",
    reasons: Reasons | None = None,
) -> list[Plot]:
    """Draw what a card of this task shows, most telling first.

    Args:
        task: Decides the pictures.
        truth: Shape (rows,) of the hold-out.
        prediction: Shape (rows,) or (rows, classes).
        classes: As in the data, in the order of the columns.
        report: For the comparison with baselines and production.
        importances: From `measure_importance`; none, no picture.
        target: Name of the target, for axes.
        reasons: Explained rows; None, no picture.
    """
    plots = [draw_comparison(report)]
    if task is Task.REGRESSION:
        plots += [draw_predicted(truth, prediction, target), draw_residuals(truth, prediction, target)]
    elif task is Task.BINARY:
        plots += [draw_ranking(truth, prediction[:, 1], classes)] if np.ptp(truth) else []
        plots += [draw_calibration(truth == 1, prediction[:, 1], f"of {classes[1]}")]
    else:
        right = prediction.argmax(axis=1) == truth
        plots += [draw_calibration(right, prediction.max(axis=1), "of the predicted class")]
    if task is not Task.REGRESSION and len(classes) <= MAX_CLASSES:
        plots.append(draw_confusion(truth, prediction, classes))
    plots += [draw_importance(importances, report.metric)] if importances else []
    return plots + ([draw_reasons(reasons, target if task is Task.REGRESSION else "probability")] if reasons else [])


def draw_comparison(report: ScoreReport) -> Plot:
    """Draw the model's score beside those of baselines and production, each with its interval."""
    others = [(name, other.score, other.score_low, other.score_high) for name, other in report.differences.items()]
    scores = [("this version", report.score, report.low, report.high), *others]

    def draw(axes: Axes) -> None:
        for position, (_, score, low, high) in enumerate(scores):
            colour = BLUE if position == 0 else MUTED
            axes.plot([low, high], [position, position], color=colour, linewidth=5, alpha=0.35, solid_capstyle="round")
            axes.plot([score], [position], "o", color=colour, markersize=9)
            axes.annotate(say_number(score), (score, position), (0, 9), textcoords="offset points", ha="center", color=colour, fontsize=9)
        name_rows(axes, [name for name, *_ in scores])
        axes.set_ylim(len(scores) - 0.4, -0.8)
        axes.margins(x=0.14)
        axes.set_xlabel(f"{report.metric} ({'greater' if report.greater_is_better else 'smaller'} is better)")
        axes.grid(axis="x", color=RULE)

    caption = (
        f"{METRICS[report.metric].description[:1].upper()}{METRICS[report.metric].description[1:]}. Bars: {say_share(report.confidence)} "
        f"intervals on the same {report.rows:,} hold-out rows."
    )
    return make_plot("comparison", "Score against baselines", caption, draw, left=0.26)


def draw_predicted(truth: NDArray[Any], prediction: NDArray[Any], target: str) -> Plot:
    """Draw predicted against true numbers; many rows as density."""
    low, high = float(min(truth.min(), prediction.min())), float(max(truth.max(), prediction.max()))

    def draw(axes: Axes) -> None:
        axes.plot([low, high], [low, high], color=VERMILLION, linewidth=1.2, zorder=3)
        if len(truth) > MAX_POINTS:
            axes.hexbin(truth, prediction, gridsize=36, mincnt=1, bins="log", cmap=SHADES, linewidths=0)
        else:
            axes.plot(truth, prediction, "o", color=BLUE, markersize=3.5, alpha=0.35, markeredgewidth=0)
        axes.set_xlabel(_text(f"true {shorten(target, 40)}"), parse_math=False)
        axes.set_ylabel("predicted")
        axes.grid(color=RULE)

    what = "Darker is more hold-out rows" if len(truth) > MAX_POINTS else "Each dot is a hold-out row"
    return make_plot("predicted", "Predicted against true", f"{what}; on the line the prediction is exact.", draw, left=0.17)


def draw_residuals(truth: NDArray[Any], prediction: NDArray[Any], target: str) -> Plot:
    """Draw how far off predictions are, by tenth of the predicted value."""
    residuals = truth - prediction
    tenths = [residuals[rows] for rows in np.array_split(np.argsort(prediction, kind="stable"), 10) if len(rows)]

    def draw(axes: Axes) -> None:
        low, first, middle, third, high = (np.array([np.quantile(part, at) for part in tenths]) for at in (0.1, 0.25, 0.5, 0.75, 0.9))
        places = np.arange(1, len(tenths) + 1)
        axes.axhline(0, color=VERMILLION, linewidth=1.2)
        axes.vlines(places, low, high, color=BLUE, alpha=0.35, linewidth=3)
        axes.bar(places, third - first, bottom=first, width=0.55, color=BLUE, alpha=0.55)
        axes.plot(places, middle, "o", color=INK, markersize=4)
        axes.set_xticks(places)
        axes.set_xlabel("tenth of the predicted value, lowest first")
        axes.set_ylabel(_text(f"true minus predicted {shorten(target, 24)}"), parse_math=False)
        axes.grid(axis="y", color=RULE)

    caption = "Dot: median; box: middle half; line: middle 80 %. Above zero the model says too little."
    return make_plot("residuals", "Errors by predicted value", caption, draw, left=0.18)


def draw_ranking(truth: NDArray[Any], probability: NDArray[Any], classes: Sequence[Scalar]) -> Plot:
    """Draw precision and recall for rare positives, ROC otherwise; both with what guessing would reach."""
    from sklearn.metrics import precision_recall_curve, roc_curve

    base = float(truth.mean())

    def draw_precision(axes: Axes) -> None:
        precision, recall, _ = precision_recall_curve(truth, probability)
        axes.step(recall, precision, where="post", color=BLUE, linewidth=1.8)
        axes.axhline(base, color=VERMILLION, linewidth=1.2, linestyle="--")
        axes.annotate(f"base rate {say_share(base)}", (0.02, base), (0, 5), textcoords="offset points", color=VERMILLION, fontsize=9)
        _label_shares(axes, "recall: share of positives found", "precision: share found that are positive")

    def draw_roc(axes: Axes) -> None:
        wrong, found, _ = roc_curve(truth, probability)
        axes.plot(wrong, found, color=BLUE, linewidth=1.8)
        axes.plot([0, 1], [0, 1], color=VERMILLION, linewidth=1.2, linestyle="--")
        axes.annotate(f"guessing; base rate {say_share(base)}", (0.97, 0.05), ha="right", color=VERMILLION, fontsize=9)
        _label_shares(axes, "share of negatives flagged", "share of positives found")

    positive = f"Positive: {shorten(classes[1], 40)}, {say_share(base)} of the hold-out rows."
    if 0 < base < RARE_SHARE:
        return make_plot("precision-recall", "Precision and recall", positive, draw_precision)
    return make_plot("roc", "ROC", positive, draw_roc)


def draw_calibration(happened: NDArray[Any], probability: NDArray[Any], of_what: str) -> Plot:
    """Draw how often it happened against how probable it was called, in tenths of the rows."""
    tenths = [rows for rows in np.array_split(np.argsort(probability, kind="stable"), 10) if len(rows)]
    said = np.array([probability[rows].mean() for rows in tenths])
    seen = np.array([happened[rows].mean() for rows in tenths])
    spread = 1.96 * np.sqrt(np.clip(seen * (1 - seen), 0.01, None) / [len(rows) for rows in tenths])

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=VERMILLION, linewidth=1.2, linestyle="--")
        axes.vlines(said, np.clip(seen - spread, 0, 1), np.clip(seen + spread, 0, 1), color=BLUE, alpha=0.35, linewidth=3)
        axes.plot(said, seen, "o-", color=BLUE, markersize=5, linewidth=1.2)
        _label_shares(axes, "mean predicted probability", "share that happened")

    caption = f"Probability {shorten(of_what, 50)} in tenths of the rows, with 95 % ranges; on the dashed line it means what it says."
    return make_plot("calibration", "Calibration", caption, draw)


def draw_confusion(truth: NDArray[Any], prediction: NDArray[Any], classes: Sequence[Scalar]) -> Plot:
    """Draw which classes are taken for which, as shares of the true class with row counts."""
    size = len(classes)
    counts = np.bincount(truth * size + prediction.argmax(axis=1), minlength=size**2).reshape(size, size)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = [_text(shorten(name, 14)) for name in classes]

    def draw(axes: Axes) -> None:
        axes.imshow(shares, cmap=SHADES, vmin=0, vmax=1, aspect="auto")
        for row, column in np.ndindex(size, size) if size <= 8 else ():
            colour = PAPER if shares[row, column] > 0.45 else INK
            label = f"{100 * shares[row, column]:.0f} %\n{counts[row, column]:,}" if size <= 4 else f"{counts[row, column]:,}"
            axes.text(column, row, label, ha="center", va="center", color=colour, fontsize=9)
        axes.set_xticks(range(size), names, rotation=0 if size <= 4 else 45, parse_math=False)
        axes.set_yticks(range(size), names, parse_math=False)
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        axes.tick_params(length=0)

    return make_plot("confusion", "Confusion", "Each row adds up to all hold-out rows of that true class.", draw, left=0.24)


def draw_importance(importances: Sequence[Importance], metric_name: str) -> Plot:
    """Draw what the score loses when a feature is shuffled."""
    shown = list(importances)[:MAX_BARS]

    def draw(axes: Axes) -> None:
        losses = [item.loss for item in shown]
        axes.barh(range(len(shown)), losses, color=[BLUE if loss > 0 else MUTED for loss in losses], height=0.62)
        name_rows(axes, [item.feature for item in shown])
        axes.axvline(0, color=MUTED, linewidth=0.8)
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.set_xlabel(f"loss of {metric_name} when shuffled")
        axes.grid(axis="x", color=RULE)

    rest = len(importances) - len(shown)
    more = f"; the strongest {len(shown)} of {len(importances)}" if rest > 0 else ""
    caption = f"How much worse the score is when one feature is shuffled{more}."
    return make_plot("importance", "What the model leans on", caption, draw, left=0.4)


def draw_reasons(reasons: Reasons, what: str) -> Plot:
    """Draw what fields contribute to explained rows: a dot a row, or the range of most rows where single ones must not be shown."""
    count = min(len(reasons.fields), MAX_BARS)

    def draw(axes: Axes) -> None:
        axes.axvline(0, color=MUTED, linewidth=0.8)
        for place in range(count):
            values = reasons.contributions[:, place]
            if reasons.shown_apart[place]:
                known = np.isfinite(reasons.places[:, place])
                at = place + _swarm(values)
                axes.plot(values[~known], at[~known], "o", color=MUTED, markersize=2.6, alpha=0.6, markeredgewidth=0)
                axes.scatter(values[known], at[known], c=reasons.places[known, place], cmap=LOW_TO_HIGH, vmin=0, vmax=1, s=7, linewidths=0)
            else:
                low, middle, high = np.quantile(values, [0.1, 0.5, 0.9])
                axes.plot([low, high], [place, place], color=MUTED, linewidth=5, alpha=0.4, solid_capstyle="round")
                axes.plot([middle], [place], "o", color=MUTED, markersize=4)
        name_rows(axes, reasons.fields[:count])
        axes.set_ylim(count - 0.4, -0.6)
        axes.set_xlabel(_text(f"contribution to the {shorten(what, 30)}"), parse_math=False)
        axes.grid(axis="x", color=RULE)

    rest = len(reasons.fields) - count
    more = f"; the strongest {count} of {len(reasons.fields)} fields" if rest else ""
    ranges = "" if all(reasons.shown_apart[:count]) else " A bar is the middle 80 % of the rows, where single ones are not shown."
    caption = (
        f"Shapley values of {len(reasons.contributions)} hold-out rows{more}. A dot is a row: blue if its number is low, orange if high, "
        f"grey without an order.{ranges}"
    )
    return make_plot("reasons", "What moves single answers", caption, draw, left=0.4)


def _swarm(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shifts that keep dots of nearly equal values apart, at most 0.32 to either side."""
    span = float(np.ptp(values)) or 1.0
    bins = ((values - values.min()) / span * 60).astype(int)
    shifts = np.zeros(len(values))
    for rows in (np.flatnonzero(bins == one) for one in np.unique(bins)):
        steps = (np.arange(len(rows)) + 1) // 2 * np.where(np.arange(len(rows)) % 2, 1, -1)
        shifts[rows] = steps * min(0.07, 0.64 / max(len(rows), 1))
    return shifts


def make_plot(name: str, title: str, caption: str, draw: Callable[[Axes], None], left: float = 0.15) -> Plot:
    """Draw into axes of the house's look. `left`: share of the width for what stands left of them."""
    figure = Figure(figsize=(WIDTH_INCHES, HEIGHT_INCHES), dpi=DOTS_PER_INCH, facecolor=PAPER)
    axes = figure.add_axes((left, 0.15, 0.96 - left, 0.8))
    axes.set_axisbelow(True)
    axes.tick_params(colors=MUTED, labelsize=8.5, length=0)
    axes.xaxis.label.set(color=INK, fontsize=9)
    axes.yaxis.label.set(color=INK, fontsize=9)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(RULE)
    draw(axes)
    _shorten_ticks(axes)
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_figure(buffer, format="png", pil_kwargs={"compress_level": 4})
    return Plot(name, title, caption, buffer.getvalue())


def _shorten_ticks(axes: Axes) -> None:
    """Write large numbers with separators; matplotlib's offsets such as 1e6 are overlooked."""
    for axis, span in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        if max(abs(edge) for edge in span) >= 1_000 and not isinstance(axis.get_major_formatter(), FixedFormatter):
            axis.set_major_formatter(lambda value, _: f"{value:,.0f}" if abs(value) < 1e7 else f"{value:.3g}")


def _label_shares(axes: Axes, x: str, y: str) -> None:
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.04)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(color=RULE)


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Write names at the places 0, 1, ... of the vertical axis."""
    axes.set_yticks(range(len(names)), [_text(shorten(name, 24)) for name in names], parse_math=False)
    for label in axes.get_yticklabels():
        label.set(color=INK, fontsize=9)


def _text(text: str) -> str:
    """Replace characters the font lacks; drawing them would warn and show nothing of use."""
    font = _font()
    return "".join(char if font.get_char_index(ord(char)) else "\N{WHITE SQUARE}" for char in text)


@lru_cache(maxsize=1)
def _font() -> Any:
    from matplotlib.font_manager import findfont, get_font

    return get_font(findfont("DejaVu Sans"))
