"""What lies in a brand's folder: files that are missing, and files that should not be as they are."""

import json
import re
import subprocess
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path, PurePosixPath

from brandhouse_flows.checks.code import is_carried, read_project, requirement_name
from brandhouse_flows.checks.problems import Problem, make_problem
from brandhouse_flows.checks.secrets import find_secrets
from brandhouse_shared.brands import Brand
from brandhouse_shared.config import PackageSource

TEXTS = frozenset({".py", ".toml", ".md", ".dvc", ".ipynb", ".yaml", ".yml", ".json", ".cfg", ".ini", ".txt", ".sql", ".sh"})
MAX_TEXT_BYTES = 2_000_000
"""Larger texts are not searched: they are data."""

TABLES_AND_MODELS = frozenset(
    {".csv", ".tsv", ".parquet", ".feather", ".arrow", ".xls", ".xlsx", ".gz", ".bz2", ".zip", ".db", ".sqlite"}
    | {".pkl", ".pickle", ".joblib", ".onnx", ".skops", ".npy", ".npz", ".h5"}
)
MAX_TRACKED_BYTES = 1_000_000
"""Of one file of a brand in Git; code, texts and pointers are far smaller."""

NOTEBOOK_FILTER = "brandhouse-notebook"
"""Git's filter that `brandhouse notebook filter` defines."""

_IGNORED_FOLDERS = frozenset({"__pycache__", ".dvc", "data", ".ipynb_checkpoints", ".venv", "node_modules"})
_CONFLICT = re.compile(r"^(?:<{7}|>{7}|\|{7})(?: |$)", re.MULTILINE)
_PIN = re.compile(r"[A-Za-z0-9._-]+\s*(?:\[.*\])?\s*==")
_REJECTED = frozenset({".rej", ".orig"})


def presence_problems(brand: Brand) -> Iterator[Problem]:
    """Files that a brand must have, or should."""
    yield from _project_problems(brand)
    readme = brand.folder / "README.md"
    if not readme.is_file() or not readme.stat().st_size:
        yield make_problem(brand.folder, "readme-missing", "README.md", "is empty" if readme.is_file() else "does not exist")
    if not any((brand.folder / "tests").rglob("test_*.py")):
        yield make_problem(brand.folder, "tests-missing", "tests", "holds no test_*.py")
    yield from _pointer_problems(brand)


def _project_problems(brand: Brand) -> Iterator[Problem]:
    path = brand.folder / "pyproject.toml"
    if not path.is_file():
        yield make_problem(brand.folder, "project-file", path.name, "does not exist")
        return
    project = read_project(brand.folder)
    wanted = f"brand-{brand.name.replace('_', '-')}"
    if project is None:
        fix = "it needs a [project] table with a name"
        line = _syntax_line(path)
        yield make_problem(brand.folder, "project-file", path.name, "cannot be read as a project", fix=fix, line=line)
    elif project.get("name") != wanted:
        what = f"the project is named {project.get('name')!r}; allowed: {wanted!r}"
        line = find_line(path, r"\s*name\s*=")
        yield make_problem(brand.folder, "project-file", path.name, what, fix="rename the project", line=line)
    if project is not None:
        yield from _pin_problems(brand, [str(text) for text in project.get("dependencies", [])])


def _syntax_line(path: Path) -> int | None:
    try:
        tomllib.loads(path.read_text(encoding="utf-8", errors="replace"))
    except tomllib.TOMLDecodeError as error:
        match = re.search(r"at line (\d+)", str(error))
        return int(match[1]) if match else None
    return None


def _pin_problems(brand: Brand, dependencies: list[str]) -> Iterator[Problem]:
    pinned = {requirement_name(text) for text in dependencies if _PIN.match(text)}
    for name, dataset in brand.config.datasets.items():
        source = dataset.source
        if isinstance(source, PackageSource) and not is_carried(source.package, pinned):
            what = f"{source.package}, which carries dataset {name!r}, is not pinned"
            line = find_line(brand.folder / "pyproject.toml", rf"""\s*["']{re.escape(source.package)}""")
            yield make_problem(brand.folder, "data-package-pinned", "pyproject.toml", what, line=line)


