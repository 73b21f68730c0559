"""Each rule of the catalogue notices its fault, says where it is, and leaves a good brand alone."""

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from brandhouse_console.reference import generated_files
from brandhouse_flows.checks.catalogue import RULES
from brandhouse_flows.checks.problems import Problem
from brandhouse_flows.checks.secrets import find_secrets
from brandhouse_flows.inspection import inspect_folder

CASA = "brands/casa"
TOML = f"{CASA}/brand.toml"
CODE = f"{CASA}/src/brand_casa/price.py"
TWO_MORE_MODELS = "".join(
    f"""
[models.{name}]
entrypoint = "brand_casa.price"
dataset = "homes"
task = "regression"
target = "price"
metric = "mae"
inputs = {{ area = {{ type = "number" }}, rooms = {{ type = "integer" }}, garden = {{ type = "boolean" }}, town = {{ type = "category" }} }}
schedule.cron = "0 4 * * *"
"""
    for name in ("second", "third")
)


def schedule(cron: str, zone: str = "Europe/Amsterdam") -> str:
    return f'\n[models.price.schedule]\ncron = "{cron}"\ntimezone = "{zone}"\n'


def edit(path: str, old: str, new: str) -> Callable[[Any], None]:
    return lambda workspace: workspace.edit(path, old, new)


def append(path: str, text: str) -> Callable[[Any], None]:
    return lambda workspace: workspace.append(path, text)


def write(path: str, text: str) -> Callable[[Any], None]:
    def plant(workspace: Any) -> None:
        file = workspace.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    return plant


def remove(path: str) -> Callable[[Any], None]:
    return lambda workspace: (workspace.root / path).unlink()


def track(path: str) -> Callable[[Any], None]:
    def plant(workspace: Any) -> None:
        write(path, "area,price\n1,2\n")(workspace)
        subprocess.run(["git", "init", "-q"], cwd=workspace.root, check=True)
        subprocess.run(["git", "add", "-f", path], cwd=workspace.root, check=True)

    return plant


def notebook(**cell: Any) -> str:
    return json.dumps({"cells": [{"cell_type": "code", "source": ["1\n"], "metadata": {}, **cell}], "nbformat": 4}, indent=1)


def leave_out_agent(workspace: Any) -> None:
    workspace.append(TOML, 'agent = { type = "number", min = 0, max = 9 }\n')
    workspace.edit(CODE, "return rows.assign(", 'rows = rows[["area", "rooms", "garden", "town"]]\n    return rows.assign(')


