"""Every planted fault of a brand folder is found, with file and line, all at once."""

from typing import Any

import pytest

from brandhouse_flows.checks.problems import Problem
from brandhouse_flows.inspection import inspect_folder, inspect_folders

TOML = "brands/casa/brand.toml"
CODE = "brands/casa/src/brand_casa/price.py"


def problems_of(workspace: Any, brand: str = "casa") -> list[Problem]:
    return inspect_folder(workspace.root / "brands" / brand, workspace.settings)


def the_problem(workspace: Any) -> Problem:
    problems = problems_of(workspace)
    assert len(problems) == 1, problems
    return problems[0]


def line_of(workspace: Any, path: str, text: str) -> int:
    lines = (workspace.root / path).read_text().splitlines()
    return next(number for number, line in enumerate(lines, start=1) if text in line)


def test_good_brands_have_no_problem(workspace: Any) -> None:
    assert inspect_folders([workspace.root / "brands/casa", workspace.root / "brands/villa"], workspace.settings) == []


# what is replaced, by what, part of the message, text of the line that is named
DECLARATIONS = {
    "broken TOML": ('risk = "low"', 'risk = "low', "is no valid TOML", 'risk = "low'),
    "unknown key": ('metric = "mae"', 'metric = "mae"\nmetrc = "mae"', "models.price.metrc: unknown key", "metrc ="),
    "unknown key of an inline table": ("min = 1, max = 12", "min = 1, mx = 12", "models.price.inputs.rooms.mx: unknown key", "rooms ="),
    "range the wrong way round": ("min = 10, max = 400", "min = 400, max = 10", "min 400.0 is above max 10.0", "area ="),
    "key that a source of this kind lacks": (
        'path = "../../sources/homes.csv"',
        'pth = "x"',
        "datasets.homes.source.pth: unknown key",
        "source =",
    ),
    "missing key": ('metric = "mae"\n', "", "models.price.metric: Field required", "[models.price]"),
    "target among the inputs": ('target = "price"', 'target = "area"', "the target 'area' is also an input", "target ="),
    "metric of another task": ('metric = "mae"', 'metric = "f1"', "metric 'f1' does not fit a regression task", "metric ="),
    "name of another brand": ('name = "casa"', 'name = "villa"', "two brands cannot share a name", "name ="),
    "no identifier": ('name = "casa"', 'name = "Ca sa"', "is no identifier", "name ="),
    "another brand's code": ('"brand_casa.price"', '"brand_villa.sold"', "'brand_villa.sold' is outside brand_casa", "entrypoint ="),
    "unknown dataset": ('dataset = "homes"', 'dataset = "house"', "models.price.dataset: unknown 'house'", "dataset ="),
    "missing module": ('"brand_casa.price"', '"brand_casa.prise"', "No module named 'brand_casa.prise'", "entrypoint ="),
}


@pytest.mark.parametrize("fault", DECLARATIONS)
def test_fault_of_the_declaration_is_found_with_its_line(workspace: Any, fault: str) -> None:
    old, new, message, marked = DECLARATIONS[fault]
    workspace.edit(TOML, old, new)
    problems = [problem for problem in problems_of(workspace) if message in problem.what]
    assert problems, problems_of(workspace)
    assert problems[0].where == f"brand.toml:{line_of(workspace, TOML, marked)}"
    assert problems[0].column and problems[0].severity == "error"


def test_column_is_that_of_the_key_inside_an_inline_table(workspace: Any) -> None:
    workspace.edit(TOML, "min = 1, max = 12", "min = 1, mx = 12")
    problem = the_problem(workspace)
    line = (workspace.root / TOML).read_text().splitlines()[problem.line - 1]
    assert line[problem.column - 1 :].startswith("mx = 12")


def test_quoted_name_with_dots_has_its_line(workspace: Any) -> None:
    workspace.append("brands/villa/brand.toml", '"No. of beds" = { type = "number", mn = 1 }\n')
    (problem,) = problems_of(workspace, "villa")
    assert (problem.rule_id, problem.line) == ("unknown-key", line_of(workspace, "brands/villa/brand.toml", "No. of beds"))


