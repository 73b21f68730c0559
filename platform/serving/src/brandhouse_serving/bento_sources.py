"""What of the platform a Bento carries: the sources that its service imports, and the packages these need, out of our lock."""

import ast
import importlib.metadata
import importlib.util
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from brandhouse_shared.artifacts import Manifest, Runtime
from brandhouse_shared.errors import BrandhouseError

ROOT_MODULE = "brandhouse_serving.bento_alone"
OURS = ("brandhouse_serving", "brandhouse_shared")

ALWAYS = ("bentoml", "numpy", "orjson", "pydantic", "tomli")
BY_RUNTIME: Mapping[Runtime, tuple[str, ...]] = {
    Runtime.COMPILED: ("onnxruntime",),
    Runtime.PYTHON: ("pandas", "pyarrow", "scikit-learn", "skops"),
    Runtime.CONSTANT: (),
}
ARROW_TRANSFORMS = ("lower", "strip", "clean")
"""Of a compiled version's inputs: what `answering` asks Arrow for if a text is not ASCII."""

_LOCKED = re.compile(r"^([A-Za-z0-9._-]+)==")


class BentoBuildError(BrandhouseError):
    """A Bento cannot be built."""


def find_sources(root: str = ROOT_MODULE) -> dict[str, bytes]:
    """Return the modules of ours that `root` needs, itself included: path below `src/` to content.

    Imports inside functions count too. What is imported by a name put together at run time does not: there is none on
    the way to an answer.
    """
    found: dict[str, bytes] = {}
    pending = [root]
    while pending:
        name = pending.pop()
        path = _file_of(name)
        key = _relative(name, path)
        if key not in found:
            found[key] = path.read_bytes()
            pending += [name.rpartition(".")[0]] if "." in name else []
            pending += _imported(found[key])
    return dict(sorted(found.items()))


def _imported(source: bytes) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if _is_ours(alias.name))
        elif isinstance(node, ast.ImportFrom) and node.module and _is_ours(node.module):
            yield node.module
            yield from (name for alias in node.names if _is_module(name := f"{node.module}.{alias.name}"))


def _is_ours(name: str) -> bool:
    return name.partition(".")[0] in OURS


def _is_module(name: str) -> bool:
    parent = sys.modules.get(name.rpartition(".")[0])
    places = getattr(parent, "__path__", None) or getattr(
        importlib.util.find_spec(name.rpartition(".")[0]), "submodule_search_locations", None
    )
    return any((Path(place) / f"{name.rpartition('.')[2]}.py").is_file() for place in places or ())


def _file_of(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise BentoBuildError(f"a Bento needs the module {name}, and it is not installed")
    return Path(spec.origin)


def _relative(name: str, path: Path) -> str:
    folder = name.replace(".", "/")
    return f"{folder}/__init__.py" if path.name == "__init__.py" else f"{folder}.py"


# -- packages --------------------------------------------------------------------------------------------------------


def find_requirements(manifest: Manifest, lock_file: Path) -> str:
    """Return a requirements file for one version: its packages and theirs, at our lock's versions and hashes.

    Raises:
        BentoBuildError: If there is no lock, or it lacks one of them.
    """
    if not lock_file.is_file():
        raise BentoBuildError(
            f"a Bento's packages are pinned out of {lock_file.name}, and there is none in {lock_file.parent}; run `make lock`"
        )
    locked = _read_lock(lock_file.read_text(encoding="utf-8"))
    needed = _closure(_direct(manifest))
    lacking = sorted(needed - locked.keys())
    if lacking:
        raise BentoBuildError(f"{manifest.key}: {lock_file.name} lacks {', '.join(lacking[:10])}; run `make lock`")
    return "".join(locked[name] for name in sorted(needed))


def _direct(manifest: Manifest) -> set[str]:
    names = {*ALWAYS, *BY_RUNTIME[manifest.runtime]}
    if any(one.transform in ARROW_TRANSFORMS for one in manifest.graph_inputs):
        names.add("pyarrow")
    return names | set(_of_brand_code(manifest))


def _of_brand_code(manifest: Manifest) -> Iterator[str]:
    """Packages that the brand's own code imports; compiled and constant versions carry none."""
    for path, text in sorted(manifest.code_files.items()):
        for node in ast.walk(ast.parse(text)):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
            for top in {name.partition(".")[0] for name in modules}:
                if top in sys.stdlib_module_names or top in OURS or top == f"brand_{manifest.brand}":
                    continue
                packages = _packages_by_module().get(top)
                if packages is None:
                    raise BentoBuildError(f"{manifest.key}: {path} imports {top}, and no installed package has it")
                yield canonicalize_name(packages[0])


@cache  # a second; only a version with code of its own asks
def _packages_by_module() -> Mapping[str, list[str]]:
    return importlib.metadata.packages_distributions()


def _closure(names: Iterable[str]) -> set[str]:
    """The packages and all that they require here, as installed."""
    found: set[tuple[str, str]] = set()
    pending: list[tuple[str, str]] = [(canonicalize_name(name), "") for name in names]
    while pending:
        name, extra = pending.pop()
        if (name, extra) not in found:
            found.add((name, extra))
            pending += _required(name, extra)
    return {str(name) for name, _ in found}


def _required(name: str, extra: str) -> Iterator[tuple[str, str]]:
    try:
        texts = importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        raise BentoBuildError(f"a Bento needs the package {name}, and it is not installed; run `make setup`") from None
    for requirement in map(Requirement, texts):
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            yield from ((canonicalize_name(requirement.name), one) for one in ("", *sorted(requirement.extras)))


def _read_lock(text: str) -> dict[str, str]:
    """Package name to its lines, hashes included; a package that is locked for several environments has them all."""
    locked: dict[str, str] = {}
    name = ""
    for line in text.splitlines(keepends=True):
        match = _LOCKED.match(line)
        name = canonicalize_name(match[1]) if match else name
        if match or line.startswith(" "):
            locked[name] = locked.get(name, "") + line
    return locked
