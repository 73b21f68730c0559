"""Run a brand's `build_features` once on symbols, and keep what it would compute as expressions.

The result is exact or there is none: what has no counterpart in a graph, what depends on the data as a whole (a mean,
a length, a branch on a value) and what depends on anything but the data (the clock, chance, files) refuses with a
reason, and the model is served by Python instead.
"""

import dis
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import CodeType, FunctionType, ModuleType
from typing import Any

import pandas as pd

from brandhouse_flows.date_expressions import build_date_input
from brandhouse_flows.expressions import Kind, Node, NotTraceableError, remembering_refusals
from brandhouse_flows.symbolic_columns import SymbolicColumn, SymbolicTable
from brandhouse_flows.symbolic_frames import SymbolicFrame, concat, frame_of
from brandhouse_shared.brands import ModelCode
from brandhouse_shared.config import FieldType, InputField
from brandhouse_shared.contracts import Contract

IMPURE_NAMES = frozenset(
    {
        *("now", "today", "utcnow", "time", "time_ns", "perf_counter", "monotonic"),
        *("random", "rand", "randn", "randint", "choice", "permutation", "shuffle", "default_rng", "RandomState", "uuid1", "uuid4"),
        *("environ", "getenv", "open", "read_csv", "read_parquet", "read_json", "read_text", "read_bytes", "urlopen"),
        *("exec", "eval", "__import__"),
    }
)
"""Names of functions whose answer is not decided by the rows: traced, it would be frozen at training time."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One column of the features: its name, and how it follows from the input fields."""

    name: str
    node: Node

    @property
    def is_text(self) -> bool:
        """Whether the values are texts; all others become float32."""
        return self.node.kind in (Kind.TEXT, Kind.OPTIONAL_TEXT)


def trace_features(code: ModelCode, contract: Contract) -> list[Feature]:
    """Trace `build_features`.

    Returns:
        One expression a feature, in the order of the feature frame.

    Raises:
        NotTraceableError: With what stands in the way.
    """
    _check_purity(code.build_features)
    rows = SymbolicFrame({name: SymbolicColumn(_input(name, field)) for name, field in contract.fields.items()})
    with remembering_refusals() as refused, _pandas_replaced(code.build_features):
        try:
            built = code.build_features(rows)
        except NotTraceableError:
            raise
        except Exception as error:  # brand code on symbols may raise anything
            raise NotTraceableError(f"build_features raised {type(error).__name__} on symbolic rows: {str(error)[:200]}") from error
        if refused:
            raise NotTraceableError(refused[0])
        return _features(built)


def _input(name: str, field: InputField) -> Node:
    if field.is_numeric:
        bound = max(abs(field.min), abs(field.max)) if field.min is not None and field.max is not None else None
        return Node("input", Kind.NUMBER, value=(name, "number"), bound=bound, can_be_nan=field.nullable, can_be_inf=False)
    if field.type is not FieldType.DATE:
        return Node("input", Kind.TEXT, value=(name, "text"), can_be_nan=False, can_be_inf=False)
    return build_date_input(name, field.format, nullable=field.nullable)


def _features(built: Any) -> list[Feature]:
    if not isinstance(built, SymbolicFrame):
        raise NotTraceableError(f"build_features returned {type(built).__name__} for symbolic rows")
    features = [Feature(str(name), built[name].node) for name in built]
    for feature in features:
        if feature.node.kind in (Kind.DATE, Kind.DURATION, Kind.OPAQUE):
            raise NotTraceableError(f"feature {feature.name!r} is a date")
    if not features or len({feature.name for feature in features}) < len(features):
        raise NotTraceableError("no feature, or two of one name")
    return features


# -- purity ----------------------------------------------------------------------------------------------------------


def _check_purity(function: Callable[..., Any]) -> None:
    """Refuse a function that asks the clock, chance, the machine, or keeps state, itself or through its brand's functions."""
    seen: set[CodeType] = set()
    pending = [function]
    while pending:
        current = pending.pop()
        if not isinstance(current, FunctionType) or current.__code__ in seen:
            continue
        seen.add(current.__code__)
        names = set(_names(current.__code__))
        impure = sorted(names & IMPURE_NAMES)
        if impure:
            raise NotTraceableError(f"{current.__name__} uses {', '.join(impure)}, which the rows do not decide")
        package = current.__module__.split(".")[0]
        known = [current.__globals__.get(name) for name in names]
        pending += [one for one in known if isinstance(one, FunctionType) and one.__module__.split(".")[0] == package]


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    if any(step.opname in ("STORE_GLOBAL", "DELETE_GLOBAL") for step in dis.get_instructions(code)):
        yield "exec"
    for value in code.co_consts:
        if isinstance(value, CodeType):
            yield from _names(value)


# -- pandas ----------------------------------------------------------------------------------------------------------


class _RefusingCheck(type):
    """`isinstance(x, pd.DataFrame)` would answer differently for symbols: refuse."""

    def __instancecheck__(cls, instance: Any) -> bool:
        if isinstance(instance, (SymbolicTable, SymbolicColumn)):
            raise NotTraceableError(f"isinstance with pandas.{cls.__name__}")
        return isinstance(instance, getattr(pd, cls.__name__))


class DataFrame(metaclass=_RefusingCheck):
    """`pd.DataFrame` while tracing."""

    def __new__(cls, data: Any = None, index: Any = None, columns: Any = None) -> Any:
        """A symbolic frame."""
        return frame_of(data, index, columns)


class Series(metaclass=_RefusingCheck):
    """`pd.Series` while tracing."""

    def __new__(cls, data: Any = None, index: Any = None, name: Any = None) -> Any:
        """A symbolic column of a symbolic column."""
        if not isinstance(data, SymbolicColumn):
            raise NotTraceableError("pd.Series of other than a column")
        return data.copy()


def _refuse_call(name: str) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        raise NotTraceableError(f"pd.{name}")

    return call


_REPLACED: Mapping[str, Any] = {
    "DataFrame": DataFrame,
    "Series": Series,
    "concat": concat,
    "isna": lambda value: value.isna(),
    "isnull": lambda value: value.isna(),
    "notna": lambda value: value.notna(),
    "notnull": lambda value: value.notna(),
}
_KEPT = ("Timestamp", "Timedelta", "Index", "NA", "NaT")


class _TracedPandas(ModuleType):
    """The pandas module as brand code sees it while tracing."""

    def __getattr__(self, name: str) -> Any:
        if name in _REPLACED:
            return _REPLACED[name]
        return getattr(pd, name) if name in _KEPT else _refuse_call(name)


@contextmanager
def _pandas_replaced(function: Callable[..., Any]) -> Iterator[None]:
    """Let the brand's own modules see the traced pandas; nobody else's are touched."""
    stand_ins = {id(pd): _TracedPandas("pandas"), **{id(getattr(pd, name)): value for name, value in _REPLACED.items()}}
    namespaces = _own_namespaces(function)
    replaced = [(space, name, value) for space in namespaces for name, value in list(space.items()) if id(value) in stand_ins]
    for space, name, value in replaced:
        space[name] = stand_ins[id(value)]
    try:
        yield
    finally:
        for space, name, value in replaced:
            space[name] = value


def _own_namespaces(function: Callable[..., Any]) -> list[dict[str, Any]]:
    package = function.__module__.split(".")[0]
    modules = [module for name, module in list(sys.modules.items()) if name == package or name.startswith(f"{package}.")]
    spaces = {id(vars(module)): vars(module) for module in modules if package.startswith("brand_")}
    own = getattr(function, "__globals__", {})
    return list({**spaces, id(own): own}.values())
