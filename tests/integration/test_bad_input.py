"""Whatever a client sends, over a real connection to a real gateway: each fault has its status and the shape of its path, the next
good request is answered, and what was answered is in the prediction log. Then the API's description, tried by schemathesis.
"""

import contextlib
import json
import socket
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi import checks

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
from serving_house import CASA, CASA_ROW, STIL, STIL_ROW, Gateway, House, wait_until

pytestmark = pytest.mark.alone
V1 = "/v1/casa/price/predict"
V2 = "/v2/models/casa.price/infer"
FEEDBACK = "/v1/casa/price/feedback"
GOOD = {V1: {"instances": [CASA_ROW]}, V2: {"inputs": [{"name": "Area m2", "shape": [1], "datatype": "FP64", "data": [80]}]}}


@pytest.fixture(scope="module")
def keys(casa_key: str, stil_key: str) -> dict[str, str]:
    return {"casa": casa_key, "stil": stil_key}


@pytest.fixture(autouse=True)
def answers_still(gateway: Gateway, keys: dict[str, str]) -> Iterator[None]:
    """After every fault both brands are answered, in both protocols, and the answers are in the log."""
    yield
    status, _, body = gateway.predict(keys["stil"], STIL, STIL_ROW)
    assert status == 200, body
    ids = []
    for path in (V1, V2):
        status, _, body = gateway.call("POST", path, keys["casa"], GOOD[path])
        assert status == 200, body
        ids += body["prediction_ids"] if path == V1 else body["outputs"][1]["data"]
    for identifier in ids:  # a label is taken for what is in the log, and for nothing else
        assert gateway.call("POST", FEEDBACK, keys["casa"], {"prediction_id": identifier, "label": 1})[0] == 200


def check_shape(path: str, status: int, body: Any) -> None:
    if path.startswith("/v2"):
        assert list(body) == ["error"] and isinstance(body["error"], str), (path, status, body)
    else:
        assert set(body["error"]) == {"code", "message", "violations"}, (path, status, body)


def send(gateway: Gateway, *parts: bytes, pause: float = 0.0, wait: float = 5.0) -> bytes:
    """Send bytes as they are and return all that comes back until the gateway closes, or nothing comes for a while."""
    with socket.create_connection(("127.0.0.1", gateway.port)) as client:
        client.settimeout(wait)
        received = b""
        with contextlib.suppress(ConnectionError):  # it may have been refused before all was sent
            for part in parts:
                client.sendall(part)
                time.sleep(pause)
        with contextlib.suppress(TimeoutError, ConnectionError):
            while piece := client.recv(65536):
                received += piece
        return received


def head(path: str | bytes, key: str, *more: bytes, method: bytes = b"POST", length: int | None = None) -> bytes:
    lines = [method + b" " + (path if isinstance(path, bytes) else path.encode()) + b" HTTP/1.1", b"Host: x", b"Connection: close"]
    lines += [b"Authorization: Bearer " + key.encode(), b"Content-Type: application/json", *more]
    lines += [] if length is None else [b"Content-Length: %d" % length]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0


def body_of(answer: bytes) -> Any:
    return json.loads(answer.partition(b"\r\n\r\n")[2])


# -- bodies ------------------------------------------------------------------------------------------------------------

ROW = b'{"Area m2": 1, "garden": true}'
TENSOR = b'{"name": "Area m2", "shape": [1], "datatype": "FP64", "data": [%s]}'
ONE, ROOMS = TENSOR % b"1", (TENSOR % b"1").replace(b"Area m2", b"rooms")
MANY = (TENSOR % b", ".join([b"1"] * 101)).replace(b"[1]", b"[101]", 1)


def both(value: bytes) -> dict[str, bytes]:
    """One value of the field, in both protocols."""
    return {V1: b'{"instances": [{"Area m2": %s}]}' % value, V2: b'{"inputs": [%s]}' % (TENSOR % value)}


