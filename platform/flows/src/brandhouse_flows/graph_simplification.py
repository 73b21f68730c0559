"""Fewer nodes for the same answer: what the converter does to joined text columns one by one is done to the columns themselves.

A node costs a microsecond or two for a single row, whatever its work, and most of what a small model costs is its number
of nodes. The rules move texts and codes and never touch a number, so nothing is rounded otherwise; the comparison with
scikit-learn is made with the simplified graph.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from onnx import AttributeProto, NodeProto, TensorProto, helper, numpy_helper

from brandhouse_flows.feature_graph import ML_DOMAIN

UNKNOWN_CODE = -1


def simplify(
    nodes: Sequence[NodeProto], constants: Sequence[TensorProto], columns: Collection[str], output: str
) -> tuple[list[NodeProto], list[TensorProto]]:
    """Return the nodes and constants of an equal graph, in order.

    Args:
        nodes: In an order in which they can be computed. Not changed.
        constants: The graph's initializers.
        columns: Names of the graph's inputs, each of shape (rows, 1).
        output: What the graph answers.
    """
    if any(attribute.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for node in nodes for attribute in node.attribute):
        return list(nodes), list(constants)  # a graph within may use any name of this one
    known = {one.name: one for one in constants}
    taken = _take_columns(nodes, known, columns)
    merged = _merge_imputations(taken, known)
    needed = _needed(merged, output)
    used = {name for node in needed for name in node.input}
    return needed, [one for one in constants if one.name in used]


# -- a column of a join ----------------------------------------------------------------------------------------------


def _take_columns(nodes: Sequence[NodeProto], known: Mapping[str, TensorProto], columns: Collection[str]) -> list[NodeProto]:
    """Let who takes one column out of joined columns take the column."""
    single = set(columns)
    joins: dict[str, list[str]] = {}
    renamed: dict[str, str] = {}
    kept = []
    for original in nodes:
        node = _with_inputs(original, [renamed.get(name, name) for name in original.input])
        if _reshapes_to_column(node, known) and node.input[0] in single:
            renamed[node.output[0]] = node.input[0]
            continue
        place = _taken_column(node, known)
        if place is not None and place < len(joins.get(node.input[0], ())):
            renamed[node.output[0]] = joins[node.input[0]][place]
            continue
        if node.op_type == "Concat" and _attributes(node)["axis"] == 1 and all(name in single for name in node.input):
            joins[node.output[0]] = list(node.input)
        if place is not None or _keeps_width(node, single):
            single.add(node.output[0])
        kept.append(node)
    return kept


def _taken_column(node: NodeProto, known: Mapping[str, TensorProto]) -> int | None:
    """Which one column, counted from 0, a node takes out of its first input; None: it does something else."""
    is_gather = node.op_type == "Gather" and _attributes(node).get("axis", 0) == 1
    is_extractor = node.op_type == "ArrayFeatureExtractor"
    if not (is_gather or is_extractor) or node.input[1] not in known:
        return None
    places = numpy_helper.to_array(known[node.input[1]])
    is_one = places.shape == (1,) or (is_extractor and places.size == 1)  # for a single number, Gather drops the axis
    return int(places.ravel()[0]) if is_one and places.ravel()[0] >= 0 else None


def _reshapes_to_column(node: NodeProto, known: Mapping[str, TensorProto]) -> bool:
    return node.op_type == "Reshape" and node.input[1] in known and numpy_helper.to_array(known[node.input[1]]).tolist() == [-1, 1]


def _keeps_width(node: NodeProto, single: Collection[str]) -> bool:
    """Whether a node makes one column of one column."""
    if node.op_type in ("Cast", "Identity", "LabelEncoder"):
        return node.input[0] in single
    return node.op_type == "Where" and node.input[0] in single and node.input[2] in single


# -- texts that are imputed, then encoded ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Imputation:
    """`missing` texts of `column` become `fill`."""

    column: str
    missing: tuple[bytes, ...]
    fill: bytes


def _merge_imputations(nodes: Sequence[NodeProto], known: Mapping[str, TensorProto]) -> list[NodeProto]:
    """Encode columns with missing texts at once, without filling them in before."""
    makers = {name: node for node in nodes for name in node.output}
    return [new for node in nodes for new in _merged(node, makers, known)]


def _merged(node: NodeProto, makers: Mapping[str, NodeProto], known: Mapping[str, TensorProto]) -> Iterator[NodeProto]:
    options = _attributes(node)
    imputation = _imputation(makers.get(node.input[0]), makers, known) if node.input else None
    if imputation is not None and node.op_type == "OneHotEncoder" and options.get("cats_strings"):
        codes = {text: code for code, text in enumerate(options["cats_strings"])}
        code = f"{node.output[0]}_code"
        yield _encoder(imputation, codes, code, UNKNOWN_CODE)
        zeros = options.get("zeros", 1)
        places = list(range(len(codes)))
        yield helper.make_node("OneHotEncoder", [code], node.output, node.name, domain=ML_DOMAIN, cats_int64s=places, zeros=zeros)
    elif imputation is not None and node.op_type == "LabelEncoder" and options.get("keys_strings") and options.get("values_int64s"):
        codes = dict(zip(options["keys_strings"], options["values_int64s"], strict=True))
        yield _encoder(imputation, codes, node.output[0], options.get("default_int64", UNKNOWN_CODE))
    else:
        yield node


def _encoder(imputation: _Imputation, codes: Mapping[bytes, int], output: str, unknown: int) -> NodeProto:
    """One node from texts, missing ones among them, to codes."""
    filled = codes.get(imputation.fill, unknown)
    all_codes = {**codes, **dict.fromkeys(imputation.missing, filled)}
    return helper.make_node(
        "LabelEncoder",
        [imputation.column],
        [output],
        output,
        domain=ML_DOMAIN,
        keys_strings=list(all_codes),
        values_int64s=list(all_codes.values()),
        default_int64=unknown,
    )


def _imputation(where: NodeProto | None, makers: Mapping[str, NodeProto], known: Mapping[str, TensorProto]) -> _Imputation | None:
    """Recognise `Where(is missing(column), fill, column)` as the converter of SimpleImputer writes it for texts."""
    if where is None or where.op_type != "Where":
        return None
    cast, fill, column = makers.get(where.input[0]), makers.get(where.input[1]), where.input[2]
    test = makers.get(cast.input[0]) if cast is not None and cast.op_type == "Cast" else None
    if test is None or test.op_type != "LabelEncoder" or test.input[0] != column or fill is None:
        return None
    tests, text = _attributes(test), _constant_text(fill, known)
    is_test = set(tests.get("values_int64s", ())) == {1} and tests.get("default_int64", UNKNOWN_CODE) == 0
    if not is_test or not tests.get("keys_strings") or text is None:
        return None
    return _Imputation(column, tuple(tests["keys_strings"]), text)


def _constant_text(node: NodeProto, known: Mapping[str, TensorProto]) -> bytes | None:
    """The text that a node makes of a constant of one element; None: it makes something else."""
    options = _attributes(node)
    if node.op_type != "LabelEncoder" or node.input[0] not in known or not options.get("values_strings"):
        return None
    values = numpy_helper.to_array(known[node.input[0]])
    texts = dict(zip(options.get("keys_int64s", ()), options["values_strings"], strict=False))
    return texts.get(int(values[0])) if values.shape == (1,) and values.dtype.kind == "i" else None


# -- nodes -----------------------------------------------------------------------------------------------------------


def _needed(nodes: Sequence[NodeProto], output: str) -> list[NodeProto]:
    """Leave out what nothing asks for any more."""
    wanted = {output}
    kept = []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            kept.append(node)
    return kept[::-1]


def _with_inputs(node: NodeProto, names: Sequence[str]) -> NodeProto:
    copied = NodeProto()
    copied.CopyFrom(node)
    copied.input[:] = names
    return copied


def _attributes(node: NodeProto) -> dict[str, Any]:
    return {one.name: helper.get_attribute_value(one) for one in node.attribute}
