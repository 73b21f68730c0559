"""Traced features are what pandas computes, or there is a refusal that says why."""

import types
import warnings
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from brandhouse_flows.compiling import IR_VERSION, ML_OPSET, OPSET
from brandhouse_flows.expressions import Kind, NotTraceableError
from brandhouse_flows.feature_graph import ML_DOMAIN, TENSOR_TYPES, GraphWriter, depends_on_input
from brandhouse_flows.tracing import Feature, trace_features
from brandhouse_shared.answering import lower_text
from brandhouse_shared.config import InputField
from brandhouse_shared.contracts import Contract
from brandhouse_shared.features import as_model_input

CONTRACT = Contract(
    {
        "km": InputField(type="number", nullable=True),
        "price eur": InputField(type="number"),
        "doors": InputField(type="integer", min=0, max=9),
        "is new": InputField(type="boolean"),
        "fuel": InputField(type="category", nullable=True),
        "text": InputField(type="text", nullable=True),
        "sold": InputField(type="date", nullable=True),
        "built": InputField(type="date"),
        "booked": InputField(type="date", format="%m/%d/%y %H:%M:%S", nullable=True),
    }
)
TRANSFORMS: dict[str, Any] = {
    "number": lambda values: np.array(values, dtype=np.float64),
    "text": lambda values: np.array(values, dtype=object),
    "lower": lambda values: np.array([lower_text(value) for value in values], dtype=object),
    "days": lambda values: np.array([np.nan if one is None else (one - pd.Timestamp(0)) / pd.Timedelta(days=1) for one in values]),
}


