"""What a training will be made of, collected before any work, and the fingerprint that recognises unchanged inputs."""

import hashlib
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brandhouse_shared.brands import Brand, code_digest, find_brand
from brandhouse_shared.config import ModelConfig
from brandhouse_shared.errors import BrandhouseError
from brandhouse_shared.names import ModelKey
from brandhouse_shared.settings import Settings

TEMPLATE_VERSION = "train/1"
"""Raised when a change of the template would change what a training yields; part of the fingerprint."""

NO_COMMIT = "uncommitted"
_COMMIT_LINE = "# branch.oid "
_NO_COMMIT_YET = "(initial)"
NOT_FINGERPRINTED = {"schedule", "serving", "monitoring", "description"}
"""Parts of a model's declaration that do not change what is trained; of `serving`, the latency budget is a gate and counts."""


@dataclass(frozen=True, slots=True)
class GitState:
    """The commit of the work tree, and whether the brand's folder or the platform differ from it."""

    commit: str
    dirty: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """One training of one model, before the data are known."""

    settings: Settings
    brand: Brand
    model: ModelConfig
    key: ModelKey
    git: GitState
    lock_hash: str
    code_digest: str
    run_id: str
    run_url: str

    @property
    def declaration_digest(self) -> str:
        """SHA-256 of what the brand declares about data and model."""
        declared = self.model.model_dump(mode="json", exclude=NOT_FINGERPRINTED)
        dataset = self.brand.config.datasets[self.model.dataset].model_dump(mode="json", exclude={"source"})
        return _digest([declared, dataset, self.model.serving.latency_budget_ms])

    def fingerprint(self, snapshot_hash: str) -> str:
        """SHA-256 of everything that decides the outcome: data, code, lock, declaration and template."""
        return _digest([TEMPLATE_VERSION, snapshot_hash, self.code_digest, self.lock_hash, self.declaration_digest])


def _digest(parts: list[Any]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def plan_training(settings: Settings, key: ModelKey, run_id: str, run_url: str) -> Plan:
    """Collect what a training needs.

    Raises:
        UnknownBrandError, UnknownModelError, BrandConfigError: If the model is not declared, or not validly.
        BrandhouseError: If the workspace has no lock file.
    """
    brand = find_brand(settings.brands_dir, key.brand)
    model = brand.model(key.model)
    return Plan(
        settings=settings,
        brand=brand,
        model=model,
        key=key,
        git=read_git_state(settings.root),
        lock_hash=read_lock_hash(settings.lock_file),
        code_digest=code_digest(brand),
        run_id=run_id,
        run_url=run_url,
    )


def read_lock_hash(lock_file: Path) -> str:
    """SHA-256 of the lock of all dependencies.

    Raises:
        BrandhouseError: If there is none: a version without its environment cannot be reproduced.
    """
    try:
        return hashlib.sha256(lock_file.read_bytes()).hexdigest()
    except FileNotFoundError:
        raise BrandhouseError(f"{lock_file} does not exist; a version records the lock it was trained with. Run `make lock`") from None


def read_git_state(root: Path) -> GitState:
    """Read commit and dirtiness; a folder without Git or commits is `uncommitted` and dirty."""
    # One call for both: starting a process costs more than what Git does in it.
    command = ["git", "--no-optional-locks", "-C", str(root), "status", "--porcelain=v2", "--branch", "--untracked-files=normal"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return GitState(NO_COMMIT, dirty=True)
    lines = done.stdout.splitlines()
    commit = next((line.removeprefix(_COMMIT_LINE) for line in lines if line.startswith(_COMMIT_LINE)), _NO_COMMIT_YET)
    if commit == _NO_COMMIT_YET:
        return GitState(NO_COMMIT, dirty=True)
    return GitState(commit, dirty=any(not line.startswith("#") for line in lines))
