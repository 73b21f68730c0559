"""Requests that the lane takes are those that FastAPI would: a pydantic model of the same input schema, and the JSON Schema that is
published, accept and refuse the same bodies. The differences that are meant are at the end.
"""

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from types import SimpleNamespace
from typing import Annotated, Any, Literal, cast

import jsonschema
import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictStr, ValidationError, create_model

from brandhouse_serving.dialects import V1, Call
from brandhouse_serving.open_inference import OpenInference
from brandhouse_serving.problems import RequestRefusedError
from brandhouse_serving.router import Route
from brandhouse_serving.schemas import row_schema
from brandhouse_shared.artifacts import Manifest
from brandhouse_shared.config import FieldType, InputField
from brandhouse_shared.contracts import Contract
from brandhouse_shared.errors import ContractViolationError
from brandhouse_shared.metrics import Task
from brandhouse_shared.names import ModelKey

SAFE = 2**53
MAX_ROWS = 9  # more than the rows from which on the contract reads whole columns
FIELDS = {
    "km": InputField(type=FieldType.NUMBER, min=0, max=1e6),
    "any": InputField(type=FieldType.NUMBER, nullable=True),
    "doors": InputField(type=FieldType.INTEGER, min=-1, max=9),
    "count": InputField(type=FieldType.INTEGER, nullable=True),
    "diesel": InputField(type=FieldType.BOOLEAN),
    "sold": InputField(type=FieldType.BOOLEAN, nullable=True),
    "fuel": InputField(type=FieldType.CATEGORY, values=("gas", "diesel")),
    "code": InputField(type=FieldType.CATEGORY, values=(0, 1, 7), nullable=True),
    "open code": InputField(type=FieldType.CATEGORY, values=(0, 1), others=True, max_length=5, nullable=True),
    "town": InputField(type=FieldType.CATEGORY, max_length=6),
    "note:": InputField(type=FieldType.TEXT, max_length=6, nullable=True),
    "since": InputField(type=FieldType.DATE, nullable=True),
}
CONTRACT = Contract(FIELDS)


# -- the same declaration as pydantic sees it --------------------------------------------------------------------------


def _is_date(text: str) -> str:
    if not 1678 <= datetime.strptime(text, "%Y-%m-%d").year <= 2261:
        raise ValueError("outside")
    return text


def _exact(value: Any) -> Any:
    """As a float, 2**53 + 1 would be 2**53, and pass."""
    if type(value) is int and abs(value) > SAFE:
        raise ValueError("too large")
    return value


def _whole(value: float) -> float:
    """Not `multiple_of`, which rounds: 1e-92 would pass."""
    if not value.is_integer():
        raise ValueError("not whole")
    return value


def _one_of(values: Sequence[Any]) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if value not in values:
            raise ValueError("not listed")
        return value

    return check


def _annotation(field: InputField) -> Any:
    text = Annotated[StrictStr, Field(max_length=field.max_length, min_length=0 if field.nullable else 1)]
    match field.type:
        case FieldType.NUMBER:
            return Annotated[float, Field(strict=True, allow_inf_nan=False, ge=field.min, le=field.max)]
        case FieldType.INTEGER:
            low, high = (-SAFE if field.min is None else field.min), (SAFE if field.max is None else field.max)
            number = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=low, le=high), AfterValidator(_whole)]
            return Annotated[number, BeforeValidator(_exact)]
        case FieldType.BOOLEAN:
            return StrictBool
        case FieldType.DATE:
            return Annotated[StrictStr, AfterValidator(_is_date)]
        case FieldType.CATEGORY if field.values is not None:
            whole = Annotated[int, Field(strict=True, ge=-SAFE, le=SAFE)]
            if field.others:
                return text | whole
            # A Literal of 0 takes false, too.
            return Annotated[whole, AfterValidator(_one_of(field.values))] if type(field.values[0]) is int else Literal[field.values]
    return text


def _declared(field: InputField) -> Any:
    return (_annotation(field) | None, None) if field.nullable else (_annotation(field), ...)


