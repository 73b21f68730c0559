"""Is a folder a good brand? Every problem at once, with where it is and how to mend it.

Reads the declaration, reads the code without running it, then runs the two functions on a few rows made up from the
input schema. Data are not touched: that they fit the schema is what ingest checks.
"""

import ast
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cronsim import CronSim, CronSimError

from brandhouse_shared.brands import Brand, load_brand_module, read_brand, unload_brand
from brandhouse_shared.config import BrandConfig, FieldType, InputField, ModelConfig
from brandhouse_shared.contracts import Contract
from brandhouse_shared.errors import BrandConfigError, BrandhouseError
from brandhouse_shared.settings import Settings

PLATFORM_PACKAGES = frozenset({"brandhouse_flows", "brandhouse_serving", "brandhouse_console", "brandhouse_infra"})
SAMPLE_ROWS = 8


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to mend.

    Attributes:
        brand: The folder's name.
        where: File below the brand's folder, with the line where one is known.
        what: What is wrong.
        fix: What to do.
    """

    brand: str
    where: str
    what: str
    fix: str


def inspect_folders(folders: Sequence[Path], settings: Settings) -> list[Problem]:
    """Return the problems of all folders, in their order."""
    return [problem for folder in folders for problem in inspect_folder(folder, settings)]


def inspect_folder(folder: Path, settings: Settings) -> list[Problem]:
    """Return every problem of one brand."""
    try:
        brand = read_brand(folder)
    except BrandConfigError as error:
        fix = "correct brand.toml; its keys are in docs/reference"
        return [Problem(folder.name, _toml_place(folder, text), text, fix) for text in error.problems]
    found = [*_packaging_problems(brand), *_pointer_problems(brand), *_schedule_problems(brand), *_import_problems(brand)]
    # Code that reaches outside its brand is not run to see what else is wrong with it.
    if not any(problem.what.startswith("imports ") for problem in found):
        found += _code_problems(brand)
    return found


def _toml_place(folder: Path, problem: str) -> str:
    """Find the line that a problem's dotted path names, as well as a look at the text can."""
    path = problem.split(":", 1)[0].split(".")
    try:
        lines = (folder / "brand.toml").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return "brand.toml"
    for key in reversed(path):
        for number, line in enumerate(lines, start=1):
            head = line.split("=", 1)[0].strip().strip('"[]')
            if head == key or head.endswith(f".{key}"):
                return f"brand.toml:{number}"
    return "brand.toml"


def _packaging_problems(brand: Brand) -> Iterator[Problem]:
    path = brand.folder / "pyproject.toml"
    try:
        name = tomllib.loads(path.read_text(encoding="utf-8"))["project"]["name"]
    except FileNotFoundError:
        yield Problem(brand.name, "pyproject.toml", "does not exist", "copy it from templates/brand; it lists the brand's dependencies")
        return
    except (tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        yield Problem(brand.name, "pyproject.toml", f"cannot be read: {error}", "it needs a [project] table with a name")
        return
    wanted = f"brand-{brand.name.replace('_', '-')}"
    if name != wanted:
        yield Problem(brand.name, "pyproject.toml", f"the project is named {name!r}; allowed: {wanted!r}", "rename the project")


def _pointer_problems(brand: Brand) -> Iterator[Problem]:
    for name, dataset in brand.config.datasets.items():
        if not (brand.folder / f"{dataset.file}.dvc").is_file():
            yield Problem(
                brand.name,
                f"{dataset.file}.dvc",
                f"the pointer of dataset {name!r} does not exist",
                f"run `brandhouse ingest {brand.name} --accept-new` and commit the pointer",
            )


def _schedule_problems(brand: Brand) -> Iterator[Problem]:
    for name, model in brand.config.models.items():
        if model.schedule and not _is_cron(model.schedule.cron):
            where = _toml_place(brand.folder, f"models.{name}.schedule.cron:")
            what = f"schedule {model.schedule.cron!r} of {name} is no cron expression"
            yield Problem(brand.name, where, what, "five fields, such as '0 4 * * 1'")


def _is_cron(text: str) -> bool:
    try:
        CronSim(text, datetime(2024, 1, 1, tzinfo=UTC))
    except CronSimError:
        return False
    return True


def _import_problems(brand: Brand) -> Iterator[Problem]:
    for path in sorted(brand.source_dir.rglob("*.py")):
        where = path.relative_to(brand.folder).as_posix()
        try:
            tree = ast.parse(path.read_bytes(), filename=where)
        except (SyntaxError, ValueError) as error:
            line = getattr(error, "lineno", None)
            yield Problem(brand.name, f"{where}:{line}" if line else where, f"is no valid Python: {error}", "correct the syntax")
            continue
        for line, module in _imports(tree):
            top = module.split(".")[0]
            if (top.startswith("brand_") and top != f"brand_{brand.name}") or top in PLATFORM_PACKAGES:
                fix = "a brand may import its own package, brandhouse_shared and its declared dependencies"
                yield Problem(brand.name, f"{where}:{line}", f"imports {module}", fix)


def _imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.lineno, node.module
        elif isinstance(node, ast.Call) and _called(node) in {"import_module", "__import__"}:
            first = node.args[0] if node.args else None
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield node.lineno, first.value


def _called(node: ast.Call) -> str:
    match node.func:
        case ast.Name(id=name):
            return name
        case ast.Attribute(attr=name):
            return name
    return ""


def _code_problems(brand: Brand) -> list[Problem]:
    problems = []
    for name, model in brand.config.models.items():
        where = f"src/{model.entrypoint.replace('.', '/')}.py"
        try:
            _try_code(brand, name, model)
        except BrandhouseError as error:
            problems.append(Problem(brand.name, where, str(error), f"correct {where}, or the entry point and params in brand.toml"))
    unload_brand(brand.name)
    return problems


def _try_code(brand: Brand, name: str, model: ModelConfig) -> None:
    from brandhouse_flows.search import build_candidate
    from brandhouse_shared.features import build_model_input

    subject = f"{brand.name}/{name}"
    code = load_brand_module(brand, model.entrypoint)
    for candidate, declared in model.candidates.items():
        build_candidate(code, subject, candidate, declared.params)
    contract = Contract(model.inputs)
    build_model_input(code, contract.frame_of(contract.parse_rows(sample_rows(brand.config, name))), subject)


def sample_rows(config: BrandConfig, model: str, count: int = SAMPLE_ROWS) -> list[dict[str, Any]]:
    """Make up instances that fit a model's input schema; deterministic, and no data are read."""
    fields = config.models[model].inputs
    return [{name: _sample_value(field, index) for name, field in fields.items()} for index in range(count)]


def _sample_value(field: InputField, index: int) -> Any:
    match field.type:
        case FieldType.NUMBER | FieldType.INTEGER:
            low = field.min if field.min is not None else min(0.0, field.max or 0.0)
            high = field.max if field.max is not None else max(low + 10.0, low)
            value = low + (high - low) * (index % SAMPLE_ROWS) / (SAMPLE_ROWS - 1)
            return round(value) if field.type is FieldType.INTEGER else value
        case FieldType.BOOLEAN:
            return index % 2 == 0
        case FieldType.CATEGORY:
            return field.values[index % len(field.values)] if field.values else "sample"
        case FieldType.DATE:
            return datetime(2024, 1 + index % 12, 1 + index % 28, tzinfo=UTC).strftime(field.format)
        case FieldType.TEXT:
            return "a few words to try the code with"[: field.max_length]
