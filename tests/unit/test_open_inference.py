"""The Open Inference Protocol's tensors: what of a request is taken as rows, what is refused, and what is answered."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest

from brandhouse_serving.dialects import Call
from brandhouse_serving.lane import DIALECTS
from brandhouse_serving.open_inference import OpenInference, build_protocol_problem
from brandhouse_serving.open_inference_tensors import accepted_datatypes, datatype_of, described_inputs, described_outputs, rows_of
from brandhouse_serving.problems import RequestRefusedError
from brandhouse_serving.replies import Reply
from brandhouse_serving.router import Route
from brandhouse_shared.artifacts import Manifest, Runtime
from brandhouse_shared.config import FieldType, InputField
from brandhouse_shared.contracts import Contract
from brandhouse_shared.errors import ContractViolationError
from brandhouse_shared.metrics import Task
from brandhouse_shared.names import VersionKey

FIELDS = {
    "km": InputField(type=FieldType.NUMBER, min=0),
    "doors": InputField(type=FieldType.INTEGER, nullable=True),
    "diesel": InputField(type=FieldType.BOOLEAN, nullable=True),
    "fuel": InputField(type=FieldType.CATEGORY, values=("gas", "diesel"), nullable=True),
    "code": InputField(type=FieldType.CATEGORY, values=(1, 2, 3), nullable=True),
    "mixed": InputField(type=FieldType.CATEGORY, values=(1, "x"), nullable=True),
    "since": InputField(type=FieldType.DATE, nullable=True),
    "note": InputField(type=FieldType.TEXT, nullable=True),
}
CODES = Contract(FIELDS).listed_codes


def tensor(name: str, datatype: str, data: list[Any], shape: list[int] | None = None, **more: Any) -> dict[str, Any]:
    return {"name": name, "shape": [len(data)] if shape is None else shape, "datatype": datatype, "data": data, **more}


KM = tensor("km", "FP64", [1.5, 2.0])


def manifest(task: Task = Task.REGRESSION, classes: tuple[Any, ...] = ()) -> Manifest:
    constant = (1.0,) if task is Task.REGRESSION else tuple(1 / len(classes) for _ in classes)
    kind = {"entrypoint": "brand_autoplein.price", "code_digest": "0", "reason": "test", "target": "price"}
    return Manifest(
        brand="autoplein", model="price", task=task, runtime=Runtime.CONSTANT, inputs=FIELDS, classes=classes, constant=constant, **kind
    )


def refused(inputs: Any) -> str:
    with pytest.raises(ContractViolationError) as caught:
        rows_of(inputs, CODES, 100)
    return "\n".join(caught.value.violations)


# -- from tensors to rows ----------------------------------------------------------------------------------------------


def test_tensors_become_rows_by_the_fields_own_names() -> None:
    inputs = [KM, tensor("fuel", "BYTES", ["gas", None]), tensor("diesel", "BOOL", [True, False])]
    assert rows_of(inputs, CODES, 100) == [
        {"km": 1.5, "fuel": "gas", "diesel": True},
        {"km": 2.0, "fuel": None, "diesel": False},
    ]


@pytest.mark.parametrize("data", [[1, 2], [[1], [2]]])
def test_a_column_may_be_flat_or_one_value_a_row(data: list[Any]) -> None:
    assert rows_of([tensor("km", "INT32", data, [2, 1])], CODES, 100) == [{"km": 1}, {"km": 2}]


def test_a_category_of_numbers_comes_as_number_or_as_its_text() -> None:
    assert rows_of([tensor("code", "INT64", [1, 3])], CODES, 100) == [{"code": 1}, {"code": 3}]
    assert rows_of([tensor("code", "BYTES", ["1", "9"])], CODES, 100) == [{"code": 1}, {"code": "9"}]
    assert rows_of([tensor("mixed", "BYTES", ["1", "x"])], CODES, 100) == [{"mixed": 1}, {"mixed": "x"}]


def test_parameters_are_ignored_and_null_stands_for_no_parameters() -> None:
    assert rows_of([{**KM, "parameters": {"content_type": "np", "deep": [{"a": 1}]}}], CODES, 100)
    assert rows_of([{**KM, "parameters": None}], CODES, 100)


FAULTS: list[tuple[Any, str]] = [
    (None, "inputs: allowed: a list of at least one tensor"),
    ([], "inputs: allowed: a list of at least one tensor"),
    ([1], "inputs[0]: allowed: a tensor"),
    ([{}], "inputs[0].data: nothing given; binary and shared-memory tensors are not taken"),
    ([{"name": "km", "data": [1.0], "shape": [1]}], "inputs[0].datatype: nothing given"),
    ([{**KM, "extra": 1}], "inputs[0]: unknown field extra; allowed: name, shape, datatype, parameters, data"),
    ([{**KM, "parameters": [1]}], "inputs[0].parameters: allowed: an object"),
    (
        [tensor("note", "BYTES", ['"a"', "null"], parameters={"content_type": "pd_json"})],
        "encoded values (base64, pd_json) are not taken",
    ),
    ([{**KM, "name": 1}], "inputs[0].name: allowed: a text"),
    ([{**KM, "datatype": "FP128"}], "inputs[0].datatype: allowed: BOOL, INT8"),
    ([{**KM, "datatype": []}], "inputs[0].datatype: allowed: BOOL, INT8"),
    ([{**KM, "data": 1.5}], "inputs[0].data: allowed: a list"),
    ([{**KM, "shape": [1]}], "inputs[0].data: 2 values given; allowed: 1, as the shape says"),
    *[
        ([{**KM, "shape": shape}], "inputs[0].shape: allowed: [n] or [n, 1]")
        for shape in (None, [], [0], [-2], [True], [2.0], [1, 2], [2, 1, 1])
    ],
    ([tensor("km", "FP64", [])], "inputs[0].shape: allowed: [n] or [n, 1]"),
    ([tensor("km", "FP64", [[1.0], [2.0, 3.0]], [2, 1])], "inputs[0].data: allowed: flat, or one list of one value a row"),
    ([tensor("km", "FP64", [[1.0], 2.0], [2, 1])], "inputs[0].data: allowed: flat, or one list of one value a row"),
    ([tensor("km", "FP64", [[1.0], [2.0]])], "inputs[0].data: other than numbers or null given"),
    ([tensor("km", "FP64", ["1.5"])], "inputs[0].data: other than numbers or null given; allowed in FP64: numbers or null"),
    ([tensor("km", "FP64", [True])], "inputs[0].data: other than numbers or null given"),
    ([tensor("doors", "INT64", [1.5])], "inputs[0].data: other than whole numbers or null given"),
    ([tensor("doors", "UINT8", [256])], "inputs[0].data: a number out of range given; allowed in UINT8: 0 to 255"),
    ([tensor("doors", "INT8", [-129])], "inputs[0].data: a number out of range given; allowed in INT8: -128 to 127"),
    ([tensor("diesel", "BOOL", [1])], "inputs[0].data: other than true, false or null given"),
    ([tensor("fuel", "BYTES", [1])], "inputs[0].data: other than texts or null given"),
    ([KM, tensor("km", "FP64", [1.0, 2.0])], "inputs[1].name: km given more than once; allowed: once"),
    ([KM, tensor("doors", "INT64", [1])], "inputs: tensors of 1, 2 rows given; allowed: all of the same number of rows"),
]


@pytest.mark.parametrize(("inputs", "expected"), FAULTS)
def test_a_tensor_that_contradicts_itself_is_refused_with_its_place(inputs: Any, expected: str) -> None:
    assert expected in refused(inputs)


def test_all_faults_are_said_at_once_and_none_repeats_a_value() -> None:
    said = refused([tensor("note", "FP64", ["secret"]), tensor("km", "INT64", ["secret"])])
    assert said.count("inputs[") == 2 and "secret" not in said


def test_more_rows_than_allowed_are_refused_before_they_are_made() -> None:
    with pytest.raises(RequestRefusedError, match="the tensors have 101 rows; allowed: at most 100 a request") as caught:
        rows_of([tensor("km", "FP64", [1.0] * 101)], CODES, 100)
    assert caught.value.status == 413


# -- what is described -------------------------------------------------------------------------------------------------


def test_each_type_of_field_has_its_datatype_and_numbers_may_come_in_any() -> None:
    found = {one["name"]: one["datatype"] for one in described_inputs(manifest())}
    assert list(found.values()) == ["FP64", "INT64", "BOOL", "BYTES", "INT64", "BYTES", "BYTES", "BYTES"]
    assert set(accepted_datatypes(FIELDS["km"])) >= {"FP32", "INT8", "UINT64"} and "BYTES" not in accepted_datatypes(FIELDS["km"])
    assert accepted_datatypes(FIELDS["diesel"]) == ("BOOL",) and "BYTES" in accepted_datatypes(FIELDS["code"])
    open_category = InputField(type=FieldType.CATEGORY, values=(1, 2), others=True)
    assert datatype_of(open_category) == "BYTES" and datatype_of(InputField(type=FieldType.CATEGORY)) == "BYTES"


@pytest.mark.parametrize(
    ("classes", "datatype"),
    [(("no", "yes"), "BYTES"), ((0, 1), "INT64"), ((False, True), "BOOL"), ((0.5, 1.5), "FP64"), ((0, "x"), "BYTES")],
)
def test_labels_have_the_datatype_of_the_data(classes: tuple[Any, ...], datatype: str) -> None:
    outputs = described_outputs(manifest(Task.BINARY, classes))
    assert [one["name"] for one in outputs] == ["prediction", "probabilities", "prediction_ids"]
    assert outputs[0]["datatype"] == datatype
    assert outputs[1]["shape"] == [-1, 2] and outputs[1]["parameters"] == {"classes": [str(one) for one in classes]}


# -- the dialect -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"/v2/models/autoplein.price/infer", ("autoplein", "price", None)),
        (b"/v2/models/autoplein.price/versions/v7/infer", ("autoplein", "price", "v7")),
        (b"/v2/models/autoplein/infer", ("autoplein", "", None)),
        (b"/v2/models/a.b.c/infer", ("a", "b.c", None)),
        (b"/v2/models/auto%2Eplein/infer", ("auto%2Eplein", "", None)),
        (b"/v2/models/autoplein.price", None),
        (b"/v2/models/autoplein.price/infer/", None),
        (b"/v2/models/autoplein.price/version/7/infer", None),
        (b"/v2/health/ready", None),
        (b"/v2/", None),
    ],
)
def test_paths_of_infer_are_found(path: bytes, expected: tuple[str, str, str | None] | None) -> None:
    call = DIALECTS[b"/v2/"].find_call(path)
    assert (call if call is None else (call.brand, call.model, call.version)) == expected


class OneSlot:
    """A slot whose version is loaded."""

    def __init__(self) -> None:
        self.version = SimpleNamespace(key=VersionKey("autoplein", "price", 7))
        self.loaded = SimpleNamespace(contract=Contract(FIELDS))


def route(task: Task = Task.REGRESSION) -> Route:
    serving = SimpleNamespace(max_rows=100)
    config = SimpleNamespace(task=task, serving=serving, inputs=FIELDS)
    return cast(Route, SimpleNamespace(key=VersionKey("autoplein", "price", 7).model_key, config=config, production=OneSlot(), trial=None))


def asked(document: Any, version: str | None = None, task: Task = Task.REGRESSION) -> tuple[Call, Sequence[Any]]:
    body = document if isinstance(document, bytes) else orjson.dumps(document)
    call = Call("autoplein", "price", version, body=body)
    return call, OpenInference().rows_of(call, route(task))


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ([], 'body: allowed: an object {"inputs": [...]}'),
        ({"inputs": [KM], "ouputs": []}, "body: unknown field ouputs; allowed: id, parameters, inputs, outputs"),
        ({"inputs": [KM], "id": 7}, "id: allowed: a text"),
        ({"inputs": [KM], "parameters": 7}, "parameters: allowed: an object"),
        ({"inputs": [KM], "outputs": {}}, "outputs: allowed: a list of {name}, each once; names: prediction, prediction_ids"),
        ({"inputs": [KM], "outputs": [{"name": "probabilities"}]}, "outputs[0]: allowed: a list of {name}"),
        ({"inputs": [KM], "outputs": [{"name": []}]}, "outputs[0]: allowed: a list of {name}"),
        ({"inputs": [KM], "outputs": [{"name": "prediction"}] * 2}, "outputs: a name given more than once"),
        (b'{"inputs": [{"name": "km", "name": "km", "shape": [1], "datatype": "FP64", "data": [1]}]}', "name: given more than once"),
        (b'{"id": "1", "id": "2", "inputs": [{"name": "km", "shape": [1], "datatype": "FP64", "data": [1]}]}', "id: given more than once"),
        (
            b'{"parameters": {"a": 1, "a": 2}, "inputs": [{"name": "km", "shape": [1], "datatype": "FP64", "data": [1]}]}',
            "a: given more than once",
        ),
    ],
)
def test_a_request_that_is_not_of_the_form_is_refused(document: Any, expected: str) -> None:
    with pytest.raises(ContractViolationError) as caught:
        asked(document)
    assert expected in "\n".join(caught.value.violations)


def test_texts_with_colons_and_nested_parameters_are_no_repeated_fields() -> None:
    document = {
        "parameters": {"a": {"b": [{"c": 1}]}},
        "inputs": [KM, tensor("note", "BYTES", ["a:b", "::"])],
        "outputs": [{"name": "prediction"}],
    }
    assert asked(document)[1][0] == {"km": 1.5, "note": "a:b"}


def test_parameters_too_deep_to_be_read_twice_are_refused() -> None:
    deep = b'{"parameters": {"x": "a:b", "a": ' + b"[" * 1000 + b"]" * 1000 + b"}, "
    with pytest.raises(RequestRefusedError, match=r"nested too deeply|no valid JSON") as caught:
        asked(deep + b'"inputs": [{"name": "km", "shape": [1], "datatype": "FP64", "data": [1]}]}')
    assert caught.value.status == 422


@pytest.mark.parametrize("version", [None, "v7", "7"])
def test_the_version_in_production_answers_by_its_number_too(version: str | None) -> None:
    assert len(asked({"inputs": [KM]}, version)[1]) == 2


@pytest.mark.parametrize("version", ["v6", "0", "latest", "", "v7x", "٧"])
def test_another_version_is_unknown(version: str) -> None:
    with pytest.raises(RequestRefusedError, match=r"autoplein/price does not answer with version .*; versions that answer: v7") as caught:
        asked({"inputs": [KM]}, version)
    assert (caught.value.status, caught.value.code) == (404, "unknown_version")


def answered(task: Task, classes: tuple[Any, ...], predictions: list[Any], probabilities: Any, **more: Any) -> Any:
    call, _ = asked({"inputs": [KM], **more}, task=task)
    loaded = SimpleNamespace(key=VersionKey("autoplein", "price", 7), manifest=manifest(task, classes))
    reply = cast(Reply, SimpleNamespace(loaded=loaded, predictions=predictions, probabilities=probabilities))
    return orjson.loads(OpenInference().answer_of(reply, ["id-1", "id-2"], call))


def test_a_regression_answers_numbers_and_ids_and_repeats_the_requests_id() -> None:
    assert answered(Task.REGRESSION, (), [1.5, 2.5], None, id="42") == {
        "model_name": "autoplein.price",
        "model_version": "v7",
        "id": "42",
        "outputs": [
            {"name": "prediction", "datatype": "FP64", "shape": [2], "data": [1.5, 2.5]},
            {"name": "prediction_ids", "datatype": "BYTES", "shape": [2], "data": ["id-1", "id-2"]},
        ],
    }


def test_a_classification_answers_labels_and_flat_shares_of_the_classes() -> None:
    answer = answered(Task.BINARY, (0, 1), [1, 0], [[0.25, 0.75], [0.5, 0.5]], outputs=[{"name": "probabilities"}, {"name": "prediction"}])
    assert answer["outputs"] == [
        {
            "name": "probabilities",
            "datatype": "FP64",
            "shape": [2, 2],
            "parameters": {"classes": ["0", "1"]},
            "data": [0.25, 0.75, 0.5, 0.5],
        },
        {"name": "prediction", "datatype": "INT64", "shape": [2], "data": [1, 0]},
    ]
    assert "id" not in answer


def test_labels_of_several_kinds_are_answered_as_texts() -> None:
    assert answered(Task.BINARY, (0, "x"), [0, "x"], [[1.0, 0.0], [0.0, 1.0]])["outputs"][0]["data"] == ["0", "x"]


def test_an_error_is_one_sentence_with_its_places() -> None:
    status, _, body = build_protocol_problem(ContractViolationError("request", ["instances[3].km: a text given; allowed: a number"]))
    message = "1 violation(s) of the model's input schema: rows[3].km: a text given; allowed: a number"
    assert (status, orjson.loads(body)) == (422, {"error": message})


def test_binary_tensors_are_refused_and_a_missing_content_type_is_json() -> None:
    dialect = OpenInference()
    dialect.check_headers(Call("a", "b", headers={}))
    for headers in (
        {b"inference-header-content-length": b"10"},
        {b"content-type": b"application/octet-stream"},
        {b"content-encoding": b"gzip"},
    ):
        with pytest.raises(RequestRefusedError) as caught:
            dialect.check_headers(Call("a", "b", headers=headers))
        assert caught.value.status == 415
