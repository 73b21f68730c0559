"""Is a folder a good brand? Every problem at once, with where it is, why it is one and how to mend it.

Reads the declaration and all files, reads the code without running it, then runs the two functions on a few rows made up
from the input schema. Data are not touched: that they fit the schema is what ingest checks. The rules are in
`checks.catalogue`, and what finds each is in the other modules of `checks`.
"""

from collections.abc import Sequence
from pathlib import Path

from brandhouse_flows.checks.clean_runs import remember_clean, run_digest, was_clean
from brandhouse_flows.checks.code import import_problems, source_trees, syntax_problems
from brandhouse_flows.checks.declaration import declaration_problems, describe_faults
from brandhouse_flows.checks.files import content_problems, presence_problems, tracked_files, tracked_problems
from brandhouse_flows.checks.problems import Problem
from brandhouse_shared.brands import Brand, read_brand
from brandhouse_shared.errors import BrandConfigError
from brandhouse_shared.settings import Settings


def inspect_folders(folders: Sequence[Path], settings: Settings) -> list[Problem]:
    """Return the problems of folders that lie side by side, in their order."""
    tracked = tracked_files(folders)
    return [problem for folder in folders for problem in _inspect(folder, settings, tracked[folder.name])]


def inspect_folder(folder: Path, settings: Settings) -> list[Problem]:
    """Return every problem of one brand: errors first, each kind in the order in which a reader meets it."""
    return inspect_folders([folder], settings)


def _inspect(folder: Path, settings: Settings, tracked: Sequence[str]) -> list[Problem]:
    found = [*content_problems(folder), *tracked_problems(folder, tracked)]
    try:
        brand = read_brand(folder)
    except BrandConfigError as error:
        found = [*describe_faults(folder, error), *found]
    else:
        found = [*declaration_problems(brand), *presence_problems(brand), *found, *_code_problems(brand, settings)]
    return sorted(found, key=lambda problem: problem.severity)


def _code_problems(brand: Brand, settings: Settings) -> list[Problem]:
    trees = source_trees(brand)
    found = [*syntax_problems(brand, trees), *import_problems(brand, trees)]
    # Code that reaches outside its brand, or cannot be parsed, is not run to see what else is wrong with it.
    if any(problem.severity == "error" for problem in found):
        return found
    digest = run_digest(brand)
    if was_clean(settings, brand, digest):
        return found
    from brandhouse_flows.checks.trial import trial_problems  # brings in scikit-learn: only where code is run

    tried = trial_problems(brand, trees)
    if not tried:
        remember_clean(settings, brand, digest)
    return [*found, *tried]