BODIES: dict[str, tuple[int, dict[str, bytes]]] = {
    "text for a number": (422, both(b'"80"')),
    "boolean for a number": (422, both(b"true")),
    "list for a number": (422, both(b"[80]")),
    "object for a number": (422, both(b'{"a": 1}')),
    "NaN": (422, both(b"NaN")),
    "Infinity": (422, both(b"-Infinity")),
    "beyond a double": (422, both(b"1e999")),
    "400 digits": (422, both(b"9" * 400)),
    "below the minimum": (422, both(b"-0.001")),
    "above the maximum": (422, both(b"1000.5")),
    "null where none may be": (422, both(b"null")),
    "deep value": (422, both(b"[" * 900 + b"]" * 900)),
    "deeper value": (422, both(b"[" * 100_000 + b"]" * 100_000)),
    "lone surrogate": (422, both(rb'"\ud800"')),
    "no UTF-8": (422, both(b'"\xff"')),
    "empty": (422, {V1: b"", V2: b""}),
    "byte-order mark": (422, {V1: b"\xef\xbb\xbf" + both(b"1")[V1], V2: b"\xef\xbb\xbf" + both(b"1")[V2]}),
    "cut off": (422, {V1: both(b"1")[V1][:-3], V2: both(b"1")[V2][:-3]}),
    "two documents": (422, {V1: both(b"1")[V1] * 2, V2: both(b"1")[V2] * 2}),
    "null": (422, {V1: b"null", V2: b"null"}),
    "no rows": (422, {V1: b'{"instances": []}', V2: b'{"inputs": []}'}),
    "missing field": (422, {V1: b'{"instances": [{"garden": true}]}', V2: b'{"inputs": [%s]}' % ROOMS}),
    "extra field": (422, {V1: b'{"instances": [{"Area m2": 1, "rooms": 1}]}', V2: b'{"inputs": [%s, %s]}' % (ONE, ROOMS)}),
    "repeated field": (422, {V1: b'{"instances": [{"Area m2": 1, "Area m2": 1}]}', V2: b'{"inputs": [%s, %s]}' % (ONE, ONE)}),
    "repeated key": (422, {V1: b'{"instances": [%s], "instances": [%s]}' % (ROW, ROW), V2: b'{"inputs": [], "inputs": [%s]}' % ONE}),
    "repeated key below a deep one": (422, {
        V1: b'{"instances": [{"Area m2": 1, "Area m2": 1, "x": %s}]}' % (b"[" * 990 + b"]" * 990),
        V2: b'{"parameters": {"x": %s, "y": 1, "y": 1}, "inputs": [%s]}' % (b"[" * 990 + b"]" * 990, ONE),
    }),
    "too many rows": (413, {V1: b'{"instances": [%s]}' % b", ".join([ROW] * 101), V2: b'{"inputs": [%s]}' % MANY}),
    "10 MB": (413, {V1: both(b" " * 10_000_000 + b"1")[V1], V2: both(b" " * 10_000_000 + b"1")[V2]}),
}  # fmt: skip


@pytest.mark.parametrize("fault", BODIES)
def test_a_bad_body_has_its_status_in_both_protocols(gateway: Gateway, keys: dict[str, str], fault: str) -> None:
    expected, bodies = BODIES[fault]
    for path, sent in bodies.items():
        answer = send(gateway, head(path, keys["casa"], length=len(sent)), sent)
        assert status_of(answer) == expected, (path, answer[:300])
        check_shape(path, expected, body_of(answer))


def test_two_hundred_thousand_names_of_which_one_is_repeated_are_refused_at_once(gateway: Gateway, keys: dict[str, str]) -> None:
    names = b", ".join(b'"%d": 1' % number for number in range(150_000))
    sent = b'{"instances": [{%s, "0": 1}]}' % names
    started = time.monotonic()
    assert status_of(send(gateway, head(V1, keys["casa"], length=len(sent)), sent, wait=30)) == 422
    assert time.monotonic() - started < 20, "it took the square of the number of names"


def test_an_unknown_category_a_long_text_and_a_wrong_date_are_named_without_their_value(gateway: Gateway, keys: dict[str, str]) -> None:
    for name, value in (("since", "2024-13-01"), ("health", "x" * 20_001), ("town", 7), ("visits", 1.5), ("visits", -1), ("visits", 2**60)):
        status, _, body = gateway.predict(keys["stil"], STIL, {**STIL_ROW, name: value})
        assert status == 422 and body["error"]["violations"][0].startswith(f"instances[0].{name}: "), body
        assert str(value) not in json.dumps(body)


# -- keys and headers --------------------------------------------------------------------------------------------------