CLOSED = ConfigDict(extra="forbid")
Row = create_model("Row", __config__=CLOSED, **cast(Any, {f"f{n}": _declared(field) for n, field in enumerate(FIELDS.values())}))
for number, name in enumerate(FIELDS):
    Row.model_fields[f"f{number}"].alias = Row.model_fields[f"f{number}"].validation_alias = name
Row.model_rebuild(force=True)


class Request(BaseModel):
    model_config = CLOSED

    instances: Annotated[list[Row], Field(min_length=1, max_length=MAX_ROWS)]  # type: ignore[valid-type]


def pydantic_takes(document: Any) -> bool:
    try:
        Request.model_validate_json(orjson.dumps(document))
    except ValidationError:
        return False
    return True


# -- and as the gateway does -------------------------------------------------------------------------------------------


class OneSlot:
    def __init__(self) -> None:
        self.loaded = SimpleNamespace(contract=CONTRACT)


CONFIG = SimpleNamespace(task=Task.REGRESSION, serving=SimpleNamespace(max_rows=MAX_ROWS), inputs=FIELDS)
ROUTE = cast(Route, SimpleNamespace(key=ModelKey("autoplein", "price"), config=CONFIG, production=OneSlot()))


def read_by(dialect: Any, body: bytes) -> dict[str, Sequence[Any]] | None:
    """The columns as the lane reads them; None if the request is refused. Any other error is a fault of the gateway."""
    try:
        return CONTRACT.parse_rows(dialect.rows_of(Call("autoplein", "price", body=body), ROUTE))
    except (ContractViolationError, RequestRefusedError):
        return None


def lane_takes(document: Any) -> bool:
    return read_by(V1(), orjson.dumps(document)) is not None


# -- bodies: right ones, and some that are wrong in one place ----------------------------------------------------------

NUMBERS = st.one_of(
    st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False, allow_infinity=False), st.sampled_from([SAFE, SAFE + 1, -SAFE, 0.5])
)
JUNK = st.one_of(
    st.none(), st.booleans(), NUMBERS, st.text(max_size=8),
    st.sampled_from(["1", "0", "true", "", "gas ", "2020-02-30", "1600-01-01", "2024-1-5"]),
    st.just([]), st.just([1]), st.just({}), st.just({"a": 1}),
)  # fmt: skip
RIGHT = {
    "km": st.floats(0, 1e6) | st.integers(0, 10**6),
    "any": st.none() | NUMBERS,
    "doors": st.integers(-1, 9) | st.integers(-1, 9).map(float),
    "count": st.none() | st.integers(-SAFE, SAFE),
    "diesel": st.booleans(),
    "sold": st.none() | st.booleans(),
    "fuel": st.sampled_from(["gas", "diesel"]),
    "code": st.sampled_from([None, 0, 1, 7]),
    "open code": st.sampled_from([None, 0, 1, 5, "x", ""]),
    "town": st.text(min_size=1, max_size=6),
    "note:": st.none() | st.text(max_size=6),
    "since": st.sampled_from([None, "2020-02-29", "1999-12-31", "2024-1-5"]),
}
OPTIONAL = [name for name, field in FIELDS.items() if field.nullable]
rows = st.fixed_dictionaries(
    {name: value for name, value in RIGHT.items() if name not in OPTIONAL}, optional={name: RIGHT[name] for name in OPTIONAL}
)


@st.composite
def documents(draw: st.DrawFn) -> Any:
    instances: Any = draw(st.lists(rows, min_size=1, max_size=MAX_ROWS))
    match draw(st.sampled_from(["right", "value", "value", "value", "left out", "extra", "row", "rows", "body"])):
        case "value":
            instances[draw(st.integers(0, len(instances) - 1))][draw(st.sampled_from(list(FIELDS)))] = draw(JUNK)
        case "left out":
            instances[-1].pop(draw(st.sampled_from(list(FIELDS))), None)
        case "extra":
            instances[-1][draw(st.sampled_from(["", "KM", "km ", "note", "rooms"]))] = draw(JUNK)
        case "row":
            instances[draw(st.integers(0, len(instances) - 1))] = draw(JUNK)
        case "rows":
            instances = draw(st.sampled_from([[], None, {}, "x", instances * 9, [instances]]))
        case "body":
            return draw(st.sampled_from([instances, {}, None, {"instances": instances, "parameters": {}}, {"Instances": instances}]))
    return {"instances": instances}


