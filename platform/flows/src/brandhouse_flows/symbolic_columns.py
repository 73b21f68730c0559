"""A stand-in for a pandas Series that records what is asked of it instead of computing.

It offers what has an exact counterpart in a graph; every other attribute, and every question whose answer depends on
the data (truth value, length, iteration, reductions), raises `NotTraceableError`.
"""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any, NoReturn, Self

import numpy as np

from brandhouse_flows.date_expressions import build_date_part, build_midnight, build_moment, build_span_part
from brandhouse_flows.element_functions import UFUNCS, arithmetic_of, comparison_of, logic_of
from brandhouse_flows.expressions import (
    Kind,
    Node,
    NotTraceableError,
    astype,
    cast,
    compare,
    constant,
    is_missing,
    logic,
    negate,
    number,
)
from brandhouse_flows.operations import arithmetic, clip, fill_missing, is_in, map_values, unary, where

KINDS_BY_DTYPE = {
    "float64": Kind.NUMBER,
    "float32": Kind.SINGLE,
    "int64": Kind.INTEGER,
    "bool": Kind.BOOLEAN,
}


def kind_of_dtype(dtype: Any) -> Kind:
    """The kind that `astype(dtype)` makes."""
    if dtype is str or dtype in ("str", "string"):
        return Kind.TEXT
    try:
        return KINDS_BY_DTYPE[np.dtype(dtype).name]
    except (TypeError, KeyError):
        raise NotTraceableError(f"astype({dtype!r})"[:100]) from None


class Refusing:
    """Base of symbolic objects: whatever is not defined refuses, with its name."""

    _subject = "an object"

    def __getattr__(self, name: str) -> NoReturn:
        raise NotTraceableError(f"{self._subject}.{name}")

    def _refuse(self, what: str) -> NoReturn:
        raise NotTraceableError(f"{what} of {self._subject}, which depends on the data")

    def __bool__(self) -> bool:
        self._refuse("the truth value")

    def __len__(self) -> int:
        self._refuse("the length")

    def __iter__(self) -> Any:
        self._refuse("iteration")

    def __float__(self) -> float:
        self._refuse("the number")

    def __int__(self) -> int:
        self._refuse("the whole number")

    def __index__(self) -> int:
        self._refuse("the index")

    def __contains__(self, item: object) -> bool:
        self._refuse("membership")

    def __str__(self) -> "str":
        self._refuse("the text")

    def __format__(self, spec: "str") -> "str":
        self._refuse("the text")

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        self._refuse("the array")


def operand(value: Any) -> Node:
    """The node of a symbolic column or a literal.

    Raises:
        NotTraceableError: If it is a real Series, an array, or anything else.
    """
    if isinstance(value, SymbolicColumn):
        return value.node
    if isinstance(value, (date, timedelta, np.timedelta64, np.datetime64)):
        return build_moment(value)
    return constant(value)


def _binary(build: Callable[[Node, Node], Node], *, swapped: bool = False) -> Any:
    def method(self: "SymbolicColumn", other: Any) -> Any:
        if isinstance(other, SymbolicTable):
            return NotImplemented
        left, right = self.node, operand(other)
        return SymbolicColumn(build(right, left) if swapped else build(left, right))

    return method


def _in_place(name: str) -> Any:
    build = arithmetic_of(name)

    def method(self: "SymbolicColumn", other: Any) -> "SymbolicColumn":
        # pandas changes the Series object itself, which others may hold under another name
        self.node = build(self.node, operand(other))
        return self

    return method


class SymbolicTable(Refusing):
    """What a column must know of frames: that they exist and take precedence in arithmetic."""


