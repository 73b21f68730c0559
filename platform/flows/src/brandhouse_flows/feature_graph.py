"""Feature expressions as ONNX nodes: one node a primitive, equal sub-expressions once, names counted in order."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from brandhouse_flows.expressions import Kind, Node
from brandhouse_shared.artifacts import GraphInput

ML_DOMAIN = "ai.onnx.ml"

TENSOR_TYPES = {
    Kind.NUMBER: TensorProto.DOUBLE,
    Kind.CALENDAR: TensorProto.DOUBLE,
    Kind.DATE: TensorProto.DOUBLE,
    Kind.DURATION: TensorProto.DOUBLE,
    Kind.SINGLE: TensorProto.FLOAT,
    Kind.INTEGER: TensorProto.INT64,
    Kind.BOOLEAN: TensorProto.BOOL,
    Kind.TEXT: TensorProto.STRING,
}

OPERATORS: dict[str, tuple[str, dict[str, Any]]] = {
    "add": ("Add", {}),
    "sub": ("Sub", {}),
    "mul": ("Mul", {}),
    "div": ("Div", {}),
    "fmod": ("Mod", {"fmod": 1}),
    "integer_mod": ("Mod", {"fmod": 0}),
    "pow": ("Pow", {}),
    "neg": ("Neg", {}),
    "abs": ("Abs", {}),
    "floor": ("Floor", {}),
    "ceil": ("Ceil", {}),
    "round": ("Round", {}),
    "sqrt": ("Sqrt", {}),
    "log": ("Log", {}),
    "exp": ("Exp", {}),
    "sin": ("Sin", {}),
    "cos": ("Cos", {}),
    "isnan": ("IsNaN", {}),
    "isinf": ("IsInf", {}),
    "less": ("Less", {}),
    "less_equal": ("LessOrEqual", {}),
    "greater": ("Greater", {}),
    "greater_equal": ("GreaterOrEqual", {}),
    "equal": ("Equal", {}),
    "and": ("And", {}),
    "or": ("Or", {}),
    "xor": ("Xor", {}),
    "not": ("Not", {}),
    "where": ("Where", {}),
    "concat": ("StringConcat", {}),
}


class GraphWriter:
    """Collects nodes and constants of one graph.

    Attributes:
        nodes: ONNX nodes in an order that runs.
        initializers: Constants.
        inputs: What the graph takes; the n-th is named `in_<n>`.
    """

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.initializers: list[TensorProto] = []
        self.inputs: list[GraphInput] = []
        self._names: dict[Any, str] = {}
        self._by_node: dict[int, tuple[Node, str]] = {}

    def write(self, node: Node) -> str:
        """Write an expression and return the name of its tensor, of shape (rows, 1), or a scalar for a literal."""
        known = self._by_node.get(id(node))  # the node is kept: its id must not be reused
        if known is None:
            known = self._by_node[id(node)] = (node, self._write(node))
        return known[1]

    def _write(self, node: Node) -> str:
        match node.op:
            case "input":
                return self._input(GraphInput(field=node.value[0], transform=node.value[1]))
            case "const":
                return self.constant(_literal(node))
            case "lookup":
                keys, values, default = node.value
                return self._lookup(self.write(node.args[0]), keys, values, default, node.kind)
            case "same" | "optional":
                return self.write(node.args[0])
            case "cast":
                return self.cast(self.write(node.args[0]), TENSOR_TYPES[node.kind])
        operator, attributes = OPERATORS[node.op]
        return self.emit(operator, [self.write(arg) for arg in node.args], **attributes)

    def emit(self, operator: str, inputs: Sequence[str], domain: str = "", **attributes: Any) -> str:
        """Write one operator, or find it if the same was written before."""
        key = (operator, tuple(inputs), repr(sorted(attributes.items())))
        return self._once(
            key, lambda name: self.nodes.append(helper.make_node(operator, inputs, [name], name, domain=domain, **attributes))
        )

    def cast(self, name: str, tensor_type: int) -> str:
        """Change a tensor's type."""
        return self.emit("Cast", [name], to=tensor_type)

    def constant(self, values: "np.ndarray[Any, Any]") -> str:
        """A named constant."""
        key = ("constant", str(values.dtype), values.shape, values.tobytes() if values.dtype != object else tuple(values.ravel()))
        return self._once(key, lambda name: self.initializers.append(numpy_helper.from_array(values, name)))

    def _input(self, graph_input: GraphInput) -> str:
        if graph_input not in self.inputs:
            self.inputs.append(graph_input)
        return f"in_{self.inputs.index(graph_input)}"

    def _lookup(self, text: str, keys: Sequence[str], values: Sequence[Any], default: Any, kind: Kind) -> str:
        if not keys:
            keys, values = ("",), (default,)
        numbers = list(range(len(keys)))
        place = self.emit("LabelEncoder", [text], ML_DOMAIN, keys_strings=list(keys), values_int64s=numbers, default_int64=len(keys))
        table = np.array([*values, default], dtype=object if kind is Kind.TEXT else (bool if kind is Kind.BOOLEAN else np.float64))
        return self.emit("Gather", [self.constant(table), place], axis=0)

    def _once(self, key: Any, write: Callable[[str], Any]) -> str:
        name = self._names.get(key)
        if name is None:
            name = self._names[key] = f"t_{len(self._names)}"
            write(name)
        return name


def _literal(node: Node) -> "np.ndarray[Any, Any]":
    dtypes = {Kind.INTEGER: np.int64, Kind.BOOLEAN: np.bool_, Kind.TEXT: object}
    return np.array(node.value, dtype=dtypes.get(node.kind, np.float64))


def depends_on_input(node: Node) -> bool:
    """Whether an expression varies between rows; a literal column is the same for all."""
    seen: set[int] = set()
    pending = [node]
    while pending:
        current = pending.pop()
        if current.op == "input":
            return True
        if id(current) not in seen:
            seen.add(id(current))
            pending += current.args
    return False
