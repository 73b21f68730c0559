"""The page that `bench_serving` writes: what was measured, the ratios, and which promise each keeps or misses."""

from collections.abc import Iterable, Mapping
from typing import Any

from serving_load import Load

OURS, RAW, NOOP = "Brandhouse", "raw ONNX handler", "ASGI no-op"
LIMITS = (RAW, NOOP)
STOCK = ("MLServer", "mlflow models serve", "BentoML")
"""Peers that fifty times is promised over."""

Loads = Mapping[str, Mapping[str, Load]]
"""Shape of the request to server to what it bore."""


def build(measured: Mapping[str, Any]) -> str:
    """The whole page in Markdown."""
    parts = [_HEAD, *_machine(measured["machine"]), *_promises(measured)]
    for estimator, loads in measured["loads"].items():
        parts += _estimator(estimator, loads)
    parts += ["## Prediction log on and off", "", *_table(measured["log"]), ""]
    parts += ["## One and two worker processes", "", _WORKERS, "", *_table(measured["workers"]), ""]
    parts += ["## 1,000 models in one process", "", *_figures(measured["models"])]
    parts += ["## A noisy neighbour", "", *_figures(measured["neighbour"])]
    return "\n".join(parts)


def _figures(figures: Mapping[str, float]) -> list[str]:
    return ["| | |", "|---|--:|", *(f"| {name} | {value:,.2f} |" for name, value in figures.items()), ""]


def _machine(machine: Mapping[str, str]) -> list[str]:
    titles = {"cpu": "machine", "system": "system", "ours": "Brandhouse with", "peers": "peers"}
    return ["| | |", "|---|---|", *(f"| {title} | {machine[name]} |" for name, title in titles.items()), ""]


def _promises(measured: Mapping[str, Any]) -> list[str]:
    rows = [row for estimator, loads in measured["loads"].items() for row in _promises_of(estimator, loads)]
    log, workers = measured["log"], measured["workers"]
    rows.append(("prediction log on / off", _ratio(log["log on"], log["log off"]), 0.9, False))
    rows.append(("two worker processes / one", _ratio(workers["2 workers"], workers["1 worker"]), 1.6, False))
    models, neighbour = measured["models"], measured["neighbour"]
    rows.append(("1,000 models / one model, requests/s", models["all models to one model"], 0.8, False))
    rows.append(("MiB a model beyond its file", models["MiB a model beyond its file"], 1, True))
    rows.append(("first answer of an unloaded model, p99 ms", models["cold answer p99, ms"], 50, True))
    rows.append(("quiet brand's p99 beside a flood / alone", neighbour["flooded beside alone, ten times the rate"], 1.5, True))
    lines = ["## Ratios", "", "| ratio | measured | promised | kept |", "|---|--:|--:|---|"]
    for title, value, promised, is_most in rows:
        kept = value <= promised if is_most else value >= promised
        lines.append(f"| {title} | {value:.2f} | {'at most' if is_most else 'at least'} {promised:g} | {'yes' if kept else 'no'} |")
    return [*lines, ""]


def _promises_of(estimator: str, loads: Loads) -> Iterable[tuple[str, float, float, bool]]:
    single, many = loads["1 row"], loads["32 rows"]
    ours = single[OURS]
    for peer in STOCK:
        if peer in single:
            yield f"{estimator}: requests/s over {peer}", _ratio(ours, single[peer]), 50, False
    yield f"{estimator}: requests/s over the raw ONNX handler", _ratio(ours, single[RAW]), 0.6, False
    peers = [name for name in single if name not in (OURS, *LIMITS)]
    if peers:
        best = max(peers, key=lambda name: many[name].rows_per_second)
        yield f"{estimator}: rows/s at 32 rows over the best peer ({best})", _ratio(many[OURS], many[best]), 15, False
        quick = min(peers, key=lambda name: single[name].p99_ms)
        yield f"{estimator}: p99 over the best peer's ({quick})", ours.p99_ms / single[quick].p99_ms, 0.1, True


def _ratio(one: Load, other: Load) -> float:
    return one.requests_per_second / other.requests_per_second


def _estimator(estimator: str, loads: Loads) -> list[str]:
    lines = [f"## {estimator.capitalize()}", ""]
    for shape, servers in loads.items():
        lines += [f"{_SHAPES[shape]}:", "", *_table(servers), ""]
    return lines


def _table(servers: Mapping[str, Load]) -> list[str]:
    lines = ["| server | requests/s | rows/s | p50 ms | p99 ms | failed | client's CPU |", "|---|--:|--:|--:|--:|--:|--:|"]
    for name, load in sorted(servers.items(), key=lambda item: -item[1].requests_per_second):
        rates = f"{load.requests_per_second:,.0f} | {load.rows_per_second:,.0f}"
        lines.append(f"| {name} | {rates} | {load.p50_ms:.2f} | {load.p99_ms:.2f} | {load.failed} | {load.client_share:.0%} |")
    return lines


_SHAPES = {
    "1 row": "One row a request, 16 connections",
    "32 rows": "32 rows a request, 16 connections",
}
_WORKERS = "Server and client share two cores: what the client takes, a second worker cannot have."
_HEAD = """# Serving

Written by `make bench-serving`; do not edit. The same scikit-learn pipelines (6 numeric and 4 categorical columns: impute, scale,
one-hot; logistic regression, a forest of 100 trees, histogram gradient boosting) behind Brandhouse and its peers, one server process
each, asked by wrk with one thread on the same machine. That machine is shared with others and its speed changes from minute to
minute: compare figures of one table only. They are medians of rounds through all servers in turn. Brandhouse runs as always: key,
validation, limits, metrics and prediction log on; its peers have none of these. The raw ONNX handler (orjson, ONNX Runtime and
nothing else) and an ASGI application that does nothing are the limits of what a Python server could reach here.
"""
