"""Features and estimator become one graph that answers as scikit-learn does, or a reason is given."""

import hashlib
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
from model_house import CLASSIFIERS, REGRESSORS, Case, columns, make_case
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline

from brandhouse_flows.agreement import PROBABILITY_TOLERANCE, RELATIVE_TOLERANCE, compare
from brandhouse_flows.compiling import NotCompilableError, compile_model
from brandhouse_flows.tracing import trace_features
from brandhouse_shared.artifacts import ONNX_FILE, Runtime
from brandhouse_shared.brands import unload_brand
from brandhouse_shared.contracts import Contract
from brandhouse_shared.metrics import Task


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    yield make_case(tmp_path_factory.mktemp("brands"), name="molen")
    unload_brand("molen")


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    yield make_case(tmp_path_factory.mktemp("brands"), name="dijk", task="regression")
    unload_brand("dijk")


@pytest.fixture(scope="module")
def table() -> Iterator[list[str]]:
    """Lines of the table of estimators, printed at the end (`pytest -s`)."""
    lines: list[str] = []
    yield lines
    print("", "| estimator | runtime | largest difference | ms a row |", "|---|---|--:|--:|", *lines, sep="\n")  # noqa: T201  # asked for


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_compiles_and_agrees_or_is_served_by_python(name: str, classes: Case, table: list[str], tmp_path: Path) -> None:
    build, runtime = CLASSIFIERS[name]
    _check_runtime(name, classes, build(), runtime, PROBABILITY_TOLERANCE, table, tmp_path)


@pytest.mark.parametrize("name", REGRESSORS)
def test_a_regressor_compiles_and_agrees_or_is_served_by_python(name: str, numbers: Case, table: list[str], tmp_path: Path) -> None:
    build, runtime = REGRESSORS[name]
    _check_runtime(name, numbers, build(), runtime, RELATIVE_TOLERANCE, table, tmp_path)


def _check_runtime(name: str, case: Case, estimator: Any, runtime: str, tolerance: float, table: list[str], folder: Path) -> None:
    packaged = case.package(folder, estimator)
    found = packaged.agreement
    difference = f"{found.max_difference:.1e}" if found else "-"
    table.append(f"| {name} | {packaged.manifest.runtime} | {difference} | {packaged.median_row_ms:.3f} |")
    assert packaged.manifest.runtime == runtime, packaged.manifest.reason
    if packaged.manifest.runtime is Runtime.COMPILED:
        assert found is not None
        assert found.max_difference <= tolerance
        assert found.labels_changed == 0
        assert found.rows > 150, "rows with missing values are compared too"
    else:
        assert packaged.manifest.reason
        assert not (folder / ONNX_FILE).exists(), "a graph that disagrees is not shipped"


def test_the_same_model_gives_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import sys, hashlib
        from pathlib import Path
        sys.path.insert(0, sys.argv[1])
        from model_house import CLASSIFIERS, make_case
        from brandhouse_shared.artifacts import folder_digest
        case = make_case(Path(sys.argv[2]))
        case.package(Path(sys.argv[2]) / "artifact", CLASSIFIERS["LogisticRegression + TF-IDF"][0]())
        case.package(Path(sys.argv[2]) / "python", CLASSIFIERS["TF-IDF with the default pattern"][0]())
        print(folder_digest(Path(sys.argv[2]) / "artifact"), folder_digest(Path(sys.argv[2]) / "python"))
        """
    )
    digests = set()
    for seed in ("1", "2"):
        folder = tmp_path / seed
        folder.mkdir()
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", script, str(Path(__file__).parents[1] / "fixtures"), str(folder)]
        digests.add(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)
    assert len(digests) == 1


def test_the_graph_takes_one_named_input_a_field_that_is_used(classes: Case, tmp_path: Path) -> None:
    packaged = classes.package(tmp_path, make_pipeline(columns(), LogisticRegression(max_iter=500)))
    graph = onnx.load(tmp_path / ONNX_FILE).graph
    assert [one.name for one in graph.input] == [f"in_{n}" for n in range(len(packaged.manifest.graph_inputs))]
    fields = {one.field for one in packaged.manifest.graph_inputs}
    assert "turning" not in fields, "no feature asks for it"
    assert {"km to sea ", 'wood "kind"'} <= fields
    assert [one.name for one in graph.output] == ["probabilities_out"]


def test_a_regression_answers_one_score_a_row(numbers: Case, tmp_path: Path) -> None:
    numbers.package(tmp_path, make_pipeline(columns(), Ridge()))
    model = onnx.load(tmp_path / ONNX_FILE)
    assert [one.name for one in model.graph.output] == ["score"]
    assert model.producer_name == "brandhouse"


def test_an_estimator_without_converter_gives_a_reason(numbers: Case) -> None:
    from sklearn.isotonic import IsotonicRegression

    features = trace_features(numbers.code, Contract(numbers.brand.model("price").inputs))
    with pytest.raises(NotCompilableError, match="IsotonicRegression does not convert"):
        compile_model(features, IsotonicRegression().fit([1, 2], [1, 2]), Task.REGRESSION)


@pytest.mark.parametrize(
    ("expected", "actual", "agrees"),
    [
        ([100.0, 200.0], [100.0001, 200.0], True),
        ([100.0, 200.0], [100.1, 200.0], False),
        ([0.0, 0.0], [0.0, 1e-6], True),
        ([1e-9, 2e-9], [1e-9, 3e-9], False),
        ([100.0, 200.0], [float("nan"), 200.0], False),
    ],
)
def test_numbers_agree_within_a_share_of_their_scale(expected: list[float], actual: list[float], agrees: bool) -> None:
    assert compare(np.array(expected), np.array(actual), Task.REGRESSION).agrees is agrees


@pytest.mark.parametrize(
    ("expected", "actual", "agrees", "ties"),
    [
        ([0.6, 0.4], [0.600001, 0.399999], True, 0),
        ([0.6, 0.4], [0.61, 0.39], False, 0),
        ([0.5, 0.5], [0.4999999, 0.5000001], True, 1),
        ([0.500002, 0.499998], [0.499998, 0.500002], False, 0),
    ],
)
def test_labels_agree_exactly_unless_scikit_learn_itself_is_torn(
    expected: list[float], actual: list[float], agrees: bool, ties: int
) -> None:
    found = compare(np.array([expected]), np.array([actual]), Task.BINARY)
    assert found.agrees is agrees
    assert found.ties == ties


def test_answers_of_another_shape_do_not_agree() -> None:
    assert not compare(np.zeros((3, 2)), np.zeros((3, 3)), Task.MULTICLASS).agrees


def test_bytes_are_what_the_digest_says(classes: Case, tmp_path: Path) -> None:
    for name in ("one", "two"):
        classes.package(tmp_path / name, make_pipeline(columns(), LogisticRegression(max_iter=500)))
    one, two = (hashlib.sha256((tmp_path / name / ONNX_FILE).read_bytes()).hexdigest() for name in ("one", "two"))
    assert one == two
