"""The gateway as a real process, with a compiled model and a brand's own process behind it, and two brands at once."""

import json
import socket
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
from serving_house import CASA, CASA_ROW, STIL, STIL_ROW, Gateway, House, wait_until

from brandhouse_shared.answering import load_predictor
from brandhouse_shared.artifacts import MANIFEST_FILE, Manifest
from brandhouse_shared.names import ModelKey

pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    house = House(tmp_path_factory.mktemp("house"))
    house.edit_brand("casa", "max_rows = 100", "max_rows = 100\n\n[models.slow]\n" + CASA_LIKE.strip())
    house.register_casa(2.0)
    house.register_stil()
    house.register_constant(SLOW)
    return house


CASA_LIKE = """
entrypoint = "brand_casa.price"
dataset = "homes"
task = "regression"
target = "price"
metric = "rmse"

[models.slow.inputs]
"Area m2" = { type = "number", min = 0, max = 1000 }
garden = { type = "boolean", nullable = true }

[models.slow.serving]
rate_per_second = 2
"""
SLOW = ModelKey("casa", "slow")


def test_the_gateway_says_in_one_line_what_it_serves_and_where(gateway: Gateway) -> None:
    assert gateway.line == f"Brandhouse serves 3 models on http://127.0.0.1:{gateway.port}"


def test_a_compiled_version_answers_with_its_name_and_an_id_per_row(gateway: Gateway, casa_key: str) -> None:
    status, headers, body = gateway.predict(casa_key, CASA, CASA_ROW, {"Area m2": 10.5})
    assert (status, body["model"], body["predictions"]) == (200, "casa/price/v1", [170.0, 31.0])
    assert len(set(body["prediction_ids"])) == 2 and all(one.startswith("casa.price.v1.") for one in body["prediction_ids"])
    assert "x-brandhouse-fallback" not in headers and "probabilities" not in body


def test_a_classifier_answers_labels_and_probabilities_equal_to_the_predictor_itself(gateway: Gateway, house: House, stil_key: str) -> None:
    rows = [STIL_ROW, {"visits": 0}, {"visits": 3, "since": "2024-01-01"}]
    status, headers, body = gateway.predict(stil_key, STIL, *rows)
    record = house.ledger.find_version(STIL.version(1)).record
    folder = house.store.find(STIL, record.artifact_digest)
    manifest = Manifest.model_validate_json((folder / MANIFEST_FILE).read_bytes())
    expected = load_predictor(folder, manifest).predict(manifest.contract.parse_rows(rows)).tolist()
    assert status == 200, (headers, body)
    assert body["probabilities"] == [{"no": no, "yes": yes} for no, yes in expected]
    assert body["predictions"] == ["yes" if yes > no else "no" for no, yes in expected]


