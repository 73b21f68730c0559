"""The template as content: its digest, how Git keeps it, and what is rendered from it."""

import ast
import json
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from brandhouse_authoring.answers import Answers, AnswersError, read_answers
from brandhouse_authoring.rendering import python_names, render
from brandhouse_authoring.template import TEMPLATE_FOLDER, Template, TemplateError, find_template, keep_template, read_template
from brandhouse_authoring.toml_text import toml_lines, toml_value
from brandhouse_shared.config import BrandConfig

ROOT = Path(__file__).parents[2]
ODD = 'a "quoted" / name\\ with ünïcode, {{ braces }} and # a hash '
ANSWERS: dict[str, Any] = {
    "brand": "casa",
    "model": "price",
    "title": 'Casa "of" {{ title }}',
    "story": 'Says what a home\'s "worth" \\ is',
    "description": 'What is it "worth"',
    "owner": "casa@house.example",
    "risk": "low",
    "budget_eur_month": 0,
    "dataset": "homes",
    "data": {"file": "data/homes.csv", "separator": ";"},
    "source": {"kind": "upload"},
    "task": "regression",
    "target": "price",
    "metric": "mae",
    "slices": [],
    "split": {"kind": "random"},
    "inputs": {
        "area": {"type": "number", "min": 1, "max": 400},
        ODD: {"type": "category", "values": ["a", 'b"']},
        "sold": {"type": "date", "format": "%d-%m-%Y %H:%M"},
        "words": {"type": "text"},
    },
    "example": {"area": 1.0, ODD: "it's", "sold": "01-01-2024 00:00", "words": "one"},
    "attention": {"area": "it may be known only afterwards"},
    "left_out": [{"column": "id", "reason": "it numbers the rows", "field": {"type": "integer"}}, {"column": 'e"mail', "reason": "unique"}],
    "candidates": {"linear": {"params": {"kind": "linear"}, "space": {"alpha": {"low": 0.1, "high": 10.0, "log": True}}}},
    "search": {"trials": 4},
    "gates": {},
    "ready": "prices",
    "numbers": ["area"],
    "categories": [ODD],
    "texts": ["words"],
    "dates": ["sold"],
    "reasons": {"metric": "how far off"},
    "rows": 100,
    "sampled_rows": 100,
}


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A workspace with this repository's template, in a Git repository without commits."""
    shutil.copytree(ROOT / TEMPLATE_FOLDER, tmp_path / TEMPLATE_FOLDER)
    git(tmp_path, "init", "--quiet")
    return tmp_path