def rows_of(count: int = 40, seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    pool = np.array([0.0, -0.0, 1.0, -1.0, 0.5, 2.5, -7.0, 3.0, 1e10, -1e-10, 1e300, np.nan])
    texts = ["", "a", "B", "Diesel", "É", "Diesel "]
    built = pd.Timestamp("1899-12-25") + pd.to_timedelta(random.integers(0, 60_000, count), unit="D")
    sold = pd.Series(built + pd.to_timedelta(random.integers(0, 5_000, count), unit="D")).where(random.random(count) > 0.2)
    seconds = random.integers(0, 86_400, count)
    columns: dict[str, list[Any]] = {
        "km": np.where(random.random(count) < 0.6, random.choice(pool, count), random.normal(0, 1000, count)).tolist(),
        "price eur": np.where(random.random(count) < 0.6, random.choice(pool[:-1], count), random.normal(0, 10, count)).tolist(),
        "doors": random.integers(0, 10, count).astype(float).tolist(),
        "is new": random.integers(0, 2, count).astype(float).tolist(),
        "fuel": random.choice(texts, count).tolist(),
        "text": random.choice(texts, count).tolist(),
        "sold": [None if one is pd.NaT else one.to_pydatetime() for one in sold],
        "built": [one.to_pydatetime() for one in built],
        "booked": [one.to_pydatetime() if random.random() < 0.8 else None for one in built + pd.to_timedelta(seconds, unit="s")],
    }
    return CONTRACT.frame_of(columns)


def module_of(build_features: Any) -> Any:
    return types.SimpleNamespace(build_features=build_features, build_estimator=None)


def run_features(features: list[Feature], rows: pd.DataFrame) -> dict[str, Any]:
    """Run traced features alone in ONNX Runtime; numbers become float32 as in a compiled model."""
    writer = GraphWriter()
    outputs = {}
    for index, feature in enumerate(features):
        name = writer.write(feature.node)
        if not depends_on_input(feature.node):
            name = writer.emit("Expand", [name, writer.emit("Shape", ["in_0"])])
        name = name if feature.is_text else writer.cast(name, TensorProto.FLOAT)
        writer.nodes.append(helper.make_node("Identity", [name], [f"out_{index}"]))
        outputs[f"out_{index}"] = TENSOR_TYPES[Kind.TEXT] if feature.is_text else TensorProto.FLOAT
    types_in = {"number": TensorProto.DOUBLE, "days": TensorProto.DOUBLE, "text": TensorProto.STRING, "lower": TensorProto.STRING}
    graph = helper.make_graph(
        writer.nodes,
        "features",
        [helper.make_tensor_value_info(f"in_{n}", types_in[one.transform], ["rows", 1]) for n, one in enumerate(writer.inputs)],
        [helper.make_tensor_value_info(name, kind, ["rows", 1]) for name, kind in outputs.items()],
        writer.initializers,
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(ML_DOMAIN, ML_OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    columns = CONTRACT.columns_of(rows)
    feed = {f"in_{n}": TRANSFORMS[one.transform](columns[one.field]).reshape(-1, 1) for n, one in enumerate(writer.inputs)}
    results = session.run(None, feed)
    return {feature.name: result[:, 0] for feature, result in zip(features, results, strict=True)}


def assert_same(expected: pd.DataFrame, actual: dict[str, Any], *, rounding: bool = False) -> None:
    assert list(expected.columns) == list(actual)
    for name, values in actual.items():
        wanted = expected[name].to_numpy(dtype=values.dtype)
        if values.dtype == object or not rounding:
            assert np.array_equal(wanted, values, equal_nan=values.dtype != object), f"{name}: {wanted} != {values}"
        else:
            np.testing.assert_allclose(values, wanted, rtol=1.2e-7, atol=1e-15, err_msg=name)


def check(build_features: Any, *, rounding: bool = False) -> None:
    """Trace, run, and compare with pandas."""
    features = trace_features(module_of(build_features), CONTRACT)
    for seed in range(3):
        rows = rows_of(seed=seed)
        with np.errstate(all="ignore"):
            expected = as_model_input(build_features(rows.copy()), "test")
        assert_same(expected, run_features(features, rows), rounding=rounding)


# -- programs --------------------------------------------------------------------------------------------------------

NUMBERS = st.sampled_from([0, 1, 2, 3, -2, 7, 0.5, -0.25, 0.1, 1e5, 100.0, np.float64(3.7), np.int64(4)])
BINARY: dict[str, Any] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "floordiv": lambda a, b: a // b,
    "mod": lambda a, b: a % b,
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
    "max": np.maximum,
    "min": np.minimum,
    "fillna": lambda a, b: a.fillna(b),
    "where": lambda a, b: a.where(a > 0, b),
    "np.where": lambda a, b: pd.Series(np.where(a == b, a, b)) if isinstance(a, pd.Series) else np.where(a == b, a, b),
}
UNARY: dict[str, Any] = {
    "neg": lambda a: -a,
    "abs": abs,
    "not": lambda a: ~a,
    "isna": lambda a: a.isna(),
    "notna": lambda a: a.notna(),
    "clip": lambda a: a.clip(-3, 5.5),
    "clip swapped": lambda a: a.clip(lower=4, upper=1),
    "clip low": lambda a: a.clip(lower=0),
    "float": lambda a: a.astype(float),
    "int": lambda a: a.astype(int),
    "bool": lambda a: a.astype(bool),
    "float32": lambda a: a.astype("float32"),
    "square": lambda a: a**2,
    "root": lambda a: a**0.5,
    "sqrt": np.sqrt,
    "floor": np.floor,
    "ceil": np.ceil,
    "trunc": np.trunc,
    "round": lambda a: a.round(),
    "round 2": lambda a: a.round(2),
    "isin": lambda a: a.isin([0, 1, 2.5]),
    "isin text": lambda a: a.isin(["a", "Diesel"]),
    "between": lambda a: a.between(0, 3),
    "mask": lambda a: a.mask(a < 0),
    "mask text": lambda a: a.mask(a == "a", "b"),
    "map": lambda a: a.map({"a": 1, "B": 2}),
    "map all": lambda a: a.map({"": 0, "a": 1, "B": 2, "Diesel": 3, "É": 4, "Diesel ": 5}),
    "map text": lambda a: a.map({"a": "x", "B": "y"}),
    "map number": lambda a: a.map({1: 5, 0: 2.5}),
    "is diesel": lambda a: a == "Diesel",
    "is not": lambda a: a != "a",
    "lower": lambda a: a.str.lower(),
    "suffix": lambda a: a + " x",
    "replace": lambda a: a.replace({"a": "B", "B": "a"}),
    "year": lambda a: a.dt.year,
    "month": lambda a: a.dt.month,
    "day": lambda a: a.dt.day,
    "weekday": lambda a: a.dt.dayofweek,
    "dayofyear": lambda a: a.dt.dayofyear,
    "quarter": lambda a: a.dt.quarter,
    "days": lambda a: a.dt.days,
    "hour": lambda a: a.dt.hour,
    "minute": lambda a: a.dt.minute,
    "second": lambda a: a.dt.second,
    "rest": lambda a: a.dt.seconds,
    "total": lambda a: a.dt.total_seconds(),
    "hours": lambda a: a / pd.Timedelta(hours=1),
    "midnight": lambda a: a.dt.normalize(),
    "later": lambda a: a + pd.Timedelta(days=3, seconds=7),
    "since": lambda a: a - pd.Timestamp("2000-01-01"),
}
FIRST = list(CONTRACT.fields)


@st.composite
def programs(draw: Any) -> list[tuple[str, int, Any]]:
    """Steps (operation, column, other column or number)."""
    place = st.integers(0, 40)
    step = st.one_of(
        st.tuples(st.sampled_from(sorted(UNARY)), place, st.none()),
        st.tuples(st.sampled_from(sorted(BINARY)), place, st.one_of(st.tuples(place), NUMBERS)),
    )
    return draw(st.lists(step, min_size=1, max_size=14))


def apply(step: tuple[str, int, Any], columns: list[Any]) -> Any:
    name, place, other = step
    column = columns[place % len(columns)]
    if name in UNARY:
        return UNARY[name](column)
    return BINARY[name](column, columns[other[0] % len(columns)] if isinstance(other, tuple) else other)


def is_date(series: Any) -> bool:
    return series.dtype.kind in "mM"


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(programs(), st.integers(0, 1_000))
def test_random_programs_compute_what_pandas_computes_or_refuse(program: list[tuple[str, int, Any]], seed: int) -> None:
    rows = rows_of(25, seed)
    real = [rows[name] for name in FIRST]
    kept: list[tuple[str, int, Any]] = []

    def build_features(frame: Any) -> Any:
        columns = [frame[name] for name in FIRST]
        for one in kept:
            columns.append(apply(one, columns))
        for index, column in enumerate(columns):
            frame[f"f{index}"] = column
        return frame.drop(columns=dates).drop(columns=["sold", "built", "booked"])

    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("error")
        for step in program:
            try:
                value = apply(step, real)
            except Exception:  # pandas refuses: nothing to compare with
                continue
            kept.append(step)
            dates = [f"f{index}" for index, column in enumerate([*real, value]) if is_date(column)]
            try:
                trace_features(module_of(build_features), CONTRACT)
            except NotTraceableError:
                kept.pop()
            else:
                real.append(value)
        dates = [f"f{index}" for index, column in enumerate(real) if is_date(column)]
        expected = as_model_input(build_features(rows.copy()), "test")
    features = trace_features(module_of(build_features), CONTRACT)
    assert_same(expected, run_features(features, rows))