def test_keys_that_are_unknown_expired_or_not_the_brands_are_refused_before_the_body_is_looked_at(
    gateway: Gateway, house: House, keys: dict[str, str]
) -> None:
    expired = house.add_key("casa", expires_at=datetime(2020, 1, 1, tzinfo=UTC))
    live = house.add_key("casa")
    wait_until(lambda: gateway.predict(live, CASA, CASA_ROW)[0] == 200)
    cyrillic = "\u043aey".encode().decode("latin-1")
    bad = {expired: 401, "bh_0123456789ab_" + "x" * 40: 401, "x" * 8000: 401, cyrillic: 401, keys["stil"]: 403}
    for key, expected in bad.items():
        for path in (V1, V2):
            status, _, body = gateway.call("POST", path, None, b"not json", Authorization=f"Bearer {key}", Content_Type="text/plain")
            assert status == expected, (path, key[:20], body)
            check_shape(path, status, body)
            assert key not in json.dumps(body)


HEADERS: dict[str, tuple[int, list[bytes]]] = {
    "another type": (415, [b"Content-Type: text/plain"]),
    "another charset": (415, [b"Content-Type: application/json; charset=latin-1"]),
    "pickle": (415, [b"Content-Type: application/vnd.bentoml+pickle"]),
    "compressed": (415, [b"Content-Type: application/json", b"Content-Encoding: gzip"]),
    "two types": (400, [b"Content-Type: application/json", b"Content-Type: application/json"]),
    "two keys": (400, [b"Content-Type: application/json", b"Authorization: Bearer x"]),
    "two hosts": (400, [b"Content-Type: application/json", b"Host: y"]),
    "two lengths": (400, [b"Content-Type: application/json", b"Content-Length: 3"]),
    "length and chunks": (400, [b"Content-Type: application/json", b"Transfer-Encoding: chunked"]),
    "no length": (400, [b"Content-Type: application/json", b"Content-Length: many"]),
    "a name with a blank": (400, [b"Content-Type: application/json", b"X Y: 1"]),
    "a line of nothing": (400, [b"Content-Type: application/json", b"nothing"]),
    "200 headers": (431, [b"Content-Type: application/json", *(b"X-%d: 1" % number for number in range(200))]),
    "64 kB": (431, [b"Content-Type: application/json", b"X-Long: " + b"x" * 65536]),
}


@pytest.mark.parametrize("fault", HEADERS)
@pytest.mark.parametrize("path", [V1, V2])
def test_bad_headers_have_their_status(gateway: Gateway, keys: dict[str, str], path: str, fault: str) -> None:
    expected, lines = HEADERS[fault]
    sent = json.dumps(GOOD[path]).encode()
    lines = [
        b"POST %s HTTP/1.1" % path.encode(),
        b"Host: x",
        b"Connection: close",
        b"Authorization: Bearer " + keys["casa"].encode(),
        *lines,
    ]
    answer = send(gateway, b"\r\n".join([*lines, b"Content-Length: %d" % len(sent)]) + b"\r\n\r\n" + sent)
    assert status_of(answer) == expected, answer[:300]
    if expected == 415:
        check_shape(path, expected, body_of(answer))
    else:
        assert isinstance(body_of(answer)["error"], dict | str)


# -- paths -------------------------------------------------------------------------------------------------------------

PATHS: dict[bytes, set[int]] = {
    # a path that resolves to another brand is never followed there
    b"/v1/stil/../casa/price/predict": {403, 404},
    b"/v1/casa/../casa/price/predict": {403, 404},
    b"/v1/./casa/price/predict": {403, 404},
    b"/v1//casa/price/predict": {403, 404},
    b"/v1/casa//price/predict": {404},
    b"/v1/casa/price/predict/": {404, 307},
    b"/v1/casa%2Fprice/predict": {404},
    b"/v1/casa%2Fprice/x/predict": {403},
    b"/v1/%63asa/price/predict": {403},
    b"/v1/casa/pric%65/predict": {404},
    b"/v1/casa/price/%70redict": {404},
    b"/v1/casa/price%00/predict": {404},
    b"/v1/c%D0%B0sa/price/predict": {403},
    b"/v1/CASA/price/predict": {403},
    b"/v1/casa /price/predict": {400},
    b"/v1/stil/taste/predict": {403},
    b"/v1/stil/nothing/predict": {403},
    b"/v1/nobody/price/predict": {403},
    b"/v1/casa/unborn/predict": {503},
    b"/V1/casa/price/predict": {404},
    b"/v2/models/stil.taste/infer": {403},
    b"/v2/models/stil.nothing/infer": {403},
    b"/v2/models/nobody.price/infer": {403},
    b"/v2/models/casa%2Eprice/infer": {403},
    b"/v2/models/casa.price.x/infer": {404},
    b"/v2/models/c%D0%B0sa.price/infer": {403},
    b"/v2/models/../models/casa.price/infer": {404},
    b"/v2/models/casa.price/versions/../infer": {404},
    b"/v2/models/casa.price/versions/v1%2F..%2Fv2/infer": {404},
    b"/v2/models/casa.price/versions/999999999999999999/infer": {404},
    b"/v2/models/casa.price/%69nfer": {404},
    b"//v2/models/casa.price/infer": {404},
    b"/" + b"a" * 8000: {404},
    b"/v1/" + b"a" * 8000 + b"/price/predict": {403},
    b"*": {400, 404},
    b"casa": {400, 404},
}


