"""Fewer nodes, the same answers: also for missing, unknown and odd texts."""

import warnings
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
from onnx import TensorProto, helper, numpy_helper
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

from brandhouse_flows.graph_simplification import simplify

TEXTS = ["", "a", "b", "none", "never seen", "é", " a"]


def converted(encoder: Any) -> Any:
    """A pipeline over two text columns as the converter writes it, behind the join that the compiler puts before it."""
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import StringTensorType

    random = np.random.default_rng(0)
    table = pd.DataFrame({"x": random.choice(["", "a", "b"], 200), "y": random.choice(["", "c", "none"], 200)})
    imputer = SimpleImputer(strategy="constant", missing_values="", fill_value="none")
    model = make_pipeline(ColumnTransformer([("words", make_pipeline(imputer, encoder), [0, 1])]), LogisticRegression())
    model.fit(table.to_numpy(object), np.where(table["x"] == "a", "yes", "no"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        types = [("texts", StringTensorType([None, 2]))]
        return convert_sklearn(
            model, "m", initial_types=types, target_opset={"": 20, "ai.onnx.ml": 3}, options={id(model): {"zipmap": False}}
        )


def nodes_of(graph: Any) -> list[Any]:
    return [helper.make_node("Concat", ["in_0", "in_1"], ["texts"], axis=1), *graph.node]


def session(nodes: Any, constants: Any, output: str) -> Any:
    inputs = [helper.make_tensor_value_info(f"in_{place}", TensorProto.STRING, ["rows", 1]) for place in range(2)]
    outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["rows", 2])]
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(helper.make_graph(nodes, "g", inputs, outputs, constants), opset_imports=opsets, ir_version=10)
    onnx.checker.check_model(model)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


ENCODERS = {
    "one column a category": OneHotEncoder(handle_unknown="ignore", sparse_output=False),
    "one number a category": OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
}


@pytest.mark.parametrize("name", ENCODERS)
def test_texts_are_encoded_at_once_and_every_text_gets_the_same_answer(name: str) -> None:
    graph = converted(ENCODERS[name]).graph
    output = graph.output[1].name
    nodes, constants = simplify(nodes_of(graph), graph.initializer, ["in_0", "in_1"], output)
    assert len(nodes) <= len(graph.node) - 6, [node.op_type for node in nodes]
    assert not {"Where", "ArrayFeatureExtractor", "Gather"} & {node.op_type for node in nodes}
    pairs = np.array([(x, y) for x in TEXTS for y in [*TEXTS, "c"]], dtype=object)
    feed = {"in_0": pairs[:, :1], "in_1": pairs[:, 1:]}
    before, after = session(nodes_of(graph), graph.initializer, output), session(nodes, constants, output)
    np.testing.assert_array_equal(before.run([output], feed)[0], after.run([output], feed)[0])


def constant(name: str, values: list[int]) -> Any:
    return numpy_helper.from_array(np.array(values, dtype=np.int64), name)


def test_columns_that_are_taken_together_stay_joined() -> None:
    nodes = [
        helper.make_node("Concat", ["in_0", "in_1"], ["both"], axis=1),
        helper.make_node("ArrayFeatureExtractor", ["both", "swapped"], ["out"], domain="ai.onnx.ml"),
    ]
    kept, constants = simplify(nodes, [constant("swapped", [1, 0]), constant("unused", [0])], ["in_0", "in_1"], "out")
    assert kept == nodes and [one.name for one in constants] == ["swapped"]


def test_a_column_out_of_a_join_of_wider_parts_is_not_mistaken_for_the_part() -> None:
    nodes = [
        helper.make_node("Concat", ["in_0", "in_1"], ["both"], axis=1),
        helper.make_node("Concat", ["both", "in_0"], ["three"], axis=1),
        helper.make_node("Gather", ["three", "second"], ["out"], axis=1),
    ]
    kept, _ = simplify(nodes, [constant("second", [1])], ["in_0", "in_1"], "out")
    assert kept == nodes


def test_a_scalar_index_gives_another_shape_and_is_left_alone() -> None:
    nodes = [
        helper.make_node("Concat", ["in_0", "in_1"], ["both"], axis=1),
        helper.make_node("Gather", ["both", "second"], ["out"], axis=1),
    ]
    kept, _ = simplify(nodes, [numpy_helper.from_array(np.array(1, dtype=np.int64), "second")], ["in_0", "in_1"], "out")
    assert kept == nodes


def test_a_graph_that_holds_graphs_is_left_alone() -> None:
    inner = helper.make_tensor_value_info("inner", TensorProto.STRING, None)
    body = helper.make_graph([helper.make_node("Identity", ["both"], ["inner"])], "body", [], [inner])
    nodes = [
        helper.make_node("Concat", ["in_0", "in_1"], ["both"], axis=1),
        helper.make_node("If", ["yes"], ["out"], then_branch=body, else_branch=body),
    ]
    assert simplify(nodes, [], ["in_0", "in_1"], "out") == (nodes, [])


def test_a_filled_column_that_is_also_used_otherwise_stays() -> None:
    graph = converted(ENCODERS["one column a category"]).graph
    where = next(node for node in graph.node if node.op_type == "Where")
    nodes = [*nodes_of(graph), helper.make_node("Identity", [where.output[0]], ["filled"])]
    kept, _ = simplify(nodes, graph.initializer, ["in_0", "in_1"], "filled")
    assert [node.op_type for node in kept].count("Where") == 1
