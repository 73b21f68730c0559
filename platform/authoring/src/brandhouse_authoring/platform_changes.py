"""What a change of platform code means: for all brands by what their training and serving import, for one by what it imports."""

import ast
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import grimp

from brandhouse_authoring.touches import Action, Touch
from brandhouse_shared.settings import Settings

PACKAGES = ("brandhouse_shared", "brandhouse_flows", "brandhouse_serving", "brandhouse_authoring", "brandhouse_console")


@dataclass(frozen=True, slots=True)
class _Role:
    """What all brands have done for them, and the modules where it begins."""

    begins: tuple[str, ...]
    actions: frozenset[Action]
    why: str


ROLES = (
    _Role(("brandhouse_flows.learning",), frozenset({Action.TEST, Action.TRAIN}), "platform code that training runs"),
    _Role(
        ("brandhouse_serving", "brandhouse_flows.deployments", "brandhouse_flows.deployment_specs", "brandhouse_flows.automations"),
        frozenset({Action.DEPLOY}),
        "platform code that serves or registers",
    ),
    _Role(("brandhouse_flows.inspection",), frozenset({Action.TEST}), "platform code that checks brands"),
)


def module_of(file: str) -> str | None:
    """Return the module of a file of the platform, such as `shared/src/brandhouse_shared/names.py`; None for other files.

    A file that is no Python counts as the package that holds it.
    """
    parts = PurePosixPath(file).parts
    start = 2 if parts[0] == "shared" else 3
    if parts[0] not in ("shared", "platform") or len(parts) <= start or parts[start - 1] != "src":
        return None
    inner = PurePosixPath(*parts[start:])
    is_module = inner.suffix == ".py" and inner.name != "__init__.py"
    return ".".join((inner.with_suffix("") if is_module else inner.parent).parts)


def platform_touches(settings: Settings, files: Iterable[str], brands: Sequence[str]) -> Iterator[Touch]:
    """Yield what changed files of the platform mean, by the import graph of the platform as it is installed."""
    changed = {module: file for file in files if (module := module_of(file))}
    if not changed:
        return
    graph = _build_graph()
    for role in ROLES:
        for module in _needed_by(role, graph, settings, changed):
            yield from (Touch(brand, role.actions, role.why, module) for brand in brands)
    # What all brands train with anew anyway need not be told again for those that import it.
    rest = changed.keys() - set(_needed_by(ROLES[0], graph, settings, changed))
    yield from _importing_brands(settings, graph, rest, brands)


def _needed_by(role: _Role, graph: grimp.ImportGraph, settings: Settings, changed: Mapping[str, str]) -> Iterator[str]:
    """Modules among the changed ones that a role needs, and new ones that the graph does not know."""
    needed = _closure(graph, role.begins)
    for module, file in changed.items():
        is_unknown = module not in graph.modules and (settings.root / file).is_file()
        if is_unknown or _is_needed(module, needed):
            yield module


def _build_graph() -> grimp.ImportGraph:
    return grimp.build_graph(*PACKAGES, exclude_type_checking_imports=True, cache_dir=None)


def _closure(graph: grimp.ImportGraph, begins: Iterable[str]) -> set[str]:
    needed: set[str] = set()
    for module in begins:
        inside = {module, *graph.find_descendants(module)}
        needed |= inside.union(*(graph.find_upstream_modules(one) for one in inside))
    return needed


def _is_needed(module: str, needed: set[str]) -> bool:
    """A package's own file is run by the import of anything below it."""
    return module in needed or any(one.startswith(f"{module}.") for one in needed)


def _importing_brands(settings: Settings, graph: grimp.ImportGraph, changed: set[str], brands: Sequence[str]) -> Iterator[Touch]:
    shared = {module for module in changed if module.split(".")[0] == "brandhouse_shared"}
    if not shared:
        return
    closures: dict[str, set[str]] = {}
    for brand, is_test, imported in BrandImports(settings).read(brands):
        for module in sorted(imported & graph.modules):
            if module not in closures:
                closures[module] = {module, *graph.find_upstream_modules(module)}
            # The brand imports this very module; of a package, what lies below it only by name.
            for one in sorted(shared & closures[module]):
                actions = frozenset({Action.TEST}) if is_test else frozenset({Action.TEST, Action.TRAIN})
                yield Touch(brand, actions, "shared code that its tests import" if is_test else "shared code that it imports", one)


_Entry = list[Any]
"""Time of change in nanoseconds, size in bytes, imported names: of one file, as JSON gives it back."""


class BrandImports:
    """Which modules of `brandhouse_shared` each brand's code and tests import; files that did not change are not parsed again."""

    def __init__(self, settings: Settings) -> None:
        self._brands_dir = settings.brands_dir
        self._file = settings.home / "cache" / "affected" / "imports.json"
        self._known: dict[str, _Entry] = {}

    def read(self, brands: Sequence[str]) -> list[tuple[str, bool, set[str]]]:
        """Return brand, whether it is a test, and the imported names, for each Python file that imports any."""
        with suppress(OSError, ValueError):
            self._known = json.loads(self._file.read_text(encoding="utf-8"))
        fresh: dict[str, _Entry] = {}
        found = []
        for brand in brands:
            for folder in ("src", "tests"):
                for key, path in _python_files(os.path.join(self._brands_dir, brand, folder), f"{brand}/{folder}"):  # noqa: PTH118
                    fresh[key] = self._entry(key, path)
                    if fresh[key][2]:
                        found.append((brand, folder == "tests", set(fresh[key][2])))
        if fresh != self._known:
            self._remember(fresh)
        return found

    def _entry(self, key: str, path: "os.DirEntry[str]") -> "_Entry":
        state = path.stat()
        known = self._known.get(key)
        if known and known[:2] == [state.st_mtime_ns, state.st_size]:
            return known
        return [state.st_mtime_ns, state.st_size, sorted(shared_imports(Path(path.path).read_bytes()))]

    def _remember(self, fresh: dict[str, _Entry]) -> None:
        with suppress(OSError):  # a home that cannot be written makes the next call slower, not wrong
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._file.write_text(json.dumps(fresh), encoding="utf-8")


def _python_files(folder: str, key: str) -> Iterator[tuple[str, "os.DirEntry[str]"]]:
    """Yield the Python files below a folder, if there is one. Of a thousand brands pathlib would take three times as long."""
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _python_files(entry.path, f"{key}/{entry.name}")
            elif entry.name.endswith(".py"):
                yield f"{key}/{entry.name}", entry


def shared_imports(source: bytes) -> set[str]:
    """Names of `brandhouse_shared` that a Python source imports, modules and what is taken from them alike."""
    if b"brandhouse_shared" not in source:  # parsing costs more than looking
        return set()
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return set()
    return {name for node in ast.walk(tree) for name in _names(node) if name.split(".")[0] == "brandhouse_shared"}


def _names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
