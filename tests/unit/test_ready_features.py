"""Ready features compute in a graph what they compute in pandas, for every date a year holds and every odd number."""

import inspect
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge

from brandhouse_flows.compiling import compile_model
from brandhouse_flows.tracing import IMPURE_NAMES, _names, trace_features
from brandhouse_shared.answering import load_predictor
from brandhouse_shared.artifacts import ONNX_FILE, Manifest, Runtime
from brandhouse_shared.config import InputField
from brandhouse_shared.contracts import Contract
from brandhouse_shared.features import build_model_input
from brandhouse_shared.metrics import Task
from brandhouse_shared.ready import numbers, texts, times

CONTRACT = Contract(
    {
        "at": InputField(type="date", format="%Y-%m-%d %H:%M:%S", nullable=True),
        "until": InputField(type="date", nullable=True),
        "price": InputField(type="number", nullable=True),
        "area": InputField(type="number", nullable=True),
        "town": InputField(type="text", nullable=True),
    }
)
BUILDS: dict[str, Any] = {
    "calendar": lambda r: times.add_calendar(r[["at", "price"]], ["at"], times.PARTS),
    "cycles": lambda r: times.add_cycles(r[["at", "until", "price"]], ["at", "until"], tuple(times.CYCLES)),
    "spans": lambda r: r[["price"]].assign(
        a=times.days_since(r["at"]),
        b=times.days_between(r["at"], r["until"]),
        c=times.hours_between(r["until"], r["at"]),
        d=times.years_between(r["until"], r["at"]),
        e=times.is_weekend(r["at"]),
    ),
    "numbers": lambda r: (
        numbers.add_missing_flags(r[["price", "at"]], ["price", "at"])
        .drop(columns="at")
        .assign(
            ratio=numbers.ratio(r["price"], r["area"]),
            log=numbers.log_amount(r["price"]),
            limited=numbers.limit(r["price"], -3, 5),
        )
    ),
}


def make_rows() -> pd.DataFrame:
    """Every day of two years, a leap year among them, at odd hours; every tenth value missing."""
    random = np.random.default_rng(0)
    days = pd.date_range("2023-12-30", "2025-12-31", freq="D")
    at = days + pd.to_timedelta(random.integers(0, 86_400, len(days)), unit="s")
    keep = random.random(len(days)) > 0.1
    pool = [0.0, -0.0, -1.0, 1.0, 1e-9, 1e9, 7.25, -1e6, float("nan")]
    return CONTRACT.frame_of(
        {
            "at": [one.to_pydatetime() if kept else None for one, kept in zip(at, keep, strict=True)],
            "until": [one.to_pydatetime() if random.random() > 0.1 else None for one in days[::-1]],
            "price": random.choice(pool, len(days)).tolist(),
            "area": random.choice(pool, len(days)).tolist(),
            "town": random.choice([" Delft", "GOUDA\t", "É ", ""], len(days)).tolist(),
        }
    )


@pytest.mark.parametrize("name", BUILDS)
def test_ready_features_are_the_same_numbers_in_a_graph(name: str, tmp_path: Path) -> None:
    code = types.SimpleNamespace(build_features=BUILDS[name], build_estimator=None)
    rows = make_rows()
    expected = build_model_input(code, rows, "test")
    for column in expected.columns:
        assert np.array_equal(run_one(code, rows, column, tmp_path), expected[column], equal_nan=True), column


def run_one(code: Any, rows: pd.DataFrame, column: str, folder: Path) -> Any:
    """One feature as a whole compiled model: a linear model of weight one."""
    feature = next(one for one in trace_features(code, CONTRACT) if one.name == column)
    model = Ridge().fit([[0.0], [1.0]], [0.0, 1.0])
    model.coef_, model.intercept_ = np.array([1.0]), 0.0
    compiled = compile_model([feature], model, Task.REGRESSION)
    (folder / ONNX_FILE).write_bytes(compiled.content)
    manifest = Manifest(
        brand="havenzicht",
        model="berth",
        task=Task.REGRESSION,
        target="y",
        runtime=Runtime.COMPILED,
        reason="test",
        inputs=CONTRACT.fields,
        graph_inputs=compiled.inputs,
        constant=(0.0,),
        entrypoint="brand_havenzicht.berth",
        code_digest="0" * 64,
    )
    return load_predictor(folder, manifest).predict(CONTRACT.columns_of(rows))


def test_texts_are_cleaned_before_the_graph() -> None:
    code = types.SimpleNamespace(build_features=lambda rows: texts.clean_columns(rows[["town"]], ["town"]), build_estimator=None)
    (feature,) = trace_features(code, CONTRACT)
    assert feature.node.value == ("town", "clean")
    assert set(build_model_input(code, make_rows(), "test")["town"]) == {"delft", "gouda", "é", ""}


def test_a_missing_whole_or_a_zero_one_gives_a_missing_ratio() -> None:
    part, whole = pd.Series([1.0, 1.0, 0.0, np.nan, 3.0]), pd.Series([0.0, np.nan, 0.0, 2.0, 2.0])
    assert np.array_equal(numbers.ratio(part, whole), [np.nan, np.nan, np.nan, np.nan, 1.5], equal_nan=True)


def test_december_stands_beside_january() -> None:
    rows = pd.DataFrame({"at": pd.to_datetime(["2025-12-15", "2026-01-15", "2025-07-15"])})
    built = times.add_cycles(rows, ["at"], ["month"]).to_numpy()
    near, far = np.linalg.norm(built[0] - built[1]), np.linalg.norm(built[1] - built[2])
    assert near < 0.6 < far
    assert list(rows.columns) == ["at"], "the rows given are not changed"


def test_an_unknown_part_is_answered_with_those_on_offer() -> None:
    with pytest.raises(times.UnknownPartError, match="no part 'moon' of a date; allowed: year, quarter"):
        times.add_calendar(pd.DataFrame(), ["at"], ["moon"])
    with pytest.raises(times.UnknownPartError, match="no part 'year' of a date; allowed: month, day"):
        times.add_cycles(pd.DataFrame(), ["at"], ["year"])


@pytest.mark.parametrize("module", [times, texts, numbers])
def test_no_ready_feature_asks_the_clock_or_chance(module: Any) -> None:
    """Tracing looks into the brand's own functions only, so the ready ones are looked into here."""
    for name, function in inspect.getmembers(module, inspect.isfunction):
        assert not IMPURE_NAMES & set(_names(function.__code__)), name


def test_ready_features_need_no_learning_library() -> None:
    code = "import sys; from brandhouse_shared.ready import times, texts, numbers, candidates; print('sklearn' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "False"