def test_all_faults_of_a_declaration_are_reported_at_once(workspace: Any) -> None:
    workspace.edit(TOML, 'risk = "low"', 'risk = "none"')
    workspace.edit(TOML, "min = 10, max = 400", "min = 400, max = 10")
    workspace.edit(TOML, 'task = "regression"', 'task = "guess"')
    assert len(problems_of(workspace)) >= 3


def test_schedule_is_checked(workspace: Any) -> None:
    workspace.append(TOML, '\n[models.price.schedule]\ncron = "sometimes"\ntimezone = "Mars/Olympus"\n')
    cron, zone = problems_of(workspace)
    assert ("'sometimes' of price is no cron expression" in cron.what, "unknown time zone 'Mars/Olympus'" in zone.what) == (True, True)
    assert cron.where == f"brand.toml:{line_of(workspace, TOML, 'cron =')}"


def test_missing_files_are_found(workspace: Any) -> None:
    (workspace.root / "brands/casa/pyproject.toml").unlink()
    (workspace.root / "brands/casa/data/homes.csv.dvc").unlink()
    project, pointer = problems_of(workspace)
    assert (project.where, project.what) == ("pyproject.toml", "does not exist")
    assert "the pointer of dataset 'homes' does not exist" in pointer.what
    assert "brandhouse ingest casa --accept-new" in pointer.fix


def test_project_of_another_name_is_found(workspace: Any) -> None:
    workspace.edit("brands/casa/pyproject.toml", "brand-casa", "brand-villa")
    assert the_problem(workspace).what == "the project is named 'brand-villa'; allowed: 'brand-casa'"


IMPORTS = {
    "import brand_villa.sold": "brand_villa.sold",
    "from brandhouse_flows.learning import train": "brandhouse_flows.learning",
    "import importlib; importlib.import_module('brandhouse_serving.main')": "brandhouse_serving.main",
    "__import__('brand_villa')": "brand_villa",
}


@pytest.mark.parametrize("statement", IMPORTS)
def test_import_of_another_brand_or_the_platform_is_found_without_running_it(workspace: Any, statement: str) -> None:
    workspace.append(CODE, f"\nopen({str(workspace.root / 'ran')!r}, 'w')\n{statement}\n")
    problem = the_problem(workspace)
    assert problem.what == f"imports {IMPORTS[statement]}"
    assert problem.where == f"src/brand_casa/price.py:{line_of(workspace, CODE, statement)}"
    assert not (workspace.root / "ran").exists(), "code that reaches outside its brand is not run"


def test_module_that_raises_is_found_with_its_line(workspace: Any) -> None:
    workspace.append(CODE, "\n1 / 0\n")
    problem = the_problem(workspace)
    assert "importing brand_casa.price failed: ZeroDivisionError" in problem.what
    assert problem.where == f"src/brand_casa/price.py:{line_of(workspace, CODE, '1 / 0')}"


def test_syntax_error_is_found_with_its_line(workspace: Any) -> None:
    workspace.append(CODE, "\ndef oops(:\n")
    assert any(problem.where == f"src/brand_casa/price.py:{line_of(workspace, CODE, 'oops')}" for problem in problems_of(workspace))


def test_missing_function_is_found(workspace: Any) -> None:
    workspace.edit(CODE, "def build_estimator", "def build_model")
    assert "brand_casa.price lacks build_estimator" in the_problem(workspace).what


def test_features_and_estimator_are_both_tried(workspace: Any) -> None:
    workspace.edit(CODE, 'rows["rooms"]', 'rows["room"]')
    workspace.append(TOML, "\n[models.price.candidates.default]\nspace.n_trees = { low = 2, high = 9, integer = true }\n")
    estimator, features = problems_of(workspace)
    assert "build_estimator(n_trees) of candidate 'default' raised TypeError" in estimator.what, "a misspelt search space is found, too"
    assert features.what.endswith("build_features raised KeyError: 'room'")
    assert features.where == f"src/brand_casa/price.py:{line_of(workspace, CODE, 'room')}"


def test_features_that_cannot_take_a_missing_value_are_found(workspace: Any) -> None:
    workspace.edit(CODE, 'rows["garden"].fillna(0)', 'rows["garden"].astype(int)')
    assert "build_features raised IntCastingNaNError" in the_problem(workspace).what
