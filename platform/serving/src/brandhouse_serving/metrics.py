"""What the gateway counts, in Prometheus' text format; every series has a brand, so that one brand's can be cut out.

Brand, model and version come from the routing table and never from a request: a client cannot invent series.
"""

from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest

LATENCY_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Metrics:
    """Counters of one gateway process."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for every counter, which nothing reads
        registry = self._registry = CollectorRegistry()
        model = ("brand", "model")
        version = (*model, "version")
        self._requests = Counter("brandhouse_requests", "Answered predict requests", version, registry=registry)
        self._rows = Counter("brandhouse_rows", "Rows predicted", version, registry=registry)
        self._latency = Histogram(
            "brandhouse_latency_seconds", "Last byte of a request to its answer", model, buckets=LATENCY_SECONDS, registry=registry
        )
        self._fallbacks = Counter("brandhouse_fallbacks", "Answers not given by production", (*version, "served_by"), registry=registry)
        self._errors = Counter("brandhouse_errors", "Requests refused or failed", (*model, "code"), registry=registry)
        self._children: dict[tuple[str, str, int], tuple[Callable[[], Any], Callable[[float], Any], Callable[[float], Any]]] = {}

    def count_answer(self, brand: str, model: str, version: int, rows: int, seconds: float) -> None:
        """Count one answered request."""
        children = self._children.get((brand, model, version))
        if children is None:
            name = f"v{version}"
            children = (
                self._requests.labels(brand, model, name).inc,
                self._rows.labels(brand, model, name).inc,
                self._latency.labels(brand, model).observe,
            )
            self._children[brand, model, version] = children
        children[0]()
        children[1](rows)
        children[2](seconds)

    def count_fallback(self, brand: str, model: str, version: int, served_by: str) -> None:
        """Count one answer that production did not give; `version` gave it."""
        self._fallbacks.labels(brand, model, f"v{version}", served_by).inc()

    def count_error(self, brand: str, model: str, code: str) -> None:
        """Count one request without an answer. Brand and model are empty where they were not known to be the caller's."""
        self._errors.labels(brand, model, code).inc()

    def render(self, brand: str | None = None) -> bytes:
        """Return all series, or those of one brand."""
        text = generate_latest(self._registry)
        if brand is None:
            return text
        mark = f'brand="{brand}"'.encode()
        return b"".join(line + b"\n" for line in text.splitlines() if line.startswith(b"#") or mark in line)
