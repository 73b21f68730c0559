"""Grafana's dashboards: one for each brand, with nothing of another's, and one of the whole house.

Generated with Grafana's own library from the gateway's table of metrics. Equal brands give equal bytes, so that a dashboard in
Git or in Grafana changes only when its brand or this module does.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models

from brandhouse_aftercare.panels import Query, choice_variable, lines, number, source_variable, states
from brandhouse_aftercare.prometheus_rules import FAULT_CODES, shown
from brandhouse_serving import metric_families as families
from brandhouse_shared.brands import Brand

WINDOW = "$__rate_interval"
MAX_UID = 40
"""Characters that Grafana allows."""


def brand_dashboard(brand: Brand) -> str:
    """JSON of one brand's dashboard."""
    of = f'brand="{brand.name}", model=~"$model"'
    head = _begin(f"Brandhouse: {brand.config.title}", _uid(brand.name), ["brandhouse", brand.name], brand.config.story)
    head.with_variable(choice_variable("model", f'{shown(families.REQUESTS)}{{brand="{brand.name}"}}'))
    return _write(head, [*_numbers(of), *_traffic(of, "model"), *_trouble(of, "model"), *_trials(of), *_checks(of)])


def fleet_dashboard(brands: Sequence[Brand]) -> str:
    """JSON of the dashboard of all brands and of the gateway that they share."""
    of = 'brand=~"$brand"'
    head = _begin("Brandhouse: all brands", "brandhouse-fleet", ["brandhouse"], f"{len(brands)} brands and the gateway they share.")
    head.with_variable(choice_variable("brand", f"{shown(families.REQUESTS)}{{}}"))
    return _write(head, [*_numbers(of), *_traffic(of, "brand"), *_trouble(of, "brand"), *_gateway(), *_red_checks(of)])


def _begin(title: str, uid: str, tags: list[str], description: str) -> Any:
    head = dashboard.Dashboard(title).uid(uid).tags(tags).description(description).editable().refresh("1m").time("now-24h", "now")
    return head.timezone("browser").tooltip(models.DashboardCursorSync.CROSSHAIR).with_variable(source_variable())


def _uid(brand: str) -> str:
    name = f"brandhouse-{brand}"
    return name if len(name) <= MAX_UID else f"brandhouse-{hashlib.sha256(brand.encode()).hexdigest()[:16]}"


def _write(head: Any, panels: Sequence[Any]) -> str:
    for index, panel in enumerate(panels):
        head.with_panel(panel.id(index + 1))
    return json.dumps(head.build(), cls=JSONEncoder, sort_keys=True, indent=2) + "\n"


def _rate(family: str, of: str, by: str) -> str:
    return f"sum by ({by}) (rate({shown(family)}{{{of}}}[{WINDOW}]))"


def _quantile(share: float, of: str, by: str) -> str:
    return f"histogram_quantile({share}, sum by ({by}, le) (rate({families.LATENCY}_bucket{{{of}}}[{WINDOW}])))"


def _faults(of: str) -> str:
    return f'{of}, code=~"{"|".join(FAULT_CODES)}"'


def _numbers(of: str) -> Iterator[Any]:
    requests, errors, red = shown(families.REQUESTS), shown(families.ERRORS), shown(families.CHECK_RED)
    yield number("Requests", "Answered in the time shown.", Query(f"sum(increase({requests}{{{of}}}[$__range]))"))
    yield number("Rows", "Predicted in the time shown.", Query(f"sum(increase({shown(families.ROWS)}{{{of}}}[$__range]))"))
    failed = f"sum(increase({errors}{{{_faults(of)}}}[$__range])) or vector(0)"
    yield number("Failed", "Requests that failed through no fault of the client.", Query(failed), bad_from=1)
    median = f"histogram_quantile(0.5, sum by (le) (rate({families.LATENCY}_bucket{{{of}}}[$__range])))"
    yield number("Half are faster than", "Median time of an answer.", Query(median), "s")
    fallbacks = f"sum(increase({shown(families.FALLBACKS)}{{{of}}}[$__range])) or vector(0)"
    yield number("Fallbacks", "Answers that production did not give.", Query(fallbacks), bad_from=1)
    yield number("Checks that are red", "By their newest finding.", Query(f"sum({red}{{{of}}}) or vector(0)"), bad_from=1)