def find_line(path: Path, pattern: str) -> int | None:
    """Number of the first line that begins with a pattern, or None."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((number for number, line in enumerate(lines, start=1) if re.match(pattern, line)), None)


def _pointer_problems(brand: Brand) -> Iterator[Problem]:
    for name, dataset in brand.config.datasets.items():
        if not (brand.folder / f"{dataset.file}.dvc").is_file():
            what = f"the pointer of dataset {name!r} does not exist"
            fix = f"run `brandhouse ingest {brand.name} --accept-new` and commit the pointer"
            yield make_problem(brand.folder, "pointer-missing", f"{dataset.file}.dvc", what, fix=fix)


def content_problems(folder: Path) -> Iterator[Problem]:
    """What stands in the folder's texts and should not: rests of a merge, secrets, outputs of notebooks."""
    for path in _files(folder):
        where = path.relative_to(folder).as_posix()
        if path.suffix in _REJECTED:
            yield make_problem(folder, "merge-leftover", where, "is the rejected part of a merge")
        elif path.suffix in TEXTS and path.stat().st_size <= MAX_TEXT_BYTES:
            text = path.read_text(encoding="utf-8", errors="replace")
            yield from _leftover_problems(folder, where, text)
            for line, column, kind in find_secrets(text):
                yield make_problem(folder, "secret-in-file", where, f"holds what looks like {kind}", line=line, column=column)
            if path.suffix == ".ipynb":
                yield from _notebook_problems(folder, where, text)


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink() and path.name not in _IGNORED_FOLDERS:
            yield from _files(path)
        elif path.is_file():
            yield path


def _leftover_problems(folder: Path, where: str, text: str) -> Iterator[Problem]:
    match = _CONFLICT.search(text)
    if match:
        line = text.count("\n", 0, match.start()) + 1
        yield make_problem(folder, "merge-leftover", where, "holds conflict markers of a merge", line=line, column=1)


def _notebook_problems(folder: Path, where: str, text: str) -> Iterator[Problem]:
    try:
        cells = json.loads(text).get("cells", [])
        numbers = [number for number, cell in enumerate(cells, start=1) if cell.get("outputs") or cell.get("execution_count")]
    except (ValueError, AttributeError):
        return  # a notebook that cannot be read is a matter of `brandhouse notebook check`, which executes it
    if numbers and not _is_filtered(folder.parent):
        line = _first_output_line(text)
        what = f"{len(numbers)} cell(s) hold outputs, the first is cell {numbers[0]}"
        fix = f"run `brandhouse notebook clean {folder.name}`, or once `brandhouse notebook filter`, which keeps outputs out of Git"
        yield make_problem(folder, "notebook-outputs", where, what, line=line, fix=fix)


@cache
def _is_filtered(folder: Path) -> bool:
    """Whether this clone takes outputs out of what is staged: then they may stay in the file on this machine."""
    command = ["git", "-C", str(folder), "config", "--get", f"filter.{NOTEBOOK_FILTER}.clean"]
    try:
        return subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0
    except (OSError, subprocess.SubprocessError):
        return False


def _first_output_line(text: str) -> int | None:
    match = re.search(r'"outputs": \[\s*[^\]\s]|"execution_count": \d', text)
    return text.count("\n", 0, match.start()) + 1 if match else None


def tracked_problems(folder: Path, tracked: Sequence[str]) -> Iterator[Problem]:
    """Tables, models and other large files among those that Git tracks below a brand's folder."""
    for where in tracked:
        path = folder / where
        if PurePosixPath(where).suffix.lower() in TABLES_AND_MODELS:
            what = "is a table or a model, and Git tracks it"
        elif path.is_file() and path.stat().st_size > MAX_TRACKED_BYTES:
            what = f"has {path.stat().st_size} bytes, and Git tracks it; allowed: {MAX_TRACKED_BYTES}"
        else:
            continue
        fix = f"run `git rm --cached brands/{folder.name}/{where}`; a table belongs to DVC, a model to the artifact store"
        yield make_problem(folder, "table-in-git", where, what, fix=fix)


def tracked_files(folders: Sequence[Path]) -> dict[str, list[str]]:
    """Return what Git tracks of brand folders that lie side by side, by brand; nothing where there is no Git."""
    tracked: dict[str, list[str]] = defaultdict(list)
    if not folders:
        return tracked
    wanted = folders[0].name if len(folders) == 1 else "."
    command = ["git", "--no-optional-locks", "-C", str(folders[0].parent), "ls-files", "-z", "--", wanted]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return tracked
    for name in done.stdout.split("\0"):
        brand, _, where = name.partition("/")
        tracked[brand].append(where)
    return tracked
