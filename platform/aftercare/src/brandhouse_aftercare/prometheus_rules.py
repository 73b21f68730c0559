"""Alert rules for Prometheus: what its scrapes of the gateway must never show, generated from what the brands declare.

They see what happens within minutes and what the platform itself cannot say: that the gateway is down, or that monitors are
silent. Names of metrics come from the gateway's own table, so that a renamed metric cannot leave a rule behind that never fires.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from brandhouse_aftercare.runbook_pages import runbook_place
from brandhouse_serving.metric_families import (
    CANARY_STOPS,
    CHECK_RAN,
    CHECK_RED,
    ERRORS,
    FALLBACKS,
    FAMILIES,
    LATENCY,
    LOAD_FAILURES,
    REQUESTS,
    SHED,
    WORKER_STARTS,
    Kind,
)
from brandhouse_shared.alerts import Severity
from brandhouse_shared.brands import Brand

JOB = "brandhouse"
"""Default name of the scrape job of the gateway."""

FAULT_CODES = ("internal", "unavailable")
"""Codes of errors that no client caused."""

MIN_FAULTS = 3
"""So many requests must have failed in the window before a share of them says anything."""

SILENT_HOURS = 30
"""Checks run at least daily; a day and some hours after the last one they are silent."""

BY_MODEL = "sum by (brand, model)"


@dataclass(frozen=True, slots=True)
class RuleTimes:
    """How long rules look back, and how long something must hold before it is an alert.

    Attributes:
        window: Look-back of rates; at least four scrapes.
        hold: For shares and times, which one bad minute must not decide.
        down: For a gateway that does not answer: longer than a restart.
    """

    window: str = "10m"
    hold: str = "10m"
    down: str = "1m"


@dataclass(frozen=True, slots=True)
class Rule:
    """One alert rule.

    Attributes:
        alert: Its name.
        family: Of its runbook page, as for checks.
        expr: In PromQL; fires for each series that it yields.
        summary: One line; may use Prometheus' templates.
        severity: How soon somebody should look.
        hold: How long the expression must yield before it fires; empty: at once.
        labels: Besides severity.
    """

    alert: str
    family: str
    expr: str
    summary: str
    severity: Severity = Severity.WARNING
    hold: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    def as_document(self, runbooks_url: str | None) -> dict[str, Any]:
        """The rule as Prometheus reads it."""
        return {
            "alert": self.alert,
            "expr": self.expr,
            **({"for": self.hold} if self.hold else {}),
            "labels": {"severity": str(self.severity), **self.labels},
            "annotations": {"summary": self.summary, "runbook": runbook_place(self.family, runbooks_url)},
        }


def brand_groups(brand: Brand, times: RuleTimes = RuleTimes()) -> dict[str, Any]:
    """The rule file of one brand."""
    return _file(f"brandhouse-{brand.name}", list(brand_rules(brand, times)), brand.config.alerts.runbooks_url)


def house_groups(job: str = JOB, times: RuleTimes = RuleTimes()) -> dict[str, Any]:
    """The rule file of what all brands share."""
    return _file("brandhouse", list(house_rules(job, times)), None)


def _file(name: str, rules: Sequence[Rule], runbooks_url: str | None) -> dict[str, Any]:
    return {"groups": [{"name": name, "rules": [rule.as_document(runbooks_url) for rule in rules]}]}


def house_rules(job: str, times: RuleTimes) -> Iterator[Rule]:
    """Rules about the gateway as a whole."""
    yield Rule(
        "BrandhouseGatewayDown",
        "gateway",
        f'up{{job="{job}"}} == 0 or absent(up{{job="{job}"}})',
        "The gateway does not answer Prometheus",
        Severity.CRITICAL,
        times.down,
    )
    yield Rule(
        "BrandhouseGatewayProcessesDie",
        "gateway",
        f"increase({shown(WORKER_STARTS)}[{times.window}]) > 2",
        "Processes of the gateway die and are started again",
    )


def brand_rules(brand: Brand, times: RuleTimes) -> Iterator[Rule]:
    """Rules about one brand's models."""
    yield from (_owned(brand, rule) for rule in _model_rules(brand, times))


def _owned(brand: Brand, rule: Rule) -> Rule:
    labels = {"brand": brand.name, "owner": brand.config.owner, **rule.labels}
    return Rule(rule.alert, rule.family, rule.expr, rule.summary, rule.severity, rule.hold, labels)


