"""Which ready modules a brand's code uses, as texts: what a version records of them, and what it answers with later.

Read from the sources without importing anything. A module counts as used if the brand imports it, or if a used one
does. `brandhouse_shared.ready` itself, or all of it by `*`, counts as every module. An import by a computed name is not
seen.
"""

import ast
import builtins
import hashlib
import importlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

READY = "brandhouse_shared.ready"
READY_DIR = Path(__file__).with_name("ready")
PREFIX = "@ready/"
"""Before the names of ready files among a brand's own; no Python package holds such a folder."""

_ALL = "*"
_DIGEST = "__brandhouse_digest__"


def ready_files_of(sources: Iterable[bytes], ready_dir: Path = READY_DIR) -> dict[str, bytes]:
    """Return the ready modules that Python sources use, directly or through each other.

    Args:
        sources: Bytes of Python files. One that cannot be parsed uses nothing: it cannot be imported either.
        ready_dir: Where the ready modules lie.

    Returns:
        `@ready/<module>.py` to the file's bytes, sorted; empty if none is used, else with the package's own file.
    """
    texts: dict[str, bytes] = {}
    pending = {name for source in sources for name in imported_ready_modules(source)}
    while pending:
        name = pending.pop()
        if name == _ALL:
            pending |= {path.stem for path in ready_dir.glob("*.py")} - texts.keys()
            continue
        path = ready_dir / f"{name}.py"
        if name not in texts and path.is_file():
            texts[name] = path.read_bytes()
            pending |= {"__init__", *imported_ready_modules(texts[name])} - texts.keys()
    return {f"{PREFIX}{name}.py": texts[name] for name in sorted(texts)}


@lru_cache(maxsize=512)  # many brands use the same few modules, and parsing them costs milliseconds
def imported_ready_modules(source: bytes) -> frozenset[str]:
    """Names of the ready modules that one file imports; `*` stands for all."""
    if b"brandhouse_shared" not in source or b"ready" not in source:  # parsing costs more than looking
        return frozenset()
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return frozenset()
    return frozenset(name for node in ast.walk(tree) for name in _names(node))


def _names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            if alias.name == READY or alias.name.startswith(f"{READY}."):
                yield alias.name.removeprefix(READY).strip(".").split(".")[0] or _ALL
    if isinstance(node, ast.ImportFrom) and not node.level:
        if node.module == READY:
            yield from (alias.name for alias in node.names)
        elif node.module and node.module.startswith(f"{READY}."):
            yield node.module.removeprefix(f"{READY}.").split(".")[0]
        elif node.module == READY.rpartition(".")[0] and any(alias.name == "ready" for alias in node.names):
            yield _ALL


def refresh_ready() -> None:
    """Forget the ready modules of this process if their files changed since: a long-lived process runs no stale code."""
    digest = _digest(path.read_bytes() for path in sorted(READY_DIR.glob("*.py")))
    if getattr(sys.modules.get(READY), _DIGEST, None) == digest:
        return
    for name in [name for name in sys.modules if name == READY or name.startswith(f"{READY}.")]:
        del sys.modules[name]
    importlib.import_module(READY).__dict__[_DIGEST] = digest


def _digest(contents: Iterable[bytes]) -> str:
    return hashlib.sha256(b"".join(hashlib.sha256(content).digest() for content in contents)).hexdigest()


class PackagedReady:
    """Ready modules from texts, for the modules of one brand only: those of this release stay untouched beside them.

    A version answers with the code it was measured with, also after a release has changed it.
    """

    def __init__(self, files: Mapping[str, str]) -> None:
        self._texts = {_module_name(path): text for path, text in files.items()}
        self._modules: dict[str, ModuleType] = {}

    def builtins(self) -> dict[str, Any]:
        """What a module's `__builtins__` must be, so that its import statements find these texts."""
        return {**vars(builtins), "__import__": self._import}

    def _import(self, name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:  # noqa: A002
        if level == 0 and name in self._texts:
            module = self._load(name)
            for attribute in fromlist or ():
                if f"{name}.{attribute}" in self._texts:
                    self._load(f"{name}.{attribute}")
            return module if fromlist else self._parent()
        if level == 0 and name == READY.rpartition(".")[0] and "ready" in (fromlist or ()):
            return self._parent()
        return builtins.__import__(name, globals, locals, fromlist, level)

    def _load(self, name: str) -> ModuleType:
        if name in self._modules:
            return self._modules[name]
        module = self._modules[name] = ModuleType(name)
        module.__dict__["__builtins__"] = self.builtins()
        if name != READY:
            setattr(self._load(READY), name.rpartition(".")[2], module)
        exec(compile(self._texts[name], f"<packaged {name}>", "exec"), module.__dict__)  # noqa: S102  # what importing means
        return module

    def _parent(self) -> ModuleType:
        """What `brandhouse_shared` is to a statement such as `import brandhouse_shared.ready.times`."""
        import brandhouse_shared

        parent = ModuleType(brandhouse_shared.__name__)
        parent.__dict__.update(vars(brandhouse_shared), ready=self._load(READY))
        return parent


def _module_name(path: str) -> str:
    stem = path.removeprefix(PREFIX).removesuffix(".py")
    return READY if stem == "__init__" else f"{READY}.{stem}"
