"""Where a prediction came from, asked over HTTP with a brand's key: its own, and nothing of any other brand."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
from serving_house import CASA, CASA_ROW, STIL, STIL_ROW, Gateway, House

pytestmark = [pytest.mark.alone, pytest.mark.slow]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    house = House(tmp_path_factory.mktemp("house"))
    house.register_casa(2.0)
    house.register_stil()
    return house


@pytest.fixture(scope="module")
def keys(house: House) -> dict[str, str]:
    """Made before the gateway starts, which then knows them from the beginning."""
    return {"casa": house.add_key("casa"), "stil": house.add_key("stil"), "no read": house.add_key("casa", "predict")}


@pytest.fixture(scope="module")
def gateway(house: House, keys: dict[str, str]) -> Iterator[Gateway]:
    with Gateway(house) as gateway:
        yield gateway


def test_a_key_that_may_read_learns_where_its_own_prediction_came_from(house: House, gateway: Gateway, keys: dict[str, str]) -> None:
    key = keys["casa"]
    _, _, answer = gateway.predict(key, CASA, CASA_ROW)
    (identifier,) = answer["prediction_ids"]
    gateway.call("POST", "/v1/casa/price/feedback", key, {"prediction_id": identifier, "label": 171.5})

    status, _, found = gateway.call("GET", f"/v1/casa/predictions/{identifier}", key)

    record = house.ledger.find_version(CASA.version(1)).record
    assert status == 200
    assert (found["brand"], found["model"], found["version"], found["prediction"]) == ("casa", "price", "v1", answer["predictions"][0])
    assert (found["artifact_digest"], found["snapshot_hash"]) == (record.artifact_digest, record.snapshot_hash)
    assert (found["served_by"], found["fallback"], found["stage"]) == ("production", False, "production")
    assert (found["promoted_by"], found["promoted_why"]) == ("tester", "test")
    assert [step["stage"] for step in found["stage_history"]] == ["candidate", "production"]
    assert found["label"] == 171.5
    assert "Area m2" not in str(found), "what was asked is not part of it"


def test_an_id_of_another_brand_is_as_unknown_as_one_that_nobody_has(gateway: Gateway, keys: dict[str, str]) -> None:
    casa, stil = keys["casa"], keys["stil"]
    theirs = gateway.predict(stil, STIL, STIL_ROW)[2]["prediction_ids"][0]
    assert gateway.call("GET", f"/v1/stil/predictions/{theirs}", stil)[0] == 200

    asked = [
        theirs,
        theirs[:-1] + ("0" if theirs[-1] != "0" else "1"),
        theirs.replace("stil.taste", "casa.price"),
        "no-id",
        "casa.price.v1",
    ]
    answers = [gateway.call("GET", f"/v1/casa/predictions/{identifier}", casa) for identifier in asked]

    assert {status for status, _, _ in answers} == {404}
    assert len({str(body) for _, _, body in answers}) == 1, "they cannot be told apart"
    assert gateway.call("GET", f"/v1/stil/predictions/{theirs}", casa)[0] == 403


def test_a_key_needs_the_scope_to_read(gateway: Gateway, keys: dict[str, str]) -> None:
    key = keys["no read"]
    (identifier,) = gateway.predict(key, CASA, CASA_ROW)[2]["prediction_ids"]

    status, _, body = gateway.call("GET", f"/v1/casa/predictions/{identifier}", key)
    assert status == 403 and "scope read" in body["error"]["message"]
    assert gateway.call("GET", f"/v1/casa/predictions/{identifier}")[0] == 401


def test_the_description_types_the_answer(gateway: Gateway) -> None:
    document = gateway.call("GET", "/openapi.json")[2]

    operation = document["paths"]["/v1/{brand}/predictions/{prediction_id}"]["get"]
    assert operation["responses"]["200"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Provenance"}
    assert set(operation["responses"]) == {"200", "401", "403", "404"}
    assert "snapshot_hash" in document["components"]["schemas"]["Provenance"]["properties"]
    assert "HTTPValidationError" not in document["components"]["schemas"]
