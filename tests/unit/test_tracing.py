"""Traced features are what pandas computes, or there is a refusal that says why."""

import collections
import types
import warnings
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from brandhouse_flows.compiling import IR_VERSION, ML_OPSET, OPSET
from brandhouse_flows.expressions import Kind, NotTraceableError
from brandhouse_flows.feature_graph import ML_DOMAIN, TENSOR_TYPES, GraphWriter, depends_on_input
from brandhouse_flows.tracing import Feature, trace_features
from brandhouse_shared.answering import lower_text, strip_text
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
    "strip": lambda values: np.array([strip_text(value) for value in values], dtype=object),
    "clean": lambda values: np.array([lower_text(strip_text(value)) for value in values], dtype=object),
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
    types_in = collections.defaultdict(lambda: TensorProto.STRING, number=TensorProto.DOUBLE, days=TensorProto.DOUBLE)
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


def _series_if_array(values: Any) -> Any:
    return pd.Series(values) if type(values) is np.ndarray else values


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
    "np.where": lambda a, b: _series_if_array(np.where(a == b, a, b)),
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
    "weekday": lambda a: a.dt.day_of_week,
    "dayofyear": lambda a: a.dt.day_of_year,
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
ALWAYS = [("gt", 0, 1), ("sub", 6, (7,)), ("isin text", 4, None), ("sub", 8, (7,)), ("month", 6, None)]
"""First steps of every program, so that it has truth values, spans and parts of dates to go on with."""


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


@pytest.mark.parametrize("examples", [40, pytest.param(500, marks=[pytest.mark.slow, pytest.mark.timeout(1200)])])
def test_random_programs_compute_what_pandas_computes_or_refuse(examples: int) -> None:
    limits = settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    limits(given(programs(), st.integers(0, 1_000))(check_program))()


def check_program(program: list[tuple[str, int, Any]], seed: int) -> None:
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
        for step in [*ALWAYS, *program]:
            if divides_by_a_computed_zero(step, real):
                continue
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


def divides_by_a_computed_zero(step: tuple[str, int, Any], columns: list[Any]) -> bool:
    """The sign of a zero that was computed is not kept, and NumPy's own `maximum` does not define it: dividing by it shows it."""
    name, _, other = step
    place = other[0] % len(columns) if isinstance(other, tuple) else 0
    if name not in ("div", "floordiv", "mod") or place < len(FIRST):
        return False
    return columns[place].dtype.kind == "f" and bool((columns[place] == 0).any())


# -- named cases -----------------------------------------------------------------------------------------------------

CASES: dict[str, Any] = {
    "floor division": lambda r: r["km"] // 0.1,
    "remainder of a negative": lambda r: r["km"] % -3,
    "a number over a column": lambda r: 1 / r["doors"].astype(int),
    "booleans add by or": lambda r: (r["km"] > 1) + (r["doors"] > 3),
    "a boolean and a number": lambda r: (r["km"] > 1) * r["km"] + (r["doors"] > 3) * 1,
    "whole numbers": lambda r: (-r["doors"].astype(int)) % 3 + r["doors"].astype(int) // 2,
    "missing compares false": lambda r: (r["km"] >= 0) | (r["km"] < 0),
    "missing is unequal": lambda r: r["km"] != r["km"],
    "clip keeps missing": lambda r: r["km"].clip(lower=0, upper=10),
    "clip as NumPy writes it": lambda r: np.clip(r["km"], 0, 10),
    "where without other": lambda r: r["km"].where(r["doors"] > 2),
    "mask by a column": lambda r: r["km"].mask(r["doors"] > 2, r["price eur"]),
    "np.where of numbers": lambda r: np.where(r["doors"] > 2, 1, r["doors"] > 1),
    "np.where of truths": lambda r: np.where(r["doors"] > 2, r["is new"] > 0, r["km"] > 1),
    "np.where of texts": lambda r: np.where(r["fuel"] == "a", "first", r["text"]),
    "np.select": lambda r: np.select([r["doors"] > 5, r["fuel"] == "a"], [1, 2], default=0),
    "map of few": lambda r: r["fuel"].map({"a": 1.5}),
    "map then fill": lambda r: r["fuel"].map({"a": "x"}).fillna("other"),
    "text concatenation": lambda r: r["text"].fillna("") + " / " + r["fuel"],
    "strip": lambda r: r["fuel"].str.strip(),
    "strip and lower": lambda r: r["fuel"].str.strip().str.lower(),
    "lower and strip, twice": lambda r: r["text"].str.lower().str.strip().str.strip().str.lower(),
    "lower of a concatenation": lambda r: (r["text"] + " " + r["fuel"]).str.lower(),
    "months since": lambda r: r["built"].dt.year * 12 + r["built"].dt.month,
    "quarter by hand": lambda r: (r["built"].dt.month - 1) // 3 + 1,
    "days between": lambda r: (r["sold"] - r["built"]).dt.days,
    "hours before": lambda r: (r["built"] - r["booked"]).dt.total_seconds() / 3600,
    "weeks as a quotient": lambda r: (r["sold"] - r["built"]) / pd.Timedelta(weeks=1),
    "since a day": lambda r: (r["booked"] - pd.Timestamp("1970-01-01")).dt.days // 365,
    "after a day": lambda r: r["sold"] >= pd.Timestamp("1950-06-01"),
    "a constant": lambda r: r["km"] * 0 + 1,
    "in place": lambda r: _add_in_place(r["km"]),
}
ROUNDED: dict[str, Any] = {
    "log1p": lambda r: np.log1p(r["km"].clip(lower=-1)),
    "log": lambda r: np.log(r["km"].abs()),
    "expm1": lambda r: np.expm1(r["doors"] - 5),
    "exp": lambda r: np.exp(r["price eur"].clip(-50, 50)),
    "cube": lambda r: r["doors"] ** 3,
    "season": lambda r: np.sin(2 * np.pi * r["built"].dt.month / 12),
    "season's other half": lambda r: np.cos(2 * np.pi * r["booked"].dt.hour / 24),
}


