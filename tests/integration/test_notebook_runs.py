"""Notebooks are executed in real kernels: the template's on an invented brand, and one that breaks."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from brandhouse_authoring.rendering import render
from brandhouse_authoring.template import Template, read_template

REPOSITORY = Path(__file__).parents[2]
NOTEBOOK = "notebooks/explore.ipynb"


def rendered(brand: str, model: str, title: str) -> dict[str, Any]:
    """The template's notebook as a new brand gets it."""
    only = Template({NOTEBOOK: read_template(REPOSITORY).files[NOTEBOOK]})
    document: dict[str, Any] = json.loads(render(only, {"brand": brand, "model": model, "title": title})[NOTEBOOK])
    return document


def write(workspace: Any, brand: str, document: dict[str, Any], name: str = "explore.ipynb") -> None:
    folder = workspace.root / "brands" / brand / "notebooks"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(document))


def test_the_templates_notebook_runs_on_a_new_brand_and_a_broken_one_names_its_cell(workspace: Any) -> None:
    good = rendered("casa", "price", 'Casa "the home"')
    write(workspace, "casa", good)
    broken = {
        **good,
        "cells": [
            good["cells"][1],
            {**good["cells"][1], "id": "bad", "source": "import os\n[name for name in os.environ if 'SECRET' in name][5]"},
        ],
    }
    write(workspace, "villa", broken)
    done = workspace.run("notebook", "check", "--run", "--json", BRANDHOUSE_SECRET_CASA_X="1", BRANDHOUSE_SECRET_VILLA_X="2")
    (problem,) = json.loads(done.stdout)
    assert done.returncode == 1
    assert (problem["brand"], problem["cell"], problem["rule"]) == ("villa", 1, "notebook-runs"), "villa has no model `price`"
    assert "UnknownModelError: brand 'villa' has no model 'price'" in problem["what"]
    assert json.loads((workspace.root / "brands/casa" / NOTEBOOK).read_text()) == good, "running writes nothing"


def test_a_kernel_holds_its_own_brands_secrets_only(workspace: Any) -> None:
    source = "import os\nraise ValueError(sorted(name for name in os.environ if 'SECRET' in name))"
    cell = {"cell_type": "code", "id": "one", "execution_count": None, "metadata": {}, "outputs": [], "source": source}
    write(workspace, "casa", {**rendered("casa", "price", "Casa"), "cells": [cell]})
    done = workspace.run("notebook", "check", "casa", "--run", BRANDHOUSE_SECRET_CASA_X="1", BRANDHOUSE_SECRET_VILLA_X="2")
    assert "raised ValueError: ['BRANDHOUSE_SECRET_CASA_X']" in done.stdout


@pytest.mark.slow
def test_notebooks_of_the_brands_that_ship_run(workspace: Any) -> None:
    """In a copy of each brand's folder: data projects and editors' files of the real one stay as they are."""
    for path in sorted((REPOSITORY / "brands").glob("*/notebooks/explore.ipynb")):
        brand = path.parents[1]
        shutil.copytree(brand, workspace.root / "brands" / brand.name, ignore=shutil.ignore_patterns("config.local", "tmp", "cache"))
        done = workspace.run("notebook", "check", brand.name, "--run")
        assert done.returncode == 0, done.stdout + done.stderr
