"""Notebooks are checked without being executed, and cleaned of outputs."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from brandhouse_authoring.notebook_files import check_notebooks, clean_notebooks, clean_text

MARK = "marked-secret-row"
REPOSITORY = Path(__file__).parents[2]


def notebook_of(*sources: str, **changes: Any) -> dict[str, Any]:
    cells = [
        {"cell_type": "code", "id": f"cell-{number}", "execution_count": None, "metadata": {}, "outputs": [], "source": source}
        for number, source in enumerate(sources)
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5, **changes}


@pytest.fixture
def write(workspace: Any) -> Any:
    """Write a notebook of brand casa and return its brand's folder."""

    def write_notebook(document: Any, name: str = "explore.ipynb") -> Path:
        folder = workspace.root / "brands" / "casa"
        path = folder / "notebooks" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        return Path(folder)

    return write_notebook


def rules_of(folder: Path) -> list[tuple[str, int | None]]:
    return [(problem.rule, problem.cell) for problem in check_notebooks(folder)]


def test_a_good_notebook_has_no_problem(write: Any) -> None:
    good = notebook_of(
        "from brandhouse_authoring.notebook import open_model\nimport pandas as pd",
        "%matplotlib inline\nmodel = open_model()",
        "import brand_casa.price\nfrom brandhouse_shared.ready import amounts\nurl = 'https://example.com/data/x'; share = '10/20'",
        "!ls\npd.read_csv('../data/homes.csv'); text = 'brands/casa and /v1/casa/price/predict'",
    )
    assert check_notebooks(write(good)) == []


@pytest.mark.parametrize(
    ("source", "rule", "said"),
    [
        ("import brand_villa", "notebook-own-brand", "imports brand_villa; a notebook sees its own brand only"),
        ("from brand_villa.sold import build_features", "notebook-own-brand", "imports brand_villa.sold"),
        ("import importlib\nimportlib.import_module('brand_villa.sold')", "notebook-own-brand", "imports brand_villa.sold"),
        ("open_model(folder='../../villa')", "notebook-own-brand", "names the folder of villa"),
        ("open('brands/villa/data/offers.csv')", "notebook-own-brand", "names the folder of villa"),
        ("from brandhouse_flows.splits import split_rows", "notebook-imports", "imports brandhouse_flows.splits.split_rows"),
        ("from brandhouse_authoring import proposal", "notebook-imports", "imports brandhouse_authoring.proposal"),
        ("open('/home/ann/x.csv')", "notebook-paths", "a path of one machine"),
        ("open('~/x.csv')", "notebook-paths", "a path of one machine"),
        ("open('C:\\\\x.csv')", "notebook-paths", "a path of one machine"),
        ("%cd /tmp/work", "notebook-paths", "a path of one machine"),
        ("!cat /data/x.csv", "notebook-paths", "a path of one machine"),
        ("x = (1", "notebook-syntax", "line 1"),
    ],
)
def test_each_rule_names_its_cell_and_what_to_do(write: Any, source: str, rule: str, said: str) -> None:
    (problem,) = check_notebooks(write(notebook_of("1", source)))
    assert (problem.brand, problem.file, problem.cell, problem.rule) == ("casa", "notebooks/explore.ipynb", 2, rule)
    assert said in problem.what
    assert problem.fix


