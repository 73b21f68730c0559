"""What a training will be made of, collected before any work, and the fingerprint that recognises unchanged inputs."""

import hashlib
import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from brandhouse_flows.gates import AgainstProduction
from brandhouse_flows.wishes import Wishes, apply_wishes
from brandhouse_shared.brands import Brand, code_digest, find_brand
from brandhouse_shared.config import ModelConfig
from brandhouse_shared.errors import BrandhouseError
from brandhouse_shared.names import ModelKey
from brandhouse_shared.settings import Settings

TEMPLATE_VERSION = "train/3"
"""Raised when a change of the template would change what a training yields; part of the fingerprint."""

NO_COMMIT = "uncommitted"
_COMMIT_LINE = "# branch.oid "
_NO_COMMIT_YET = "(initial)"
NOT_FINGERPRINTED = {"schedule", "serving", "trial", "monitoring", "retraining", "description"}
"""Parts of a model's declaration that do not change what is trained; of `serving`, the latency budget is a gate and counts."""

DATASET_NOT_FINGERPRINTED = {"source", "schedule", "max_bad_share", "subject"}
"""Parts of a dataset's declaration that do not change what is trained: a share that is exceeded stops the training."""

ADDED_LATER: dict[str, object] = {"thousands": None, "skip_rows": 0, "strip": False, "others": False, "units": [], "fairness": None}
"""Keys of datasets, input fields and models that did not exist from the beginning, and what leaves older fingerprints as they were."""


@dataclass(frozen=True, slots=True)
class GitState:
    """The commit of the work tree, and whether the brand's folder or the platform differ from it."""

    commit: str
    dirty: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """One training of one model, before the data are known.

    Attributes:
        model: What the brand declares, after the wishes.
        against: What the new version must show against production; decides nothing about what is trained.
        is_retraining: Whether the platform decided to train: the new version is tried beside production, whatever its brand's risk.
    """

    settings: Settings
    brand: Brand
    model: ModelConfig
    key: ModelKey
    git: GitState
    lock_hash: str
    code_digest: str
    run_id: str
    run_url: str
    wishes: Wishes = field(default_factory=Wishes)
    against: AgainstProduction = AgainstProduction.NOT_WORSE
    is_retraining: bool = False

    @property
    def declaration_digest(self) -> str:
        """SHA-256 of what the brand declares about data and model."""
        declared = _as_before(self.model.model_dump(mode="json", exclude=NOT_FINGERPRINTED))
        declared["inputs"] = {name: _as_before(field) for name, field in declared["inputs"].items()}
        dataset = self.brand.config.datasets[self.model.dataset].model_dump(mode="json", exclude=DATASET_NOT_FINGERPRINTED)
        return _digest([declared, _as_before(dataset), self.model.serving.latency_budget_ms])

    def fingerprint(self, snapshot_hash: str) -> str:
        """SHA-256 of everything that decides the outcome: data, code, lock, declaration and template."""
        return _digest([TEMPLATE_VERSION, snapshot_hash, self.code_digest, self.lock_hash, self.declaration_digest])


def _as_before(document: dict[str, Any]) -> dict[str, Any]:
    """Leave out newer keys that say nothing."""
    return {key: value for key, value in document.items() if key not in ADDED_LATER or value != ADDED_LATER[key]}


def _digest(parts: list[Any]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def plan_training(settings: Settings, key: ModelKey, run_id: str, run_url: str, wishes: Wishes | None = None) -> Plan:
    """Collect what a training needs.

    Args:
        settings: Of this process.
        key: What to train.
        run_id: Names the run in the ledger.
        run_url: Of the flow run; "local" without a server.
        wishes: What is asked beside what the brand declares.

    Raises:
        WishError: If a wish does not fit the declaration.
        UnknownBrandError, UnknownModelError, BrandConfigError: If the model is not declared, or not validly.
        BrandhouseError: If the workspace has no lock file.
    """
    brand = find_brand(settings.brands_dir, key.brand)
    wishes = wishes or Wishes()
    return Plan(
        settings=settings,
        brand=brand,
        model=apply_wishes(brand.model(key.model), wishes, str(key)),
        key=key,
        git=read_git_state(settings.root),
        lock_hash=read_lock_hash(settings.lock_file),
        code_digest=code_digest(brand),
        run_id=run_id,
        run_url=run_url,
        wishes=wishes,
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
