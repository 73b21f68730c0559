"""Typed expressions over the input fields of one row: what a traced `build_features` is made of.

Here are the rules of pandas and NumPy for one element: which type an operation has, what it does with NaN, with zero
divisors and with booleans. An operation is built from primitives that ONNX Runtime has too, or is refused: a wrong
number is worse than a slow one. Nothing here knows symbolic frames (`tracing`) or ONNX (`feature_graph`).

`+ - * / // %`, comparisons, rounding and lookups agree with NumPy in every bit. `log`, `exp`, `log1p`, `expm1`, `pow`,
`sin` and `cos` agree within a few units in the last place of a float64, as NumPy itself does between processors.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from brandhouse_shared.errors import BrandhouseError

EXACT_INTEGER = 2**53
INT32_LIMIT = 2**31 - 1

_refusals: ContextVar[list[str] | None] = ContextVar("refusals", default=None)


class NotTraceableError(BrandhouseError):
    """An operation has no exact counterpart in a graph. Remembered even if the brand's code swallows it."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        refused = _refusals.get()
        if refused is not None:
            refused.append(what)


@contextmanager
def remembering_refusals() -> Iterator[list[str]]:
    """Collect all refusals raised inside, including swallowed ones."""
    refused: list[str] = []
    token = _refusals.set(refused)
    try:
        yield refused
    finally:
        _refusals.reset(token)


class Kind(StrEnum):
    """The type of an expression's values."""

    NUMBER = "float64"
    SINGLE = "float32"
    INTEGER = "int64"
    CALENDAR = "int32"
    """A part of a date; int32 in pandas, float64 where a date is missing: only within a known bound."""
    BOOLEAN = "bool"
    TEXT = "text"
    OPTIONAL_TEXT = "text with missing values"
    DATE = "date"
    """Whole seconds since 1970-01-01."""
    DURATION = "duration"
    """Whole seconds."""
    OPAQUE = "date with fractions of a second or a time zone"


NUMERIC = (Kind.BOOLEAN, Kind.CALENDAR, Kind.INTEGER, Kind.NUMBER)
DOUBLES = (Kind.NUMBER, Kind.CALENDAR, Kind.DATE, Kind.DURATION)


@dataclass(frozen=True, eq=False, slots=True)
class Node:
    """One operation.

    Attributes:
        op: `input`, `const`, or a primitive of `feature_graph`.
        kind: Type of the result.
        args: Operands.
        value: The constant, the (field, transform) of an input, or the table of a lookup.
        bound: Largest magnitude, where known (CALENDAR always).
        can_be_nan: Whether the result may be NaN.
        can_be_inf: Whether the result may be infinite.
    """

    op: str
    kind: Kind
    args: "tuple[Node, ...]" = ()
    value: Any = None
    bound: float | None = None
    can_be_nan: bool = True
    can_be_inf: bool = True

    @property
    def is_const(self) -> bool:
        """Whether this is a literal."""
        return self.op == "const"


def constant(value: Any) -> Node:
    """Turn a Python or NumPy scalar into a node.

    Raises:
        NotTraceableError: If it is something else.
    """
    if isinstance(value, (bool, np.bool_)):
        return Node("const", Kind.BOOLEAN, value=bool(value), bound=1, can_be_nan=False, can_be_inf=False)
    if isinstance(value, (int, np.integer)):
        if abs(int(value)) > EXACT_INTEGER:
            raise NotTraceableError("a whole number beyond 2**53")
        return Node("const", Kind.INTEGER, value=int(value), bound=abs(int(value)), can_be_nan=False, can_be_inf=False)
    if isinstance(value, (float, np.floating)):
        number = float(value)
        return Node("const", Kind.NUMBER, value=number, bound=abs(number), can_be_nan=math.isnan(number), can_be_inf=math.isinf(number))
    if isinstance(value, str):
        return Node("const", Kind.TEXT, value=str(value), can_be_nan=False, can_be_inf=False)
    raise NotTraceableError(f"a {type(value).__name__} as an operand")


def number(value: float) -> Node:
    """A float64 literal."""
    return constant(float(value))


# -- types -----------------------------------------------------------------------------------------------------------


def cast(node: Node, kind: Kind) -> Node:
    """Change the type without changing the value, as NumPy promotes operands."""
    if node.kind is kind:
        return node
    if node.is_const and kind is Kind.NUMBER:
        return number(float(node.value))
    if node.kind in DOUBLES and kind in DOUBLES:  # the same float64 in the graph
        return Node("same", kind, (node,), bound=node.bound, can_be_nan=node.can_be_nan, can_be_inf=node.can_be_inf)
    return Node("cast", kind, (node,), bound=node.bound, can_be_nan=node.can_be_nan, can_be_inf=node.can_be_inf)


