"""A compiled version gives each row the same answer: alone, among others, after others and from several threads at once."""

import itertools
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
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


FIELDS = [f"field{place}" for place in range(7)]


def scorecard(folder: Path, kind: str) -> Predictor:
    """A predictor whose graph takes logarithms of seven numbers and gives them to a linear model."""
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(5)
    weights = random.normal(size=(7, 2)).astype(np.float32)
    inputs = [f"in_{place}" for place in range(7)]
    nodes = [
        helper.make_node("Concat", inputs, ["together"], axis=1),
        helper.make_node("Log", ["together"], ["logarithms"]),
        helper.make_node("Cast", ["logarithms"], ["numbers"], to=TensorProto.FLOAT),
    ]
    flat = weights.T.ravel().tolist()
    if kind == "LinearClassifier":
        labels = {"classlabels_ints": [0, 1], "post_transform": "SOFTMAX", "multi_class": 1}
        outputs = ["label", "score"]
        made = helper.make_node(kind, ["numbers"], outputs, domain="ai.onnx.ml", coefficients=flat, intercepts=[0.1, 0.2], **labels)
    elif kind == "LinearRegressor":
        made = helper.make_node(kind, ["numbers"], ["score"], domain="ai.onnx.ml", coefficients=flat, intercepts=[0.1, 0.2], targets=2)
    else:
        made = helper.make_node("MatMul", ["numbers", "weights"], ["score"])
    values = [helper.make_tensor_value_info(name, TensorProto.DOUBLE, [None, 1]) for name in inputs]
    score = helper.make_tensor_value_info("score", TensorProto.FLOAT, [None, 2])
    graph = helper.make_graph([*nodes, made], "scorecard", values, [score], [numpy_helper.from_array(weights, "weights")])
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("ai.onnx.ml", 3)]
    (folder / ONNX_FILE).write_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString())
    manifest = Manifest(
        brand="casa",
        model="price",
        task=Task.BINARY,
        target="price",
        runtime=Runtime.COMPILED,
        reason="test",
        inputs=dict.fromkeys(FIELDS, CASA_INPUTS["Area m2"]),
        graph_inputs=tuple(GraphInput(field=name, transform="number") for name in FIELDS),
        classes=(0, 1),
        constant=(0.5, 0.5),
        entrypoint="brand_casa.price",
        code_digest="0" * 64,
    )
    return load_predictor(folder, manifest)


@pytest.mark.parametrize("kind", ["LinearClassifier", "LinearRegressor", "MatMul"])
def test_logarithms_and_linear_models_give_a_row_the_same_bits_alone_and_in_a_block_of_any_size(tmp_path: Path, kind: str) -> None:
    predictor = scorecard(tmp_path, kind)
    rows = np.random.default_rng(6).gamma(2.0, 3.0, size=(401, 7)) + 0.01

    def answers(sizes: Sequence[int]) -> list[list[float]]:
        ends = list(itertools.accumulate(sizes))
        blocks = [rows[end - size : end] for end, size in zip(ends, sizes, strict=True)]
        return [row for block in blocks for row in predictor.predict(dict(zip(FIELDS, block.T.tolist(), strict=True))).tolist()]

    alone = answers([1] * 401)
    assert answers([401]) == alone and answers([400, 1]) == alone
    assert answers([3, 2, 7, 16, 33, 5, 64, 101, 170]) == alone
    assert len(alone) == 401 and len({tuple(row) for row in alone}) == 401