def git(folder: Path, *words: str) -> str:
    named = ["-c", "user.name=Tester", "-c", "user.email=tester@house.example", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", "-C", str(folder), *named, *words], capture_output=True, text=True, check=True).stdout.strip()


def rendered() -> dict[str, str]:
    return {path: content.decode() for path, content in render(read_template(ROOT), ANSWERS).items()}


# -- the digest, and Git -----------------------------------------------------------------------------------------------


def test_the_digest_is_that_of_gits_tree(house: Path) -> None:
    (house / TEMPLATE_FOLDER / "run.sh").write_text("#!/bin/sh\n")
    (house / TEMPLATE_FOLDER / "run.sh").chmod(0o755)
    digest = read_template(house).digest
    git(house, "add", "--force", TEMPLATE_FOLDER)
    git(house, "commit", "--quiet", "-m", "template")

    assert git(house, "rev-parse", f"HEAD:{TEMPLATE_FOLDER}") == digest, "the history is the archive of templates by this name"


def test_a_committed_template_is_found_in_the_history(house: Path) -> None:
    before = read_template(house)
    git(house, "add", ".")
    git(house, "commit", "--quiet", "-m", "template")
    assert keep_template(house, before)
    assert git(house, "for-each-ref", "refs/brandhouse") == "", "the history keeps it; no ref is needed"
    (house / TEMPLATE_FOLDER / "README.md.jinja").write_text("another")

    assert find_template(house, before.digest) == before, "the base of a merge is the content of that time"


def test_an_uncommitted_template_outlives_its_change_and_gits_clean_up(house: Path) -> None:
    before = read_template(house)
    git(house, "commit", "--quiet", "--allow-empty", "-m", "nothing")
    (house / "staged.txt").write_text("mine")
    git(house, "add", "staged.txt")
    assert keep_template(house, before)
    (house / TEMPLATE_FOLDER / "README.md.jinja").write_text("another")
    git(house, "gc", "--quiet", "--prune=now")

    assert find_template(house, before.digest) == before, "a ref holds it"
    assert git(house, "diff", "--cached", "--name-only") == "staged.txt", "what a user has staged is not touched"


def test_without_a_repository_a_template_cannot_be_kept_and_says_what_to_do(tmp_path: Path) -> None:
    shutil.copytree(ROOT / TEMPLATE_FOLDER, tmp_path / TEMPLATE_FOLDER)

    assert keep_template(tmp_path, read_template(tmp_path)) is False
    with pytest.raises(TemplateError, match=r"neither in templates/brand nor in this clone's history.*--adopt"):
        find_template(tmp_path, "0" * 40)


def test_a_missing_template_is_an_error_that_names_the_folder(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match="templates/brand holds no template"):
        read_template(tmp_path)


# -- rendering ---------------------------------------------------------------------------------------------------------


def test_a_rendered_folder_is_whole_and_has_no_left_over_markup() -> None:
    files = rendered()

    assert {"brand.toml", "pyproject.toml", "README.md", "src/brand_casa/__init__.py", "src/brand_casa/price.py"} <= files.keys()
    assert {"tests/test_price.py", "notebooks/explore.ipynb"} <= files.keys()
    assert not [path for path in files if "{" in path or path.endswith(".jinja")], "names are rendered, too"


def test_the_declaration_reads_back_as_what_was_answered() -> None:
    document = tomllib.loads(rendered()["brand.toml"])
    config = BrandConfig.model_validate(document)

    assert list(config.models["price"].inputs) == list(ANSWERS["inputs"]), "columns keep their own names, whatever is in them"
    assert document["title"] == ANSWERS["title"], "an answer is never rendered itself"
    assert document["datasets"]["homes"] == {"file": "data/homes.csv", "separator": ";", "source": {"kind": "upload"}}
    assert document["models"]["price"]["candidates"] == ANSWERS["candidates"]


def test_a_new_brand_needs_nothing_that_is_not_locked() -> None:
    needed = set(tomllib.loads(rendered()["pyproject.toml"])["project"]["dependencies"])
    locked = [set(tomllib.loads(path.read_text())["project"]["dependencies"]) for path in (ROOT / "brands").glob("*/pyproject.toml")]

    assert locked and all(needed <= others for others in locked), "each brand asks for this already, so the lock stays as it is"


def test_what_a_person_must_decide_is_beside_what_it_is_about() -> None:
    lines = rendered()["brand.toml"].splitlines()
    area = next(index for index, line in enumerate(lines) if line.startswith("area = "))

    assert lines[area - 1] == "# decide: it may be known only afterwards"
    assert '# id = { type = "integer" } # it numbers the rows' in lines, "a column that is left out can be put back"
    assert '# "e\\"mail" = ... # unique' in lines


def test_the_readmes_request_can_be_copied_into_a_shell() -> None:
    command = rendered()["README.md"].split("curl ")[1].split("```")[0].replace("\\\n", " ")
    words = shlex.split(f"curl {command}")

    assert json.loads(words[words.index("-d") + 1]) == {"instances": [ANSWERS["example"]]}


@pytest.mark.parametrize("path", ["src/brand_casa/__init__.py", "src/brand_casa/price.py", "tests/test_price.py"])
def test_rendered_python_is_valid_and_as_the_formatter_writes_it(path: str, tmp_path: Path) -> None:
    text = rendered()[path]
    ast.parse(text)
    ruff = [str(Path(shutil.which("ruff") or ROOT / ".venv/bin/ruff")), "format", "--config", str(ROOT / "pyproject.toml"), "-"]
    done = subprocess.run(ruff, input=text, capture_output=True, text=True, check=True)

    assert done.stdout == text, "a new brand must pass the workspace's lint as it is"


def test_constants_of_a_hundred_columns_fill_lines_instead_of_one_each() -> None:
    text = python_names([f"column {index}" for index in range(100)], "NUMBERS")
    scope: dict[str, Any] = {}
    exec(text, scope)

    assert len(scope["NUMBERS"]) == 100
    assert len(text.splitlines()) < 20 and max(map(len, text.splitlines())) <= 140


def test_the_notebook_stays_one_although_an_answer_holds_quotes() -> None:
    notebook = json.loads(rendered()["notebooks/explore.ipynb"])
    source = "".join("".join(cell["source"]) for cell in notebook["cells"])

    assert ANSWERS["title"] in source, "the title is there as it was given"
    assert "{{ model" not in source and "{{ brand" not in source


def test_a_missing_answer_is_an_error_that_names_the_file() -> None:
    template = Template({"README.md.jinja": b"{{ brand }} {{ nobody_said }}"})

    with pytest.raises(TemplateError, match=r"README.md.jinja cannot be rendered: .*nobody_said"):
        render(template, ANSWERS)


# -- answers -----------------------------------------------------------------------------------------------------------


def test_answers_read_back_as_they_were_written(tmp_path: Path) -> None:
    answers = Answers("0" * 40, ANSWERS, ("pyproject.toml",))
    (tmp_path / ".template.toml").write_text(answers.as_text(), encoding="utf-8")

    assert read_answers(tmp_path) == answers


@pytest.mark.parametrize(("text", "message"), [(None, "no .template.toml.*--adopt"), ("template = 3\n", "restore it from Git")])
def test_answers_that_are_missing_or_broken_say_what_to_do(text: str | None, message: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / ".template.toml").write_text(text)

    with pytest.raises(AnswersError, match=message):
        read_answers(tmp_path)


def test_toml_is_written_as_it_is_read() -> None:
    table = {
        "text": ODD + "\x7f\t\n",
        "list": [1, 2.5, True],
        "inner": {"a b": {"deep": [{"x": 1}]}, "long": {"y" * 60: "z" * 60}},
        "none": None,
    }
    read = tomllib.loads(toml_lines(table))

    assert read == {key: value for key, value in table.items() if value is not None}
    with pytest.raises(TypeError, match="NoneType"):
        toml_value(None)


def test_a_clock_time_becomes_hour_and_minute_and_has_no_year() -> None:
    answers = {**ANSWERS, "dates": ["sold", "at"], "inputs": {**ANSWERS["inputs"], "at": {"type": "date", "format": "%H:%M"}}}
    code = render(read_template(ROOT), answers)["src/brand_casa/price.py"].decode()
    ast.parse(code)
    assert 'DATES = ["sold"]' in code
    assert 'CLOCKS = ["at"]' in code
    assert 'CLOCK_PARTS = ["hour", "minute"]' in code
    assert "times.add_calendar(rows, CLOCKS, CLOCK_PARTS)" in code


def test_a_table_with_clock_times_alone_has_no_dates() -> None:
    answers = {**ANSWERS, "texts": [], "dates": ["at"], "inputs": {"at": {"type": "date", "format": "%H:%M:%S"}}}
    code = render(read_template(ROOT), answers)["src/brand_casa/price.py"].decode()
    ast.parse(code)
    assert "DATES" not in code
    assert "    return times.add_calendar(rows, CLOCKS, CLOCK_PARTS)" in code