@pytest.mark.parametrize("path", PATHS)
def test_tricks_with_paths_reach_nothing(gateway: Gateway, keys: dict[str, str], path: bytes) -> None:
    sent = json.dumps(GOOD[V2 if path.startswith(b"/v2") else V1]).encode()
    answer = send(gateway, head(path, keys["casa"], length=len(sent)), sent)
    assert status_of(answer) in PATHS[path], answer[:300]
    if status_of(answer) not in (307, 400):
        check_shape(path.decode(), status_of(answer), body_of(answer))


def test_a_whole_address_as_target_is_the_same_call(gateway: Gateway, keys: dict[str, str]) -> None:
    sent = json.dumps(GOOD[V1]).encode()
    own, other = (head(f"http://127.0.0.1:{gateway.port}{path}", keys["casa"], length=len(sent)) for path in (V1, "/v1/stil/taste/predict"))
    assert status_of(send(gateway, own, sent)) in (200, 404)
    assert status_of(send(gateway, other, sent)) in (403, 404)


@pytest.mark.parametrize("method", [b"GET", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"TRACE", b"HEAD"])
def test_another_method_is_405(gateway: Gateway, keys: dict[str, str], method: bytes) -> None:
    for path in (V1, V2):
        answer = send(gateway, head(path, keys["casa"], method=method))
        assert status_of(answer) == 405 and b"\r\nallow: POST\r\n" in answer, answer[:300]
        if method == b"HEAD":
            assert answer.endswith(b"\r\n\r\n"), "an answer to HEAD has no body"
        else:
            check_shape(path, 405, body_of(answer))


# -- connections -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sent", [b"\x16\x03\x01\x02\x00\x01", b"GET /\r\n\r\n", b"\r\n\r\n\x00\xff", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"x" * 70_000]
)
def test_what_is_no_http_is_closed(gateway: Gateway, sent: bytes) -> None:
    assert status_of(send(gateway, sent, wait=12)) in (0, 400, 404, 405, 431)


def test_uploads_that_end_too_early_are_not_answered_and_not_logged(gateway: Gateway, keys: dict[str, str]) -> None:
    sent = json.dumps(GOOD[V1]).encode()
    before = requests_of(gateway, keys["casa"])
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", gateway.port)) as client:
            client.sendall(head(V1, keys["casa"], length=len(sent)) + sent[:-5])
        with socket.create_connection(("127.0.0.1", gateway.port)) as client:
            client.sendall(head(V1, keys["casa"], b"Transfer-Encoding: chunked") + b"10\r\n" + sent[:16] + b"\r\n")
    assert requests_of(gateway, keys["casa"]) == before


def requests_of(gateway: Gateway, key: str) -> float:
    lines = gateway.call("GET", "/metrics", key)[2].decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("brandhouse_requests_total"))


def test_a_body_in_single_bytes_is_answered_when_it_is_complete(gateway: Gateway, keys: dict[str, str]) -> None:
    sent = json.dumps(GOOD[V2]).encode()
    answer = send(gateway, head(V2, keys["casa"], length=len(sent)), *(sent[i : i + 1] for i in range(len(sent))), pause=0.002)
    assert status_of(answer) == 200 and body_of(answer)["outputs"][0]["data"] == [170.0]


def test_many_requests_in_one_go_are_answered_in_their_order(gateway: Gateway, keys: dict[str, str]) -> None:
    requests = []
    for area in range(20):
        sent = json.dumps({"instances": [{"Area m2": area}] if area % 5 else []}).encode()
        requests.append(head(V1, keys["casa"], length=len(sent)).replace(b"Connection: close\r\n", b"") + sent)
    answer = send(gateway, b"".join(requests), wait=1.5)
    found = [json.loads(part[part.index(b"{") :]) for part in answer.split(b"HTTP/1.1 ")[1:]]
    assert [one["predictions"][0] if "predictions" in one else "refused" for one in found] == [
        2.0 * area + 10 if area % 5 else "refused" for area in range(20)
    ]


