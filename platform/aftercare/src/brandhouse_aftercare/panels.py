"""Panels of Grafana as dashboards here use them: a title, queries in PromQL, a unit.

Only this module and `dashboards` name Grafana's library.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, statetimeline, timeseries
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models

SOURCE = models.DataSourceRef(type_val="prometheus", uid="${source}")
"""The Prometheus that is chosen in the dashboard's head."""

WIDTH = 24
"""Columns of Grafana's grid."""

HEIGHT = 8
STAT_HEIGHT = 4


@dataclass(frozen=True, slots=True)
class Query:
    """One query of a panel.

    Attributes:
        expr: PromQL.
        legend: Of its series, such as `{{model}}`.
    """

    expr: str
    legend: str = ""


def source_variable() -> Any:
    """The choice of the Prometheus."""
    return dashboard.DatasourceVariable("source").label("Prometheus").type("prometheus")


def choice_variable(name: str, expr: str) -> Any:
    """A choice of values of a label, all at first.

    Args:
        name: The label's.
        expr: Series that have it.
    """
    return (
        dashboard.QueryVariable(name)
        .label(name)
        .datasource(SOURCE)
        .query(f"label_values({expr}, {name})")
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .include_all(True)
        .all_value(".*")
        .multi(True)
        .current(models.VariableOption(text="All", value="$__all"))
    )


def lines(title: str, description: str, queries: Sequence[Query], unit: str = "short", span: int = 12) -> Any:
    """Lines over time; `unit` is Grafana's name of it."""
    panel = timeseries.Panel().fill_opacity(8).line_width(2).show_points(common_models.VisibilityMode.NEVER).min(0)
    panel.legend(common.VizLegendOptions().display_mode(common_models.LegendDisplayMode.TABLE).calcs(["lastNotNull", "max"]))
    return _framed(panel, title, description, queries, unit, span, HEIGHT)


def states(title: str, description: str, queries: Sequence[Query], span: int = WIDTH) -> Any:
    """A row of colours for each series over time: 0 is well, 1 is not."""
    panel = statetimeline.Panel().thresholds(_well_below(1)).merge_values(True)
    panel.color_scheme(dashboard.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
    return _framed(panel, title, description, queries, "short", span, HEIGHT)


def number(title: str, description: str, query: Query, unit: str = "short", bad_from: float | None = None, span: int = 4) -> Any:
    """One number, green below `bad_from`; None: without judgement."""
    panel = stat.Panel()
    if bad_from is not None:
        panel.thresholds(_well_below(bad_from))
    return _framed(panel, title, description, [query], unit, span, STAT_HEIGHT)


def _well_below(limit: float) -> Any:
    steps = [models.Threshold(value=None, color="green"), models.Threshold(value=limit, color="red")]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)


def _framed(panel: Any, title: str, description: str, queries: Sequence[Query], unit: str, span: int, height: int) -> Any:
    panel.title(title).description(description).unit(unit).span(span).height(height).datasource(SOURCE)
    for index, query in enumerate(queries):
        panel.with_target(prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(chr(ord("A") + index)))
    return panel
