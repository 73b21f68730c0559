"""Explained answers: sums of their parts, equal to what the definition says, and honest about what was sampled."""

import itertools
import json
import math
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.fixtures.explained import Scores, background_of, explain, manifest_of, numbers

from brandhouse_shared.artifacts import BACKGROUND_FILE
from brandhouse_shared.config import FieldType, InputField
from brandhouse_shared.errors import ArtifactCorruptError
from brandhouse_shared.explaining import MAX_ASKED, PAIRS, Background, NoBackgroundError, Question, build_background, read_background
from brandhouse_shared.metrics import Task


def by_definition(ask: Scores, rows: np.ndarray[Any, Any], row: np.ndarray[Any, Any]) -> list[float]:
    """What each field changes when it is taken over from `row`, averaged over all orders and all background rows."""
    gains = np.zeros(len(row))
    orders = list(itertools.permutations(range(len(row))))
    for order in orders:
        mixed = rows.copy()
        before = ask(mixed).mean()
        for field in order:
            mixed[:, field] = row[field]
            after = ask(mixed).mean()
            gains[field] += (after - before) / len(orders)
            before = after
    return gains.tolist()


def test_contributions_are_the_mean_over_all_orders_of_taking_fields_over() -> None:
    generator = np.random.default_rng(1)
    rows, row = generator.normal(size=(6, 4)).round(), generator.normal(size=4).round()

    def ask(asked: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.asarray(3 * asked[:, 0] + asked[:, 1] * asked[:, 2] + np.sin(asked[:, 3]) * asked[:, 0])

    found = explain(ask, rows, row, manifest_of(Task.REGRESSION, numbers(4)))
    assert (found.method, found.error) == ("exact", 0)
    assert list(found.contributions.values()) == pytest.approx(by_definition(ask, rows, row), abs=1e-12)
    assert found.answer == pytest.approx(float(ask(row[None])[0]), abs=1e-12), "the parts do not sum up to the answer"


def test_of_two_classes_the_positive_one_is_explained() -> None:
    def ask(asked: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        share = 1 / (1 + np.exp(-asked[:, 0]))
        return np.column_stack([share, 1 - share])

    manifest = manifest_of(Task.BINARY, numbers(1), ("yes", "no"), "yes")
    found = explain(ask, np.array([[0.0], [1.0]]), np.array([-3.0]), manifest)
    assert found.label == "yes", "the predicted class was explained"
    assert found.contributions["f0"] < 0


def test_of_several_classes_the_predicted_one_is_explained() -> None:
    def ask(asked: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        first = 1 / (1 + np.exp(-asked[:, 0]))
        return np.column_stack([first * 0.6, first * 0.4, 1 - first])

    rows = np.array([[-2.0, 1.0], [0.0, 2.0], [2.0, 3.0]])
    manifest = manifest_of(Task.MULTICLASS, numbers(2), ("a", "b", "c"))
    low, high = (explain(ask, rows, np.array([value, 9.0]), manifest) for value in (-3.0, 3.0))
    assert (low.label, high.label) == ("c", "a")
    assert low.answer == pytest.approx(ask(np.array([[-3.0, 9.0]]))[0, 2]), "base and contributions are its probability"
    assert high.contributions["f1"] == 0, "a field that the version does not look at contributed"


def test_many_fields_are_sampled_and_the_stated_error_is_true() -> None:
    generator = np.random.default_rng(4)
    rows = generator.normal(size=(16, 11))
    row = generator.normal(size=11)
    pairs = generator.normal(size=(11, 11))

    def ask(asked: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.asarray(np.tanh(np.einsum("ij,jk,ik->i", asked, pairs, asked) / 4))

    manifest = manifest_of(Task.REGRESSION, numbers(11))
    exact = explain(ask, rows, row, manifest, exact_fields=11)
    misses, errors = [], []
    for seed in range(12):
        found = explain(ask, rows, row, manifest, seed=seed)
        assert found.method == "sampled"
        assert found.answer == pytest.approx(float(ask(row[None])[0]), abs=1e-12), "the parts do not sum up to the answer"
        assert found.base == pytest.approx(exact.base, abs=1e-12), "the base is no sample"
        misses.append([found.contributions[name] - exact.contributions[name] for name in exact.contributions])
        errors.append(found.error)
    worst = np.sqrt(np.mean(np.square(misses), axis=0)).max()
    assert 0.5 < worst / np.mean(errors) < 1.5, f"the largest error is {worst}, said to be {np.mean(errors)}"


def test_the_same_row_is_explained_the_same_every_time() -> None:
    generator = np.random.default_rng(5)
    rows, row = generator.normal(size=(8, 12)), generator.normal(size=12)
    first, second = (Question(background_of(rows), {f"f{i}": float(row[i]) for i in range(12)}) for _ in range(2))
    assert first.columns == second.columns
    assert len(first.columns["f0"]) <= 8 * PAIRS * 2 * 13, "more rows are asked about than said"


def test_a_row_is_asked_about_once_and_what_does_not_differ_contributes_nothing() -> None:
    background = Background({"fuel": ["Diesel", "Diesel", ""], "doors": [3.0, 5.0, math.nan], "since": [None, None, None]}, 3)
    question = Question(background, {"fuel": "Diesel", "doors": math.nan, "since": None})
    asked = list(zip(*question.columns.values(), strict=True))
    assert len(asked) == len({str(row) for row in asked}), "equal rows are asked about twice"
    assert set(question.columns["since"]) == {None}
    manifest = manifest_of(Task.REGRESSION, {"fuel": InputField(type=FieldType.CATEGORY), "doors": InputField(type=FieldType.NUMBER)})
    found = question.explain([float(row[0] == "Diesel") for row in asked], manifest)
    assert found.contributions == pytest.approx({"fuel": 1 / 3, "doors": 0.0, "since": 0.0})


def test_a_row_like_its_whole_background_is_its_base() -> None:
    question = Question(Background({"since": [datetime(2026, 1, 1)] * 2}, 2), {"since": datetime(2026, 1, 1)})
    assert question.columns == {"since": [datetime(2026, 1, 1)]}
    found = question.explain([4.5], manifest_of(Task.REGRESSION, {"since": InputField(type=FieldType.DATE)}))
    assert (found.base, found.contributions, found.method) == (4.5, {"since": 0.0}, "exact")


def test_background_rows_are_read_as_a_request_is(tmp_path: Path) -> None:
    inputs = {"doors": InputField(type=FieldType.INTEGER, nullable=True), "since": InputField(type=FieldType.DATE)}
    manifest = manifest_of(Task.REGRESSION, inputs)
    with pytest.raises(NoBackgroundError, match="train again"):
        read_background(tmp_path, manifest)
    (tmp_path / BACKGROUND_FILE).write_text(json.dumps([{"doors": None, "since": "2026-01-02"}, {"doors": 3, "since": "2026-01-01"}]))
    found = read_background(tmp_path, manifest)
    assert found.rows == 2 and found.columns["since"] == [datetime(2026, 1, 2), datetime(2026, 1, 1)]
    (tmp_path / BACKGROUND_FILE).write_text('[{"doors": "three", "since": "2026-01-02"}]')
    with pytest.raises(ArtifactCorruptError, match="background"):
        read_background(tmp_path, manifest)


def test_a_thinner_background_keeps_its_spread() -> None:
    rows = [{"f0": float(place)} for place in range(32)]
    thin = build_background(rows, manifest_of(Task.REGRESSION, numbers(1))).thinned(8)
    assert thin.rows == 8 and thin.columns["f0"] == [float(place) for place in range(0, 32, 4)]


def test_a_row_of_hundreds_of_fields_asks_about_no_more_rows_than_are_bearable() -> None:
    generator = np.random.default_rng(6)
    rows, row = generator.normal(size=(32, 400)), generator.normal(size=400)
    question = Question(background_of(rows), {f"f{field}": float(value) for field, value in enumerate(row)})
    asked = np.column_stack(list(question.columns.values()))
    assert len(asked) <= 1.5 * MAX_ASKED
    found = question.explain(asked @ np.arange(400.0), manifest_of(Task.REGRESSION, numbers(400)))
    assert found.answer == pytest.approx(float(row @ np.arange(400.0))), "the parts do not sum up to the answer"
