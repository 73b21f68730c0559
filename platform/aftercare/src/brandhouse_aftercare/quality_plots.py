"""Pictures of what models are worth: measured scores beside those of the hold-out, and how they age."""

from matplotlib.axes import Axes

from brandhouse_aftercare.checks import Finding
from brandhouse_aftercare.staleness_curve import StalenessCurve
from brandhouse_flows.plots import BLUE, MUTED, RULE, VERMILLION, Plot, make_plot, name_rows
from brandhouse_flows.wording import say_number, say_share

MOST_BARS = 12


def draw_quality(finding: Finding) -> Plot:
    """Draw how much worse the whole and each slice are than on the hold-out, the worst first."""
    compared = sorted(finding.facts["comparisons"], key=lambda one: -one["loss_share"])[:MOST_BARS]

    def draw(axes: Axes) -> None:
        for place, one in enumerate(compared):
            axes.barh(place, 100 * one["loss_share"], height=0.6, color=VERMILLION if one["red"] else BLUE)
        axes.axvline(0, color=MUTED, linewidth=0.8)
        name_rows(axes, [f"{one['name']}{_when(one['newest_days'])} ({one['rows']:,})" for one in compared])
        axes.set_ylim(len(compared) - 0.4, -0.6)
        axes.set_xlabel("% worse than before; to the left: better")
        axes.grid(axis="x", color=RULE)

    caption = f"{finding.rows or 0:,} labelled answers; red: worse by more than allowed and than chance explains."
    return make_plot("quality", "Score beside the hold-out's", caption, draw, left=0.36)


def _when(days: float | None) -> str:
    return "" if days is None else f", newest {days:g} days"


def draw_curve(curve: StalenessCurve) -> Plot:
    """Draw what models of each age lose against fresh ones, with intervals."""
    ages = [0.0, *(point.age for point in curve.points)]

    def draw(axes: Axes) -> None:
        axes.axhline(0, color=MUTED, linewidth=1.0, linestyle="--")
        lows, highs = [0.0, *(point.low for point in curve.points)], [0.0, *(point.high for point in curve.points)]
        axes.fill_between(ages, lows, highs, color=BLUE, alpha=0.2, linewidth=0)
        axes.plot(ages, [0.0, *(point.loss for point in curve.points)], "o-", color=BLUE, markersize=6, linewidth=1.8)
        axes.set_xlabel(f"{curve.unit} older than a fresh model")
        axes.set_ylabel(f"loss of {curve.metric}; above 0 is worse")
        axes.grid(color=RULE)

    caption = (
        f"Back-test of v{curve.number}: {curve.fits} models, each fitted on {curve.learned_rows:,} rows; band: "
        f"{say_share(curve.confidence)} interval; fresh models score {say_number(curve.fresh_score)}."
    )
    return make_plot("staleness", "What age costs", caption, draw, left=0.2)
