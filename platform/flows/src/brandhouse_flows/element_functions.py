"""NumPy's element functions on expressions, by name.

A function that ONNX lacks is built from those it has, by a formula whose error is a few units in the last place, or is
left out: `log10` by a quotient of logarithms would make `floor(log10(1000))` two.
"""

from collections.abc import Callable

from brandhouse_flows.expressions import Kind, Node, NotTraceableError, as_number, compare, is_missing, logic, negate, number
from brandhouse_flows.operations import arithmetic, largest, unary, where


def arithmetic_of(name: str) -> Callable[[Node, Node], Node]:
    """An operator of `operations.arithmetic`."""
    return lambda left, right: arithmetic(name, left, right)


def comparison_of(name: str) -> Callable[[Node, Node], Node]:
    """An operator of `expressions.compare`."""
    return lambda left, right: compare(name, left, right)


def logic_of(name: str) -> Callable[[Node, Node], Node]:
    """An operator of `expressions.logic`."""
    return lambda left, right: logic(name, left, right)


def _elementwise(op: str) -> Callable[[Node], Node]:
    def build(node: Node) -> Node:
        # NumPy computes functions of booleans in float16
        argument = as_number(node, f"np.{op}", booleans=False)
        return Node(op, Kind.NUMBER, (argument,))

    return build


def _rounding(op: str) -> Callable[[Node], Node]:
    def build(node: Node) -> Node:
        if node.kind is not Kind.NUMBER:
            raise NotTraceableError(f"np.{op} of {node.kind} values")
        return Node(op, Kind.NUMBER, (node,), can_be_nan=node.can_be_nan, can_be_inf=node.can_be_inf)

    return build


def _log1p(node: Node) -> Node:
    """Kahan's formula, a few units in the last place: x log(u) / (u - 1) with u = 1 + x."""
    x = as_number(node, "np.log1p", booleans=False)
    u = arithmetic("add", x, number(1))
    log = Node("log", Kind.NUMBER, (u,))
    value = arithmetic("div", arithmetic("mul", x, log), arithmetic("sub", u, number(1)))
    value = where(compare("equal", u, number(1)), x, value)
    return where(Node("isinf", Kind.BOOLEAN, (u,)), log, value)


def _expm1(node: Node) -> Node:
    """Kahan's formula: x (u - 1) / log(u) with u = exp(x)."""
    x = as_number(node, "np.expm1", booleans=False)
    u = Node("exp", Kind.NUMBER, (x,))
    less_one = arithmetic("sub", u, number(1))
    value = arithmetic("mul", less_one, arithmetic("div", x, Node("log", Kind.NUMBER, (u,))))
    plain = logic("or", Node("isinf", Kind.BOOLEAN, (u,)), compare("equal", less_one, number(-1)))
    return where(compare("equal", u, number(1)), x, where(plain, less_one, value))


def _trunc(node: Node) -> Node:
    return where(compare("less", node, number(0)), _rounding("ceil")(node), _rounding("floor")(node))


def _square(node: Node) -> Node:
    if node.kind not in (Kind.NUMBER, Kind.INTEGER):
        raise NotTraceableError(f"np.square of {node.kind} values")
    return arithmetic("mul", node, node)


UFUNCS: dict[str, Callable[..., Node]] = {
    **{name: arithmetic_of(op) for name, op in (("add", "add"), ("subtract", "sub"), ("multiply", "mul"), ("divide", "div"))},
    **{name: arithmetic_of(op) for name, op in (("floor_divide", "floordiv"), ("remainder", "mod"), ("power", "pow"))},
    **{name: comparison_of(name) for name in ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")},
    **{f"{family}_{op}": logic_of(op) for family in ("logical", "bitwise") for op in ("and", "or", "xor")},
    **{name: _elementwise(name) for name in ("log", "exp", "sqrt", "sin", "cos")},
    **{name: _rounding(op) for name, op in (("floor", "floor"), ("ceil", "ceil"), ("rint", "round"))},
    "negative": lambda node: unary("neg", node),
    "absolute": lambda node: unary("abs", node),
    "invert": negate,
    "logical_not": negate,
    "maximum": lambda left, right: largest("greater_equal", left, right),
    "minimum": lambda left, right: largest("less_equal", left, right),
    "log1p": _log1p,
    "expm1": _expm1,
    "trunc": _trunc,
    "square": _square,
    "isnan": lambda node: is_missing(as_number(node, "np.isnan")),
    "isinf": lambda node: Node("isinf", Kind.BOOLEAN, (as_number(node, "np.isinf"),)),
}
"""NumPy's element functions, by name."""