SHORT_OR_LONG = pytest.mark.parametrize("examples", [100, pytest.param(5000, marks=pytest.mark.slow)])


def try_all(examples: int, check: Callable[..., None], *strategies: Any) -> None:
    """Call `check` with examples: always the same ones in a short run, others each time in a long one."""
    limits = settings(
        max_examples=examples, deadline=None, derandomize=examples == 100, database=None, suppress_health_check=list(HealthCheck)
    )
    limits(given(*strategies)(check))()


RIGHT_ROW = {"km": 1, "doors": 2.0, "diesel": True, "fuel": "gas", "town": "Ede"}


@SHORT_OR_LONG
def test_pydantic_and_the_lane_take_and_refuse_the_same_bodies(examples: int) -> None:
    @example({"instances": [RIGHT_ROW]})
    @example({"instances": [{**RIGHT_ROW, "any": 2**64 - 1}]})
    def check(document: Any) -> None:
        assert lane_takes(document) == pydantic_takes(document), document

    try_all(examples, check, documents())


EDGES: list[Any] = [
    None,
    True,
    False,
    0,
    1,
    7,
    8,
    -1,
    -2,
    9,
    10,
    0.0,
    1.0,
    0.5,
    1e-92,
    8.5,
    9.5,
    -0.001,
    10**6,
    10**6 + 1,
    1000000.5,
    SAFE,
    SAFE + 1,
]
EDGES += [
    -SAFE,
    -SAFE - 1,
    2**63,
    2**64 - 1,
    -(2**63),
    1e300,
    "",
    "0",
    "1",
    "true",
    "gas",
    "Gas",
    "gas ",
    "diesel",
    "xxxxx",
    "xxxxxx",
    "xxxxxxx",
]
EDGES += [
    "ééééé",
    "éééééé",
    "ééééééé",
    "2020-02-29",
    "2021-02-29",
    "1677-12-31",
    "1678-01-01",
    "2261-12-31",
    "2262-01-01",
    "2024-1-5",
    "20240105",
]
EDGES += ["2024-01-05 ", "2024-01-05T00:00:00", [], [1], {}, {"a": 1}]


@pytest.mark.parametrize("rows", [1, MAX_ROWS])
@pytest.mark.parametrize("name", FIELDS)
def test_every_edge_of_every_field_is_taken_by_both_or_by_none(name: str, rows: int) -> None:
    assert lane_takes({"instances": [RIGHT_ROW] * rows}) and pydantic_takes({"instances": [RIGHT_ROW] * rows})
    taken = 0
    for value in EDGES:
        document = {"instances": [*[RIGHT_ROW] * (rows - 1), {**RIGHT_ROW, name: value}]}
        assert lane_takes(document) == pydantic_takes(document), document
        agrees_with_the_published_schema(document)
        reads_as_tensors(document)
        taken += lane_takes(document)
    assert 0 < taken < len(EDGES)


MANIFEST = Manifest(
    brand="autoplein", model="price", task=Task.REGRESSION, target="price", runtime="constant", reason="test",
    inputs=FIELDS, constant=(1.0,), entrypoint="brand_autoplein.price", code_digest="0",
)  # fmt: skip
PUBLISHED = jsonschema.Draft202012Validator(
    {
        "type": "object",
        "required": ["instances"],
        "additionalProperties": False,
        "properties": {"instances": {"type": "array", "minItems": 1, "maxItems": MAX_ROWS, "items": row_schema(MANIFEST)}},
    }
)


def agrees_with_the_published_schema(document: Any) -> None:
    says = PUBLISHED.is_valid(document)
    if lane_takes(document):
        assert says, document
    elif says:  # JSON Schema cannot say what is a date, and for it 1.0 is 1
        rest = [{name: value for name, value in row.items() if name not in ("since", "code", "open code")} for row in document["instances"]]
        assert lane_takes({"instances": rest}), document
        codes = [row[name] for row in document["instances"] for name in ("code", "open code") if name in row]
        assert any(isinstance(row.get("since"), str) for row in document["instances"]) or any(isinstance(code, float) for code in codes), (
            document
        )


