"""The workflows of GitHub: linted for faults and for weaknesses, pinned, with few rights; their scripts do what they say."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
ACTIONS = sorted((GITHUB / "actions").rglob("action.yml"))
BIN = Path(sys.executable).parent

each_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)


def run(*command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, env=os.environ | environment, capture_output=True, text=True, check=False, timeout=120)


def lint(folder: Path) -> str:
    """What the linter of syntax, expressions and references says; it looks for them below a repository."""
    files = [str(path) for path in sorted((folder / ".github" / "workflows").glob("*.yml"))]
    done = run(str(BIN / "actionlint"), "-no-color", *files, folder=folder)
    return done.stdout + done.stderr if done.returncode else ""


def audit(folder: Path) -> str:
    """What the linter of weaknesses says."""
    done = run(str(BIN / "zizmor"), "--offline", "--no-progress", "--color=never", "--min-severity=low", ".github", folder=folder)
    return done.stdout + done.stderr if done.returncode else ""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(GITHUB, tmp_path / ".github")
    (tmp_path / ".git").mkdir()
    return tmp_path


def read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(path.read_text())
    return document


def steps(document: dict[str, Any]) -> list[dict[str, Any]]:
    jobs = document["jobs"].values() if "jobs" in document else [document["runs"]]
    return [step for job in jobs for step in job["steps"]]


def test_there_are_the_workflows_that_the_docs_name() -> None:
    assert [path.stem for path in WORKFLOWS] == ["affected", "check", "infra-apply", "infra-plan"]


def test_workflows_have_no_fault(copy: Path) -> None:
    assert lint(copy) == ""


def test_workflows_have_no_weakness(copy: Path) -> None:
    assert audit(copy) == ""


FAULTS = {
    "a job that does not exist": ("needs: [affected, test]", "needs: [affected, tset]"),
    "an output that no step has": ("steps.affected.outputs.test }}", "steps.afected.outputs.test }}"),
    "an unknown key": ("fail-fast: false", "failfast: false"),
    "an unknown runner": ("runs-on: ubuntu-24.04", "runs-on: ubuntu-24.40"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_fault_is_noticed(copy: Path, fault: str) -> None:
    plant(copy / ".github/workflows/affected.yml", *FAULTS[fault])
    assert "affected.yml" in lint(copy)


WEAKNESSES = {
    "an action that is not pinned": (
        "actions/checkout@de0fac2e4500dabe0009e67214ff5f5447ce83dd # v6.0.2",
        "actions/checkout@v6",
        "unpinned-uses",
    ),
    "credentials that stay": ("persist-credentials: false", "clean: true", "artipacked"),
    "text of a stranger in a script": ('--base "$BASE" | tee', '--base "${{ github.head_ref }}" | tee', "template-injection"),
    "too many rights": ("    permissions:\n      contents: read", "    permissions: write-all", "excessive-permissions"),
}


@pytest.mark.parametrize("weakness", WEAKNESSES)
def test_planted_weakness_is_noticed(copy: Path, weakness: str) -> None:
    old, new, rule = WEAKNESSES[weakness]
    plant(copy / ".github/workflows/affected.yml", old, new)
    assert rule in audit(copy)


def plant(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text, f"{path.name} does not hold {old!r}"
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize("path", [*WORKFLOWS, *ACTIONS], ids=lambda path: f"{path.parent.name}/{path.name}")
def test_actions_are_pinned_by_commit_with_their_version_beside(path: Path) -> None:
    used = re.findall(r"uses: (\S+)(.*)", path.read_text())
    assert used
    for action, comment in used:
        is_own = action.startswith("./") and (ROOT / action / "action.yml").is_file()
        assert is_own or (re.search(r"@[0-9a-f]{40}$", action) and re.fullmatch(r" # v\d+\.\d+\.\d+", comment)), action


MORE_RIGHTS = {
    ("infra-apply", "apply"): {"contents": "read", "id-token": "write"},
    ("infra-apply", "guard"): {"actions": "read"},
    ("infra-plan", "comment"): {"pull-requests": "write"},
}
"""The jobs that may do more than read, and what. One that writes checks nothing out."""


def test_a_job_that_may_write_runs_nothing_of_the_checkout() -> None:
    job = read(GITHUB / "workflows" / "infra-plan.yml")["jobs"]["comment"]
    assert not [step for step in job["steps"] if "checkout" in step.get("uses", "") or step.get("uses", "").startswith("./")]


def test_apply_gets_its_keys_from_its_deployment_environment_and_from_nothing_stored() -> None:
    text = (GITHUB / "workflows" / "infra-apply.yml").read_text()
    job = read(GITHUB / "workflows" / "infra-apply.yml")["jobs"]["apply"]
    assert job["environment"] == "${{ matrix.environment }}" and set(job["needs"]) == {"stacks", "guard"}
    assert set(re.findall(r"secrets\.(\w+)", text)) == {"BRANDHOUSE_LEDGER_URL"}, "a stored cloud key"


@pytest.mark.parametrize(
    ("approval", "rules", "code"),
    [("true", "required_reviewers", 0), ("true", "wait_timer branch_policy", 1), ("true", "", 1), ("false", "", 0)],
)
def test_a_brand_of_high_risk_is_applied_only_where_a_person_has_to_agree(approval: str, rules: str, code: int, tmp_path: Path) -> None:
    (tmp_path / "gh").write_text(f"#!/bin/sh\necho '{rules}'\n")
    (tmp_path / "gh").chmod(0o755)
    text = script("guard", "Refuse a brand of high risk whose environment asks nobody", "infra-apply")
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = bash(text, tmp_path, PATH=path, APPROVAL=approval, ENVIRONMENT="production-casa", REPOSITORY="house/brands")
    assert done.returncode == code, done.stdout


@each_workflow
def test_jobs_have_a_limit_and_read_at_most(path: Path) -> None:
    document = read(path)
    assert document["permissions"] == {}, "rights are given to each job by itself"
    assert document["concurrency"]["group"]
    for name, job in document["jobs"].items():
        assert job["timeout-minutes"] <= 60, name
        assert job["permissions"] in ({}, {"contents": "read"}) or (path.stem, name) in MORE_RIGHTS, name
        assert job["permissions"] == MORE_RIGHTS.get((path.stem, name), job["permissions"]), name


@pytest.mark.parametrize("path", [*WORKFLOWS, *ACTIONS], ids=lambda path: f"{path.parent.name}/{path.name}")
def test_scripts_run_make_targets_that_exist(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {word for step in steps(read(path)) for word in re.findall(r"\bmake (\w+)", step.get("run", ""))}
    assert named <= targets


def script(job: str, step: str, workflow: str = "affected") -> str:
    document = read(GITHUB / "workflows" / f"{workflow}.yml")
    return next(str(one["run"]) for one in document["jobs"][job]["steps"] if one.get("name") == step)


def bash(text: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """As the runner does it with `shell: bash`."""
    return run("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", text, folder=folder, **environment)


@pytest.fixture
def branch(workspace: Any) -> Any:
    """A repository of two brands, one of which is changed, with the environment where the workflow expects it."""
    (workspace.root / ".gitignore").write_text("/home/\n/.venv\n")
    (workspace.root / ".venv").symlink_to(BIN.parent)
    identity = ("-c", "user.name=Tester", "-c", "user.email=tester@house.example")
    for words in (("init", "-q", "-b", "main"), ("add", "-A"), (*identity, "commit", "-q", "-m", "begin")):
        assert run("git", *words, folder=workspace.root).returncode == 0
    workspace.append("brands/casa/src/brand_casa/price.py", "\nA = 1\n")
    return workspace


def ask(branch: Any, base: str) -> tuple[subprocess.CompletedProcess[str], dict[str, Any], str]:
    files = {name: branch.root / "home" / name for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
    branch.home.mkdir(exist_ok=True)
    environment = {name: str(file) for name, file in files.items()} | {"BASE": base, "BRANDHOUSE_HOME": str(branch.home)}
    done = bash(script("affected", "Ask which brands are touched, and why"), branch.root, **environment)
    output = files["GITHUB_OUTPUT"].read_text() if files["GITHUB_OUTPUT"].exists() else ""
    values = {name: json.loads(value) for name, _, value in (line.partition("=") for line in output.splitlines())}
    return done, values, files["GITHUB_STEP_SUMMARY"].read_text()


def test_affected_job_hands_on_the_touched_brands(branch: Any) -> None:
    done, values, summary = ask(branch, "main")
    assert done.returncode == 0, done.stderr
    assert values == {"test": {"brands": ["casa"]}, "train": {"brands": ["casa"]}}
    assert "code: src/brand_casa/price.py" in summary, "the reason is shown with the run"


def test_affected_job_fails_where_git_cannot_tell(branch: Any) -> None:
    done, values, _ = ask(branch, "0" * 40)
    assert done.returncode != 0 and values == {}, "an unknown base is no empty list of brands"
    assert "unknown revision" in done.stderr


def test_test_job_checks_and_tests_each_of_its_brands(branch: Any) -> None:
    environment = {"BRANDS": "casa villa", "BRANDHOUSE_HOME": str(branch.home)}
    done = bash(script("test", "Check and test"), branch.root, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 brand(s) checked, 0 problem(s)" in done.stdout and "2 passed" in done.stdout
    branch.edit("brands/villa/tests/test_villa.py", "assert True", "assert False")
    assert bash(script("test", "Check and test"), branch.root, **environment).returncode == 1


@pytest.mark.parametrize(("results", "code"), [("success success skipped", 0), ("success failure skipped", 1), ("success cancelled", 1)])
def test_last_job_fails_if_one_before_it_did(results: str, code: int, tmp_path: Path) -> None:
    assert bash(script("done", "Fail if one of them failed"), tmp_path, RESULTS=results).returncode == code
