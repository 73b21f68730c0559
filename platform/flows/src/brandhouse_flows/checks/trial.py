"""Run a brand's two functions on made-up rows, as training would run them first, and say what goes wrong.

The only part of a check that runs the brand's code and brings in the learning libraries.
"""

import ast
import traceback
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline

from brandhouse_flows.checks.declaration import FILE, read_places
from brandhouse_flows.checks.problems import Problem, make_problem
from brandhouse_flows.search import build_candidate
from brandhouse_flows.toml_lines import Place, nearest_place
from brandhouse_shared.brands import Brand, ModelCode, load_brand_module, unload_brand
from brandhouse_shared.config import Distribution, InputField, ModelConfig, Scalar
from brandhouse_shared.contracts import Contract
from brandhouse_shared.errors import BrandhouseError, EntrypointError
from brandhouse_shared.features import build_model_input
from brandhouse_shared.invented import invent_rows

_Found = tuple[str, BrandhouseError]
"""Id of the rule, and what was raised."""


def trial_problems(brand: Brand, trees: dict[str, Any]) -> list[Problem]:
    """Return what goes wrong when the code of every model is run.

    Args:
        brand: Its code must import nothing that is forbidden: it is run here.
        trees: The parsed files of its package, as `code.source_trees` returns them.
    """
    names = {text for tree in trees.values() if isinstance(tree, ast.AST) for text in _texts(tree)}
    problems = []
    for name in brand.config.models:
        problems += _problems_of(brand, name, names)
    unload_brand(brand.name)
    return problems


def _texts(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.keyword) and node.arg:
            yield node.arg


def _problems_of(brand: Brand, name: str, names: set[str]) -> list[Problem]:
    model = brand.config.models[name]
    subject = f"{brand.name}/{name}"
    try:
        code = load_brand_module(brand, model.entrypoint)
    except EntrypointError as error:
        return [_raised(brand, name, "code-loads", error)]
    estimators, found = _try_estimators(code, model, subject)
    contract = Contract(model.inputs)
    rows = contract.frame_of(contract.parse_rows(invent_rows(model.inputs)))
    try:
        features = _features(code, rows, subject)
    except BrandhouseError as error:
        return [_raised(brand, name, *one) for one in (*found, ("features-build", error))]
    unused = [] if found else _unused(code, model.inputs, rows, features, estimators, names, subject)
    return [*(_raised(brand, name, *one) for one in found), *_unused_problems(brand, name, unused)]


def _try_estimators(code: ModelCode, model: ModelConfig, subject: str) -> tuple[list[Any], list[_Found]]:
    estimators, found = [], []
    for candidate, declared in model.candidates.items():
        tried: list[dict[str, Scalar]] = [dict(declared.params)]
        if declared.space:
            tried.append({**declared.params, **{key: _first_of(space) for key, space in declared.space.items()}})
        for params in tried:
            try:
                estimators.append(build_candidate(code, subject, candidate, params))
            except BrandhouseError as error:
                found.append(("estimator-builds", error))
    return estimators, found


def _first_of(space: Distribution) -> Scalar:
    if space.choices is not None:
        return space.choices[0]
    low = space.low or 0.0
    return int(low) if space.integer else low


def _features(code: ModelCode, rows: pd.DataFrame, subject: str) -> pd.DataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # made-up rows divide by zero and the like; what counts is that nothing is raised
        return build_model_input(code, rows, subject)


def _raised(brand: Brand, name: str, rule_id: str, error: BrandhouseError) -> Problem:
    file, line, column = _code_place(brand, name, error)
    return make_problem(brand.folder, rule_id, file, str(error), line=line, column=column)


def _code_place(brand: Brand, name: str, error: BaseException) -> tuple[str, int | None, int | None]:
    """The innermost line of the brand's own code that raised; else the module, or the entry point if there is none."""
    cause, frames = error.__cause__, []
    while cause is not None:
        if isinstance(cause, SyntaxError) and cause.filename and _is_of(brand, cause.filename):
            return _below(brand, cause.filename), cause.lineno, cause.offset
        frames += [frame for frame in traceback.extract_tb(cause.__traceback__) if _is_of(brand, frame.filename)]
        cause = cause.__cause__
    if frames:
        column = frames[-1].colno
        return _below(brand, frames[-1].filename), frames[-1].lineno, None if column is None else column + 1
    model = brand.config.models[name]
    module = f"src/{model.entrypoint.replace('.', '/')}.py"
    if (brand.folder / module).is_file():
        return module, None, None
    return FILE, *(_place(brand, ("models", name, "entrypoint")) or (None, None))


def _is_of(brand: Brand, file: str) -> bool:
    return Path(file).is_relative_to(brand.folder)


def _below(brand: Brand, file: str) -> str:
    return Path(file).relative_to(brand.folder).as_posix()


def _place(brand: Brand, path: Sequence[str]) -> Place | None:
    return nearest_place(read_places(brand.folder), path)


def _unused(
    code: ModelCode,
    inputs: dict[str, InputField],
    rows: pd.DataFrame,
    features: pd.DataFrame,
    estimators: Sequence[Any],
    names: set[str],
    subject: str,
) -> list[str]:
    """Fields that change nothing: the code does not name them, no feature depends on them, and no estimator takes them as they are.

    All three must hold, so that a false alarm is rare; a field that is only copied counts as read if an estimator takes it.
    """
    taken = _taken_columns(estimators)
    kept = set(features.columns) if taken is None else set(features.columns) & taken
    suspects = [field for field in inputs if field not in kept and field not in names]
    return [field for field in suspects if _is_without_effect(code, field, rows, features, subject)]


def _taken_columns(estimators: Sequence[Any]) -> set[str] | None:
    """Columns that the first steps name, if all of them drop the rest; None where that cannot be told."""
    taken: set[str] = set()
    for estimator in estimators:
        first = estimator.steps[0][1] if isinstance(estimator, Pipeline) else estimator
        if not isinstance(first, ColumnTransformer) or first.remainder != "drop":
            return None
        for _, transformer, columns in first.transformers:
            chosen = [columns] if isinstance(columns, str) else columns
            if not isinstance(chosen, list | tuple) or not all(isinstance(column, str) for column in chosen):
                return None
            taken |= set(chosen) if transformer != "drop" else set()
    return taken


def _is_without_effect(code: ModelCode, field: str, rows: pd.DataFrame, features: pd.DataFrame, subject: str) -> bool:
    others = [column for column in features.columns if column != field]
    moved = rows.copy(deep=False)  # `assign` cannot take a field named `self`
    moved[field] = _other_values(rows[field])
    if moved[field].equals(rows[field]):
        return False  # a field of one value: nothing can be told
    try:
        changed = _features(code, moved, subject)
    except BrandhouseError:
        return False
    return [column for column in changed.columns if column != field] == others and changed[others].equals(features[others])


def _other_values(column: pd.Series) -> Any:
    if pd.api.types.is_string_dtype(column) and column.nunique() < 2:
        return [f"other {number}" for number in range(len(column))]
    return column.to_numpy()[::-1]


def _unused_problems(brand: Brand, name: str, fields: Sequence[str]) -> Iterator[Problem]:
    for field in fields:
        place = _place(brand, ("models", name, "inputs", field))
        what = f"nothing reads the input {field!r} of {name}: no feature depends on it and no estimator takes it"
        yield make_problem(brand.folder, "unused-input", FILE, what, line=place and place.line, column=place and place.column)