def _traffic(of: str, by: str) -> Iterator[Any]:
    each = f"{by}, version" if by == "model" else by
    legend = "{{model}} {{version}}" if by == "model" else f"{{{{{by}}}}}"
    yield lines("Requests", "Answered, a second.", [Query(_rate(families.REQUESTS, of, each), legend)], "reqps")
    times = [Query(_quantile(share, of, by), f"{{{{{by}}}}} {100 * share:g} %") for share in (0.5, 0.99)]
    yield lines("Time of an answer", "Half, and 99 of 100, are faster.", times, "s")


def _trouble(of: str, by: str) -> Iterator[Any]:
    yield lines(
        "Errors",
        "By the code that the client got, a second.",
        [Query(_rate(families.ERRORS, of, f"{by}, code"), f"{{{{{by}}}}} {{{{code}}}}")],
        "reqps",
    )
    queries = [
        Query(_rate(families.SHED, of, f"{by}, cause"), f"{{{{{by}}}}} {{{{cause}}}}"),
        Query(_rate(families.FALLBACKS, of, by), f"{{{{{by}}}}} fallback"),
    ]
    yield lines(
        "Refused, and fallbacks",
        "Refused to keep the load within limits, by cause; answers that production did not give.",
        queries,
        "reqps",
    )
    yield lines(
        "In flight", "Taken in and not yet answered.", [Query(f"sum by ({by}) ({shown(families.IN_FLIGHT)}{{{of}}})", f"{{{{{by}}}}}")]
    )
    failures = Query(f"sum by ({by}) (increase({shown(families.LOAD_FAILURES)}{{{of}}}[{WINDOW}]))", f"{{{{{by}}}}}")
    yield lines("Versions that did not load", "In each step.", [failures])


def _trials(of: str) -> Iterator[Any]:
    shadow = Query(_rate(families.SHADOW, of, "model, version, outcome"), "{{model}} {{version}} {{outcome}}")
    yield lines("Shadow", "Answers beside production's, by outcome, a second.", [shadow], "reqps")
    canary = Query(_rate(families.CANARY, of, "model, version, outcome"), "{{model}} {{version}} {{outcome}}")
    yield lines("Canary", "Requests that a canary was chosen for, by outcome, a second.", [canary], "reqps")


def _checks(of: str) -> Iterator[Any]:
    red = Query(f"max by (model, check) ({shown(families.CHECK_RED)}{{{of}}})", "{{model}} {{check}}")
    yield states("Checks", "Red where a check was red by its newest finding.", [red])
    value = Query(f"max by (model, check) ({shown(families.CHECK_VALUE)}{{{of}}})", "{{model}} {{check}}")
    yield lines("What checks measured", "Each in its own unit.", [value])
    age = Query(f"time() - max by (model) ({shown(families.CHECK_RAN)}{{{of}}})", "{{model}}")
    yield lines("Since the last check", "Checks run daily.", [age], "s")


def _red_checks(of: str) -> Iterator[Any]:
    red = Query(f"sum by (brand) ({shown(families.CHECK_RED)}{{{of}}})", "{{brand}}")
    yield lines("Checks that are red", "By their newest finding.", [red])
    age = Query(f"time() - max by (brand) ({shown(families.CHECK_RAN)}{{{of}}})", "{{brand}}")
    yield lines("Since the last check", "Checks run daily.", [age], "s")


def _gateway() -> Iterator[Any]:
    memory = [Query(shown(families.MODEL_BYTES), "memory")]
    yield lines("Memory of loaded versions", "As estimated.", memory, "bytes", 8)
    loads = [
        Query(f"sum(rate({shown(families.LOADS)}[{WINDOW}]))", "loaded"),
        Query(f"sum(rate({shown(families.UNLOADS)}[{WINDOW}]))", "unloaded"),
    ]
    yield lines("Versions loaded and unloaded", "A second; many of both mean that the memory budget is too small.", loads, "ops", 8)
    workers = [
        Query(shown(families.WORKERS), "processes"),
        Query(f"increase({shown(families.WORKER_STARTS)}[{WINDOW}])", "starts"),
        Query(f"increase({shown(families.CUT_CONNECTIONS)}[{WINDOW}])", "connections cut: {{cause}}"),
    ]
    yield lines("Processes", "Of the gateway.", workers, "short", 8)