def as_number(node: Node, what: str, *, booleans: bool = True) -> Node:
    """Promote to float64, or refuse."""
    if node.kind not in NUMERIC or (node.kind is Kind.BOOLEAN and not booleans):
        raise NotTraceableError(f"{what} of {node.kind} values")
    return cast(node, Kind.NUMBER)


def common_kind(left: Node, right: Node, what: str) -> Kind:
    """The type NumPy gives two operands."""
    kinds = {left.kind, right.kind}
    if len(kinds) == 1:
        return left.kind
    if not kinds <= set(NUMERIC):
        raise NotTraceableError(f"{what} between {left.kind} and {right.kind} values")
    if Kind.NUMBER in kinds:
        return Kind.NUMBER
    if Kind.CALENDAR in kinds:
        small = all(node.kind in (Kind.CALENDAR, Kind.BOOLEAN) or node.is_const for node in (left, right))
        return Kind.CALENDAR if small else Kind.NUMBER
    return Kind.INTEGER


def astype(node: Node, kind: Kind) -> Node:
    """`Series.astype`: a conversion the brand asks for."""
    if kind is node.kind:
        return node
    match kind:
        case Kind.NUMBER:
            return as_number(node, "astype(float)")
        case Kind.SINGLE if node.kind in NUMERIC:
            return Node("cast", Kind.SINGLE, (node,), can_be_nan=node.can_be_nan, can_be_inf=True)
        case Kind.BOOLEAN if node.kind in (Kind.NUMBER, Kind.INTEGER, Kind.CALENDAR):
            return negate(compare("equal", node, constant(0)))
        case Kind.INTEGER if node.kind is Kind.BOOLEAN:
            return cast(node, Kind.INTEGER)
        case Kind.INTEGER if node.kind in (Kind.NUMBER, Kind.CALENDAR):
            if node.can_be_nan or node.can_be_inf:
                raise NotTraceableError("astype(int) of a number that may be missing or infinite; fillna and clip first")
            return Node("cast", Kind.INTEGER, (node,), bound=node.bound, can_be_nan=False, can_be_inf=False)
    raise NotTraceableError(f"astype from {node.kind} to {kind}")


# -- truth -----------------------------------------------------------------------------------------------------------


def compare(op: str, left: Node, right: Node) -> Node:
    """`== != < <= > >=`; NaN compares false, and true for `not_equal`."""
    if op == "not_equal":
        return negate(compare("equal", left, right))
    if left.kind is right.kind is Kind.TEXT:
        if op != "equal":
            raise NotTraceableError("the order of texts")
        return Node("equal", Kind.BOOLEAN, (left, right), can_be_nan=False, can_be_inf=False)
    if left.kind is right.kind and left.kind in (Kind.DATE, Kind.DURATION):
        return Node(op, Kind.BOOLEAN, (left, right), can_be_nan=False, can_be_inf=False)
    kind = common_kind(left, right, "a comparison")
    if kind not in NUMERIC:
        raise NotTraceableError(f"a comparison of {kind} values")
    kind = Kind.INTEGER if kind is Kind.INTEGER else Kind.NUMBER
    return Node(op, Kind.BOOLEAN, (cast(left, kind), cast(right, kind)), can_be_nan=False, can_be_inf=False)


def negate(node: Node) -> Node:
    """`~` of a boolean."""
    if node.kind is not Kind.BOOLEAN:
        raise NotTraceableError(f"~ of {node.kind} values")
    return Node("not", Kind.BOOLEAN, (node,), bound=1, can_be_nan=False, can_be_inf=False)


def logic(op: str, left: Node, right: Node) -> Node:
    """`and`, `or`, `xor` of two booleans."""
    if left.kind is not Kind.BOOLEAN or right.kind is not Kind.BOOLEAN:
        raise NotTraceableError(f"{op} between {left.kind} and {right.kind} values")
    return Node(op, Kind.BOOLEAN, (left, right), bound=1, can_be_nan=False, can_be_inf=False)


def is_missing(node: Node) -> Node:
    """`isna`: NaN or no date. A canonical text is never missing, only empty."""
    if node.kind is Kind.OPTIONAL_TEXT:
        return node.args[1]
    if node.kind in DOUBLES:
        return Node("isnan", Kind.BOOLEAN, (node,), bound=1, can_be_nan=False, can_be_inf=False)
    if node.kind is Kind.SINGLE:
        raise NotTraceableError("isna of float32 values")
    return constant(False)