def _model_rules(brand: Brand, times: RuleTimes) -> Iterator[Rule]:
    of = f'brand="{brand.name}"'
    yield _failures(of, brand.config.alerts.max_failure_share, times)
    yield _shed(of, times)
    yield from _latencies(brand, times)
    yield _no_traffic(of, brand.config.alerts.no_traffic_hours)
    yield _increased("BrandhouseFallbacks", "fallback", FALLBACKS, of, times, "answers are not production's")
    yield _increased("BrandhouseVersionDoesNotLoad", "fallback", LOAD_FAILURES, of, times, "a version cannot be loaded")
    yield _increased("BrandhouseCanaryStopped", "canary", CANARY_STOPS, of, times, "a canary stopped itself")
    yield Rule(
        "BrandhouseCheckRed",
        "monitoring",
        f"max by (brand, model, check) ({shown(CHECK_RED)}{{{of}}}) == 1",
        "{{ $labels.brand }}/{{ $labels.model }}: check {{ $labels.check }} is red",
    )
    yield _silent(of)


def _failures(of: str, share: float, times: RuleTimes) -> Rule:
    faults = f'{shown(ERRORS)}{{{of}, code=~"{"|".join(FAULT_CODES)}"}}'
    failed = f"{BY_MODEL} (rate({faults}[{times.window}]))"
    many = f"{BY_MODEL} (increase({faults}[{times.window}])) >= {MIN_FAULTS}"
    return Rule(
        "BrandhouseRequestsFail",
        "gateway",
        f"{_share(failed, of, times)} > {share} and {many}",
        "{{ $labels.brand }}/{{ $labels.model }}: {{ $value | humanizePercentage }} of the requests fail",
        Severity.CRITICAL,
        times.hold,
    )


def _shed(of: str, times: RuleTimes) -> Rule:
    refused = f"{BY_MODEL} (rate({shown(SHED)}{{{of}}}[{times.window}]))"
    return Rule(
        "BrandhouseLoadIsShed",
        "gateway",
        f"{_share(refused, of, times)} > 0.05",
        "{{ $labels.brand }}/{{ $labels.model }}: {{ $value | humanizePercentage }} of the requests are refused to keep within limits",
        hold=times.hold,
    )


def _share(part: str, of: str, times: RuleTimes) -> str:
    """A rate as a share of all requests; of a model that answered none at all, too."""
    answered = f"{BY_MODEL} (rate({shown(REQUESTS)}{{{of}}}[{times.window}]))"
    return f"{part} / ({part} + ({answered} or {part} * 0))"


def _latencies(brand: Brand, times: RuleTimes) -> Iterator[Rule]:
    for name, model in brand.config.models.items():
        budget = model.serving.latency_budget_ms
        if budget is None:
            continue
        buckets = f'sum by (brand, model, le) (rate({LATENCY}_bucket{{brand="{brand.name}", model="{name}"}}[{times.window}]))'
        yield Rule(
            "BrandhouseLatencyOverBudget",
            "gateway",
            f"histogram_quantile(0.5, {buckets}) * 1000 > {budget}",
            "{{ $labels.brand }}/{{ $labels.model }}: half of the requests take longer than {{ $value | humanize }} ms; "
            f"the budget is {budget:g} ms",
            hold=times.hold,
            labels={"model": name},
        )


def _no_traffic(of: str, hours: int) -> Rule:
    asked = f"{BY_MODEL} (increase({shown(REQUESTS)}{{{of}}}"
    return Rule(
        "BrandhouseNoTraffic",
        "traffic",
        f"{asked}[{hours}h])) == 0 and {asked}[7d] offset {hours}h)) > 0",
        f"{{{{ $labels.brand }}}}/{{{{ $labels.model }}}}: no request for {hours} hours, after some in the week before",
    )


def _increased(alert: str, family: str, metric: str, of: str, times: RuleTimes, what: str) -> Rule:
    """Something that should never happen did.

    A counter is first seen when it is 1 already, and nothing increases then: a series that is new counts as well, if the gateway
    was scraped before (else it is only new to Prometheus).
    """
    series, window = f"{shown(metric)}{{{of}}}", times.window
    is_new = f"({series} unless {series} offset {window}) and on (job, instance) (up offset {window} == 1)"
    summary = f"{{{{ $labels.brand }}}}/{{{{ $labels.model }}}}: {what}"
    return Rule(alert, family, f"{BY_MODEL} (increase({series}[{window}])) > 0 or {BY_MODEL} ({is_new}) > 0", summary)


def _silent(of: str) -> Rule:
    """The dead man: no check has run for too long, or none ever did for a model that is asked."""
    ran = f"max by (brand, model) ({shown(CHECK_RAN)}{{{of}}})"
    asked = f"{BY_MODEL} (increase({shown(REQUESTS)}{{{of}}}[{SILENT_HOURS}h])) > 0"
    return Rule(
        "BrandhouseChecksSilent",
        "monitor_runs",
        f"time() - {ran} > {SILENT_HOURS * 3600} or ({asked} unless on (brand, model) {ran})",
        f"{{{{ $labels.brand }}}}/{{{{ $labels.model }}}}: no check has run for {SILENT_HOURS} hours",
    )


def shown(family: str) -> str:
    """A family's name as Prometheus shows it."""
    return f"{family}_total" if FAMILIES[family].kind is Kind.COUNTER else family
