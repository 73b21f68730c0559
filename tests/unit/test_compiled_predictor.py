"""A compiled version gives each row the same answer: alone, among others, after others and from several threads at once."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
from serving_house import CASA_INPUTS, linear_graph

from brandhouse_shared.answering import Predictor, load_predictor
from brandhouse_shared.artifacts import ONNX_FILE, GraphInput, Manifest, Runtime
from brandhouse_shared.metrics import Task


@pytest.fixture
def predictor(tmp_path: Path) -> Predictor:
    (tmp_path / ONNX_FILE).write_bytes(linear_graph(2.0, 10.0))
    manifest = Manifest(
        brand="casa",
        model="price",
        task=Task.REGRESSION,
        target="price",
        runtime=Runtime.COMPILED,
        reason="test",
        inputs=CASA_INPUTS,
        graph_inputs=(GraphInput(field="Area m2", transform="number"), GraphInput(field="garden", transform="number")),
        constant=(1.0,),
        entrypoint="brand_casa.price",
        code_digest="0" * 64,
    )
    return load_predictor(tmp_path, manifest)


def ask(predictor: Predictor, *areas: float) -> list[float]:
    answers: list[float] = predictor.predict({"Area m2": list(areas), "garden": [1.0] * len(areas)}).tolist()
    return answers


def test_a_row_alone_and_among_others_gets_the_same_answer(predictor: Predictor) -> None:
    assert [ask(predictor, area)[0] for area in (1.0, 2.0, 3.0)] == ask(predictor, 1.0, 2.0, 3.0) == [12.0, 14.0, 16.0]


def test_an_answer_stays_what_it_was_when_the_next_row_is_asked(predictor: Predictor) -> None:
    first = predictor.predict({"Area m2": [1.0], "garden": [1.0]})
    predictor.predict({"Area m2": [5.0], "garden": [1.0]})
    assert first.tolist() == [12.0]


def test_threads_that_ask_at_once_get_their_own_answers(predictor: Predictor) -> None:
    areas = [float(area) for area in range(2_000)]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda area: ask(predictor, area)[0], areas)) == [2 * area + 10 for area in areas]


def test_a_row_that_cannot_be_asked_spoils_nothing(predictor: Predictor) -> None:
    with pytest.raises(KeyError):
        predictor.predict({"Area m2": [1.0]})
    assert ask(predictor, 4.0) == [18.0]
