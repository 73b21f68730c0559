"""Traces of a real gateway process, received by a collector that reads OTLP over HTTP."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from tests.fixtures.serving_house import CASA, CASA_ROW, Gateway, House

pytestmark = pytest.mark.alone

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
SECRET_AREA = 777.125


class Collector:
    """Keeps what is sent to it."""

    def __init__(self) -> None:
        kept: list[tuple[str, dict[str, str], bytes]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                kept.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(200)
                self.end_headers()
                self.wfile.write(ExportTraceServiceResponse().SerializeToString())

            def log_message(self, *_: Any) -> None:
                pass

        self.kept = kept
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1/traces"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def spans(self) -> list[tuple[dict[str, str], Any, dict[str, Any]]]:
        """Attributes of the resource, span, and its attributes, in order of the spans' beginning."""
        found = []
        for _, _, body in self.kept:
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                about = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
                spans = [span for scope in resource.scope_spans for span in scope.spans]
                found += [(about, span, {pair.key: _value(pair.value) for pair in span.attributes}) for span in spans]
        return sorted(found, key=lambda one: one[1].start_time_unix_nano)


def _value(value: Any) -> Any:
    return getattr(value, value.WhichOneof("value"))


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.server.shutdown()
    collector.server.server_close()


def test_each_call_becomes_a_span_that_continues_the_callers_trace(
    collector: Collector, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = House(tmp_path)
    house.register_casa(2.0)
    key = house.add_key("casa")
    monkeypatch.setenv("BRANDHOUSE_TRACES_URL", collector.url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-collector-key=abc")
    row = {**CASA_ROW, "Area m2": SECRET_AREA}
    with Gateway(house, "casa") as gateway:
        assert gateway.call("POST", f"/v1/{CASA}/predict", key, {"instances": [row] * 3}, traceparent=f"00-{TRACE}-{PARENT}-01")[0] == 200
        assert gateway.predict(key, CASA, {"Area m2": SECRET_AREA, "gardn": True})[0] == 422
        assert gateway.call("POST", "/v1/invented/name/predict", key, {"instances": [row]})[0] == 403
        assert gateway.call("POST", f"/v1/{CASA}/predict", key, {"instances": [row]}, traceparent="no trace")[0] == 200
        gateway.stop()
    (about, answered, said), (_, refused, why), (_, _, strange), (_, untraced, _) = collector.spans
    assert about["service.name"] == "brandhouse-gateway"
    assert (answered.name, answered.trace_id.hex(), answered.parent_span_id.hex()) == ("predict", TRACE, PARENT)
    assert answered.end_time_unix_nano > answered.start_time_unix_nano
    assert said == {
        "brandhouse.dialect": "V1",
        "brandhouse.brand": "casa",
        "brandhouse.model": "price",
        "brandhouse.version": "v1",
        "brandhouse.rows": 3,
        "brandhouse.served_by": "production",
        "http.response.status_code": 200,
    }
    assert refused.trace_id.hex() != TRACE and not refused.parent_span_id
    assert (why["http.response.status_code"], why["error.type"], why["brandhouse.brand"]) == (422, "invalid_input", "casa")
    assert (strange["http.response.status_code"], strange["error.type"]) == (403, "forbidden") and "brandhouse.brand" not in strange
    assert untraced.trace_id.hex() != TRACE and not untraced.parent_span_id, "a header that is no trace begins a new one"
    path, headers, body = collector.kept[0]
    assert (path, headers["content-type"], headers["x-collector-key"]) == ("/v1/traces", "application/x-protobuf", "abc")
    assert all(word not in body for word in (b"777", b"gardn", b"invented", key.encode()))


@pytest.mark.slow
def test_a_collector_that_is_away_changes_no_answer(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(tmp_path)
    house.register_casa(2.0)
    key = house.add_key("casa")
    monkeypatch.setenv("BRANDHOUSE_TRACES_URL", "http://127.0.0.1:9/v1/traces")
    with Gateway(house, "casa") as gateway:
        assert gateway.predict(key, CASA, CASA_ROW)[2]["predictions"] == [170.0]
        said = gateway.stop()
        assert gateway.process.returncode == 0
    assert "1 spans cannot be sent to the collector: ConnectError" in said


PROGRAM = """
import sys
import brandhouse_serving.gateway_process
heavy = ("opentelemetry.sdk", "opentelemetry.proto", "brandhouse_serving.traces", "brandhouse_serving.otlp")
print(*[name for name in heavy if name in sys.modules])
"""


def test_without_an_address_nothing_of_it_is_imported() -> None:
    # FastAPI imports the API package of OpenTelemetry on its own account; the SDK and what uses it are for traces only.
    done = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True)
    assert done.stdout == "\n"
