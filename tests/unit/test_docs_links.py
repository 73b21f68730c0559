"""What README and docs name exists: files, headings, make targets, commands and their options; their examples are true."""

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from brandhouse_console.main import app
from brandhouse_flows.inspection import inspect_folder
from brandhouse_serving.open_inference_tensors import datatype_of, rows_of
from brandhouse_shared.brands import find_brand
from brandhouse_shared.config import BrandConfig
from brandhouse_shared.contracts import Contract
from brandhouse_shared.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
COMMANDS = typer.main.get_command(app)
LEFT_OUT = "# ..."


def blocks(document: Path, language: str) -> list[str]:
    """Fenced blocks of one language."""
    return [body for kind, body in FENCE.findall(document.read_text()) if kind == language]


def prose(document: Path) -> str:
    return FENCE.sub("", document.read_text())


def code(document: Path) -> Iterator[str]:
    """Every piece of code: spans in the text, and the lines of shell blocks without comments."""
    yield from re.findall(r"`([^`\n]+)`", prose(document))
    for block in blocks(document, "bash"):
        yield from (line.split("  #")[0] for line in block.splitlines())


def links(document: Path) -> list[str]:
    found = re.findall(r"\]\(([^)\s]+)\)", prose(document))
    return [link for link in found if "://" not in link and not link.startswith("mailto:")]


def headings(document: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", prose(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    for link in links(document):
        name, _, anchor = link.partition("#")
        target = (document.parent / name).resolve() if name else document
        assert target.exists(), f"{document.name} links to {link}, which does not exist"
        assert target.is_relative_to(ROOT), f"{document.name} links to {link}, outside of the repository"
        assert not anchor or anchor in headings(target), f"{document.name} links to {link}; {target.name} has no such heading"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_make_target_exists(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for text in code(document) for name in re.findall(r"(?:^|\s)make ([a-z][a-z-]*)", text)}
    assert named <= targets, f"{document.name} names make targets that do not exist: {sorted(named - targets)}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_and_option_exists(document: Path) -> None:
    for text in code(document):
        for words in re.findall(r"(?:^|[\s/(])brandhouse ((?:[a-z]+)(?: [^`|;)]*)?)", text):
            problem = unknown_word(words.split())
            assert not problem, f"{document.name} names `brandhouse {words}`: there is no {problem}"


def unknown_word(words: list[str]) -> str:
    """The first word that is neither a command nor an option of it; empty if all are."""
    command, rest = COMMANDS, words
    while isinstance(command, typer.core.TyperGroup):
        if not rest or rest[0] not in command.commands:
            return f"command {' '.join(rest[:1])}"
        command, rest = command.commands[rest[0]], rest[1:]
    options = {"--help", *(name for parameter in command.params for name in parameter.opts)}
    return next((f"option {word}" for word in rest if word.startswith("--") and word not in options), "")


def test_the_check_of_commands_notices_what_is_missing() -> None:
    assert unknown_word(["fly"]) == "command fly"
    assert unknown_word(["keys", "lose", "casa"]) == "command lose"
    assert unknown_word(["train", "casa/price", "--often"]) == "option --often"
    assert unknown_word(["train", "casa/price", "--force"]) == ""


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_blocks_are_what_they_are_marked_as(document: Path) -> None:
    for block in blocks(document, "toml"):
        tomllib.loads(block)
    for block in blocks(document, "json"):
        json.loads(block)
    for block in blocks(document, "python"):
        compile(block, document.name, "exec")


def test_readme_shows_the_example_brand_as_it_is() -> None:
    folder = ROOT / "brands" / "autoplein"
    (excerpt,) = blocks(ROOT / "README.md", "toml")
    declared = (folder / "brand.toml").read_text()
    for part in excerpt.split(f"{LEFT_OUT}\n"):
        assert part in declared, f"README shows what brand.toml does not hold:\n{part}"
    module = (folder / "src" / "brand_autoplein" / "price.py").read_text()
    assert module in blocks(ROOT / "README.md", "python"), "README shows another price.py"


def test_readme_names_the_files_of_the_example_brand() -> None:
    tree = next(body for kind, body in FENCE.findall((ROOT / "README.md").read_text()) if body.startswith("brands/autoplein/"))
    folder, *files = [line.split()[0] for line in tree.splitlines()]
    missing = [name for name in files if not (ROOT / folder / name).is_file()]
    assert not missing, f"README names files that do not exist: {missing}"


def test_requests_shown_fit_the_input_schema() -> None:
    contract = Contract(find_brand(ROOT / "brands", "vertrekbord").model("delay").inputs)
    shown = [json.loads(block) for block in blocks(ROOT / "docs" / "serving.md", "json")]
    shown += [json.loads(body) for body in re.findall(r"-d '(\{.*\})'", (ROOT / "README.md").read_text())]
    rows = [request["instances"] for request in shown if "instances" in request]
    assert len(rows) == 2, "one request is shown in README and one in docs/serving.md"
    for instances in rows:
        assert contract.parse_rows(instances), "the request is accepted"


def test_tensors_shown_are_fields_of_the_model_they_are_shown_for() -> None:
    fields = Contract(find_brand(ROOT / "brands", "autoplein").model("price").inputs).fields
    (request,) = [one for block in blocks(ROOT / "docs" / "serving.md", "json") if "inputs" in (one := json.loads(block))]
    shown = {tensor["name"]: tensor["datatype"] for tensor in request["inputs"]}
    assert shown == {name: datatype_of(fields[name]) for name in shown}
    assert Contract({name: fields[name] for name in shown}).parse_rows(rows_of(request["inputs"], {}, 2)), "its values are accepted"


def test_the_guide_makes_a_good_brand(tmp_path: Path) -> None:
    project, declaration = blocks(ROOT / "docs" / "brands.md", "toml")
    (module,) = blocks(ROOT / "docs" / "brands.md", "python")
    name = BrandConfig.model_validate(tomllib.loads(declaration)).name
    folder = tmp_path / "brands" / name
    package = folder / "src" / f"brand_{name}"
    package.mkdir(parents=True)
    (folder / "pyproject.toml").write_text(project)
    (folder / "brand.toml").write_text(declaration)
    (package / "__init__.py").write_text('"""Guide."""\n')
    (package / "price.py").write_text(module)
    (folder / "data").mkdir()
    (folder / "data" / "adverts.csv.dvc").touch()
    (folder / "README.md").write_text(f"# {name}\n")
    (folder / "tests").mkdir()
    (folder / "tests" / "test_price.py").touch()
    settings = Settings(root=tmp_path, home=tmp_path / "home", ledger_url=f"sqlite:///{tmp_path}/ledger.db")
    problems = inspect_folder(folder, settings)
    assert not problems, f"following docs/brands.md gives problems: {problems}"


def test_every_decision_says_why_and_what_follows() -> None:
    decisions = sorted((ROOT / "docs" / "adr").glob("*.md"))
    assert [path.name[:4] for path in decisions] == [f"{number:04d}" for number in range(1, len(decisions) + 1)], "numbered without gaps"
    for path in decisions:
        lacking = {"context", "decision", "consequences"} - headings(path)
        assert not lacking, f"{path.name} lacks {sorted(lacking)}"
