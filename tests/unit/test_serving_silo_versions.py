"""Whether a version may answer several requests together: only if its own sample shows that this changes no bit."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

from brandhouse_serving.silo import answers_together_as_alone
from brandhouse_shared.artifacts import SAMPLE_FILE, Manifest, Runtime
from brandhouse_shared.config import FieldType, InputField
from brandhouse_shared.metrics import Task

NAMES = [f"f{number}" for number in range(9)]
MANIFEST = Manifest(
    brand="stil",
    model="taste",
    task=Task.BINARY,
    target="opens",
    runtime=Runtime.PYTHON,
    reason="test",
    inputs={name: InputField(type=FieldType.NUMBER) for name in NAMES},
    classes=("no", "yes"),
    constant=(0.5, 0.5),
    entrypoint="brand_stil.taste",
    code_digest="1" * 64,
)


class Predictor:
    """An estimator behind features."""

    def __init__(self, estimator: Any, features: Callable[[Any], Any] = lambda rows: rows) -> None:
        random = np.random.default_rng(0)
        rows = random.normal(size=(300, len(NAMES)))
        self._estimator = estimator.fit(rows, rows[:, 0] + rows[:, 1] ** 2 > 0.5)
        self._features = features

    def predict(self, columns: Mapping[str, Any]) -> Any:
        rows = np.column_stack([columns[name] for name in NAMES])
        return np.asarray(self._estimator.predict_proba(self._features(rows)), dtype=np.float64)


def write_sample(folder: Path, rows: int = 20) -> Path:
    random = np.random.default_rng(1)
    samples = [{"instance": dict(zip(NAMES, map(float, row), strict=True))} for row in random.normal(size=(rows, len(NAMES)))]
    (folder / SAMPLE_FILE).write_text(json.dumps(samples))
    return folder


def test_a_forest_may(tmp_path: Path) -> None:
    assert answers_together_as_alone(Predictor(RandomForestClassifier(20, random_state=0)), MANIFEST, write_sample(tmp_path))


def test_a_linear_model_may_not_where_the_last_digit_depends_on_the_number_of_rows(tmp_path: Path) -> None:
    predictor, folder = Predictor(LogisticRegression()), write_sample(tmp_path)
    rows = [sample["instance"] for sample in json.loads((folder / SAMPLE_FILE).read_text())]
    alone = np.vstack([predictor.predict({name: [row[name]] for name in NAMES}) for row in rows])
    together = predictor.predict({name: [row[name] for row in rows] for name in NAMES})
    assert np.abs(alone - together).max() < 1e-12
    assert answers_together_as_alone(predictor, MANIFEST, folder) is bool((alone == together).all()), "it depends on the machine's BLAS"


@pytest.mark.parametrize(
    "features",
    [lambda rows: rows - rows.mean(axis=0), lambda rows: rows[::-1], lambda rows: rows + (len(rows) > 40)],
    ids=["mean", "order", "many"],
)
def test_features_that_look_at_other_rows_may_not(tmp_path: Path, features: Any) -> None:
    predictor = Predictor(DecisionTreeClassifier(random_state=0), features)
    assert not answers_together_as_alone(predictor, MANIFEST, write_sample(tmp_path))


def test_without_enough_rows_to_try_nothing_is_answered_together(tmp_path: Path) -> None:
    predictor = Predictor(DecisionTreeClassifier(random_state=0))
    assert not answers_together_as_alone(predictor, MANIFEST, tmp_path)
    assert not answers_together_as_alone(predictor, MANIFEST, write_sample(tmp_path, rows=4))
    assert answers_together_as_alone(predictor, MANIFEST, write_sample(tmp_path, rows=5))


def test_code_that_fails_on_its_own_sample_is_found_by_each_request_for_itself(tmp_path: Path) -> None:
    def fail(rows: Any) -> Any:
        raise ValueError("no")

    assert not answers_together_as_alone(Predictor(DecisionTreeClassifier(), fail), MANIFEST, write_sample(tmp_path))
