"""The Open Inference Protocol as its own clients speak it, against a real gateway with two brands."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http as tritonclient
from tritonclient.utils import InferenceServerException

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
from serving_house import CASA, CASA_ROW, STIL, STIL_ROW, Gateway, House, wait_until

from brandhouse_shared.ledger.records import StageChange
from brandhouse_shared.ledger.stages import Stage

pytestmark = pytest.mark.alone
CASA_TENSOR = {"name": "Area m2", "shape": [2], "datatype": "FP64", "data": [80, 10.5]}


@pytest.fixture
def triton(gateway: Gateway) -> Iterator[Any]:
    client = tritonclient.InferenceServerClient(f"127.0.0.1:{gateway.port}")
    yield client
    client.close()


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def as_input(name: str, values: Any, datatype: str, *, binary: bool = False) -> Any:
    array = np.array(values)
    tensor = tritonclient.InferInput(name, list(array.shape), datatype)
    tensor.set_data_from_numpy(array, binary_data=binary)
    return tensor


# -- Triton's client ---------------------------------------------------------------------------------------------------


def test_tritons_client_learns_what_the_server_and_a_model_are(triton: Any, casa_key: str) -> None:
    assert triton.is_server_live() and triton.is_server_ready()
    server = triton.get_server_metadata()
    assert server["name"] == "brandhouse" and server["extensions"] == ["json_null"] and server["version"]
    assert triton.is_model_ready("casa.price", headers=bearer(casa_key)) and triton.is_model_ready(
        "casa.price", "v1", headers=bearer(casa_key)
    )
    assert not triton.is_model_ready("casa.price"), "a model's state needs a key"
    assert not triton.is_model_ready("casa.price", "v2", headers=bearer(casa_key))
    assert not triton.is_model_ready("casa.unborn", headers=bearer(casa_key))
    metadata = triton.get_model_metadata("casa.price", headers=bearer(casa_key))
    assert metadata == {
        "name": "casa.price",
        "versions": ["v1"],
        "platform": "onnx_onnxv1",
        "inputs": [{"name": "Area m2", "datatype": "FP64", "shape": [-1]}, {"name": "garden", "datatype": "BOOL", "shape": [-1]}],
        "outputs": [
            {"name": "prediction", "datatype": "FP64", "shape": [-1]},
            {"name": "prediction_ids", "datatype": "BYTES", "shape": [-1]},
        ],
    }


@pytest.mark.parametrize("version", ["", "v1", "1"])
def test_tritons_client_gets_the_same_numbers_as_predict(triton: Any, gateway: Gateway, casa_key: str, version: str) -> None:
    inputs = [as_input("Area m2", np.array([80, 10.5], np.float32), "FP32"), as_input("garden", [True, False], "BOOL")]
    result = triton.infer("casa.price", inputs, version, request_id="42", headers=bearer(casa_key))
    expected = gateway.predict(casa_key, CASA, CASA_ROW, {"Area m2": 10.5})[2]["predictions"]
    assert result.as_numpy("prediction").tolist() == expected == [170.0, 31.0]
    answer = result.get_response()
    assert (answer["id"], answer["model_name"], answer["model_version"]) == ("42", "casa.price", "v1")


def test_tritons_client_gets_labels_shares_and_class_names(triton: Any, gateway: Gateway, stil_key: str) -> None:
    rows = [STIL_ROW, {"visits": 0, "town": "Delft", "health": "x", "since": "2024-01-01"}]
    inputs = [as_input("visits", [[row["visits"]] for row in rows], "INT64")]
    inputs += [as_input(name, np.array([row[name] for row in rows], dtype=object), "BYTES") for name in ("town", "health", "since")]
    result = triton.infer("stil.taste", inputs, headers=bearer(stil_key))
    expected = gateway.predict(stil_key, STIL, *rows)[2]
    assert result.as_numpy("prediction").tolist() == expected["predictions"]
    classes = result.get_output("probabilities")["parameters"]["classes"]
    shares = [dict(zip(classes, row, strict=True)) for row in result.as_numpy("probabilities").tolist()]
    assert result.as_numpy("probabilities").shape == (2, 2) and shares == expected["probabilities"]


def test_tritons_client_gets_only_the_outputs_it_asks_for(triton: Any, stil_key: str) -> None:
    wanted = [tritonclient.InferRequestedOutput("probabilities", binary_data=False)]
    result = triton.infer("stil.taste", [as_input("visits", [7], "INT64")], outputs=wanted, headers=bearer(stil_key))
    assert [output["name"] for output in result.get_response()["outputs"]] == ["probabilities"]


def test_an_id_from_infer_takes_a_label(triton: Any, gateway: Gateway, stil_key: str) -> None:
    result = triton.infer("stil.taste", [as_input("visits", [7], "INT64")], headers=bearer(stil_key))
    (identifier,) = result.as_numpy("prediction_ids").tolist()
    assert gateway.call("POST", f"/v1/{STIL}/feedback", stil_key, {"prediction_id": identifier, "label": "yes"})[0] == 200


def test_tritons_client_is_told_what_is_wrong(triton: Any, casa_key: str, stil_key: str) -> None:
    area = as_input("Area m2", [80.0], "FP64")
    for arguments, status, message in (
        ({"headers": {}}, "401", "no API key"),
        ({"headers": bearer(stil_key)}, "403", "does not open that brand"),
        ({"headers": bearer(casa_key), "model_version": "9"}, "404", "versions that answer: v1"),
        ({"headers": bearer(casa_key), "inputs": [as_input("Area m2", [80.0], "FP64", binary=True)]}, "415", "binary_data=False"),
        (
            {"headers": bearer(casa_key), "inputs": [as_input("Area m2", [80.0, -1], "FP64")]},
            "422",
            "rows[1].Area m2: a number out of range given",
        ),
        ({"headers": bearer(casa_key), "inputs": [area, as_input("rooms", [1], "INT64")]}, "422", "unknown field rooms"),
    ):
        with pytest.raises(InferenceServerException) as caught:
            triton.infer("casa.price", **{"inputs": [area], **arguments})
        assert caught.value.status() == status and message in caught.value.message(), (status, caught.value)


# -- the protocol itself -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["casa.price", "casa.nothing", "casa", "nobody.price", "c\u0430sa.price"])
@pytest.mark.parametrize("rest", ["", "/ready", "/infer", "/versions/v1", "/versions/v1/ready", "/versions/v1/infer"])
def test_another_brands_models_are_forbidden_alike_whether_they_exist_or_not(gateway: Gateway, stil_key: str, name: str, rest: str) -> None:
    from urllib.parse import quote

    method = "POST" if rest.endswith("infer") else "GET"
    status, _, body = gateway.call(method, f"/v2/models/{quote(name)}{rest}", stil_key, b"not json" if method == "POST" else None)
    assert (status, body) == (403, {"error": "this API key does not open that brand"})


def test_health_needs_no_key_and_models_do(gateway: Gateway, casa_key: str, house: House) -> None:
    assert gateway.call("GET", "/v2/health/live")[2] == {"live": True}
    assert gateway.call("GET", "/v2/health/ready")[2] == {"ready": True}
    assert gateway.call("GET", "/v2/")[2] == gateway.call("GET", "/v2")[2]
    for path in ("/v2/models/casa.price", "/v2/models/casa.price/ready"):
        status, headers, body = gateway.call("GET", path)
        assert (status, headers["www-authenticate"]) == (401, "Bearer") and "no API key" in body["error"]
    predictor = house.add_key("casa", "predict")
    wait_until(lambda: gateway.predict(predictor, CASA, CASA_ROW)[0] == 200)
    status, _, body = gateway.call("GET", "/v2/models/casa.price", predictor)
    assert status == 403 and "lacks the scope read" in body["error"]


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/v2/models/casa.price/infer", 405),
        ("POST", "/v2/models/casa.price", 405),
        ("GET", "/v2/models/casa.price/config", 404),
        ("GET", "/v2/nothing", 404),
        ("GET", "/v2/models/casa.prise", 404),
        ("GET", "/v2/models/casa", 404),
        ("GET", "/v2/models/casa.price/versions/v9", 404),
        ("GET", "/v2/models/casa.unborn", 503),
    ],
)
def test_errors_have_the_protocols_shape(gateway: Gateway, casa_key: str, method: str, path: str, expected: int) -> None:
    status, _, body = gateway.call(method, path, casa_key)
    assert status == expected and list(body) == ["error"] and isinstance(body["error"], str), (status, body)


def test_null_and_a_tensor_left_out_are_missing_values(gateway: Gateway, casa_key: str) -> None:
    garden = {"name": "garden", "shape": [2], "datatype": "BOOL", "data": [None, True]}
    for inputs in ([CASA_TENSOR, garden], [CASA_TENSOR]):
        status, _, body = gateway.call("POST", "/v2/models/casa.price/infer", casa_key, {"inputs": inputs})
        assert status == 200 and body["outputs"][0]["data"] == [170.0, 31.0], body
    status, _, body = gateway.call("POST", "/v2/models/casa.price/infer", casa_key, {"inputs": [garden]})
    assert status == 422 and "rows[0].Area m2: nothing given" in body["error"]


def test_infer_is_logged_counted_and_limited_as_predict_is(gateway: Gateway, casa_key: str) -> None:
    def requests() -> float:
        lines = gateway.call("GET", "/metrics", casa_key)[2].decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith("brandhouse_requests_total"))

    before = requests()
    status, _, body = gateway.call("POST", "/v2/models/casa.price/infer", casa_key, {"inputs": [CASA_TENSOR]})
    ids = body["outputs"][1]["data"]
    assert status == 200 and requests() == before + 1
    assert gateway.call("POST", f"/v1/{CASA}/feedback", casa_key, {"prediction_id": ids[1], "label": 30})[0] == 200
    many = {**CASA_TENSOR, "shape": [101], "data": [1.0] * 101}
    status, _, body = gateway.call("POST", "/v2/models/casa.price/infer", casa_key, {"inputs": [many]})
    assert status == 413 and "101 rows; allowed: at most 100" in body["error"]


def test_a_canary_answers_by_its_number_and_a_retired_version_does_not(triton: Any, house: House, casa_key: str) -> None:
    canary, key = house.register_casa(3.0, promote=False), bearer(casa_key)
    for stage, share in ((Stage.SHADOW, None), (Stage.CANARY, 0.01)):
        house.ledger.change_stage(StageChange(version=canary, to=stage, actor="tester", reason="test", share=share))
    wait_until(lambda: set(triton.get_model_metadata("casa.price", headers=key)["versions"]) == {"v1", "v2"}, 30)
    for version, price in (("v1", 170.0), ("v2", 250.0)):
        for _ in range(3):
            result = triton.infer("casa.price", [as_input("Area m2", [80.0], "FP64")], version, headers=key)
            assert result.get_response()["model_version"] == version, "a version that is asked for is not drawn"
            assert result.as_numpy("prediction").tolist() == [price]
    house.ledger.change_stage(StageChange(version=canary, to=Stage.RETIRED, actor="tester", reason="test"))
    wait_until(lambda: not triton.is_model_ready("casa.price", "v2", headers=key), 30)
    with pytest.raises(InferenceServerException, match="versions that answer: v1"):
        triton.infer("casa.price", [as_input("Area m2", [80.0], "FP64")], "v2", headers=key)


def test_one_request_key_sees_one_version_of_a_canary_in_both_protocols(gateway: Gateway, house: House, casa_key: str) -> None:
    canary = house.register_casa(3.0, promote=False)
    for stage, share in ((Stage.SHADOW, None), (Stage.CANARY, 0.5)):
        house.ledger.change_stage(StageChange(version=canary, to=stage, actor="tester", reason="test", share=share))

    def versions(key: str) -> set[str]:
        bodies = [{"instances": [{"Area m2": area}]} for area in range(5)]
        rows = [gateway.call("POST", f"/v1/{CASA}/predict", casa_key, body, X_Request_Key=key)[2]["model"] for body in bodies]
        tensors = gateway.call("POST", "/v2/models/casa.price/infer", casa_key, {"inputs": [CASA_TENSOR]}, X_Request_Key=key)[2]
        return {*(model.rpartition("/")[2] for model in rows), tensors["model_version"]}

    wait_until(lambda: gateway.call("GET", f"/v2/models/casa.price/versions/v{canary.number}/ready", casa_key)[0] == 200, 30)
    seen = [versions(f"reader {number}") for number in range(12)]
    assert all(len(found) == 1 for found in seen), seen
    assert set().union(*seen) == {"v1", f"v{canary.number}"}, "and others see the other one"
    house.ledger.change_stage(StageChange(version=canary, to=Stage.RETIRED, actor="tester", reason="test"))


def test_the_description_types_infer_for_the_callers_models_only(gateway: Gateway, casa_key: str) -> None:
    generic = gateway.call("GET", "/openapi.json")[2]
    assert {"/v2", "/v2/models/{name}/infer", "/v2/models/{name}/versions/{version}/infer", "/v2/health/live"} <= generic["paths"].keys()
    typed = gateway.call("GET", "/openapi.json", casa_key)[2]
    call = typed["paths"]["/v2/models/casa.price/infer"]["post"]
    tensors = call["requestBody"]["content"]["application/json"]["schema"]["properties"]["inputs"]["items"]["anyOf"]
    assert [tensor["properties"]["name"]["const"] for tensor in tensors] == ["Area m2", "garden"]
    assert tensors[1]["properties"]["datatype"] == {"enum": ["BOOL"]} and "stil" not in json.dumps(typed)
    assert call["responses"]["422"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/ProtocolError"}
