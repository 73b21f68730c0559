"""What the gateway counts and how it is written for Prometheus: one table of families, one way to print them.

Label values come from the routing table, from declarations or from this program, never from a request: a client cannot
invent series. Of one model, only the newest versions have series of their own.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from brandhouse_serving.counter_files import Series

LATENCY_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

KEPT_VERSIONS = 8
"""So many versions of a model, those with the highest numbers, are shown one by one; the others together as `older`."""

OLDER = "older"


class Kind(StrEnum):
    """How the numbers of several processes become one."""

    COUNTER = "counter"
    """Summed over all processes that ever were."""
    GAUGE = "gauge"
    """Summed over the processes that run."""
    HISTOGRAM = "histogram"
    """A sum, then one count per bucket; summed like counters."""


@dataclass(frozen=True, slots=True)
class Family:
    """One metric.

    Attributes:
        name: As Prometheus shows it, without `_total`.
        labels: Names of its labels. One that has a brand is shown to that brand.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...]

    @property
    def width(self) -> int:
        """Numbers that one series of it holds."""
        return len(LATENCY_SECONDS) + 2 if self.kind is Kind.HISTOGRAM else 1


MODEL = ("brand", "model")
VERSION = (*MODEL, "version")

ANSWERS = "answers"
"""Not shown: what one answer changes lies side by side as `[rows, seconds, *buckets]`, and is shown as the next three."""

ANSWERS_WIDTH = len(LATENCY_SECONDS) + 3

REQUESTS = "brandhouse_requests"
ROWS = "brandhouse_rows"
LATENCY = "brandhouse_latency_seconds"
ERRORS = "brandhouse_errors"
SHED = "brandhouse_shed"
FALLBACKS = "brandhouse_fallbacks"
IN_FLIGHT = "brandhouse_in_flight"
LOADS = "brandhouse_model_loads"
LOAD_FAILURES = "brandhouse_model_load_failures"
UNLOADS = "brandhouse_model_unloads"
LOADED = "brandhouse_models_loaded"
MODEL_BYTES = "brandhouse_model_memory_bytes"
SHADOW = "brandhouse_shadow_answers"
CANARY = "brandhouse_canary_answers"
CANARY_STOPS = "brandhouse_canary_stops"
WORKERS = "brandhouse_workers"
WORKER_STARTS = "brandhouse_worker_starts"
CPU_SECONDS = "brandhouse_cpu_seconds"
CUT_CONNECTIONS = "brandhouse_connections_cut"
CHECK_RED = "brandhouse_check_red"
CHECK_STATE = "brandhouse_check_state"
CHECK_VALUE = "brandhouse_check_value"
CHECK_AGE = "brandhouse_check_age_seconds"
CHECK_RAN = "brandhouse_check_ran_timestamp_seconds"

FAMILIES: Mapping[str, Family] = {
    family.name: family
    for family in (
        Family(REQUESTS, Kind.COUNTER, "Predict requests answered", VERSION),
        Family(ROWS, Kind.COUNTER, "Rows predicted", VERSION),
        Family(LATENCY, Kind.HISTOGRAM, "From a request's last byte to its answer, seconds", VERSION),
        Family(ERRORS, Kind.COUNTER, "Requests refused or failed, by the code of the answer", (*MODEL, "code")),
        Family(SHED, Kind.COUNTER, "Requests refused with 429 or 503 to keep the load within limits, by cause", (*MODEL, "cause")),
        Family(FALLBACKS, Kind.COUNTER, "Answers that production did not give; the version gave them", (*VERSION, "served_by")),
        Family(IN_FLIGHT, Kind.GAUGE, "Predict requests taken in and not yet answered", MODEL),
        Family(LOADS, Kind.COUNTER, "Versions loaded into a gateway process", VERSION),
        Family(LOAD_FAILURES, Kind.COUNTER, "Versions that could not be loaded", VERSION),
        Family(UNLOADS, Kind.COUNTER, "Versions put out of memory to stay within the budget", VERSION),
        Family(LOADED, Kind.GAUGE, "Versions in memory, one counted in each process that holds it", ()),
        Family(MODEL_BYTES, Kind.GAUGE, "What the versions in memory are estimated to take there, bytes", ()),
        Family(SHADOW, Kind.COUNTER, "Answers of a shadow, by outcome: agree, disagree, failed, skipped", (*VERSION, "outcome")),
        Family(CANARY, Kind.COUNTER, "Requests that a canary was chosen for, by outcome: answered, failed", (*VERSION, "outcome")),
        Family(CANARY_STOPS, Kind.COUNTER, "Canaries that stopped themselves, by the test that did it", (*VERSION, "test")),
        Family(WORKERS, Kind.GAUGE, "Gateway processes that run", ()),
        Family(WORKER_STARTS, Kind.COUNTER, "Starts of gateway processes; more than processes: some have died", ()),
        Family(CPU_SECONDS, Kind.COUNTER, "CPU seconds of gateway processes; brands' own processes are not in it", ()),
        Family(CUT_CONNECTIONS, Kind.COUNTER, "Connections cut, by cause", ("cause",)),
        Family(CHECK_RED, Kind.GAUGE, "1: the newest finding of a monitor's check is red", (*MODEL, "check")),
        Family(
            CHECK_STATE,
            Kind.GAUGE,
            "1 for the state of the newest finding: green, red, unknown, not_applicable",
            (*MODEL, "check", "state"),
        ),
        Family(CHECK_VALUE, Kind.GAUGE, "The number that decided the newest finding, in the check's unit", (*MODEL, "check")),
        Family(CHECK_AGE, Kind.GAUGE, "Since the newest finding of a check, seconds", (*MODEL, "check")),
        Family(CHECK_RAN, Kind.GAUGE, "When the newest finding of any check was made, seconds since 1970", MODEL),
    )
}