@pytest.mark.parametrize(
    "authorization", [None, "Bearer", "Bearer nonsense", "Basic abc", "Bearer bh_0123456789ab_secret", "Bearer bh_\xe9_x", "Bearer  "]
)
def test_without_a_known_key_the_answer_is_401(gateway: Gateway, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    status, answered, body = gateway.call("POST", f"/v1/{CASA}/predict", None, {"instances": [CASA_ROW]}, **headers)
    assert (status, body["error"]["code"], answered["www-authenticate"]) == (401, "unauthenticated", "Bearer")


def test_an_expired_key_is_refused(gateway: Gateway, house: House, casa_key: str) -> None:
    expired = house.add_key("casa", expires_at=datetime(2020, 1, 1, tzinfo=UTC))
    live = house.add_key("casa")
    wait_until(lambda: gateway.predict(live, CASA, CASA_ROW)[0] == 200)
    status, _, body = gateway.predict(expired, CASA, CASA_ROW)
    assert status == 401 and "has expired" in body["error"]["message"]


@pytest.mark.parametrize("path", ["casa/price", "casa/nothing", "nobody/price", "c%61sa/price", "casa/../price", "casa%2Fprice/x"])
def test_another_brand_is_forbidden_in_the_same_words_whether_it_exists_or_not(gateway: Gateway, stil_key: str, path: str) -> None:
    status, _, body = gateway.call("POST", f"/v1/{path}/predict", stil_key, b"not even json", Content_Type="text/plain")
    if status != 404:  # a path of another depth is no call at all
        assert (status, body) == (
            403,
            {"error": {"code": "forbidden", "message": "this API key does not open that brand", "violations": []}},
        )
    assert "casa" not in json.dumps(body)


def test_a_key_without_the_scope_is_refused(gateway: Gateway, house: House, casa_key: str) -> None:
    reader = house.add_key("casa", "read")
    wait_until(lambda: gateway.call("GET", "/v1/casa/models", reader)[0] == 200)
    status, _, body = gateway.predict(reader, CASA, CASA_ROW)
    assert status == 403 and "lacks the scope predict" in body["error"]["message"]


def test_an_unknown_model_of_ones_own_brand_is_404_and_names_the_known(gateway: Gateway, casa_key: str) -> None:
    status, _, body = gateway.predict(casa_key, ModelKey("casa", "prise"), CASA_ROW)
    assert (status, body["error"]["code"]) == (404, "unknown_model")
    assert "its models: price, slow, unborn" in body["error"]["message"]


def test_a_declared_model_without_a_version_is_503(gateway: Gateway, casa_key: str) -> None:
    status, headers, body = gateway.predict(casa_key, ModelKey("casa", "unborn"), CASA_ROW)
    assert (status, headers["retry-after"]) == (503, "5") and "no version is in production" in body["error"]["message"]


def test_too_large_and_too_many_are_413(gateway: Gateway, casa_key: str) -> None:
    status, _, body = gateway.call("POST", f"/v1/{CASA}/predict", casa_key, b'{"instances": [' + b" " * 2_000_001 + b"]}")
    assert (status, body["error"]["code"]) == (413, "body_too_large")
    status, _, body = gateway.predict(casa_key, CASA, *[CASA_ROW] * 101)
    assert status == 413 and "101 rows; allowed: at most 100" in body["error"]["message"]


def test_a_body_that_grows_beyond_the_limit_without_saying_so_is_413(gateway: Gateway, casa_key: str) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port)) as client:
        head = f"POST /v1/{CASA}/predict HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {casa_key}\r\nContent-Type: application/json\r\n"
        client.sendall((head + "Transfer-Encoding: chunked\r\n\r\n").encode())
        try:
            for _ in range(40):
                client.sendall(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
        except ConnectionError:
            pass
        assert b"413" in client.recv(100)


def test_another_content_type_or_a_compressed_body_is_415(gateway: Gateway, casa_key: str) -> None:
    for headers in ({"Content_Type": "text/plain"}, {"Content_Type": "application/vnd.bentoml+pickle"}, {"Content_Encoding": "gzip"}):
        assert gateway.call("POST", f"/v1/{CASA}/predict", casa_key, {"instances": [CASA_ROW]}, **headers)[0] == 415, headers


BAD_BODIES = {
    b"": "no valid JSON",
    b"{": "no valid JSON",
    b'{"instances": [{"Area m2": NaN}]}': "no valid JSON",
    b'{"instances": [{"Area m2": 1e999}]}': "no valid JSON",
    b"[" * 5000: "no valid JSON",
    b"[]": 'body: allowed: an object {"instances": [...]}',
    b"{}": "instances: allowed: a list",
    b'{"instances": []}': "instances: allowed: a list",
    b'{"instances": {"Area m2": 1}}': "instances: allowed: a list",
    b'{"instances": [{"Area m2": 1}], "parameters": {}}': "body: unknown field parameters",
    b'{"instances": [1]}': "instances[0]: a whole number given",
    b'{"instances": [{}]}': "instances[0].Area m2: nothing given; allowed: a number at least 0 and at most 1000",
    b'{"instances": [{"Area m2": null}]}': "instances[0].Area m2: null given",
    b'{"instances": [{"Area m2": "80"}]}': "instances[0].Area m2: a text given",
    b'{"instances": [{"Area m2": true}]}': "instances[0].Area m2: a boolean given",
    b'{"instances": [{"Area m2": [[[[1]]]]}]}': "instances[0].Area m2: a list given",
    b'{"instances": [{"Area m2": -1}]}': "instances[0].Area m2: a number out of range given",
    b'{"instances": [{"Area m2": 1, "rooms": 3}]}': "unknown field rooms",
    b'{"instances": [{"Area m2": 1, "Area m2": 2}]}': "Area m2: given more than once",
    b'{"instances": [{"Area m2": 1}], "instances": [{"Area m2": 2}]}': "instances: given more than once",
}


@pytest.mark.parametrize("body", BAD_BODIES)
def test_a_bad_body_is_422_and_says_where_and_what_is_allowed(gateway: Gateway, casa_key: str, body: bytes) -> None:
    status, _, answer = gateway.call("POST", f"/v1/{CASA}/predict", casa_key, body)
    assert status == 422
    assert BAD_BODIES[body] in " ".join([answer["error"]["message"], *answer["error"]["violations"]])


def test_a_refusal_repeats_no_value(gateway: Gateway, stil_key: str) -> None:
    status, _, body = gateway.predict(stil_key, STIL, {**STIL_ROW, "since": "yesterday-secret", "visits": "many-secret"})
    assert status == 422 and "secret" not in json.dumps(body)


def test_more_requests_than_the_rate_are_429_and_say_when_to_come_again(gateway: Gateway, casa_key: str) -> None:
    answers = [gateway.predict(casa_key, SLOW, CASA_ROW) for _ in range(6)]
    refused = [headers for status, headers, _ in answers if status == 429]
    assert [status for status, _, _ in answers[:2]] == [200, 200] and refused
    assert all(headers["retry-after"] == "1" for headers in refused)
    assert gateway.predict(casa_key, CASA, CASA_ROW)[0] == 200, "another model of the brand has no limit"


def test_another_method_or_path_gets_an_error_of_the_same_shape(gateway: Gateway, casa_key: str) -> None:
    for method, path, expected in (("GET", f"/v1/{CASA}/predict", 405), ("POST", "/v1/predict", 404), ("GET", "/nothing", 404)):
        status, _, body = gateway.call(method, path, casa_key)
        assert status == expected and set(body["error"]) == {"code", "message", "violations"}, (path, status, body)


def test_the_listing_shows_the_callers_brand_only(gateway: Gateway, casa_key: str, stil_key: str) -> None:
    status, _, body = gateway.call("GET", "/v1/casa/models", casa_key)
    assert status == 200 and [model["model"] for model in body["models"]] == ["price", "slow", "unborn"]
    assert body["models"][0]["version"] == "casa/price/v1" and "Area m2" in body["models"][0]["inputs"]["properties"]
    assert gateway.call("GET", "/v1/casa/models", stil_key)[0] == 403


def test_the_description_is_generic_without_a_key_and_typed_with_one(gateway: Gateway, casa_key: str, stil_key: str) -> None:
    generic = json.dumps(gateway.call("GET", "/openapi.json")[2])
    assert "/v1/{brand}/{model}/predict" in generic and "casa" not in generic and "stil" not in generic
    typed = gateway.call("GET", "/openapi.json", casa_key)[2]
    schema = typed["paths"]["/v1/casa/price/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    row = schema["properties"]["instances"]["items"]
    assert row["required"] == ["Area m2"] and row["properties"]["Area m2"]["maximum"] == 1000
    assert "stil" not in json.dumps(typed) and "casa" not in json.dumps(gateway.call("GET", "/openapi.json", stil_key)[2])
    for path in ("/v1/casa/price/predict", "/v1/{brand}/{model}/predict", "/v2/models/casa.price/infer", "/v2/models/{name}/infer"):
        header = typed["paths"][path]["post"]["parameters"][-1]
        assert (header["name"], header["in"], header["required"]) == ("X-Request-Key", "header", False), path
    status, headers, page = gateway.call("GET", "/docs")
    assert status == 200 and headers["content-type"].startswith("text/html") and b"Brandhouse API" in page and b"//cdn" not in page


def test_metrics_show_a_brand_its_own_series_only(gateway: Gateway, casa_key: str, stil_key: str) -> None:
    gateway.predict(casa_key, CASA, CASA_ROW)
    gateway.predict(stil_key, STIL, STIL_ROW)
    everything = gateway.call("GET", "/metrics")[2]
    assert b'brandhouse_requests_total{brand="casa",model="price",version="v1"}' in everything and b'brand="stil"' in everything
    own = gateway.call("GET", "/metrics", casa_key)[2]
    assert b'brand="casa"' in own and b"stil" not in own
    assert gateway.call("GET", "/metrics", None, None, X_Forwarded_For="10.0.0.1")[0] == 401, "behind a proxy, nobody is this machine"


def test_feedback_joins_a_label_once(gateway: Gateway, casa_key: str, stil_key: str) -> None:
    (identifier,) = gateway.predict(stil_key, STIL, STIL_ROW)[2]["prediction_ids"]
    path = f"/v1/{STIL}/feedback"
    assert gateway.call("POST", path, stil_key, {"prediction_id": identifier, "label": "maybe"})[0] == 422
    assert gateway.call("POST", path, stil_key, {"prediction_id": identifier, "label": "yes"})[0] == 200
    assert gateway.call("POST", path, stil_key, {"prediction_id": identifier, "label": "no"})[0] == 409
    assert gateway.call("POST", path, stil_key, {"prediction_id": identifier[:-4] + "AAAA", "label": "no"})[0] == 404
    assert gateway.call("POST", path, casa_key, {"prediction_id": identifier, "label": "no"})[0] == 403
    assert gateway.call("POST", f"/v1/{CASA}/feedback", casa_key, {"prediction_id": identifier, "label": 1})[0] == 404


def test_a_client_that_leaves_in_the_middle_of_its_body_disturbs_nobody(gateway: Gateway, casa_key: str) -> None:
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", gateway.port)) as client:
            head = f"POST /v1/{CASA}/predict HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {casa_key}\r\nContent-Type: application/json\r\n"
            client.sendall((head + 'Content-Length: 500\r\n\r\n{"instances": [').encode())
    assert gateway.predict(casa_key, CASA, CASA_ROW)[0] == 200


def test_a_new_key_works_and_a_revoked_one_ends_within_a_second(gateway: Gateway, house: House) -> None:
    key = house.add_key("casa")
    assert wait_until(lambda: gateway.predict(key, CASA, CASA_ROW)[0] == 200) < 1
    house.ledger.revoke_key(key.split("_")[1], "tester", "test")
    assert wait_until(lambda: gateway.predict(key, CASA, CASA_ROW)[0] == 401) < 1


def test_readiness_is_said_when_all_models_are_loaded(gateway: Gateway) -> None:
    assert gateway.call("GET", "/healthz")[0] == 200
    wait_until(lambda: gateway.call("GET", "/readyz")[0] == 200, 30)


def test_a_taken_port_is_refused_with_a_reason(gateway: Gateway, house: House) -> None:
    started = time.monotonic()
    second = Gateway(house, port=gateway.port)
    assert f"cannot listen on 127.0.0.1:{gateway.port}: the port is in use" in second.stop() and second.process.returncode == 1
    assert time.monotonic() - started < 10


def test_an_unknown_brand_is_refused_at_the_start(house: House) -> None:
    assert "unknown brand 'csaa'; known brands: casa, stil" in Gateway(house, "csaa").stop()
