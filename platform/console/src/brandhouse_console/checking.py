"""`brandhouse check`: is a folder a good brand? Every problem at once."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from brandhouse_console.output import print_json
from brandhouse_flows.inspection import Problem, inspect_folders
from brandhouse_shared.brands import brand_folders
from brandhouse_shared.errors import UnknownBrandError
from brandhouse_shared.settings import load_settings


def check(names: Sequence[str], *, as_json: bool) -> None:
    """Print the problems of the named brands, or of all; exit status 1 if there are any."""
    settings = load_settings()
    folders = brand_folders(settings.brands_dir)
    problems = inspect_folders(_chosen(folders, names), settings)
    if not names:
        problems += _strays(settings.brands_dir, folders)
    if as_json:
        print_json([_document(problem) for problem in problems])
    else:
        for problem in problems:
            print(f"{problem.brand}: {problem.where}: {problem.what}\n    {problem.fix}")
        print(f"{len(names) or len(folders)} brand(s) checked, {len(problems)} problem(s)")
    if problems:
        sys.exit(1)


def _chosen(folders: Sequence[Path], names: Sequence[str]) -> list[Path]:
    if not names:
        return list(folders)
    known = {folder.name: folder for folder in folders}
    for name in names:
        if name not in known:
            raise UnknownBrandError(name, list(known))
    return [known[name] for name in names]


def _strays(brands_dir: Path, folders: Sequence[Path]) -> list[Problem]:
    """Folders among the brands that are none."""
    strays = [
        path for path in sorted(brands_dir.iterdir()) if path.is_dir() and path not in folders and not path.name.startswith((".", "_"))
    ]
    return [
        Problem(path.name, "brand.toml", "does not exist", "write it, or remove the folder: only brands are kept here") for path in strays
    ]


def _document(problem: Problem) -> dict[str, Any]:
    return {"brand": problem.brand, "where": problem.where, "problem": problem.what, "fix": problem.fix}
