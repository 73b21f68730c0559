"""Which brands a change touches: its own files, platform code by the import graph, locked packages by what needs them."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from brandhouse_authoring.affected import find_affected
from brandhouse_authoring.lock_changes import changed_distributions, closure
from brandhouse_authoring.platform_changes import BrandImports, module_of, shared_imports
from brandhouse_authoring.touches import Action, Affected
from brandhouse_console.affected import MAX_JOBS, affected, build_matrix
from brandhouse_shared.errors import GitError

CASA = "brands/casa"
TOML = f"{CASA}/brand.toml"
CODE = f"{CASA}/src/brand_casa/price.py"
LOCK = "".join(f"{name} \\\n    --hash=sha256:aa\n" for name in ("numpy==2.4.0", "bentoml==1.4.39", "dmba==0.2.4", "ruff==0.14.0"))
READY = "shared/src/brandhouse_shared/ready"
FLOWS = "platform/flows/src/brandhouse_flows"


def git(root: Path, *words: str) -> str:
    identity = ["-c", "user.name=Tester", "-c", "user.email=tester@house.example"]
    return subprocess.run(["git", *identity, *words], cwd=root, capture_output=True, text=True, check=True).stdout


def commit(root: Path, message: str = "change") -> None:
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", message)


@pytest.fixture
def house(workspace: Any) -> Any:
    """The two brands in a repository, with a few files of a platform beside them; `main` is where branches begin."""
    files = {
        ".gitignore": "/home/\n",
        "requirements.lock": LOCK,
        f"{READY}/prices.py": "A = 1\n",
        f"{READY}/amounts.py": "A = 1\n",
        f"{FLOWS}/learning.py": "A = 1\n",
        f"{FLOWS}/templates/card.html": "<p>\n",
        "platform/serving/src/brandhouse_serving/limits.py": "A = 1\n",
        "platform/console/src/brandhouse_console/output.py": "A = 1\n",
        "platform/flows/pyproject.toml": '[project]\nname = "brandhouse-flows"\ndependencies = ["brandhouse-shared", "optuna>=5"]\n',
        "platform/serving/pyproject.toml": '[project]\nname = "brandhouse-serving"\ndependencies = ["bentoml>=1"]\n',
        "templates/brand/brand.toml.jinja": "x\n",
        "docs/index.md": "x\n",
    }
    for name, text in files.items():
        (workspace.root / name).parent.mkdir(parents=True, exist_ok=True)
        (workspace.root / name).write_text(text)
    workspace.edit(f"{CASA}/pyproject.toml", '"numpy", ', '"dmba==0.2.4", ')
    workspace.append("brands/villa/src/brand_villa/sold.py", "\nfrom brandhouse_shared.ready import prices\n")
    git(workspace.root, "init", "-q", "-b", "main")
    commit(workspace.root, "begin")
    git(workspace.root, "checkout", "-q", "-b", "topic")
    return workspace


def actions_of(house: Any, base: str = "main") -> dict[str, str]:
    return {one.brand: " ".join(one.actions) for one in find_affected(house.settings, base).affected}


def test_nothing_changed_touches_nothing(house: Any) -> None:
    assert find_affected(house.settings, "main").affected == []


OWN_FILES = {
    "code": (CODE, "\nA = 1\n", "test train"),
    "a word list beside the code": (f"{CASA}/src/brand_casa/words.txt", "word\n", "test train"),
    "another snapshot": (f"{CASA}/data/homes.csv.dvc", "\n# moved\n", "test train"),
    "tests": (f"{CASA}/tests/test_casa.py", "\nA = 1\n", "test"),
    "notebook": (f"{CASA}/notebooks/explore.ipynb", "{}", "test"),
    "README": (f"{CASA}/README.md", "\nMore.\n", ""),
    "a comment in the declaration": (TOML, "\n# a comment\n", "test"),
    "schedule": (TOML, '\n[models.price.schedule]\ncron = "0 4 * * *"\n', "test deploy"),
    "a limit of the API": (TOML, "\n[models.price.serving]\nmax_rows = 10\n", "test deploy"),
    "the latency budget, which is a gate": (TOML, "\n[models.price.serving]\nlatency_budget_ms = 10\n", "test train deploy"),
    "a parameter": (TOML, "\n[models.price.candidates.default]\nparams.n_estimators = 5\n", "test train"),
    "an input": (TOML, '\nbalcony = { type = "boolean" }\n', "test train"),
    "what the brand can say yes to": (TOML, "\n[capabilities]\ngets_labels = false\n", "test deploy"),
    "alerts": (TOML, "\n[alerts]\nweekly_budget = 3\n", "test deploy"),
    "a broken declaration": (TOML, "\nbroken = \n", "test"),
    "a dependency": (f"{CASA}/pyproject.toml", "", "test train"),
}


@pytest.mark.parametrize("name", OWN_FILES)
@pytest.mark.parametrize("is_committed", [True, False], ids=["committed", "in the work tree"])
def test_change_in_a_brands_folder_touches_that_brand_alone(house: Any, name: str, is_committed: bool) -> None:
    file, text, expected = OWN_FILES[name]
    path = house.root / file
    path.parent.mkdir(exist_ok=True)
    path.write_text((path.read_text() if path.is_file() else "") + text)
    if name == "a dependency":
        house.edit(file, '"pandas"', '"pandas", "scipy"')
    if is_committed:
        commit(house.root)
    assert actions_of(house) == ({"casa": expected} if expected else {})


def test_only_models_that_learn_from_a_change_are_trained(house: Any) -> None:
    second = (house.root / TOML).read_text().split("[models.price]")[1]
    house.append(TOML, "\n[models.rent]" + second.replace("models.price", "models.rent"))
    commit(house.root)
    git(house.root, "branch", "-f", "main")
    house.append(TOML, "\n[models.rent.gates]\nthreshold = 5\n")
    (one,) = find_affected(house.settings, "main").affected
    assert (one.models, one.reason) == (("rent",), "declared for learning: models.rent")
    house.append(CODE, "\nA = 1\n")
    (one,) = find_affected(house.settings, "main").affected
    assert one.models is None, "code is shared by all models of a brand"


def test_new_and_removed_brands(house: Any) -> None:
    git(house.root, "mv", "brands/casa", "brands/chalet")
    house.edit("brands/chalet/brand.toml", 'name = "casa"', 'name = "chalet"')
    found = {one.brand: (" ".join(one.actions), one.reason) for one in find_affected(house.settings, "main").affected}
    assert found["casa"] == ("deploy", "the brand is gone: brand.toml was removed")
    assert found["chalet"] == ("test train deploy", "a new brand: brands/chalet")
    assert set(found) == {"casa", "chalet"}


BOTH = ("casa", "villa")
PLATFORM = {
    f"{READY}/prices.py": {"villa": "test train"},
    f"{FLOWS}/learning.py": dict.fromkeys(BOTH, "test train"),
    "platform/serving/src/brandhouse_serving/limits.py": dict.fromkeys(BOTH, "deploy"),
    "platform/console/src/brandhouse_console/output.py": {},
    "templates/brand/brand.toml.jinja": {},
    "docs/index.md": {},
    "infra/stack.py": dict.fromkeys(BOTH, "deploy"),
    "stray.cfg": dict.fromkeys(BOTH, "test"),
}


@pytest.mark.parametrize("file", PLATFORM)
def test_change_outside_of_brands_touches_those_that_depend_on_it(house: Any, file: str) -> None:
    (house.root / file).parent.mkdir(exist_ok=True)
    (house.root / file).write_text("A = 2\n")
    assert actions_of(house) == PLATFORM[file]


def test_reason_names_the_module(house: Any) -> None:
    house.append(f"{READY}/prices.py", "B = 1\n")
    (one,) = find_affected(house.settings, "main").affected
    assert one.reason == "shared code that it imports: brandhouse_shared.ready.prices"


def test_new_module_of_the_platform_touches_all(house: Any) -> None:
    (house.root / FLOWS / "brand_new.py").write_text("A = 1\n")
    assert set(actions_of(house)) == set(BOTH), "what imports it is not known from the installed platform"


LOCKED = {
    "dmba==0.2.4": {"casa": "test train"},
    "numpy==2.4.0": dict.fromkeys(BOTH, "test train"),
    "bentoml==1.4.39": dict.fromkeys(BOTH, "deploy"),
    "ruff==0.14.0": {},
}


@pytest.mark.parametrize("entry", LOCKED)
def test_changed_lock_touches_the_brands_that_need_the_package(house: Any, entry: str) -> None:
    house.edit("requirements.lock", entry, entry + ".1")
    assert {brand: done.removesuffix(" deploy") if "train" in done else done for brand, done in actions_of(house).items()} == LOCKED[entry]


def test_locks_are_compared_by_package_not_by_line(house: Any) -> None:
    old = b"a==1 \\\n    --hash=sha256:1\nB_c==2 ; sys_platform == 'win32' \\\n    --hash=sha256:2\n"
    assert changed_distributions(old, b"# new\n" + old) == set()
    assert changed_distributions(old, old.replace(b"sha256:2", b"sha256:3")) == {"b-c"}
    assert changed_distributions(old, b"a==1 \\\n    --hash=sha256:1\n") == {"b-c"}


def test_needs_are_followed_through_extras_and_markers() -> None:
    found = closure(["pandas>=3", "Import_Linter", "colorama; sys_platform == 'win32'"])
    assert {"pandas", "numpy", "import-linter", "grimp"} <= found
    assert "colorama" not in found and "pytest" not in found


def test_changes_of_others_on_the_base_are_not_ours(house: Any) -> None:
    git(house.root, "checkout", "-q", "main")
    house.append("brands/villa/src/brand_villa/sold.py", "\nA = 1\n")
    commit(house.root)
    git(house.root, "checkout", "-q", "topic")
    house.append(CODE, "\nA = 1\n")
    commit(house.root)
    assert set(actions_of(house)) == {"casa"}


def test_imports_are_remembered_and_read_again_when_a_file_changes(house: Any) -> None:
    imports = BrandImports(house.settings)
    assert [brand for brand, is_test, names in imports.read(BOTH) if "brandhouse_shared.ready.prices" in names] == ["villa"]
    house.append(CODE, "\nimport brandhouse_shared.ready.prices\n")
    found = BrandImports(house.settings).read(BOTH)
    assert [brand for brand, is_test, names in found if "brandhouse_shared.ready.prices" in names] == ["casa", "villa"]


def test_only_imports_of_shared_count() -> None:
    assert shared_imports(b"from brandhouse_shared.ready import prices\nimport pandas\n") == {
        "brandhouse_shared.ready",
        "brandhouse_shared.ready.prices",
    }
    assert shared_imports(b"# brandhouse_shared.ready.prices\nx = 'brandhouse_shared'\n") == set()


def test_modules_of_files() -> None:
    assert module_of(f"{READY}/prices.py") == "brandhouse_shared.ready.prices"
    assert module_of(f"{READY}/__init__.py") == "brandhouse_shared.ready"
    assert module_of(f"{FLOWS}/templates/card.html") == "brandhouse_flows.templates"
    assert module_of("platform/flows/pyproject.toml") is None
    assert module_of("docs/index.md") is None


# -- what Git cannot tell ------------------------------------------------------------------------------------------------


def test_unknown_revision_is_said_so(house: Any) -> None:
    with pytest.raises(GitError, match="unknown revision 'origin/main'; allowed: a branch, tag or commit"):
        find_affected(house.settings, "origin/main")
    with pytest.raises(GitError, match="unknown revision '--output=x'"):
        find_affected(house.settings, "--output=x")


def test_folder_without_repository_is_said_so(workspace: Any) -> None:
    with pytest.raises(GitError, match="is no Git repository"):
        find_affected(workspace.settings, "main")


def test_shallow_clone_is_said_so_with_what_to_do(house: Any, tmp_path: Path) -> None:
    house.append(CODE, "\nA = 1\n")
    commit(house.root)
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", "--depth", "1", "--no-single-branch", f"file://{house.root}", str(clone))
    settings = house.settings.model_copy(update={"root": clone})
    with pytest.raises(GitError, match=r"shallow.*fetch-depth: 0"):
        find_affected(settings, "origin/main")


def test_unrelated_histories_are_said_so(house: Any) -> None:
    git(house.root, "checkout", "-q", "--orphan", "other")
    commit(house.root)
    with pytest.raises(GitError, match="no commit in common"):
        find_affected(house.settings, "main")


# -- the command ---------------------------------------------------------------------------------------------------------


def test_command_prints_a_list_and_a_matrix(house: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("BRANDHOUSE_ROOT", str(house.root))
    monkeypatch.setenv("BRANDHOUSE_HOME", str(house.home))
    house.append(CODE, "\nA = 1\n")
    affected("main", matrix=None, as_json=True)
    (document,) = json.loads(capsys.readouterr().out)
    assert (document["brand"], document["reason"], document["actions"]) == ("casa", "code: src/brand_casa/price.py", ["test", "train"])
    affected("main", matrix=Action.TEST, as_json=False)
    assert json.loads(capsys.readouterr().out) == {"brands": ["casa"]}
    affected("main", matrix=None, as_json=False)
    assert capsys.readouterr().out == "test, train: casa\n    code: src/brand_casa/price.py\n1 brand(s) touched by 1 changed file(s)\n"


def test_matrix_of_many_brands_stays_small_and_names_each_once() -> None:
    many = [Affected(f"brand_{number:04d}", (Action.TEST,), (), None) for number in range(1000)]
    jobs = build_matrix(many, Action.TEST)["brands"]
    assert len(jobs) <= MAX_JOBS
    assert " ".join(jobs).split() == [one.brand for one in many]
    assert build_matrix(many, Action.DEPLOY) == {"brands": []}