def _add_in_place(column: Any) -> Any:
    other = column
    column += 1  # pandas changes the object that `other` names too
    return other


@pytest.mark.parametrize("name", CASES)
def test_what_is_traced_is_equal_in_every_bit(name: str) -> None:
    check(lambda rows: rows[["doors"]].assign(result=CASES[name](rows), one=1, letter="a"))


@pytest.mark.parametrize("name", ROUNDED)
def test_functions_are_equal_to_the_last_bit_of_float32(name: str) -> None:
    check(lambda rows: rows[["doors"]].assign(result=ROUNDED[name](rows)), rounding=True)


def test_a_frame_is_built_in_many_ways() -> None:
    def build_features(rows: pd.DataFrame) -> pd.DataFrame:
        frame = pd.DataFrame({"x": rows["km"], "y": rows.km * 2}, index=rows.index)
        frame[["p", "q"]] = rows[["km", "doors"]]
        frame.loc[:, "one"] = 1
        frame = frame.rename(columns={"p": "P "}).drop(columns=["q"]).assign(z=lambda f: f["x"] + f["y"], w=lambda f: f["z"] * 2)
        if "text" in rows.columns:
            frame["has text"] = rows["text"].notna()
        frame = pd.concat([frame, rows[["is new"]].add_prefix("now ")], axis=1)
        for name in frame.filter(like="x").columns:
            frame[f"{name} filled"] = frame[name].fillna(0).astype("float32")
        return frame.astype({"y": float})

    check(build_features)
    names = [feature.name for feature in trace_features(module_of(build_features), CONTRACT)]
    assert names == ["x", "y", "P ", "one", "z", "w", "has text", "now is new", "x filled", "has text filled"][: len(names)]