def test_outputs_counts_and_widgets_are_problems_and_clean_removes_them(write: Any) -> None:
    dirty = notebook_of("1", "2", "3")
    dirty["cells"][0]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": MARK}]
    dirty["cells"][1]["execution_count"] = 7
    dirty["cells"][2]["metadata"] = {"ExecuteTime": {"start_time": MARK}, "tags": ["kept"]}
    dirty["metadata"] |= {"widgets": {"state": MARK}, "language_info": {"name": "python", "version": "3.11.99"}}
    folder = write(dirty)
    assert rules_of(folder) == [("notebook-outputs", None), ("notebook-outputs", 1), ("notebook-outputs", 2)]
    assert MARK not in "".join(problem.what for problem in check_notebooks(folder)), "no row is repeated in a message"

    path = folder / "notebooks/explore.ipynb"
    assert clean_notebooks(folder) == [path]
    assert check_notebooks(folder) == []
    cleaned = json.loads(path.read_text())
    assert MARK not in path.read_text()
    assert [cell["source"] for cell in cleaned["cells"]] == ["1", "2", "3"], "the code stays"
    assert cleaned["cells"][2]["metadata"] == {"tags": ["kept"]}
    assert cleaned["metadata"]["language_info"] == {"name": "python"}, "no version that differs by machine"
    assert clean_notebooks(folder) == [], "a clean notebook is not written again"


@pytest.mark.parametrize("text", ["{", "[]", '{"cells": 1}', "\x00"])
def test_what_is_no_notebook_is_told_and_left_alone(write: Any, text: str) -> None:
    folder = write(text)
    assert rules_of(folder) == [("notebook-valid", None)]
    assert clean_notebooks(folder) == []
    assert (folder / "notebooks/explore.ipynb").read_text() == text


def test_format_and_kernel_are_checked(write: Any) -> None:
    folder = write(notebook_of("1", metadata={"kernelspec": {"name": "ann-env", "display_name": "x"}}))
    assert rules_of(folder) == [("notebook-kernel", None)]
    without_id = notebook_of("1")
    del without_id["cells"][0]["id"]
    assert rules_of(write(without_id)) == [("notebook-valid", None)]


def test_editors_copies_are_no_notebooks_and_folders_below_are(write: Any) -> None:
    write("{", ".ipynb_checkpoints/explore-checkpoint.ipynb")
    folder = write(notebook_of("import brand_villa"), "ideas/later.ipynb")
    assert [problem.file for problem in check_notebooks(folder)] == ["notebooks/ideas/later.ipynb"]


def test_git_stages_notebooks_without_outputs_once_the_filter_is_set(workspace: Any, write: Any) -> None:
    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", str(workspace.root), *words], capture_output=True, text=True, check=True).stdout

    dirty = notebook_of("1")
    dirty["cells"][0]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": MARK}]
    folder = write(dirty)
    git("init", "--quiet")
    (workspace.root / ".gitattributes").write_text((REPOSITORY / ".gitattributes").read_text())
    done = workspace.run("notebook", "filter")
    assert done.returncode == 0, done.stderr
    git("add", "brands/casa/notebooks/explore.ipynb")
    staged = git("show", ":brands/casa/notebooks/explore.ipynb")
    assert staged == clean_text(json.dumps(dirty))
    assert MARK in (folder / "notebooks/explore.ipynb").read_text(), "the user's file keeps its outputs"


def test_command_says_file_cell_and_fix_and_cleans(workspace: Any, write: Any) -> None:
    dirty = notebook_of("1", "import brand_villa")
    dirty["cells"][0]["execution_count"] = 3
    write(dirty)
    said = workspace.run("notebook", "check")
    assert said.returncode == 1
    assert "casa: notebooks/explore.ipynb, cell 1: has an execution count" in said.stdout
    assert "brandhouse notebook clean casa" in said.stdout
    listed = json.loads(workspace.run("notebook", "check", "casa", "--json").stdout)
    assert [(item["rule"], item["cell"]) for item in listed] == [("notebook-outputs", 1), ("notebook-own-brand", 2)]
    assert workspace.run("notebook", "check", "villa").returncode == 0, "another brand's notebooks are not its matter"
    assert json.loads(workspace.run("notebook", "clean", "--json").stdout) == ["brands/casa/notebooks/explore.ipynb"]
    assert "unknown brand 'vila'" in workspace.run("notebook", "check", "vila").stderr


def test_checking_imports_no_learning_library() -> None:
    heavy = ("sklearn", "pandas", "prefect", "dvc", "nbclient")
    code = f"import sys, brandhouse_console.notebooks; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
