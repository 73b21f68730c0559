"""What can be seen in a brand's Python without running it: syntax, and what it imports."""

import ast
import sys
import tomllib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brandhouse_flows.checks.problems import Problem, make_problem
from brandhouse_shared.brands import Brand

PLATFORM_PACKAGES = frozenset({"brandhouse_flows", "brandhouse_serving", "brandhouse_authoring", "brandhouse_console", "brandhouse_infra"})
DISTRIBUTIONS = {"sklearn": "scikit-learn", "yaml": "pyyaml", "PIL": "pillow", "dateutil": "python-dateutil", "bs4": "beautifulsoup4"}
"""Distributions whose import name is another one, so that the installed packages are asked for rare ones only."""


@dataclass(frozen=True, slots=True)
class Import:
    """One statement or call that brings a module in."""

    module: str
    line: int
    column: int


def source_trees(brand: Brand) -> dict[str, ast.Module | SyntaxError]:
    """Parse every Python file of the brand's package; by path below the brand's folder."""
    trees: dict[str, ast.Module | SyntaxError] = {}
    for path in sorted(brand.source_dir.rglob("*.py")):
        where = path.relative_to(brand.folder).as_posix()
        try:
            trees[where] = ast.parse(path.read_bytes(), filename=where)
        except SyntaxError as error:
            trees[where] = error
        except ValueError as error:  # a null byte
            trees[where] = SyntaxError(str(error))
    return trees


def syntax_problems(brand: Brand, trees: dict[str, ast.Module | SyntaxError]) -> Iterator[Problem]:
    """Files that cannot be parsed."""
    for where, tree in trees.items():
        if isinstance(tree, SyntaxError):
            what = f"is no valid Python: {tree.msg}"
            yield make_problem(brand.folder, "python-syntax", where, what, line=tree.lineno, column=tree.offset)


def import_problems(brand: Brand, trees: dict[str, ast.Module | SyntaxError]) -> Iterator[Problem]:
    """Imports of another brand, of the platform, or of a package that is not declared."""
    declared = _dependencies(brand.folder)
    for where, tree in trees.items():
        if isinstance(tree, SyntaxError):
            continue
        for found in find_imports(tree):
            top = found.module.split(".")[0]
            if (top.startswith("brand_") and top != f"brand_{brand.name}") or top in PLATFORM_PACKAGES:
                yield _problem(brand, "import-forbidden", where, found, f"imports {found.module}")
            elif declared is not None and not _is_declared(top, brand.name, declared):
                yield _problem(brand, "import-undeclared", where, found, f"imports {top}, which is no dependency in pyproject.toml")


def _problem(brand: Brand, rule_id: str, where: str, found: Import, what: str) -> Problem:
    return make_problem(brand.folder, rule_id, where, what, line=found.line, column=found.column)


def find_imports(tree: ast.AST) -> Iterator[Import]:
    """Yield absolute imports, also those inside functions and those by `import_module` with a literal name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno, node.col_offset + 1) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield Import(node.module, node.lineno, node.col_offset + 1)
        elif isinstance(node, ast.Call) and _called(node) in {"import_module", "__import__"}:
            first = node.args[0] if node.args else None
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield Import(first.value, node.lineno, node.col_offset + 1)


def _called(node: ast.Call) -> str:
    match node.func:
        case ast.Name(id=name):
            return name
        case ast.Attribute(attr=name):
            return name
    return ""


def _dependencies(folder: Path) -> set[str] | None:
    """Names of the declared dependencies; None where the project file cannot be read, which is a problem of its own."""
    project = read_project(folder)
    return None if project is None else {requirement_name(text) for text in project.get("dependencies", [])}


def read_project(folder: Path) -> dict[str, Any] | None:
    """The [project] table of a brand's pyproject.toml, or None where there is none that can be read."""
    try:
        project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    except (OSError, KeyError, ValueError):
        return None
    return project if isinstance(project, dict) else None


def requirement_name(requirement: str) -> str:
    """The normalised name of a distribution in a requirement such as `Scikit_Learn[x]>=1; python_version > '3'`."""
    name = requirement.strip()
    for index, character in enumerate(name):
        if not (character.isalnum() or character in "-_."):
            name = name[:index]
            break
    return name.lower().replace("_", "-").replace(".", "-")


def _is_declared(top: str, brand: str, declared: set[str]) -> bool:
    return top in sys.stdlib_module_names or top == f"brand_{brand}" or is_carried(top, declared)


def is_carried(package: str, distributions: Collection[str]) -> bool:
    """Whether one of some distributions, by normalised name, carries a package of this import name."""
    if requirement_name(DISTRIBUTIONS.get(package, package)) in distributions:
        return True
    # Reading what is installed takes a tenth of a second: it is asked only where the name alone does not tell.
    from importlib.metadata import packages_distributions

    return any(requirement_name(name) in distributions for name in packages_distributions().get(package, ()))