class SymbolicColumn(Refusing):
    """One column of values to come."""

    _subject = "Series"
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, node: Node) -> None:
        self.node = node

    __add__, __radd__, __iadd__ = _binary(arithmetic_of("add")), _binary(arithmetic_of("add"), swapped=True), _in_place("add")
    __sub__, __rsub__, __isub__ = _binary(arithmetic_of("sub")), _binary(arithmetic_of("sub"), swapped=True), _in_place("sub")
    __mul__, __rmul__, __imul__ = _binary(arithmetic_of("mul")), _binary(arithmetic_of("mul"), swapped=True), _in_place("mul")
    __truediv__, __rtruediv__, __itruediv__ = _binary(arithmetic_of("div")), _binary(arithmetic_of("div"), swapped=True), _in_place("div")
    __floordiv__, __rfloordiv__ = _binary(arithmetic_of("floordiv")), _binary(arithmetic_of("floordiv"), swapped=True)
    __mod__, __rmod__ = _binary(arithmetic_of("mod")), _binary(arithmetic_of("mod"), swapped=True)
    __pow__, __rpow__ = _binary(arithmetic_of("pow")), _binary(arithmetic_of("pow"), swapped=True)
    __ifloordiv__, __imod__, __ipow__ = _in_place("floordiv"), _in_place("mod"), _in_place("pow")
    __eq__, __ne__ = _binary(comparison_of("equal")), _binary(comparison_of("not_equal"))
    __lt__, __le__ = _binary(comparison_of("less")), _binary(comparison_of("less_equal"))
    __gt__, __ge__ = _binary(comparison_of("greater")), _binary(comparison_of("greater_equal"))
    __and__, __rand__ = _binary(logic_of("and")), _binary(logic_of("and"), swapped=True)
    __or__, __ror__ = _binary(logic_of("or")), _binary(logic_of("or"), swapped=True)
    __xor__, __rxor__ = _binary(logic_of("xor")), _binary(logic_of("xor"), swapped=True)
    add, sub, mul, div, truediv = __add__, __sub__, __mul__, __truediv__, __truediv__
    radd, rsub, rmul, rdiv, rtruediv = __radd__, __rsub__, __rmul__, __rtruediv__, __rtruediv__
    floordiv, mod, pow = __floordiv__, __mod__, __pow__
    eq, ne, lt, le, gt, ge = __eq__, __ne__, __lt__, __le__, __gt__, __ge__

    def __iand__(self, other: Any) -> Self:  # type: ignore[misc]  # in place, as pandas does
        self.node = logic("and", self.node, operand(other))
        return self

    def __ior__(self, other: Any) -> Self:  # type: ignore[misc]  # in place, as pandas does
        self.node = logic("or", self.node, operand(other))
        return self

    def __neg__(self) -> "SymbolicColumn":
        return SymbolicColumn(unary("neg", self.node))

    def __pos__(self) -> "SymbolicColumn":
        return SymbolicColumn(self.node)

    def __abs__(self) -> "SymbolicColumn":
        return SymbolicColumn(unary("abs", self.node))

    def __invert__(self) -> "SymbolicColumn":
        return SymbolicColumn(negate(self.node))

    abs = __abs__

    def copy(self, deep: bool = True) -> "SymbolicColumn":
        """A column of its own."""
        return SymbolicColumn(self.node)

    def to_numpy(self) -> "SymbolicColumn":
        """The values; operations on arrays and on columns agree where both are traced."""
        return SymbolicColumn(self.node)

    @property
    def values(self) -> "SymbolicColumn":
        """Like `to_numpy`."""
        return SymbolicColumn(self.node)

    def pipe(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Apply a function to the whole column."""
        return function(self, *args, **kwargs)

    def astype(self, dtype: Any) -> "SymbolicColumn":
        """Change the type."""
        return SymbolicColumn(astype(self.node, kind_of_dtype(dtype)))

    def fillna(self, value: Any) -> "SymbolicColumn":
        """Replace missing values."""
        return SymbolicColumn(fill_missing(self.node, operand(value)))

    def isna(self) -> "SymbolicColumn":
        """Whether a value is missing."""
        return SymbolicColumn(is_missing(self.node))

    def notna(self) -> "SymbolicColumn":
        """Whether a value is there."""
        return SymbolicColumn(negate(is_missing(self.node)))

    isnull, notnull = isna, notna

    def clip(self, lower: Any = None, upper: Any = None) -> "SymbolicColumn":
        """Limit the values."""
        bounds = [None if bound is None else operand(bound) for bound in (lower, upper)]
        return SymbolicColumn(clip(self.node, *bounds))

    def between(self, left: Any, right: Any, inclusive: str = "both") -> "SymbolicColumn":
        """Whether values lie in a range."""
        low = compare("greater_equal" if inclusive in ("both", "left") else "greater", self.node, operand(left))
        high = compare("less_equal" if inclusive in ("both", "right") else "less", self.node, operand(right))
        return SymbolicColumn(logic("and", low, high))

    def isin(self, values: Any) -> "SymbolicColumn":
        """Whether values are among literals."""
        if not isinstance(values, (list, tuple, set, frozenset)):
            raise NotTraceableError(f"isin with a {type(values).__name__}")
        ordered = values if isinstance(values, (list, tuple)) else sorted(values)  # a set's order differs between processes
        return SymbolicColumn(is_in(self.node, ordered))

    def map(self, arg: Any) -> "SymbolicColumn":
        """Translate values by a dictionary."""
        if type(arg) is not dict:
            raise NotTraceableError("map with other than a dictionary")
        return SymbolicColumn(map_values(self.node, arg))

    def replace(self, to_replace: Any, value: Any = None) -> "SymbolicColumn":
        """Replace whole texts."""
        table = to_replace if type(to_replace) is dict and value is None else {to_replace: value}
        pairs = [(constant(old), constant(new)) for old, new in table.items()]
        if self.node.kind is not Kind.TEXT or any(one.kind is not Kind.TEXT for pair in pairs for one in pair):
            raise NotTraceableError("replace of other than texts by texts")
        result = self.node
        for old, new in pairs:
            result = where(compare("equal", self.node, old), new, result)
        return SymbolicColumn(result)

    def where(self, cond: Any, other: Any = np.nan) -> "SymbolicColumn":
        """Keep values where the condition holds."""
        return SymbolicColumn(_keep(operand(cond), self.node, operand(other)))

    def mask(self, cond: Any, other: Any = np.nan) -> "SymbolicColumn":
        """Replace values where the condition holds."""
        return SymbolicColumn(_keep(negate(operand(cond)), self.node, operand(other)))

    def round(self, decimals: int = 0) -> "SymbolicColumn":
        """Round half to even, as NumPy does."""
        if self.node.kind is not Kind.NUMBER or type(decimals) is not int or not 0 <= decimals <= 15:
            raise NotTraceableError(f"round of {self.node.kind} values")
        scaled = arithmetic("mul", self.node, number(10.0**decimals)) if decimals else self.node
        rounded = Node("round", Kind.NUMBER, (scaled,), can_be_nan=self.node.can_be_nan, can_be_inf=scaled.can_be_inf)
        return SymbolicColumn(arithmetic("div", rounded, number(10.0**decimals)) if decimals else rounded)

    def __getitem__(self, key: Any) -> NoReturn:
        self._refuse("single rows")

    def __setitem__(self, key: Any, value: Any) -> NoReturn:
        self._refuse("assignment to rows")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if any(isinstance(one, SymbolicTable) for one in inputs):
            return NotImplemented
        if method != "__call__" or kwargs or ufunc.__name__ not in UFUNCS:
            raise NotTraceableError(f"np.{ufunc.__name__}")
        return SymbolicColumn(UFUNCS[ufunc.__name__](*[operand(one) for one in inputs]))

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if function.__name__ not in FUNCTIONS:
            raise NotTraceableError(f"np.{function.__name__}")
        return FUNCTIONS[function.__name__](*args, **kwargs)

    @property
    def str(self) -> "TextAccessor":
        """Operations on texts."""
        if self.node.kind is not Kind.TEXT:
            raise NotTraceableError(f".str of {self.node.kind} values")
        return TextAccessor(self.node)

    @property
    def dt(self) -> "DateAccessor":
        """Parts of dates and spans."""
        if self.node.kind not in (Kind.DATE, Kind.DURATION):
            raise NotTraceableError(f".dt of {self.node.kind} values")
        return DateAccessor(self.node)


class TextAccessor(Refusing):
    """`Series.str`."""

    _subject = "Series.str"

    def __init__(self, node: Node) -> None:
        self._node = node

    def lower(self) -> SymbolicColumn:
        """Lower case; done before the graph, because ONNX asks the machine's locale."""
        return SymbolicColumn(_lower(self._node))

    def strip(self) -> SymbolicColumn:
        """Without blanks at both ends; done before the graph, because ONNX knows no such operation."""
        if self._node.op != "input":
            raise NotTraceableError(".str.strip() of a derived text; strip the input first")
        return SymbolicColumn(_input_text(self._node, {"text": "strip", "lower": "clean"}))


class DateAccessor(Refusing):
    """`Series.dt`, for dates and times in whole seconds."""

    _subject = "Series.dt"

    def __init__(self, node: Node) -> None:
        self._node = node

    def __getattr__(self, name: str) -> Any:
        node = self._node
        if node.kind is Kind.DATE and name == "normalize":
            return lambda: SymbolicColumn(build_midnight(node))
        if node.kind is Kind.DATE:
            return SymbolicColumn(build_date_part(node, name))
        if name == "total_seconds":
            return lambda: SymbolicColumn(cast(node, Kind.NUMBER))
        return SymbolicColumn(build_span_part(node, name))


def _lower(node: Node) -> Node:
    if node.op == "input":
        return _input_text(node, {"text": "lower", "strip": "clean"})
    if node.op == "concat":
        return Node("concat", Kind.TEXT, tuple(_lower(part) for part in node.args), can_be_nan=False, can_be_inf=False)
    if node.is_const and node.value.isascii():
        return constant(node.value.lower())
    raise NotTraceableError(".str.lower() of a derived text; lower the input first")


def _input_text(node: Node, successors: dict[str, str]) -> Node:
    """The same input field with a further transform; one that was done already changes nothing."""
    field, transform = node.value
    return Node("input", Kind.TEXT, value=(field, successors.get(transform, transform)), can_be_nan=False, can_be_inf=False)


def _keep(condition: Node, node: Node, other: Node) -> Node:
    if (other.kind is Kind.BOOLEAN and node.kind is not Kind.BOOLEAN) or (node.kind is Kind.BOOLEAN and other.kind is not Kind.BOOLEAN):
        raise NotTraceableError(f"where of {node.kind} values with {other.kind}")
    return where(condition, node, other)


def _select(conditions: Any, choices: Any, default: Any = 0) -> SymbolicColumn:
    result = operand(default)
    for condition, choice in reversed(list(zip(conditions, choices, strict=True))):
        result = where(operand(condition), operand(choice), result)
    return SymbolicColumn(result)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "where": lambda condition, x, y: SymbolicColumn(where(operand(condition), operand(x), operand(y))),
    "clip": lambda a, a_min=None, a_max=None: a.clip(a_min, a_max),
    "round": lambda a, decimals=0: a.round(decimals),
    "around": lambda a, decimals=0: a.round(decimals),
    "select": _select,
    "isin": lambda element, test_elements: element.isin(test_elements),
}
"""NumPy's other functions, by name."""
