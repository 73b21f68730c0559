"""The lane as an application: what of paths, headers and bodies reaches a model, for both protocols and two brands."""

import asyncio
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
from serving_house import CASA_ROW, House

from brandhouse_serving.answer_threads import LARGE_BYTES
from brandhouse_serving.dialects import V1, Call
from brandhouse_serving.lane import DIALECTS, PredictLane
from brandhouse_serving.parts import build_parts

V1_BODY = orjson.dumps({"instances": [CASA_ROW]})
V2_BODY = orjson.dumps(
    {
        "inputs": [
            {"name": "Area m2", "shape": [1], "datatype": "FP64", "data": [80]},
            {"name": "garden", "shape": [1], "datatype": "BOOL", "data": [True]},
        ]
    }
)
Headers = list[tuple[bytes, bytes]]


class Client:
    """Sends requests to a lane without a server between."""

    def __init__(self, house: House) -> None:
        self.keys = {"casa": house.add_key("casa"), "stil": house.add_key("stil")}
        self.parts = build_parts(house.settings, None)
        self.passed_on: list[str] = []
        self.looked_up: list[str] = []
        self.lane = PredictLane(self._behind, replace(self.parts, directory=_Watched(self)))

    async def _behind(self, scope: Any, receive: Any, send: Any) -> None:
        self.passed_on.append(scope["path"])
        await send({"type": "http.response.start", "status": 299, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    def headers(self, brand: str = "casa") -> Headers:
        return [(b"authorization", b"Bearer " + self.keys[brand].encode()), (b"content-type", b"application/json")]

    def ask(self, path: bytes, headers: Headers | None = None, body: bytes = V1_BODY, method: str = "POST") -> tuple[int, Any]:
        return asyncio.run(self._ask(path, self.headers() if headers is None else headers, body, method))

    async def _ask(self, path: bytes, headers: Headers, body: bytes, method: str) -> tuple[int, Any]:
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        if not self.parts.router.table:
            self.parts.keys.refresh()
            await self.parts.router.refresh()
        scope = {
            "type": "http",
            "method": method,
            "path": path.decode("latin-1"),
            "raw_path": path,
            "headers": headers,
            "query_string": b"",
        }
        await self.lane(scope, receive, send)
        return sent[0]["status"], orjson.loads(sent[1]["body"])


class _Watched:
    """The directory of brands, which remembers whom it was asked for."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def find(self, name: str) -> Any:
        self._client.looked_up.append(name)
        return self._client.parts.directory.find(name)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    house = House(tmp_path_factory.mktemp("house"))
    house.register_casa(2.0)
    client = Client(house)
    yield client
    asyncio.run(client.parts.close())


@pytest.fixture
def client(served: Client) -> Client:
    served.passed_on.clear()
    served.looked_up.clear()
    return served


CALLS = {b"/v1/casa/price/predict": V1_BODY, b"/v2/models/casa.price/infer": V2_BODY, b"/v2/models/casa.price/versions/v1/infer": V2_BODY}


@pytest.mark.parametrize("path", CALLS)
def test_a_call_is_answered_by_the_lane_alone(client: Client, path: bytes) -> None:
    status, body = client.ask(path, body=CALLS[path])
    assert status == 200, body
    assert b"170.0" in orjson.dumps(body) and not client.passed_on


ELSEWHERE = [b"/v1/casa/price/predict/", b"//v1/casa/price/predict", b"/V1/casa/price/predict", b"/v1/casa/x/../price/predict"]


@pytest.mark.parametrize("path", [*ELSEWHERE, b"/v1/casa/models", b"/"])
def test_what_is_no_call_for_predictions_goes_on_to_the_application_behind(client: Client, path: bytes) -> None:
    assert client.ask(path) == (299, {})
    assert len(client.passed_on) == 1


FOREIGN = (b"casa", b"nobody", b"", b"..", b"c%61sa", b"casa%2Fprice", b"CASA", b"st%69l", b"stil%00", "\u0441asa".encode(), b"casa ")


@pytest.mark.parametrize("brand", FOREIGN)
def test_a_path_of_another_brand_is_403_in_the_same_words_and_nothing_is_looked_up(client: Client, brand: bytes) -> None:
    told = {
        orjson.dumps(client.ask(b"/v1/" + brand + b"/price/predict", client.headers("stil"))),
        orjson.dumps(client.ask(b"/v1/" + brand + b"/no%20thing/predict", client.headers("stil"))),
    }
    assert told == {b'[403,{"error":{"code":"forbidden","message":"this API key does not open that brand","violations":[]}}]'}
    assert client.looked_up == [] and client.passed_on == []


@pytest.mark.parametrize("model", [b"prise", b"..", b"pric%65", b"price%2F", b"PRICE", "\u0440rice".encode(), b"price ", b""])
def test_a_model_of_ones_own_brand_that_is_misspelt_is_404(client: Client, model: bytes) -> None:
    status, body = client.ask(b"/v1/casa/" + model + b"/predict")
    assert (status, body["error"]["code"]) == (404, "unknown_model")


REPEATED = {
    b"authorization": b"Bearer bh_0123456789ab_secret",
    b"content-type": b"text/plain",
    b"content-length": b"3",
    b"content-encoding": b"identity",
    b"transfer-encoding": b"chunked",
    b"host": b"elsewhere",
    b"x-request-key": b"b",
}


@pytest.mark.parametrize("path", CALLS)
@pytest.mark.parametrize("name", REPEATED)
def test_a_header_that_decides_something_may_be_sent_once(client: Client, path: bytes, name: bytes) -> None:
    usual = {b"content-length": b"9", b"host": b"here", b"x-request-key": b"a"}
    usual |= {b"transfer-encoding": b"chunked", b"content-encoding": b"identity"}
    headers = client.headers() + ([(name, usual[name])] if name in usual else [])
    for repeated in ([*headers, (name, REPEATED[name])], [(name, REPEATED[name]), *headers], [*headers, *headers]):
        status, body = client.ask(path, repeated, CALLS[path])
        assert status == 400, body
        assert name in orjson.dumps(body) and b"sent more than once" in orjson.dumps(body)


def test_other_headers_may_be_sent_twice(client: Client) -> None:
    assert client.ask(b"/v1/casa/price/predict", [*client.headers(), (b"accept", b"a"), (b"accept", b"b")])[0] == 200


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "OPTIONS"])
@pytest.mark.parametrize("path", CALLS)
def test_predictions_are_asked_for_with_post_only(client: Client, path: bytes, method: str) -> None:
    assert client.ask(path, method=method)[0] == 405


def test_a_request_that_failed_is_no_longer_in_flight(client: Client) -> None:
    assert client.ask(b"/v1/casa/price/predict", body=b'{"instances": [{}]}')[0] == 422
    assert client.ask(b"/v1/casa/price/predict", body=b"{")[0] == 422
    assert b'brandhouse_in_flight{brand="casa",model="price"} 0' in client.parts.metrics.render()


def test_a_fault_of_ours_is_500_says_nothing_and_ends_nothing_else(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        async def answer(self, *_: Any) -> Any:
            raise RuntimeError("secret of the row")

    lane = client.lane
    client.lane = PredictLane(client._behind, replace(client.parts, answerer=Broken()))  # type: ignore[arg-type]
    try:
        status, body = client.ask(b"/v1/casa/price/predict")
    finally:
        client.lane = lane
    assert (status, body["error"]["code"]) == (500, "internal") and "secret" not in str(body)
    assert "casa/price: a request failed" in caplog.text
    assert client.ask(b"/v1/casa/price/predict")[0] == 200


def test_a_key_opens_its_brand_in_both_protocols_and_no_other(client: Client) -> None:
    for path, body in CALLS.items():
        assert client.ask(path, client.headers("stil"), body)[0] == 403
        assert client.ask(path, client.headers()[1:], body)[0] == 401


class _Slow(V1):
    """Reads bodies above a size only when it is told to, and notes in which threads bodies are read and answers written."""

    def __init__(self) -> None:
        self.may_read = threading.Event()
        self.threads: list[tuple[int, str]] = []

    def rows_of(self, call: Call, route: Any) -> Sequence[Any]:
        self.threads.append((len(call.body), threading.current_thread().name))
        assert len(call.body) <= LARGE_BYTES or self.may_read.wait(10), "the small request was not answered meanwhile"
        return super().rows_of(call, route)

    def answer_of(self, reply: Any, ids: Sequence[str], call: Call) -> bytes:
        self.threads.append((len(call.body), threading.current_thread().name))
        return super().answer_of(reply, ids, call)


def test_a_small_request_is_answered_while_a_large_one_is_read(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    dialect, path = _Slow(), b"/v1/casa/price/predict"
    monkeypatch.setitem(DIALECTS, b"/v1/", dialect)
    large = orjson.dumps({"instances": [{"Area m2": size, "garden": True} for size in range(90)]}) + b" " * LARGE_BYTES

    async def both() -> tuple[Any, Any]:
        waiting = asyncio.create_task(client._ask(path, client.headers(), large, "POST"))
        await asyncio.sleep(0)
        small = await client._ask(path, client.headers(), V1_BODY, "POST")
        dialect.may_read.set()
        return small, await waiting

    small, (status, answer) = asyncio.run(both())
    assert small[0] == status == 200
    assert answer["predictions"] == [2.0 * size + 10 for size in range(90)]
    assert {name.split("_")[0] for size, name in dialect.threads if size > LARGE_BYTES} == {"read"}
    assert {name for size, name in dialect.threads if size <= LARGE_BYTES} == {"MainThread"}


def test_a_large_body_is_refused_as_a_small_one(client: Client) -> None:
    body = b'{"instances": [{"Area m2": 5, "Area m2": 6}]}'
    assert client.ask(b"/v1/casa/price/predict", body=body + b" " * LARGE_BYTES) == client.ask(b"/v1/casa/price/predict", body=body)
    many = orjson.dumps({"instances": [{"Area m2": 5}] * 80 + [{"Area m2": "x"}]})
    status, answer = client.ask(b"/v1/casa/price/predict", body=many)
    assert status == 422 and "instances[80].Area m2: a text given" in orjson.dumps(answer).decode()