REFUSED: dict[str, tuple[Any, str]] = {
    "mean": (lambda r: r["km"].mean(), "Series.mean"),
    "own median": (lambda r: r["km"].fillna(r["km"].median()), "Series.median"),
    "rank": (lambda r: r["km"].rank(), "Series.rank"),
    "rows": (lambda r: r[r["km"] > 3], "selection of rows"),
    "one row": (lambda r: r["km"].values[0], "single rows"),
    "function by element": (lambda r: r["km"].apply(lambda value: value), "Series.apply"),
    "length": (lambda r: len(r), "the length"),
    "iteration": (lambda r: sorted(r["km"]), "iteration"),
    "branch": (lambda r: r["km"] if r["km"].max() > 3 else 0, "Series.max"),
    "chained comparison": (lambda r: 0 < r["km"] < 3, "the truth value"),
    "float": (lambda r: float(r["km"]), "the number"),
    "array": (lambda r: np.asarray(r["km"]), "Series.__array"),
    "an array as operand": (lambda r: r["km"] * np.arange(3), "ndarray as an operand"),
    "text in a message": (lambda r: f"{r['km']}", "the text"),
    "shift": (lambda r: r["km"].shift(1), "Series.shift"),
    "text length": (lambda r: r["text"].str.len(), "Series.str.len"),
    "order of texts": (lambda r: r["text"] < "b", "order of texts"),
    "missing to int": (lambda r: r["km"].astype(int), "may be missing or infinite"),
    "text and number": (lambda r: r["text"] == 3, "comparison between text"),
    "log10": (lambda r: np.log10(r["price eur"]), "np.log10"),
    "unknown column": (lambda r: r["colour"], "no input field"),
    "sum over columns": (lambda r: r[["km", "doors"]].sum(axis=1), "DataFrame.sum"),
    "overflow of 32 bits": (lambda r: r["built"].dt.year * 1_100_000, "range of 32-bit"),
    "the clock": (lambda r: pd.Timestamp.now().year - r["doors"], "now"),
    "chance": (lambda r: r["km"] * np.random.rand(), "rand"),
    "isinstance": (lambda r: r["km"] if isinstance(r, pd.DataFrame) else 0, "isinstance"),
    "dummies": (lambda r: pd.get_dummies(r["fuel"]), "pd.get_dummies"),
    "default dictionary": (lambda r: r["fuel"].map(collections.defaultdict(int)), "dictionary"),
    "a date as feature": (lambda r: r["sold"], "is a date"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_exact_counterpart_is_refused_with_a_reason(name: str) -> None:
    build, reason = REFUSED[name]
    code = module_of(lambda rows: rows.assign(result=build(rows)))
    if name in ("the clock", "chance"):
        code = module_of(build)
    with pytest.raises(NotTraceableError, match=reason):
        trace_features(code, CONTRACT)


def test_a_swallowed_refusal_is_still_a_refusal() -> None:
    def build_features(rows: Any) -> Any:
        try:
            rows["level"] = rows["km"].mean()
        except Exception:
            rows["level"] = 0.0
        return rows[["km", "level"]]

    with pytest.raises(NotTraceableError, match=r"Series\.mean"):
        trace_features(module_of(build_features), CONTRACT)


def test_state_kept_between_calls_is_refused() -> None:
    space: dict[str, Any] = {"__name__": "brand_x.m"}
    exec("def build_features(rows):\n    global calls\n    calls = 1\n    return rows[['km']]", space)
    with pytest.raises(NotTraceableError, match="which the rows do not decide"):
        trace_features(types.SimpleNamespace(build_features=space["build_features"], build_estimator=None), CONTRACT)


def test_pandas_is_itself_again_after_tracing() -> None:
    trace_features(module_of(lambda rows: pd.DataFrame({"x": rows["km"]})), CONTRACT)
    assert isinstance(pd.DataFrame({"x": [1]}), pd.DataFrame)
    assert type(pd).__name__ == "module"


def test_a_date_with_fractions_of_a_second_is_refused_when_it_is_used() -> None:
    contract = Contract({"at": InputField(type="date", format="%Y-%m-%d %H:%M:%S.%f"), "km": InputField(type="number")})
    assert trace_features(module_of(lambda rows: rows[["km"]]), contract)
    with pytest.raises(NotTraceableError, match="fractions of a second"):
        trace_features(module_of(lambda rows: rows.assign(at=rows["at"].dt.hour)), contract)


def test_lower_case_is_that_of_pandas() -> None:
    texts = ["İSTANBUL", "ΟΔΟΣ", "ÄÖ", "ẞ", "Ǆ", "x", ""]
    expected = pd.DataFrame({"t": np.array(texts, dtype=object)})["t"].str.lower().tolist()
    assert [lower_text(text) for text in texts] == expected


def test_stripping_is_that_of_pandas() -> None:
    blanks = [" ", "\t", "\n", "\r", "\x0b", "\x0c", "\x1c", "\x1f", "\x85", "\xa0", "\u2003", "\u200b", "\u3000", "\ufeff", "\x00"]
    texts = ["", "  ", "x", *(f"{blank}a b{blank}" for blank in blanks), *blanks]
    expected = CONTRACT.frame_of({**CONTRACT.columns_of(rows_of(len(texts))), "text": texts})["text"].str.strip().tolist()
    assert [strip_text(text) for text in texts] == expected