NO_FOREST = edit(CODE, "GradientBoostingRegressor(n_estimators=n_estimators", "GradientBoostingRegressor(n_trees=n_estimators")
PLANTED: dict[str, tuple[Callable[[Any], None], str]] = {
    "brand-toml-readable": (lambda workspace: (workspace.root / TOML).write_bytes(b"name = '\xff'\n"), "brand.toml"),
    "toml-syntax": (edit(TOML, 'risk = "low"', "risk = low"), "brand.toml:6"),
    "unknown-key": (edit(TOML, 'metric = "mae"', 'metric = "mae"\nmetrc = 1'), "brand.toml:19"),
    "missing-key": (edit(TOML, 'risk = "low"\n', ""), "brand.toml"),
    "wrong-value": (edit(TOML, 'task = "regression"', 'task = "guess"'), "brand.toml:16"),
    "brand-name": (edit(TOML, 'name = "casa"', 'name = "cassa"'), "brand.toml:2"),
    "owner-address": (edit(TOML, "casa-data@house.example", "the people upstairs"), "brand.toml:5"),
    "schedule-cron": (append(TOML, schedule("0 0 30 2 *")), "brand.toml:27"),
    "schedule-timezone": (append(TOML, schedule("0 4 * * *", "Mars/Olympus")), "brand.toml:28"),
    "schedule-often": (append(TOML, schedule("*/5 * * * *")), "brand.toml:27"),
    "schedule-clash": (append(TOML, schedule("0 4 1 * *") + TWO_MORE_MODELS), "brand.toml:46"),
    "schedule-without-data": (append(TOML, schedule("0 4 * * *") + "\n[capabilities]\ngets_new_data = false\n"), "brand.toml:26"),
    "sensitive-risk": (edit(TOML, "garden = { ", 'garden = { privacy = "sensitive", '), "brand.toml:23"),
    "unused-input": (leave_out_agent, "brand.toml:25"),
    "project-file": (edit(f"{CASA}/pyproject.toml", "brand-casa", "brand-house"), "pyproject.toml:3"),
    "readme-missing": (remove(f"{CASA}/README.md"), "README.md"),
    "tests-missing": (remove(f"{CASA}/tests/test_casa.py"), "tests"),
    "merge-leftover": (append(f"{CASA}/README.md", "\n<<<<<<< before\none\n=======\ntwo\n>>>>>>> after\n"), "README.md:3"),
    "python-syntax": (append(CODE, "\ndef oops(:\n"), "src/brand_casa/price.py:18"),
    "import-forbidden": (append(CODE, "\nimport brand_villa\n"), "src/brand_casa/price.py:18"),
    "import-undeclared": (append(CODE, "\nimport yaml\n"), "src/brand_casa/price.py:18"),
    "code-loads": (append(CODE, "\n1 / 0\n"), "src/brand_casa/price.py:18"),
    "estimator-builds": (NO_FOREST, "src/brand_casa/price.py:16"),
    "features-build": (edit(CODE, 'rows["rooms"]', 'rows["room"]'), "src/brand_casa/price.py:10"),
    "pointer-missing": (remove(f"{CASA}/data/homes.csv.dvc"), "data/homes.csv.dvc"),
    "data-package-pinned": (
        edit(TOML, '{ kind = "file", path = "../../sources/homes.csv" }', '{ kind = "package", package = "pandas", path = "x" }'),
        "",
    ),
    "table-in-git": (track(f"{CASA}/data/extra.csv"), "data/extra.csv"),
    "notebook-outputs": (write(f"{CASA}/notebooks/explore.ipynb", notebook(outputs=[{"text": "1"}])), "notebooks/explore.ipynb:9"),
    "secret-in-file": (append(f"{CASA}/README.md", "\nurl = https://me:" + "hunter2secret@db.house.example/x\n"), "README.md:3"),
}


def problems_of(workspace: Any) -> list[Problem]:
    return inspect_folder(workspace.root / CASA, workspace.settings)


def test_a_fault_is_planted_for_every_rule() -> None:
    assert set(PLANTED) == set(RULES)


@pytest.mark.parametrize("rule", PLANTED)
def test_rule_notices_its_fault(workspace: Any, rule: str) -> None:
    plant, where = PLANTED[rule]
    plant(workspace)
    problems = [problem for problem in problems_of(workspace) if problem.rule_id == rule]
    assert problems, f"{rule}: {problems_of(workspace)}"
    assert where in problems[0].where
    assert problems[0].reason and problems[0].fix, "everything found says why and what to do"


@pytest.mark.parametrize("rule", PLANTED)
def test_other_brand_is_not_blamed(workspace: Any, rule: str) -> None:
    PLANTED[rule][0](workspace)
    assert inspect_folder(workspace.root / "brands/villa", workspace.settings) == []


GOOD = {
    "a daily schedule": append(TOML, schedule("0 4 * * *")),
    "a sensitive field of a brand of medium risk": lambda workspace: (
        workspace.edit(TOML, "garden = { ", 'garden = { privacy = "sensitive", '),
        workspace.edit(TOML, 'risk = "low"', 'risk = "medium"'),
    ),
    "a table in a package whose distribution has another name": lambda workspace: (
        workspace.edit(
            TOML, '{ kind = "file", path = "../../sources/homes.csv" }', '{ kind = "package", package = "sklearn", path = "x" }'
        ),
        workspace.edit(f"{CASA}/pyproject.toml", '"scikit-learn"', '"Scikit_Learn == 1.9.0"'),
    ),
    "a team as owner": edit(TOML, "casa-data@house.example", "@house/casa-data"),
    "a heading underlined with equals signs": append(f"{CASA}/README.md", "\nTitle\n=======\n"),
    "a notebook without outputs": write(f"{CASA}/notebooks/explore.ipynb", notebook(outputs=[], execution_count=None)),
    "a tracked pointer": track(f"{CASA}/data/homes.txt"),
    "an import of the standard library inside a function": append(CODE, "\n\ndef late():\n    import json\n    return json\n"),
    "a field that the code reads without naming it": lambda workspace: (
        workspace.append(TOML, 'agent = { type = "number", min = 0, max = 9 }\n'),
        workspace.edit(
            CODE, "return rows.assign(", "rows = rows.assign(area=rows.iloc[:, -1]).drop(columns=rows.columns[-1])\n    return rows.assign("
        ),
    ),
    "a column whose name speaks of a password": append(
        f"{CASA}/README.md", '\npassword_column = "has_password"\ntoken: "your-token-here1"\n'
    ),
    "an address without a password": append(
        f"{CASA}/README.md", "\nhttps://house.example:8080/a@b and postgres://{user}:{password}@host\n"
    ),
}


