"""The page of what compiles says what is so: its pipelines are packaged again, a few here, all of them among the slow tests."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
from compile_cases import ALL, GROUPS, Recipe, Workshop, close_workshop, open_workshop

from brandhouse_flows.agreement import PROBABILITY_TOLERANCE
from brandhouse_shared.metrics import Task

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "compiled.md"
RECIPES = {recipe.name: recipe for recipes in GROUPS.values() for recipe in recipes}
PAIRS = [(recipe, task) for recipe in RECIPES.values() for task in recipe.tasks]
FEW = {
    "HistGradientBoosting, native categories": Task.BINARY,
    "RandomForest": Task.MULTICLASS,
    "Ridge": Task.REGRESSION,
    "LogisticRegression": Task.MULTICLASS,
    "GaussianNB": Task.MULTICLASS,
    "KNeighbors": Task.BINARY,
    "SVR": Task.REGRESSION,
    "KernelRidge": Task.REGRESSION,
    "CalibratedClassifierCV, sigmoid": Task.BINARY,
    "SplineTransformer": Task.BINARY,
    "OneHotEncoder, rare ones grouped": Task.REGRESSION,
    "TF-IDF, plain words": Task.MULTICLASS,
    "TF-IDF, default token pattern": Task.BINARY,
}
"""One pipeline of each kind, of all three outcomes."""


@pytest.fixture(scope="module")
def workshops(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Task, Workshop]]:
    folder = tmp_path_factory.mktemp("brands")
    opened = {task: open_workshop(folder, task) for task in ALL}
    yield opened
    for workshop in opened.values():
        close_workshop(workshop)


def rows_of_page() -> dict[str, list[str]]:
    """Pipeline to its cells for regression, binary and multiclass."""
    lines = [line.strip("|").split("|") for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    return {cells[0].strip(): [cell.strip() for cell in cells[1:4]] for cells in lines if cells[0].strip() != "pipeline"}


def test_the_page_lists_every_pipeline_for_every_task_it_is_tried_for() -> None:
    page = rows_of_page()
    assert list(page) == list(RECIPES), "run `make compile-table`"
    for recipe in RECIPES.values():
        assert [cell != "-" for cell in page[recipe.name]] == [task in recipe.tasks for task in ALL], recipe.name


def test_no_difference_on_the_page_is_above_what_is_allowed() -> None:
    found = [float(cell) for cells in rows_of_page().values() for cell in cells if cell not in ("-", "Python", "no")]
    assert len(found) > 100
    assert max(found) <= PROBABILITY_TOLERANCE


@pytest.mark.parametrize("name", FEW)
def test_a_pipeline_compiles_or_not_as_the_page_says(name: str, workshops: dict[Task, Workshop]) -> None:
    _check(RECIPES[name], FEW[name], workshops)


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "task"), PAIRS, ids=[f"{task} {recipe.name}" for recipe, task in PAIRS])
def test_every_pipeline_compiles_or_not_as_the_page_says(recipe: Recipe, task: Task, workshops: dict[Task, Workshop]) -> None:
    _check(recipe, task, workshops)


def _check(recipe: Recipe, task: Task, workshops: dict[Task, Workshop]) -> None:
    cell = rows_of_page()[recipe.name][ALL.index(task)]
    outcome = workshops[task].attempt(recipe)
    said = {"Python": "python", "no": "refused"}.get(cell, "compiled")
    assert outcome.runtime == said, outcome.reason
    if said == "compiled":
        assert outcome.difference is not None and outcome.difference <= PROBABILITY_TOLERANCE
        assert not outcome.labels_changed
    else:
        assert outcome.reason, "what does not compile says why"
