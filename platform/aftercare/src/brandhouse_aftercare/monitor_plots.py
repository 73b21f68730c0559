"""The picture of a monitor's run: how far each field has drifted, and how sure that is."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from brandhouse_aftercare.checks import Finding
from brandhouse_aftercare.quality_plots import draw_quality
from brandhouse_flows.plots import BLUE, MUTED, RULE, VERMILLION, Plot, make_plot, name_rows

MOST_FIELDS = 12


def draw_monitor(findings: Sequence[Finding]) -> list[Plot]:
    """Draw what findings hold that is better seen than read; nothing if no check compared anything."""
    with_fields = [finding for finding in findings if finding.facts.get("fields")]
    plots = [draw_drift(finding) for finding in with_fields]
    plots += [draw_shares(finding) for finding in with_fields if finding.facts.get("drifted")]
    return plots + [draw_quality(finding) for finding in findings if finding.facts.get("comparisons")]


def draw_drift(finding: Finding) -> Plot:
    """Draw the effect of each field with its interval, and the limit."""
    fields = [field for field in finding.facts["fields"] if field.get("effect") is not None][:MOST_FIELDS]

    def draw(axes: Axes) -> None:
        for place, field in enumerate(fields):
            colour = VERMILLION if field["drifted"] else BLUE
            axes.plot([field["low"], field["high"]], [place, place], color=colour, linewidth=5, alpha=0.35, solid_capstyle="round")
            axes.plot([field["effect"]], [place], "o", color=colour, markersize=7)
        if finding.limit is not None:
            axes.axvline(finding.limit, color=VERMILLION, linewidth=1.2, linestyle="--")
        name_rows(axes, [field["field"] for field in fields])
        axes.set_ylim(len(fields) - 0.4, -0.6)
        axes.set_xlim(-0.02, 1.02)
        axes.set_xlabel("share of rows that lie elsewhere than in training")
        axes.grid(axis="x", color=RULE)

    caption = f"{finding.rows or 0:,} rows. Dot: effect; bar: where the distance lies, for all fields at once; dashed: the limit."
    return make_plot(finding.name, "Drift since training", caption, draw, left=0.3)


def draw_shares(finding: Finding) -> Plot:
    """Draw where the rows of the field that drifted most lay in training, and where they lie now."""
    name = finding.facts["drifted"][0]
    cells: Sequence[Any] = _shares(finding.facts, name)

    def draw(axes: Axes) -> None:
        for place, (_, before, after) in enumerate(cells):
            axes.barh(place - 0.2, before, height=0.36, color=MUTED)
            axes.barh(place + 0.2, after, height=0.36, color=VERMILLION)
        name_rows(axes, [str(cell) for cell, _, _ in cells])
        axes.set_ylim(len(cells) - 0.4, -0.6)
        axes.set_xlabel(f"share of rows: grey in training, red now ({len(cells)} cells)")
        axes.grid(axis="x", color=RULE)

    return make_plot(f"{finding.name}-shares", f"Where {name} lies", "Grey: in training; red: now.", draw, left=0.3)


def _shares(facts: Mapping[str, Any], name: str) -> Sequence[Any]:
    return list(facts.get("shares", {}).get(name, []))
