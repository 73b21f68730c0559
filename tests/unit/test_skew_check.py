"""Skew: logged answers are computed again the training's way, and a difference of one bit is red."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
from serving_house import CASA, STIL, STIL_CODE, STIL_ROW
from truth_house import NOW, TruthHouse, areas_of, casa_rows, every

from brandhouse_aftercare.checks import Finding, State
from brandhouse_aftercare.skew import SkewCheck
from brandhouse_shared.names import ModelKey, VersionKey


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> TruthHouse:
    house = TruthHouse(tmp_path_factory.mktemp("house"))
    house.register_casa(2.0)
    return house


@pytest.fixture
def house(built: TruthHouse) -> Iterator[TruthHouse]:
    toml = built.root / "brands" / "casa" / "brand.toml"
    declared = toml.read_text()
    yield built
    toml.write_text(declared)
    shutil.rmtree(built.home / "predictions", ignore_errors=True)


@pytest.fixture
def casa(house: TruthHouse) -> VersionKey:
    if house.ledger.production(CASA) != house.ledger.find_version(CASA.version(1)):
        house.promote(CASA.version(1))
    return CASA.version(1)


def look(house: TruthHouse, key: ModelKey = CASA) -> Finding:
    return SkewCheck().look(house.watch(key))


def test_answers_that_the_training_would_give_are_green(house: TruthHouse, casa: VersionKey) -> None:
    rows = [*casa_rows(300), {"Area m2": 80, "garden": None}, {"Area m2": 1e-7}]
    house.log(casa, rows, house.ask(casa, rows), every(2, 302, NOW))
    found = look(house)
    assert (found.state, found.value, found.rows) == (State.GREEN, 0, 302), found.detail
    assert "read as training rows and answered by the packaged graph: no difference" in found.detail


def test_a_difference_of_one_bit_is_red(house: TruthHouse, casa: VersionKey) -> None:
    rows = casa_rows(200)
    scores = house.ask(casa, rows)
    scores[[3, 50]] = np.nextafter(scores[[3, 50]], np.inf)
    house.log(casa, rows, scores, every(10, 200, NOW))
    found = look(house)
    assert (found.state, found.value, found.limit) == (State.RED, 2, 0)
    assert found.detail.startswith("2 of 200 logged answers of casa/price/v1 are not what the training's path answers, by up to")


def test_an_upstream_change_after_the_answer_shows_as_skew(house: TruthHouse, casa: VersionKey) -> None:
    rows = casa_rows(50)
    house.log(casa, rows, 2 * areas_of(rows) + 10.5, every(10, 50, NOW))
    found = look(house)
    assert (found.state, found.value) == (State.RED, 50)
    assert found.facts["largest_difference"] == pytest.approx(0.5)


def test_what_the_training_reads_otherwise_is_named_without_values(house: TruthHouse) -> None:
    house.edit_brand("casa", 'garden = { type = "boolean", nullable = true }', 'garden = { type = "category", nullable = true }')
    version = _with_category(house)
    rows = [{"Area m2": 80.0, "garden": "NA"}, {"Area m2": 70.0, "garden": "large"}, {"Area m2": 60.0, "garden": None}]
    house.log(version, rows, 2 * areas_of(rows) + 10, every(10, 3, NOW))
    found = look(house)
    assert found.state is State.RED
    assert "read otherwise than in serving: garden (1 rows)" in found.detail
    assert "NA" not in found.detail and found.facts["fields_read_otherwise"] == {"garden": 1}


def _with_category(house: TruthHouse) -> VersionKey:
    """`casa` with a category instead of a flag; the graph does not look at it."""
    from brandhouse_shared.artifacts import MANIFEST_FILE, ONNX_FILE, Manifest
    from brandhouse_shared.config import FieldType, InputField

    record = house.ledger.find_version(CASA.version(1)).record
    stored = house.store.find(record.key, record.artifact_digest)
    manifest = Manifest.model_validate_json((stored / MANIFEST_FILE).read_bytes())
    inputs = manifest.inputs | {"garden": InputField(type=FieldType.CATEGORY, nullable=True)}
    area = manifest.graph_inputs[0]
    folder = house._draft()
    shutil.copy(stored / ONNX_FILE, folder / ONNX_FILE)
    changed = manifest.model_copy(update={"inputs": inputs, "graph_inputs": (area, area)})
    (folder / MANIFEST_FILE).write_text(changed.model_dump_json())
    return house.register_package(folder)


def test_a_missing_artifact_is_red_and_says_so(house: TruthHouse) -> None:
    version = house.register_casa(4.0)
    rows = casa_rows(5)
    house.log(version, rows, house.ask(version, rows), every(10, 5, NOW))
    house.alter_artifact(version)
    found = look(house)
    assert found.state is State.RED
    assert found.detail == f"the files of {version} are missing or altered: no answer of it can be computed again"


def test_withheld_inputs_cannot_be_replayed(house: TruthHouse, casa: VersionKey) -> None:
    house.log(casa, [{"Area m2": "hmac:1"}] * 5, np.ones(5), every(10, 5, NOW), withheld=["Area m2"])
    found = look(house)
    assert found.state is State.NOT_APPLICABLE
    assert "Area m2 are hashed or not kept" in found.detail


def test_answers_of_others_are_not_replayed(house: TruthHouse, casa: VersionKey) -> None:
    rows = casa_rows(5)
    house.log(casa, rows, np.ones(5), every(10, 5, NOW), served_by="baseline")
    house.log(CASA.version(7), rows, np.ones(5), every(10, 5, NOW))
    found = look(house)
    assert (found.state, found.rows) == (State.UNKNOWN, 0)


def test_a_brand_that_keeps_no_inputs_has_no_skew_check(house: TruthHouse, casa: VersionKey) -> None:
    house.edit_brand("casa", "[datasets.homes]", "[capabilities]\nmay_store_predictions = false\n\n[datasets.homes]")
    assert look(house).state is State.NOT_APPLICABLE


def test_logged_rows_that_the_version_could_not_have_answered_are_red(house: TruthHouse, casa: VersionKey) -> None:
    house.log(casa, [{"Area m2": 5_000.0}], np.ones(1), every(10, 1, NOW))
    found = look(house)
    assert found.state is State.RED
    assert "contradict the input schema of the version" in found.detail


@pytest.mark.slow
def test_brand_code_answers_in_a_process_of_its_own_without_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRANDHOUSE_LEDGER_URL", "sqlite://")  # the brand's code refuses to answer if it sees this
    house = TruthHouse(tmp_path)
    stil = house.register_stil()
    house.register_casa(2.0)
    rows = [STIL_ROW | {"visits": visits} for visits in range(120)]
    monkeypatch.delenv("BRANDHOUSE_LEDGER_URL")
    scores = house.ask(stil, rows)
    monkeypatch.setenv("BRANDHOUSE_LEDGER_URL", "sqlite://")
    house.log(stil, rows, scores, every(10, 120, NOW), rows_a_request=3)
    found = look(house, STIL)
    assert (found.state, found.rows) == (State.GREEN, 120), found.detail
    assert "packaged features and estimator" in found.detail
    broken = house.register_stil(STIL_CODE.replace("raise ValueError", "raise KeyError").replace("666", "7"))
    house.log(broken, rows, scores, every(10, 120, NOW))
    found = look(house, STIL)
    assert found.state is State.RED
    assert found.detail == f"logged answers of {broken} cannot be computed again: the version raised EntrypointError"


@pytest.mark.slow
def test_rows_that_round_otherwise_together_are_asked_as_they_were(tmp_path: Path) -> None:
    code = STIL_CODE.replace('rows["visits"],', 'rows["visits"] + (len(rows) - 1) * 1e-3,')  # an answer that depends on its company
    house = TruthHouse(tmp_path)
    stil = house.register_stil(code)
    rows = [STIL_ROW | {"visits": visits} for visits in range(40)]
    record = house.ledger.find_version(stil).record
    from brandhouse_shared.answering import load_predictor
    from brandhouse_shared.artifacts import read_manifest

    folder = house.store.find(record.key, record.artifact_digest)
    manifest = read_manifest(folder)
    predictor = load_predictor(folder, manifest)
    pairs = [predictor.predict(manifest.contract.parse_rows(rows[start : start + 2])) for start in range(0, 40, 2)]
    house.log(stil, rows, np.concatenate(pairs), every(10, 40, NOW), rows_a_request=2)
    assert look(house, STIL).state is State.GREEN