@pytest.mark.slow
def test_clients_that_dribble_are_told_so_and_others_do_not_wait(gateway: Gateway, keys: dict[str, str]) -> None:
    request = head(V1, keys["casa"], length=500)
    with (
        socket.create_connection(("127.0.0.1", gateway.port)) as slow_body,
        socket.create_connection(("127.0.0.1", gateway.port)) as slow_head,
    ):
        slow_body.sendall(request + b"{")
        slow_head.sendall(request[:40])
        deadline = time.monotonic() + 13
        while time.monotonic() < deadline:
            assert gateway.predict(keys["casa"], CASA, CASA_ROW)[0] == 200
            time.sleep(0.5)
            for client in (slow_body, slow_head):
                try:
                    client.sendall(b" " if client is slow_body else b"x")
                except ConnectionError:
                    continue
        for client in (slow_body, slow_head):
            client.settimeout(5)
            assert status_of(client.recv(4096)) == 408


# -- the description ---------------------------------------------------------------------------------------------------

ALWAYS = [not_a_server_error, checks.status_code_conformance, checks.content_type_conformance, checks.response_schema_conformance]
# How a call that contradicts its description may be refused: a list with more rows than allowed is 413; who calls, and which brand and
# model it is about, is looked at first (401, 403, 404).
REFUSALS = ["400", "401", "403", "404", "413", "415", "422"]


def described(gateway: Gateway, key: str) -> tuple[Any, dict[str, str]]:
    headers = {"Authorization": f"Bearer {key}"}
    config = SchemathesisConfig.from_dict({"checks": {"negative_data_rejection": {"expected-statuses": REFUSALS}}})
    return schemathesis.openapi.from_url(f"http://127.0.0.1:{gateway.port}/openapi.json", config=config, headers=headers), headers


def try_all(schema: Any, headers: dict[str, str], examples: int, only: str) -> dict[str, set[int]]:
    """Call every operation with data of its description and with data that contradict it; return the statuses by operation."""
    seen: dict[str, set[int]] = {}
    operations = [result.ok() for result in schema.get_all_operations()]
    for operation in [one for one in operations if only in one.path]:
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            seen.setdefault(operation.label, set()).update(try_one(operation, headers, mode, examples))
    return seen


def try_one(operation: Any, headers: dict[str, str], mode: Any, examples: int) -> set[int]:
    statuses = set()
    is_exact = operation.path.startswith("/v1/") and "{" not in operation.path

    @settings(max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case: Any) -> None:
        response = case.call(headers=headers)
        statuses.add(response.status_code)
        case.validate_response(response, checks=[*ALWAYS, *([] if mode is GenerationMode.POSITIVE else [checks.negative_data_rejection])])
        if is_exact and mode is GenerationMode.POSITIVE and response.status_code != 200:
            # What is a date cannot be said in JSON Schema; everything else of a row is.
            error = response.json()["error"]
            # The house's versions are packaged without the rows that explanations need; and of many rows none are explained.
            cannot_explain = bool(case.query) and error["code"] in ("cannot_explain", "too_many_to_explain")
            assert cannot_explain or (error["violations"] and all("date" in one for one in error["violations"])), (error, case.body)

    if mode is GenerationMode.POSITIVE or operation.body:  # a text in a path contradicts nothing
        check()
    return statuses


# What is the same for all brands is tried with one of them.
OPERATIONS = {"casa": "", "stil": "stil"}


@pytest.mark.parametrize("brand", OPERATIONS)
def test_every_call_does_what_its_description_says(gateway: Gateway, keys: dict[str, str], brand: str) -> None:
    seen = try_all(*described(gateway, keys[brand]), 6, OPERATIONS[brand])
    model = "casa/price" if brand == "casa" else "stil/taste"
    assert {200, 422} <= seen[f"POST /v1/{model}/predict"] and 422 in seen[f"POST /v2/models/{model.replace('/', '.')}/infer"]
    assert len(seen) >= (17 if brand == "casa" else 2)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("brand", OPERATIONS)
def test_every_call_does_what_its_description_says_at_length(gateway: Gateway, keys: dict[str, str], brand: str) -> None:
    try_all(*described(gateway, keys[brand]), 300, OPERATIONS[brand])