def exposition(series: Iterable[Series], brand: str | None = None) -> bytes:
    """Write series of all processes in Prometheus' text format.

    Args:
        series: As read; those of equal family and labels are added up.
        brand: Show this brand's only; None: all.
    """
    shown = (part for one in series for part in _parts(one))
    sums = _sums(one for one in shown if brand is None or _brand_of(one) == brand)
    lines: list[str] = []
    for family in FAMILIES.values():
        lines += _lines(family, _without_old_versions(family, sums.get(family.name, {})))
    return ("\n".join(lines) + "\n").encode()


def _parts(series: Series) -> Iterable[Series]:
    if series.family != ANSWERS:
        return (series,)
    rows, *latency = series.values
    shown = {ROWS: (rows,), REQUESTS: (sum(latency[1:]),), LATENCY: tuple(latency)}
    return (replace(series, family=family, values=values) for family, values in shown.items())


def _brand_of(series: Series) -> str | None:
    names = FAMILIES[series.family].labels
    return series.labels[names.index("brand")] if "brand" in names else None


Sums = dict[tuple[str, ...], list[float]]


def _sums(series: Iterable[Series]) -> dict[str, Sums]:
    sums: dict[str, Sums] = defaultdict(dict)
    for one in series:
        if one.of_living or FAMILIES[one.family].kind is not Kind.GAUGE:
            _add(sums[one.family], one.labels, one.values)
    return sums


def _add(sums: Sums, labels: tuple[str, ...], values: Sequence[float]) -> None:
    present = sums.get(labels)
    sums[labels] = list(values) if present is None else [a + b for a, b in zip(present, values, strict=True)]


def _without_old_versions(family: Family, sums: Sums) -> Sums:
    """The same sums, with all but the newest versions of each model added up."""
    if "version" not in family.labels:
        return sums
    place = family.labels.index("version")
    numbers: dict[tuple[str, ...], set[int]] = defaultdict(set)
    for labels in sums:
        numbers[labels[:place]].add(int(labels[place][1:]))
    oldest = {model: sorted(found)[-KEPT_VERSIONS:][0] for model, found in numbers.items()}
    bounded: Sums = {}
    for labels, values in sums.items():
        is_old = int(labels[place][1:]) < oldest[labels[:place]]
        _add(bounded, (*labels[:place], OLDER, *labels[place + 1 :]) if is_old else labels, values)
    return bounded


def _lines(family: Family, sums: Sums) -> Iterator[str]:
    shown = f"{family.name}_total" if family.kind is Kind.COUNTER else family.name
    yield f"# HELP {shown} {_escape_help(family.help)}"
    yield f"# TYPE {shown} {family.kind}"
    for labels in sorted(sums):
        marks = ",".join(f'{name}="{_escape(value)}"' for name, value in zip(family.labels, labels, strict=True))
        if family.kind is Kind.HISTOGRAM:
            yield from _histogram_lines(shown, marks, sums[labels])
        else:
            yield f"{shown}{{{marks}}} {sums[labels][0]}" if marks else f"{shown} {sums[labels][0]}"


def _histogram_lines(name: str, marks: str, values: Sequence[float]) -> Iterator[str]:
    total, *counts = values
    below = 0.0
    for bound, count in zip((*LATENCY_SECONDS, math.inf), counts, strict=True):
        below += count
        yield f'{name}_bucket{{{marks},le="{"+Inf" if bound == math.inf else bound}"}} {below}'
    yield f"{name}_count{{{marks}}} {below}"
    yield f"{name}_sum{{{marks}}} {total}"


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _escape_help(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")