@pytest.mark.parametrize("name", GOOD)
def test_what_is_good_is_left_alone(workspace: Any, name: str) -> None:
    GOOD[name](workspace)
    assert problems_of(workspace) == []


SECRETS = {
    "a private key": "-----BEGIN RSA " + "PRIVATE KEY-----",
    "an access key of AWS": "key = AKIA" + "ABCDEFGHIJKLMNOP",
    "a token of GitHub": "ghp_" + "a1B2" * 9,
    "a secret": 'db_password = "' + 'q8Zt-3xW!mk2"',
    "a password in an address": "postgresql://casa:" + "q8Zt3xWm@db/casa",
}


@pytest.mark.parametrize("kind", SECRETS)
def test_secret_is_found_and_never_shown(workspace: Any, kind: str) -> None:
    assert [found for _, _, found in find_secrets(SECRETS[kind])] == [kind]
    workspace.append(f"{CASA}/README.md", SECRETS[kind])
    (problem,) = problems_of(workspace)
    assert SECRETS[kind][-10:] not in f"{problem.what} {problem.fix} {problem.reason}"


def test_unused_column_is_found_where_the_estimator_drops_the_rest(workspace: Any) -> None:
    workspace.edit(CODE, 'remainder="passthrough"', 'remainder="drop"')
    workspace.edit(CODE, '("town", encoder, ["town"])', '("town", encoder, ["town"]), ("rest", "passthrough", ["area_per_room", "garden"])')
    assert [problem.what.split("'")[1] for problem in problems_of(workspace)] == [], "area and rooms are in area_per_room"
    workspace.append(TOML, 'balcony = { type = "boolean" }\n')
    assert [problem.what.split("'")[1] for problem in problems_of(workspace)] == ["balcony"]


def test_code_that_ran_cleanly_is_run_again_only_when_something_changes(workspace: Any) -> None:
    marker = workspace.root / "runs"
    workspace.append(CODE, f"\nopen({str(marker)!r}, 'a').write('x')\n")
    problems_of(workspace)
    problems_of(workspace)
    assert marker.read_text() == "x", "an unchanged brand is not run a second time"
    workspace.edit(TOML, "max = 12", "max = 11")
    problems_of(workspace)
    assert marker.read_text() == "xx", "another input schema makes other rows"
    workspace.append(CODE, "\n# changed\n")
    problems_of(workspace)
    assert marker.read_text() == "xxx"


def test_a_problem_of_the_code_is_not_forgotten(workspace: Any) -> None:
    workspace.edit(CODE, 'rows["rooms"]', 'rows["room"]')
    assert [problem.rule_id for problem in problems_of(workspace)] == ["features-build"]
    assert [problem.rule_id for problem in problems_of(workspace)] == ["features-build"]


def test_outputs_may_stay_in_the_file_where_git_leaves_them_out(workspace: Any) -> None:
    PLANTED["notebook-outputs"][0](workspace)
    subprocess.run(["git", "init", "-q"], cwd=workspace.root, check=True)
    subprocess.run(["git", "config", "filter.brandhouse-notebook.clean", "true"], cwd=workspace.root, check=True)
    assert problems_of(workspace) == []


def test_errors_come_before_warnings(workspace: Any) -> None:
    workspace.edit(TOML, "casa-data@house.example", "upstairs")
    workspace.edit(CODE, "def build_estimator", "def build_model")
    assert [problem.severity for problem in problems_of(workspace)] == ["error", "warning"]


def test_reference_has_an_entry_for_every_rule() -> None:
    page = generated_files()["docs/reference/check-rules.md"]
    for rule in RULES.values():
        assert f"### {rule.id}\n\n{rule.severity.capitalize()}. {rule.asks}" in page
        assert rule.reason in page and rule.fix in page
        assert rule.asks.endswith(".") and rule.reason.endswith(".") and not rule.fix.endswith("."), rule.id
