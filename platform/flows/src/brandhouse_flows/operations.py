"""Arithmetic and choice on expressions, with the rules of pandas and NumPy for NaN, zero divisors and types.

Each function returns an expression of primitives that agrees with what pandas computes, or refuses. Types, comparisons
and logic are in `expressions`.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from brandhouse_flows.expressions import (
    INT32_LIMIT,
    NUMERIC,
    Kind,
    Node,
    NotTraceableError,
    cast,
    common_kind,
    compare,
    constant,
    is_missing,
    logic,
    negate,
    number,
)

# -- arithmetic ------------------------------------------------------------------------------------------------------


def arithmetic(op: str, left: Node, right: Node) -> Node:
    """`+ - * / // % **` with the types of NumPy. `op` is add, sub, mul, div, floordiv, mod or pow."""
    if left.kind is right.kind is Kind.TEXT and op == "add":
        return Node("concat", Kind.TEXT, (left, right), can_be_nan=False, can_be_inf=False)
    if left.kind in (Kind.DATE, Kind.DURATION) or right.kind in (Kind.DATE, Kind.DURATION):
        return _date_arithmetic(op, left, right)
    kind = common_kind(left, right, op)
    match kind:
        case Kind.BOOLEAN:
            return _boolean_arithmetic(op, left, right)
        case Kind.CALENDAR:
            return _calendar_arithmetic(op, left, right)
        case Kind.INTEGER:
            return _integer_arithmetic(op, left, right)
        case Kind.NUMBER:
            return _number_arithmetic(op, cast(left, Kind.NUMBER), cast(right, Kind.NUMBER), right)
    raise NotTraceableError(f"{op} of {kind} values")


def _date_arithmetic(op: str, left: Node, right: Node) -> Node:
    kinds = (op, left.kind, right.kind)
    nan = left.can_be_nan or right.can_be_nan
    if kinds == ("sub", Kind.DATE, Kind.DATE):
        return Node("sub", Kind.DURATION, (left, right), can_be_nan=nan, can_be_inf=False)
    if kinds in (("add", Kind.DATE, Kind.DURATION), ("sub", Kind.DATE, Kind.DURATION), ("add", Kind.DURATION, Kind.DATE)):
        return Node(op, Kind.DATE, (left, right), can_be_nan=nan, can_be_inf=False)
    if kinds == ("div", Kind.DURATION, Kind.DURATION):
        return Node("div", Kind.NUMBER, (left, right))
    raise NotTraceableError(f"{op} between {left.kind} and {right.kind} values")


def _boolean_arithmetic(op: str, left: Node, right: Node) -> Node:
    """NumPy adds booleans by `or` and multiplies them by `and`."""
    if op not in ("add", "mul"):
        raise NotTraceableError(f"{op} of two booleans")
    return logic("or" if op == "add" else "and", left, right)


def _calendar_arithmetic(op: str, left: Node, right: Node) -> Node:
    a, b = left.bound or 0.0, right.bound or 0.0
    x, y = cast(left, Kind.NUMBER), cast(right, Kind.NUMBER)
    if op == "div":
        return Node("div", Kind.NUMBER, (x, y))
    if op in ("floordiv", "mod") and (not right.is_const or right.kind is not Kind.INTEGER or right.value < 1):
        raise NotTraceableError(f"{op} of a part of a date by something else than a positive whole number")
    bounds = {"add": a + b, "sub": a + b, "mul": a * b, "floordiv": a + 1, "mod": b}
    if op not in bounds or bounds[op] > INT32_LIMIT:
        raise NotTraceableError(f"{op} of a part of a date that may leave the range of 32-bit integers")
    result = _number_arithmetic(op, x, y, right)
    nan = left.can_be_nan or right.can_be_nan
    return Node("same", Kind.CALENDAR, (result,), bound=bounds[op], can_be_nan=nan, can_be_inf=False)


def _integer_arithmetic(op: str, left: Node, right: Node) -> Node:
    if op == "div":
        return _number_arithmetic("div", cast(left, Kind.NUMBER), cast(right, Kind.NUMBER), right)
    x, y = cast(left, Kind.INTEGER), cast(right, Kind.INTEGER)
    if op in ("add", "sub", "mul"):
        return Node(op, Kind.INTEGER, (x, y), can_be_nan=False, can_be_inf=False)
    if op == "pow" and right.is_const and right.value == 2:
        return Node("mul", Kind.INTEGER, (x, x), can_be_nan=False, can_be_inf=False)
    if op in ("floordiv", "mod") and right.is_const and right.value:
        rest = Node("integer_mod", Kind.INTEGER, (x, y), can_be_nan=False, can_be_inf=False)
        if op == "mod":
            return rest
        whole = Node("sub", Kind.INTEGER, (x, rest), can_be_nan=False, can_be_inf=False)
        return Node("div", Kind.INTEGER, (whole, y), can_be_nan=False, can_be_inf=False)
    raise NotTraceableError(f"{op} of whole numbers; make them float first")


def _number_arithmetic(op: str, x: Node, y: Node, exponent: Node) -> Node:
    match op:
        case "add" | "sub" | "mul":
            nan = x.can_be_nan or y.can_be_nan or x.can_be_inf or y.can_be_inf
            return Node(op, Kind.NUMBER, (x, y), can_be_nan=nan)
        case "div":
            return Node("div", Kind.NUMBER, (x, y))
        case "floordiv":
            return _floor_divide(x, y)
        case "mod":
            return _remainder(x, y)
        case "pow":
            return _power(x, y, exponent)
    raise NotTraceableError(f"the operator {op}")


def _less(left: Node, right: Node) -> Node:
    return compare("less", left, right)


def _greater(left: Node, right: Node) -> Node:
    return compare("greater", left, right)


def _equal(left: Node, right: Node) -> Node:
    return compare("equal", left, right)


def _is_opposite(y: Node, rest: Node) -> Node:
    """Whether a non-zero remainder has the other sign than the divisor, as `npy_divmod` asks."""
    differ = Node("xor", Kind.BOOLEAN, (_less(y, number(0)), _less(rest, number(0))))
    return logic("and", differ, negate(_equal(rest, number(0))))


def _floor_divide(x: Node, y: Node) -> Node:
    """`npy_divmod` of NumPy, step by step: the naive floor(x / y) differs from it."""
    rest = Node("fmod", Kind.NUMBER, (x, y))
    quotient = Node("div", Kind.NUMBER, (x, y))
    exact = Node("div", Kind.NUMBER, (Node("sub", Kind.NUMBER, (x, rest)), y))
    div = where(_is_opposite(y, rest), Node("sub", Kind.NUMBER, (exact, number(1))), exact)
    floor = Node("floor", Kind.NUMBER, (div,))
    gap = Node("sub", Kind.NUMBER, (div, floor))
    floor = where(_greater(gap, number(0.5)), Node("add", Kind.NUMBER, (floor, number(1))), floor)
    signed_zero = Node("mul", Kind.NUMBER, (quotient, number(0)))
    return where(_equal(y, number(0)), quotient, where(_equal(div, number(0)), signed_zero, floor))


def _remainder(x: Node, y: Node) -> Node:
    rest = Node("fmod", Kind.NUMBER, (x, y))
    signed_zero = where(_less(y, number(0)), number(-0.0), number(0.0))
    shifted = where(_is_opposite(y, rest), Node("add", Kind.NUMBER, (rest, y)), rest)
    return where(_equal(rest, number(0)), signed_zero, shifted)


def _power(x: Node, y: Node, exponent: Node) -> Node:
    """NumPy computes `x ** 2` as a product and `x ** 0.5` as a root; the rest by `pow`."""
    match exponent.value if exponent.is_const else None:
        case 1:
            return x
        case 2:
            return Node("mul", Kind.NUMBER, (x, x), can_be_nan=x.can_be_nan)
        case 0.5:
            return Node("sqrt", Kind.NUMBER, (x,))
        case -1:
            return Node("div", Kind.NUMBER, (number(1), x))
    return Node("pow", Kind.NUMBER, (x, y))


def unary(op: str, node: Node) -> Node:
    """`neg` and `abs`."""
    if node.kind not in (Kind.NUMBER, Kind.INTEGER, Kind.CALENDAR):
        raise NotTraceableError(f"{op} of {node.kind} values")
    if node.kind is Kind.CALENDAR:
        inner = unary(op, cast(node, Kind.NUMBER))
        return Node("same", Kind.CALENDAR, (inner,), bound=node.bound, can_be_nan=node.can_be_nan, can_be_inf=False)
    return Node(op, node.kind, (node,), bound=node.bound, can_be_nan=node.can_be_nan, can_be_inf=node.can_be_inf)


# -- choice ----------------------------------------------------------------------------------------------------------


def where(condition: Node, yes: Node, no: Node) -> Node:
    """`np.where`: each value from `yes` or `no`, in their common type."""
    if condition.kind is not Kind.BOOLEAN:
        raise NotTraceableError(f"where on {condition.kind} values; compare first")
    kind = common_kind(yes, no, "where")
    if kind in (Kind.OPTIONAL_TEXT, Kind.SINGLE):
        raise NotTraceableError(f"where of {kind} values")
    if kind is Kind.BOOLEAN:  # ONNX Runtime has no Where for booleans
        return logic("or", logic("and", condition, yes), logic("and", negate(condition), no))
    bound = max(yes.bound, no.bound) if yes.bound is not None and no.bound is not None else None
    if kind is Kind.CALENDAR and (bound is None or bound > INT32_LIMIT):
        raise NotTraceableError("where of a part of a date and a large number")
    nan, inf = yes.can_be_nan or no.can_be_nan, yes.can_be_inf or no.can_be_inf
    return Node("where", kind, (condition, cast(yes, kind), cast(no, kind)), bound=bound, can_be_nan=nan, can_be_inf=inf)


def fill_missing(node: Node, filler: Node) -> Node:
    """`fillna`."""
    if node.kind is Kind.OPTIONAL_TEXT and filler.kind is Kind.TEXT:
        return where(node.args[1], filler, node.args[0])
    if node.kind is Kind.TEXT and filler.kind is Kind.TEXT:
        return node
    if filler.kind not in (Kind.NUMBER, Kind.INTEGER, Kind.CALENDAR) or node.kind not in NUMERIC:
        raise NotTraceableError(f"fillna of {node.kind} values with {filler.kind}")
    if node.kind in (Kind.BOOLEAN, Kind.INTEGER):
        return node
    filled = where(is_missing(node), cast(filler, Kind.NUMBER), cast(node, Kind.NUMBER))
    inf = node.can_be_inf or filler.can_be_inf
    return Node("same", Kind.NUMBER, (filled,), bound=filled.bound, can_be_nan=filler.can_be_nan, can_be_inf=inf)


def clip(node: Node, lower: Node | None, upper: Node | None) -> Node:
    """`clip` with literal bounds; NaN stays NaN."""
    if lower is not None and upper is not None and lower.value > upper.value:  # pandas swaps them
        lower, upper = upper, lower
    result = node
    for limit, op in ((lower, "less"), (upper, "greater")):
        if limit is None:
            continue
        if not limit.is_const or limit.kind not in (Kind.NUMBER, Kind.INTEGER) or limit.can_be_nan:
            raise NotTraceableError("clip with a bound that is no number")
        if node.kind not in (Kind.NUMBER, Kind.CALENDAR) and not (node.kind is limit.kind is Kind.INTEGER):
            raise NotTraceableError(f"clip of {node.kind} values at {limit.kind}")
        result = where(compare(op, result, limit), limit, result)
    if lower is None or upper is None or result.kind is not Kind.NUMBER:
        return result
    bound = max(abs(lower.value), abs(upper.value))
    return Node("same", Kind.NUMBER, (result,), bound=bound, can_be_nan=node.can_be_nan, can_be_inf=math.isinf(bound))


def largest(op: str, left: Node, right: Node) -> Node:
    """`np.maximum` (op `greater_equal`) and `np.minimum` (op `less_equal`); NaN wins."""
    kind = common_kind(left, right, "maximum or minimum")
    if kind not in (Kind.NUMBER, Kind.INTEGER):
        raise NotTraceableError(f"maximum or minimum of {kind} values")
    keep = compare(op, left, right)
    if kind is Kind.NUMBER:
        keep = logic("or", keep, is_missing(cast(left, Kind.NUMBER)))
    return where(keep, left, right)


def is_in(node: Node, values: Sequence[Any]) -> Node:
    """`isin` with literals."""
    literals = [constant(value) for value in values]
    if node.kind is Kind.TEXT and all(literal.kind is Kind.TEXT for literal in literals):
        return lookup(node, {literal.value: True for literal in literals}, default=False, kind=Kind.BOOLEAN)
    numeric = (Kind.NUMBER, Kind.INTEGER)
    if node.kind not in (*numeric, Kind.CALENDAR) or any(one.kind not in numeric or one.can_be_nan for one in literals):
        raise NotTraceableError(f"isin of {node.kind} values with other than numbers of its type")
    result = constant(False)
    for literal in literals:
        result = logic("or", result, compare("equal", node, literal))
    return result


def lookup(node: Node, table: Mapping[str, Any], *, default: Any, kind: Kind) -> Node:
    """One value by text; `default` for all others."""
    entries = (tuple(table), tuple(table.values()), default)
    bound = 1.0 if kind is Kind.BOOLEAN else None
    return Node("lookup", kind, (node,), value=entries, bound=bound, can_be_nan=kind is Kind.NUMBER, can_be_inf=False)


def map_values(node: Node, table: Mapping[Any, Any]) -> Node:
    """`Series.map` with a dictionary; what it lacks becomes missing."""
    keys, values = [constant(key) for key in table], [constant(value) for value in table.values()]
    kinds = {value.kind for value in values}
    if node.kind is Kind.TEXT and all(key.kind is Kind.TEXT for key in keys):
        texts = [key.value for key in keys]
        if kinds <= {Kind.NUMBER, Kind.INTEGER}:
            if any(one.can_be_inf for one in values):
                raise NotTraceableError("map to an infinite number")
            return lookup(node, dict(zip(texts, [float(one.value) for one in values], strict=True)), default=math.nan, kind=Kind.NUMBER)
        if kinds == {Kind.TEXT}:
            known = lookup(node, dict(zip(texts, [one.value for one in values], strict=True)), default="", kind=Kind.TEXT)
            return Node("optional", Kind.OPTIONAL_TEXT, (known, negate(is_in(node, texts))))
    numeric = {Kind.NUMBER, Kind.INTEGER}
    if node.kind is Kind.NUMBER and kinds <= numeric and {key.kind for key in keys} <= numeric and not any(key.can_be_nan for key in keys):
        result = number(math.nan)
        for key, value in zip(keys, values, strict=True):
            result = where(compare("equal", node, key), cast(value, Kind.NUMBER), result)
        return result
    raise NotTraceableError(f"map of {node.kind} values with such a dictionary")
