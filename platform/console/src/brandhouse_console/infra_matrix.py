"""`brandhouse infra matrix`: whose stacks a change touches, one job of a workflow each, and which of them wait for a person."""

import json
from collections.abc import Iterable, Sequence

from brandhouse_authoring.git_changes import read_changes
from brandhouse_shared.brands import brand_folders, find_brand
from brandhouse_shared.config import Risk
from brandhouse_shared.errors import BrandhouseError
from brandhouse_shared.settings import load_settings

MAX_JOBS = 256
"""GitHub's limit of a matrix. Each brand is a job of its own: a job has one deployment environment, and that is whose keys it gets."""


def matrix(base: str, environment: str) -> None:
    """Print one line of JSON for a workflow's matrix.

    Raises:
        GitError: If Git cannot tell.
        BrandhouseError: If more brands are touched than a matrix holds.
    """
    settings = load_settings()
    touched = touched_stacks(read_changes(settings.root, base).files, [folder.name for folder in brand_folders(settings.brands_dir)])
    if len(touched) > MAX_JOBS:
        raise BrandhouseError(
            f"{len(touched)} stacks are touched, a workflow's matrix holds {MAX_JOBS}; apply in several changes, or by hand"
        )
    jobs = [_job(name, find_brand(settings.brands_dir, name).config.risk, environment) for name in touched]
    print(json.dumps({"include": jobs}))


def touched_stacks(files: Iterable[str], brands: Sequence[str]) -> list[str]:
    """Brands whose stack may be another after a change: all, if constructs or environments changed; else those whose declaration did.

    Args:
        files: Changed files, below the repository.
        brands: All brands that there are now; a removed one's stack is destroyed by hand, before its folder goes.
    """
    changed = [file for file in files if not file.endswith(".md")]
    if any(file.startswith("infra/") for file in changed):
        return sorted(brands)
    return sorted(name for name in brands if f"brands/{name}/brand.toml" in changed)


def _job(name: str, risk: Risk, environment: str) -> dict[str, object]:
    return {"brand": name, "environment": f"{environment}-{name}", "approval": risk is Risk.HIGH}
