"""What a training will be made of is known before any work, and unchanged inputs are recognised by it."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from brandhouse_flows.planning import NO_COMMIT, Plan, plan_training, read_git_state
from brandhouse_shared.errors import BrandConfigError, BrandhouseError, UnknownBrandError, UnknownModelError
from brandhouse_shared.names import ModelKey

TOML = "brands/casa/brand.toml"


def plan(workspace: Any, model: str = "price") -> Plan:
    return plan_training(workspace.settings, ModelKey("casa", model), "run", "local")


def fingerprint(workspace: Any) -> str:
    return plan(workspace).fingerprint("0" * 32)


def test_fingerprint_is_repeatable_and_depends_on_the_data(workspace: Any) -> None:
    assert fingerprint(workspace) == fingerprint(workspace)
    assert fingerprint(workspace) != plan(workspace).fingerprint("1" * 32)


CHANGES = {
    "gates": ("[models.price.inputs]", "[models.price.gates]\nthreshold = 5\n\n[models.price.inputs]", True),
    "latency gate": ("[models.price.inputs]", "[models.price.serving]\nlatency_budget_ms = 5\n\n[models.price.inputs]", True),
    "schema": ("max = 400", "max = 401", True),
    "reading": ('file = "data/homes.csv"', 'file = "data/homes.csv"\nmissing = ["?"]', True),
    "rate limit": ("[models.price.inputs]", "[models.price.serving]\nrate_per_second = 5\n\n[models.price.inputs]", False),
    "monitoring": ("[models.price.inputs]", "[models.price.monitoring]\nmax_age_days = 5\n\n[models.price.inputs]", False),
    "where the same bytes come from": ("../../sources/homes.csv", "../../elsewhere/homes.csv", False),
    "whom a row is about": ('file = "data/homes.csv"', 'file = "data/homes.csv"\nsubject = "agent"', False),
    "owner": ("casa-data@", "casa-team@", False),
    "comment": ("[models.price.inputs]", "# the fields\n[models.price.inputs]", False),
}


@pytest.mark.parametrize("what", CHANGES)
def test_fingerprint_follows_what_decides_the_outcome(workspace: Any, what: str) -> None:
    old, new, matters = CHANGES[what]
    before = fingerprint(workspace)
    workspace.edit(TOML, old, new)
    assert (fingerprint(workspace) != before) == matters


def test_what_is_not_declared_is_an_error(workspace: Any) -> None:
    with pytest.raises(UnknownModelError, match="brand 'casa' has no model 'rent'; its models: price"):
        plan(workspace, "rent")
    with pytest.raises(UnknownBrandError, match="known brands: casa, villa"):
        plan_training(workspace.settings, ModelKey("nobody", "price"), "run", "local")
    workspace.edit(TOML, 'risk = "low"', "risk = 3")
    with pytest.raises(BrandConfigError, match="risk: "):
        plan(workspace)


def test_workspace_without_a_lock_is_refused(workspace: Any) -> None:
    (workspace.root / "requirements.lock").unlink()
    with pytest.raises(BrandhouseError, match=r"a version records the lock it was trained with\. Run `make lock`"):
        plan(workspace)


def test_git_state_of_no_repository_a_new_one_a_clean_one_and_a_dirty_one(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=t", "-c", "user.email=t@house.example"]
        return subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()

    assert (read_git_state(tmp_path).commit, read_git_state(tmp_path).dirty) == (NO_COMMIT, True)
    git("init", "--quiet")
    assert (read_git_state(tmp_path).commit, read_git_state(tmp_path).dirty) == (NO_COMMIT, True)
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "--quiet", "-m", "first")
    assert (read_git_state(tmp_path).commit, read_git_state(tmp_path).dirty) == (git("rev-parse", "HEAD"), False)
    (tmp_path / "b").write_text("2")
    assert read_git_state(tmp_path).dirty is True
