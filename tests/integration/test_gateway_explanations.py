"""`?explain=true` over HTTP: sums of their parts for compiled and python versions, refused where they cannot be."""

import json
from typing import Any

import jsonschema
import pytest
from serving_house import CASA, CASA_ROW, STIL, STIL_ROW, Gateway, House, wait_until

CASA_BACKGROUND = [{"Area m2": area, "garden": garden} for area, garden in ((50, True), (60, False), (70, None), (100, True))]
STIL_BACKGROUND = [{"visits": visits, "town": "", "health": None, "since": "2021-01-01"} for visits in (0, 4, 8)]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    house = House(tmp_path_factory.mktemp("house"))
    house.register_casa(2.0, background=CASA_BACKGROUND)
    house.register_stil(background=[{**row, "town": "Delft"} for row in STIL_BACKGROUND])
    return house


def explain(gateway: Gateway, key: str, model: Any, *rows: Any, query: str = "?explain=true") -> tuple[int, Any]:
    status, _, answer = gateway.call("POST", f"/v1/{model}/predict{query}", key, {"instances": list(rows)})
    return status, answer


def test_a_compiled_versions_answers_are_sums_of_contributions(gateway: Gateway, casa_key: str) -> None:
    rows = [CASA_ROW, {"Area m2": 70, "garden": None}]
    status, answer = explain(gateway, casa_key, CASA, *rows)
    assert status == 200, answer
    # price = 2 * area + 10, and the mean area of the background is 70
    first, second = answer["explanations"]
    assert first == {"base": 150.0, "contributions": {"Area m2": pytest.approx(20.0), "garden": 0.0}, "method": "exact"}
    assert second["contributions"] == {"Area m2": pytest.approx(0.0), "garden": 0.0}, "explanations are in another order than instances"
    for prediction, one in zip(answer["predictions"], answer["explanations"], strict=True):
        assert one["base"] + sum(one["contributions"].values()) == pytest.approx(prediction)


def test_a_python_version_is_asked_in_its_brands_own_process(gateway: Gateway, stil_key: str) -> None:
    status, answer = explain(gateway, stil_key, STIL, STIL_ROW)
    assert status == 200, answer
    (found,) = answer["explanations"]
    assert found["class"] == "yes"
    assert found["contributions"]["visits"] > 0 and found["contributions"]["since"] != 0
    assert found["contributions"]["town"] == found["contributions"]["health"] == 0, "fields that no feature is made of"
    whole = found["base"] + sum(found["contributions"].values())
    assert whole == pytest.approx(answer["probabilities"][0]["yes"])


def test_an_explained_answer_is_logged_like_any_other(gateway: Gateway, casa_key: str) -> None:
    def lines() -> int:
        return sum(_rows_of(text) for text in _metrics(gateway) if text.startswith("brandhouse_rows_total") and "casa" in text)

    before = lines()
    assert explain(gateway, casa_key, CASA, CASA_ROW, CASA_ROW)[0] == 200
    wait_until(lambda: lines() > before)
    assert lines() - before == 2, "rows that were asked about to explain others are counted as predictions"


def _metrics(gateway: Gateway) -> list[str]:
    content: bytes = gateway.call("GET", "/metrics")[2]
    return content.decode().splitlines()


def _rows_of(line: str) -> int:
    return int(float(line.rpartition(" ")[2]))


@pytest.mark.parametrize("query", ["", "?", "?explain=false"])
def test_nothing_is_explained_that_was_not_asked(gateway: Gateway, casa_key: str, query: str) -> None:
    status, answer = explain(gateway, casa_key, CASA, CASA_ROW, query=query)
    assert status == 200 and "explanations" not in answer


@pytest.mark.parametrize("query", ["?explain=yes", "?explain", "?explain=true&explain=false", "?explian=true", "?=false"])
def test_an_unclear_question_is_refused(gateway: Gateway, casa_key: str, query: str) -> None:
    status, answer = explain(gateway, casa_key, CASA, CASA_ROW, query=query)
    assert (status, answer["error"]["code"]) == (422, "invalid_query")


def test_a_misspelt_parameter_is_told_with_the_one_that_is_known(gateway: Gateway, casa_key: str) -> None:
    answer = explain(gateway, casa_key, CASA, CASA_ROW, query="?explian=true")[1]
    assert answer["error"]["message"] == "unknown query parameter 'explian'; known: explain"


def test_too_many_rows_are_refused_with_the_limit(gateway: Gateway, casa_key: str) -> None:
    status, answer = explain(gateway, casa_key, CASA, *[CASA_ROW] * 21)
    assert (status, answer["error"]["code"]) == (422, "too_many_to_explain")
    assert "at most 20" in answer["error"]["message"]


def test_whoever_has_no_key_learns_nothing_of_explaining(gateway: Gateway, stil_key: str) -> None:
    assert explain(gateway, stil_key, CASA, CASA_ROW, query="?explain=nonsense")[0] == 403


def test_the_other_protocol_says_where_reasons_are(gateway: Gateway, casa_key: str) -> None:
    tensors = [{"name": "Area m2", "shape": [1], "datatype": "FP64", "data": [80.0]}]
    status, _, answer = gateway.call("POST", "/v2/models/casa.price/infer?explain=true", casa_key, {"inputs": tensors})
    assert status == 422 and "/v1/" in answer["error"]
    assert gateway.call("POST", "/v2/models/casa.price/infer?other=true", casa_key, {"inputs": tensors})[0] == 200


def test_explanations_are_as_described(gateway: Gateway, casa_key: str, stil_key: str) -> None:
    for key, model, row in ((casa_key, CASA, CASA_ROW), (stil_key, STIL, STIL_ROW)):
        described = gateway.call("GET", "/openapi.json", key)[2]["paths"][f"/v1/{model}/predict"]["post"]
        assert "explain" in {parameter["name"] for parameter in described["parameters"]}
        schema = described["responses"]["200"]["content"]["application/json"]["schema"]
        answer = explain(gateway, key, model, row)[1]
        jsonschema.validate(answer, schema)
        answer["explanations"][0]["contributions"].popitem()
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(json.loads(json.dumps(answer)), schema)


def test_a_version_of_an_older_release_cannot_explain(gateway: Gateway, house: House, casa_key: str) -> None:
    older = house.register_casa(3.0)
    wait_until(lambda: gateway.predict(casa_key, CASA, CASA_ROW)[2]["model"] == str(older))
    status, answer = explain(gateway, casa_key, CASA, CASA_ROW)
    assert (status, answer["error"]["code"]) == (422, "cannot_explain")
    assert str(older) in answer["error"]["message"] and "train again" in answer["error"]["message"]
