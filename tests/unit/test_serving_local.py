"""One answer without a gateway, for the command line; checked and logged like any other."""

import asyncio
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
from serving_house import CASA, CASA_ROW, House

from brandhouse_serving.failures import UnavailableError
from brandhouse_serving.local import predict_here
from brandhouse_serving.prediction_records import find_record
from brandhouse_shared.errors import ContractViolationError, UnknownModelError
from brandhouse_shared.names import ModelKey


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    house = House(tmp_path_factory.mktemp("house"))
    house.register_casa(2.0)
    return house


def test_it_is_the_apis_answer_and_is_in_the_log_when_it_returns(house: House) -> None:
    answer = asyncio.run(predict_here(house.settings, CASA, [CASA_ROW, {"Area m2": 1}]))
    assert (answer["model"], answer["predictions"]) == ("casa/price/v1", [170.0, 12.0])
    assert all(find_record(house.home, identifier) for identifier in answer["prediction_ids"])


def test_a_bad_row_an_unknown_model_and_one_without_a_version_are_told_apart(house: House) -> None:
    with pytest.raises(ContractViolationError, match="Area m2: a text given"):
        asyncio.run(predict_here(house.settings, CASA, [{"Area m2": "80"}]))
    with pytest.raises(UnknownModelError, match="its models: price, unborn"):
        asyncio.run(predict_here(house.settings, ModelKey("casa", "nothing"), [CASA_ROW]))
    with pytest.raises(UnavailableError, match="no version is in production"):
        asyncio.run(predict_here(house.settings, ModelKey("casa", "unborn"), [{"area": 1}]))
