"""OpenTelemetry spans of prediction calls, for a gateway that has an address to send them to. Nothing imports this otherwise.

A span tells brand, model, version, rows, what answered and how it ended, and continues the caller's trace. It holds no value
of a row and no name that a caller has invented. Finished spans are sent by a thread of the SDK.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from brandhouse_serving.bodies import Receive
from brandhouse_serving.dialects import Call, Dialect
from brandhouse_serving.lane import App, AsgiScope, PredictLane, Send
from brandhouse_serving.otlp import OtlpExporter, headers_of
from brandhouse_serving.parts import Parts
from brandhouse_serving.problems import Headers, status_of
from brandhouse_serving.replies import Reply
from brandhouse_serving.worker_place import WorkerPlace
from brandhouse_shared.errors import BrandhouseError
from brandhouse_shared.names import ModelKey

SPAN_NAME = "predict"


class TracedLane(PredictLane):
    """A lane that makes a span of each call for predictions. A lane without traces is another class and asks nothing."""

    def __init__(self, app: App, parts: "TracedParts") -> None:
        super().__init__(app, parts)
        self._tracer = parts.provider.get_tracer("brandhouse_serving")

    async def _respond(self, dialect: Dialect, call: Call, scope: AsgiScope, receive: Receive, send: Send) -> None:
        context = _caller_context(scope)
        with self._tracer.start_as_current_span(SPAN_NAME, context, SpanKind.SERVER) as span:
            span.set_attribute("brandhouse.dialect", type(dialect).__name__)
            await super()._respond(dialect, call, scope, receive, _noting_status(span, send))

    def _refuse(self, dialect: Dialect, call: Call, error: BrandhouseError) -> tuple[int, Headers, bytes]:
        status, code = status_of(error)
        span = trace.get_current_span()
        span.set_attribute("error.type", code)
        if status not in (401, 403) and ModelKey(call.brand, call.model) in self._parts.router.table:
            span.set_attributes({"brandhouse.brand": call.brand, "brandhouse.model": call.model})
        return super()._refuse(dialect, call, error)


@dataclass(frozen=True, kw_only=True)
class TracedParts(Parts):
    """Parts whose records of answers go into the present span, too."""

    provider: TracerProvider

    def record(self, reply: Reply, rows: Sequence[Any], *facts: Any, **more: Any) -> Any:
        """See `Parts.record`."""
        version = reply.loaded.key
        trace.get_current_span().set_attributes(
            {
                "brandhouse.brand": version.brand,
                "brandhouse.model": version.model,
                "brandhouse.version": f"v{version.number}",
                "brandhouse.rows": len(rows),
                "brandhouse.served_by": reply.served_by,
            }
        )
        return super().record(reply, rows, *facts, **more)

    async def close(self) -> None:
        """See `Parts.close`. The last spans are sent, too."""
        await super().close()
        await asyncio.to_thread(self.provider.shutdown)


def build_traced_parts(parts: Parts, url: str, place: WorkerPlace) -> TracedParts:
    """The same parts, noting answers in spans.

    Args:
        parts: Of this process.
        url: The collector's address for traces, OTLP over HTTP.
        place: This process's place among the gateway's processes.
    """
    return TracedParts(**{one.name: getattr(parts, one.name) for one in fields(parts)}, provider=_build_provider(url, place))


def _build_provider(url: str, place: WorkerPlace) -> TracerProvider:
    """What makes spans and sends them. `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_TRACES_SAMPLER` hold as everywhere."""
    facts = {"service.name": "brandhouse-gateway", "service.instance.id": str(place.number)}
    # Not made the provider of the process: what a library traces on its own account does not go out with ours.
    provider = TracerProvider(resource=Resource.create(facts))
    provider.add_span_processor(BatchSpanProcessor(OtlpExporter(url, headers_of(os.environ))))
    return provider


def _caller_context(scope: AsgiScope) -> Context:
    sent = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
    carrier = {name: value for name, value in sent if name in ("traceparent", "tracestate")}
    return TraceContextTextMapPropagator().extract(carrier, Context())


def _noting_status(span: trace.Span, send: Send) -> Callable[[MutableMapping[str, Any]], Awaitable[None]]:
    async def noting(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            span.set_attribute("http.response.status_code", message["status"])
            if message["status"] >= 500:
                span.set_status(Status(StatusCode.ERROR))
        await send(message)

    return noting
