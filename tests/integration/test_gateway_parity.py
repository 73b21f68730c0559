"""What the flows package, the gateway answers: the same numbers, compiled and in the brand's own process."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
from model_house import CLASSIFIERS, REGRESSORS, make_case, make_table
from serving_house import Gateway, House

from brandhouse_shared.answering import load_predictor
from brandhouse_shared.artifacts import Manifest
from brandhouse_shared.brands import unload_brand
from brandhouse_shared.names import ModelKey

pytestmark = pytest.mark.alone

MOLEN = ModelKey("molen", "price")
DIJK = ModelKey("dijk", "price")
VLIET = ModelKey("vliet", "price")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[House, Gateway]]:
    house = House(tmp_path_factory.mktemp("house"))
    cases = {
        "molen": ("binary", CLASSIFIERS["LogisticRegression + TF-IDF"]),
        "vliet": ("binary", CLASSIFIERS["HistGradientBoostingClassifier, native categories"]),
        "dijk": ("regression", next(one for one in REGRESSORS.values() if one[1] == "compiled")),
    }
    for name, (task, (build, runtime)) in cases.items():
        case = make_case(house.root / "brands", name=name, task=task)
        folder = house.root / f"package-{name}"
        folder.mkdir()
        assert case.package(folder, build()).manifest.runtime == runtime
        house.register_package(folder)
        unload_brand(name)
    with Gateway(house) as gateway:
        yield house, gateway


def raw_rows(count: int) -> list[dict[str, Any]]:
    """Rows as a client has them: JSON values, missing ones null or left out."""
    table = make_table()[0].tail(count)
    rows: list[dict[str, Any]] = []
    for index, raw in enumerate(table.to_dict("records")):
        row = {
            **raw,
            "age/years": int(raw["age/years"]),
            "turning": raw["turning"] == "true",
            "km to sea ": float(raw["km to sea "] or "nan"),
        }
        row = {name: None if value in ("",) or value != value else value for name, value in row.items()}
        rows.append({name: value for name, value in row.items() if value is not None or index % 2})
    return rows


@pytest.mark.parametrize("key", [MOLEN, VLIET, DIJK], ids=str)
def test_the_gateway_answers_exactly_what_the_predictor_answers(served: tuple[House, Gateway], key: ModelKey) -> None:
    house, gateway = served
    secret = house.add_key(key.brand)
    rows = raw_rows(120)
    manifest = Manifest.model_validate_json((house.root / f"package-{key.brand}" / "manifest.json").read_bytes())
    expected = load_predictor(house.root / f"package-{key.brand}", manifest).predict(manifest.contract.parse_rows(rows)).tolist()
    unload_brand(key.brand)
    while (answer := gateway.predict(secret, key, *rows))[0] == 401:
        pass
    status, headers, body = answer
    assert status == 200 and "x-brandhouse-fallback" not in headers, (headers, body)
    scores = body["predictions"] if not manifest.classes else [list(shares.values()) for shares in body["probabilities"]]
    assert scores == expected
    single = [gateway.predict(secret, key, row)[2]["predictions"][0] for row in rows[:5]]
    assert single == pytest.approx(body["predictions"][:5], rel=1e-6) if not manifest.classes else single == body["predictions"][:5]
    assert json.dumps(body).count(f"{key.brand}.price.v1.") == 120
