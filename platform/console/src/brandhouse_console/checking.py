"""`brandhouse check`: is a folder a good brand? Every problem at once, for people, machines and code hosting."""

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from brandhouse_console.annotations import Annotation, print_annotations
from brandhouse_console.arguments import CheckFormat
from brandhouse_console.output import print_json
from brandhouse_flows.checks.problems import Problem, make_problem
from brandhouse_flows.inspection import inspect_folders
from brandhouse_shared.brands import brand_folders
from brandhouse_shared.errors import UnknownBrandError
from brandhouse_shared.settings import Settings, load_settings


def check(names: Sequence[str], *, form: CheckFormat) -> None:
    """Print the problems of the named brands, or of all; exit status 1 if one of them is an error."""
    settings = load_settings()
    folders = brand_folders(settings.brands_dir)
    problems = inspect_folders(_chosen(folders, names), settings)
    if not names:
        problems += _strays(settings.brands_dir, folders)
    if form == "json":
        print_json([_document(problem, settings) for problem in problems])
    elif form == "github":
        print_annotations([_annotation(problem, settings) for problem in problems])
    else:
        _print_text(problems, settings)
    if form != "json":
        print(_summary(len(names) or len(folders), problems))
    if any(problem.severity == "error" for problem in problems):
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
    return [make_problem(path, "brand-toml-readable", "brand.toml", "does not exist") for path in strays]


def _print_text(problems: Sequence[Problem], settings: Settings) -> None:
    """One paragraph a problem: a place that an editor can jump to, what is wrong, why it matters (once a rule), what to do."""
    explained: set[str] = set()
    for problem in problems:
        place = ":".join(str(part) for part in (_path(problem, settings), problem.line, problem.column) if part)
        print(f"{place}: {problem.severity}: {problem.what} [{problem.rule_id}]")
        if problem.rule_id not in explained:
            print(f"    why: {problem.reason}")
            explained.add(problem.rule_id)
        print(f"    fix: {problem.fix}")


def _summary(brands: int, problems: Sequence[Problem]) -> str:
    counted = Counter(problem.severity for problem in problems)
    warnings = f", {counted['warning']} warning(s)" if counted["warning"] else ""
    return f"{brands} brand(s) checked, {counted['error']} problem(s){warnings}"


def _path(problem: Problem, settings: Settings) -> str:
    """Path below the workspace, with slashes."""
    return f"{settings.brands_dir.relative_to(settings.root).as_posix()}/{problem.brand}/{problem.file}"


def _document(problem: Problem, settings: Settings) -> dict[str, Any]:
    return {
        "brand": problem.brand,
        "rule": problem.rule_id,
        "severity": problem.severity,
        "file": _path(problem, settings),
        "line": problem.line,
        "column": problem.column,
        "where": problem.where,
        "problem": problem.what,
        "reason": problem.reason,
        "fix": problem.fix,
        "docs": problem.rule.docs,
    }


def _annotation(problem: Problem, settings: Settings) -> Annotation:
    message = f"{problem.what}\nwhy: {problem.reason}\nfix: {problem.fix}\n{problem.rule.docs}"
    return Annotation(
        problem.severity, _path(problem, settings), f"{problem.brand}: {problem.rule_id}", message, problem.line, problem.column
    )
