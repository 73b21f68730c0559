"""Is a folder a good brand? Every problem at once, with where it is and how to mend it.

Reads the declaration, reads the code without running it, then runs the two functions on a few rows made up from the
input schema. Data are not touched: that they fit the schema is what ingest checks.
"""

import ast
import math
import tomllib
import traceback
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from brandhouse_flows.toml_lines import find_line
from brandhouse_shared.brands import Brand, ModelCode, load_brand_module, read_brand, unload_brand
from brandhouse_shared.config import BrandConfig, Distribution, FieldType, InputField, ModelConfig, Scalar
from brandhouse_shared.contracts import Contract
from brandhouse_shared.errors import BrandConfigError, BrandhouseError, EntrypointError
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
        return [
            Problem(folder.name, find_line(folder, text), text, "correct brand.toml; docs/reference lists its keys")
            for text in error.problems
        ]
    found = [*_packaging_problems(brand), *_pointer_problems(brand), *_schedule_problems(brand), *_import_problems(brand)]
    # Code that reaches outside its brand is not run to see what else is wrong with it.
    if not any(problem.what.startswith("imports ") for problem in found):
        found += _code_problems(brand)
    return found


def _packaging_problems(brand: Brand) -> Iterator[Problem]:
    path = brand.folder / "pyproject.toml"
    try:
        name = tomllib.loads(path.read_text(encoding="utf-8"))["project"]["name"]
    except FileNotFoundError:
        yield Problem(
            brand.name,
            "pyproject.toml",
            "does not exist",
            "it holds a [project] table with the brand's name, version and dependencies; docs/brands.md shows one",
        )
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
            where = find_line(brand.folder, f"models.{name}.schedule.cron")
            what = f"schedule {model.schedule.cron!r} of {name} is no cron expression"
            yield Problem(brand.name, where, what, "five fields, such as '0 4 * * 1'")
        if model.schedule and not _is_timezone(model.schedule.timezone):
            where = find_line(brand.folder, f"models.{name}.schedule.timezone")
            what = f"schedule of {name}: unknown time zone {model.schedule.timezone!r}"
            yield Problem(brand.name, where, what, "a name of the IANA list, such as 'Europe/Amsterdam'")


def _is_cron(text: str) -> bool:
    try:
        CronSim(text, datetime(2024, 1, 1, tzinfo=UTC))
    except CronSimError:
        return False
    return True


def _is_timezone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
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
        for error in _try_code(brand, name, model):
            where = _code_place(brand, model, error)
            problems.append(Problem(brand.name, where, str(error), "correct the code, or the entry point and params in brand.toml"))
    unload_brand(brand.name)
    return problems


def _try_code(brand: Brand, name: str, model: ModelConfig) -> Iterator[BrandhouseError]:
    """Run what training would run first, on made-up rows, and yield what goes wrong."""
    subject = f"{brand.name}/{name}"
    try:
        code = load_brand_module(brand, model.entrypoint)
    except EntrypointError as error:
        yield error
        return
    for attempt in (_try_estimators, _try_features):
        try:
            attempt(code, brand.config, name, subject)
        except BrandhouseError as error:
            yield error


def _try_estimators(code: ModelCode, config: BrandConfig, name: str, subject: str) -> None:
    from brandhouse_flows.search import build_candidate

    for candidate, declared in config.models[name].candidates.items():
        build_candidate(code, subject, candidate, declared.params)
        if declared.space:
            build_candidate(
                code, subject, candidate, {**declared.params, **{key: _first_of(space) for key, space in declared.space.items()}}
            )


def _first_of(space: Distribution) -> Scalar:
    if space.choices is not None:
        return space.choices[0]
    low = space.low or 0.0
    return int(low) if space.integer else low


def _try_features(code: ModelCode, config: BrandConfig, name: str, subject: str) -> None:
    from brandhouse_shared.features import build_model_input

    contract = Contract(config.models[name].inputs)
    rows = contract.frame_of(contract.parse_rows(sample_rows(config, name)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # made-up rows divide by zero and the like; what counts is that nothing is raised
        build_model_input(code, rows, subject)


def _code_place(brand: Brand, model: ModelConfig, error: BaseException) -> str:
    """The innermost line of the brand's own code that raised; else the module, or the entry point if there is none."""
    cause, lines = error.__cause__, []
    while cause is not None:
        frames = traceback.extract_tb(cause.__traceback__)
        lines += [frame for frame in frames if Path(frame.filename).is_relative_to(brand.folder)]
        if isinstance(cause, SyntaxError) and cause.filename and Path(cause.filename).is_relative_to(brand.folder):
            return f"{Path(cause.filename).relative_to(brand.folder).as_posix()}:{cause.lineno}"
        cause = cause.__cause__
    if lines:
        return f"{Path(lines[-1].filename).relative_to(brand.folder).as_posix()}:{lines[-1].lineno}"
    module = f"src/{model.entrypoint.replace('.', '/')}.py"
    if (brand.folder / module).is_file():
        return module
    return find_line(brand.folder, f"models.{next(name for name, other in brand.config.models.items() if other is model)}.entrypoint")


def sample_rows(config: BrandConfig, model: str, count: int = SAMPLE_ROWS) -> list[dict[str, Any]]:
    """Make up instances that fit a model's input schema; deterministic, and no data are read. Nullable fields are null once."""
    fields = config.models[model].inputs
    return [
        {name: None if field.nullable and index == 1 else _sample_value(field, index) for name, field in fields.items()}
        for index in range(count)
    ]


def _sample_value(field: InputField, index: int) -> Any:
    share = (index % SAMPLE_ROWS) / (SAMPLE_ROWS - 1)
    match field.type:
        case FieldType.NUMBER | FieldType.INTEGER:
            low = field.min if field.min is not None else min(0.0, field.max if field.max is not None else 0.0)
            high = field.max if field.max is not None else max(low, 0.0) + 10.0
            if field.type is FieldType.NUMBER:
                return low + (high - low) * share
            return math.ceil(low) + round((math.floor(high) - math.ceil(low)) * share)
        case FieldType.BOOLEAN:
            return index % 2 == 0
        case FieldType.CATEGORY if field.values:
            return field.values[index % len(field.values)]
        case FieldType.CATEGORY:
            return "sample"[: field.max_length]
        case FieldType.DATE:
            return datetime(2024, 1 + index % 12, 1 + index % 28, tzinfo=UTC).strftime(field.format)
        case FieldType.TEXT:
            return "a few words to try the code with"[: field.max_length]
