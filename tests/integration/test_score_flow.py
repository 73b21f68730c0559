"""The `score` flow does under Prefect what the command does here, for files that the run's machine can see."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from prefect.artifacts import Artifact
from prefect.testing.utilities import prefect_test_harness

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
from serving_house import CASA, House

from brandhouse_flows.scoring import score_model
from brandhouse_shared.errors import DatasetError

pytestmark = [pytest.mark.alone, pytest.mark.slow]


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    house = House(tmp_path / "house")
    house.register_casa(2.0)
    for name, value in {"ROOT": house.root, "HOME": house.home, "LEDGER_URL": house.url}.items():
        monkeypatch.setenv(f"BRANDHOUSE_{name}", str(value))
    return house


def test_the_flow_scores_a_file_and_shows_the_counts(house: House, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("id,Area m2,garden\n7,80,\n8,-1,\n")
    paths = {"input": str(tmp_path / "in.csv"), "output": str(tmp_path / "out.csv")}
    state = score_model("casa", "price", **paths, version="v1", keep="id", return_state=True)
    assert state.name == "Scored" and str(state.message).startswith("casa/price/v1: 2 rows scored, of which 1 contradict the input schema")
    written = pd.read_csv(tmp_path / "out.csv")
    assert written["id"].tolist() == [7, 8] and written["prediction"].tolist()[0] == 170.0
    artifact = Artifact.get("casa-price-scores")
    assert artifact is not None and '"refused": "1"' in str(artifact.data)
    [run] = house.ledger.runs(CASA, template="score")
    assert run.outcome == "scored" and run.record.asked is not None and run.record.asked["input"] == "in.csv"


def test_a_path_must_be_one_of_the_machine_that_executes_the_run(house: House) -> None:
    with pytest.raises(DatasetError, match="casa/price: input must be an absolute path of the machine that executes the run"):
        score_model("casa", "price", input="in.csv", output="/tmp/out.csv")


def test_a_flow_of_one_brand_does_not_read_files_of_another(house: House, tmp_path: Path) -> None:
    theirs = house.root / "brands" / "stil" / "in.csv"
    theirs.write_text("Area m2,garden\n1,\n")
    with pytest.raises(DatasetError, match="lies in another brand's folder"):
        score_model("casa", "price", input=str(theirs), output=str(tmp_path / "out.csv"))
