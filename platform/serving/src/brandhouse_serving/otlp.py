"""Finished spans to a collector: OTLP over HTTP, in protobuf.

The SDK's own exporter is a package that must have the very version of `opentelemetry-proto`, of which another part of the
workspace holds a newer one. This one needs the messages only.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence

import httpx
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status
from opentelemetry.sdk.environment_variables import OTEL_EXPORTER_OTLP_HEADERS
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.util.re import parse_env_headers
from opentelemetry.util.types import AttributeValue

SEND_SECONDS = 5.0
"""How long a collector may take. Spans wait meanwhile, in a bounded queue; requests do not."""

COMPLAINT_SECONDS = 60.0
"""A collector that is away is said so in the log once in this time."""

logger = logging.getLogger(__name__)


class OtlpExporter(SpanExporter):
    """Sends spans to one address. Called from one thread."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        """Open nothing yet.

        Args:
            url: The collector's address for traces, such as http://127.0.0.1:4318/v1/traces.
            headers: Sent along, such as a collector's key.
        """
        self._url = url
        self._client = httpx.Client(timeout=SEND_SECONDS, headers={**headers, "content-type": "application/x-protobuf"})
        self._complained_at = -COMPLAINT_SECONDS

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans. What cannot be sent is lost: a trace is worth no memory without bound."""
        try:
            self._client.post(self._url, content=build_request(spans).SerializeToString()).raise_for_status()
        except httpx.HTTPError as error:
            self._complain(type(error).__name__, len(spans))
            return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Close the connection."""
        self._client.close()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing is held here."""
        return True

    def _complain(self, reason: str, count: int) -> None:
        if time.monotonic() - self._complained_at > COMPLAINT_SECONDS:
            self._complained_at = time.monotonic()
            logger.error("%d spans cannot be sent to the collector: %s", count, reason)


def headers_of(environment: Mapping[str, str]) -> dict[str, str]:
    """Headers for a collector, out of `OTEL_EXPORTER_OTLP_HEADERS`."""
    return dict(parse_env_headers(environment.get(OTEL_EXPORTER_OTLP_HEADERS, ""), liberal=True))


def build_request(spans: Sequence[ReadableSpan]) -> ExportTraceServiceRequest:
    """The message of finished spans, all of one process."""
    by_scope: dict[str, list[Span]] = defaultdict(list)
    for span in spans:
        by_scope[span.instrumentation_scope.name if span.instrumentation_scope else ""].append(_message(span))
    scopes = [ScopeSpans(scope=InstrumentationScope(name=name), spans=messages) for name, messages in by_scope.items()]
    resource = Resource(attributes=_pairs(spans[0].resource.attributes))
    return ExportTraceServiceRequest(resource_spans=[ResourceSpans(resource=resource, scope_spans=scopes)])


def _message(span: ReadableSpan) -> Span:
    context = span.get_span_context()
    assert context is not None  # noqa: S101 - a finished span has one; its type does not say so
    return Span(
        trace_id=context.trace_id.to_bytes(16, "big"),
        span_id=context.span_id.to_bytes(8, "big"),
        parent_span_id=b"" if span.parent is None else span.parent.span_id.to_bytes(8, "big"),
        trace_state=context.trace_state.to_header(),
        name=span.name,
        kind=span.kind.value + 1,  # type: ignore[arg-type]  # the protocol's numbers begin at "unspecified"
        start_time_unix_nano=span.start_time or 0,
        end_time_unix_nano=span.end_time or 0,
        attributes=_pairs(span.attributes or {}),
        status=Status(code=span.status.status_code.value, message=span.status.description or ""),  # type: ignore[arg-type]
    )


def _pairs(attributes: Mapping[str, AttributeValue]) -> list[KeyValue]:
    return [KeyValue(key=key, value=_value(value)) for key, value in attributes.items()]


def _value(value: object) -> AnyValue:
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return AnyValue(array_value=ArrayValue(values=[_value(one) for one in value]))
    return AnyValue(string_value=str(value))