@SHORT_OR_LONG
def test_the_published_schema_says_the_same_but_for_dates_and_codes_with_decimals(examples: int) -> None:
    try_all(examples, agrees_with_the_published_schema, documents())


# -- the other protocol, and anything at all ---------------------------------------------------------------------------


def as_tensors(instances: Any) -> dict[str, Any] | None:
    """The same rows as tensors; None where a column has no datatype, or rows differ in what they hold."""
    if not instances or any(not isinstance(row, dict) or row.keys() != instances[0].keys() or not row for row in instances):
        return None
    inputs = []
    for name in instances[0]:
        data = [row[name] for row in instances]
        datatype = _datatype({type(value) for value in data if value is not None})
        if datatype is None:
            return None
        inputs.append({"name": name, "shape": [len(data)], "datatype": datatype, "data": data})
    return {"inputs": inputs}


def _datatype(kinds: set[type]) -> str | None:
    for datatype, taken in (("BOOL", {bool}), ("FP64", {int, float}), ("BYTES", {str})):
        if kinds <= taken:
            return datatype
    return None


def reads_as_tensors(document: Any) -> None:
    is_request = isinstance(document, dict) and document.keys() == {"instances"} and isinstance(document["instances"], list)
    tensors = as_tensors(document["instances"]) if is_request else None
    if tensors is not None:
        found, expected = read_by(OpenInference(), orjson.dumps(tensors)), read_by(V1(), orjson.dumps(document))
        assert repr(found) == repr(expected) or _texts_of_codes(document), document  # repr: NaN differs from itself


@SHORT_OR_LONG
def test_tensors_and_rows_of_the_same_values_are_read_the_same(examples: int) -> None:
    try_all(examples, reads_as_tensors, documents())


def _texts_of_codes(document: Any) -> bool:
    """Whether a listed number came as its text, which rows may not and tensors of texts must."""
    return any(isinstance(row.get("code"), str) for row in document["instances"])


anything = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["inputs", "instances", "name", "shape", "data", "datatype"]), inner)
    ),
    max_leaves=12,
)
tensor_like = st.fixed_dictionaries(
    {
        "name": st.sampled_from([*FIELDS, "x"]) | anything,
        "shape": st.just([1]) | st.just([1, 1]) | anything,
        "datatype": st.sampled_from(["FP64", "INT8", "BYTES", "BOOL"]) | anything,
        "data": st.lists(JUNK, max_size=2) | anything,
    },
    optional={"parameters": anything},
)
requests = st.fixed_dictionaries({"inputs": st.lists(tensor_like, max_size=3) | anything}, optional={"id": anything, "outputs": anything})


@SHORT_OR_LONG
def test_whatever_comes_is_taken_or_refused_and_nothing_else_happens(examples: int) -> None:
    def check(document: Any) -> None:
        for dialect in (V1(), OpenInference()):
            read_by(dialect, orjson.dumps(document))

    try_all(examples, check, anything | requests)


@SHORT_OR_LONG
def test_damaged_bytes_are_taken_or_refused_and_nothing_else_happens(examples: int) -> None:
    def check(document: Any, at: int, put: bytes, cut: int) -> None:
        body = orjson.dumps(document)
        for dialect in (V1(), OpenInference()):
            read_by(dialect, body[:at] + put + body[at + cut :])

    try_all(examples, check, documents(), st.integers(0, 2000), st.binary(max_size=3), st.integers(0, 3))


# -- what is meant to differ -------------------------------------------------------------------------------------------


def body_with(field: str) -> bytes:
    return b'{"instances": [{"km": 1, "doors": 2, "diesel": true, "fuel": "gas", "town": "Ede"' + field.encode() + b"}]}"


def test_a_repeated_field_is_refused_where_pydantic_takes_the_last() -> None:
    Request.model_validate_json(body_with(', "any": 1, "any": 2'))
    assert read_by(V1(), body_with(', "any": 1, "any": 2')) is None


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_none_are_refused_by_both(value: str) -> None:
    body = body_with(f', "any": {value}')
    assert read_by(V1(), body) is None
    with pytest.raises(ValidationError):
        Request.model_validate_json(body)
    with pytest.raises(ValidationError):  # what FastAPI itself does: decode first
        Request.model_validate(json.loads(body))
