"""Named typed tensors of the Open Inference Protocol: what a model takes and gives, from inputs to rows, from a reply to outputs.

A tensor must hold what its datatype says and be as long as the others. Whether a value suits the model is decided by the
model's contract, as for every other call, and nowhere here.
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any

from brandhouse_serving.problems import RequestRefusedError
from brandhouse_serving.replies import Reply
from brandhouse_shared.artifacts import Manifest
from brandhouse_shared.config import FieldType, InputField, Scalar
from brandhouse_shared.errors import ContractViolationError, join_bounded
from brandhouse_shared.metrics import Task

Tensor = dict[str, Any]

PREDICTION = "prediction"
PROBABILITIES = "probabilities"
PREDICTION_IDS = "prediction_ids"

ENCODED = ("base64", "pd_json")
"""Content types of MLServer's codecs under which a text is not the value: ignoring them would be to misread it. A column of
texts with missing values becomes `pd_json` in its PandasCodec: send null instead."""

_NONE = type(None)
_WHOLE = frozenset((int, _NONE))
_JSON_TYPES: dict[str, frozenset[type]] = {
    "BOOL": frozenset((bool, _NONE)),
    **{f"{sign}INT{bits}": _WHOLE for sign in ("", "U") for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": frozenset((int, float, _NONE)) for bits in (16, 32, 64)},
    "BYTES": frozenset((str, _NONE)),
}
"""What JSON may hold in a tensor of a datatype. null is a missing value, which the protocol does not know."""

DATATYPES = tuple(_JSON_TYPES)

_BOUNDS = {
    f"{sign}INT{bits}": (0 if sign else -(2 ** (bits - 1)), 2 ** (bits if sign else bits - 1) - 1)
    for sign in ("", "U")
    for bits in (8, 16, 32, 64)
}
_DATATYPE_OF: dict[type, str] = {bool: "BOOL", int: "INT64", float: "FP64", str: "BYTES"}
_FIELD_DATATYPES = {FieldType.NUMBER: "FP64", FieldType.INTEGER: "INT64", FieldType.BOOLEAN: "BOOL"}
_TENSOR_KEYS = frozenset(("name", "shape", "datatype", "data"))
_PLAIN = frozenset(("FP64", "FP32", "BOOL", "BYTES", "INT64"))
"""Datatypes without bounds of their own, and the one whose only bound is a comparison away."""
_LARGEST = 2**63 - 1
_parts_of = itemgetter("name", "shape", "datatype", "data")


def datatype_of(field: InputField) -> str:
    """The datatype under which a field is described; numbers may come in any datatype of numbers."""
    if field.type is FieldType.CATEGORY and field.values is not None and not field.others:
        return _common_datatype(field.values)
    return _FIELD_DATATYPES.get(field.type, "BYTES")


def accepted_datatypes(field: InputField) -> tuple[str, ...]:
    """The datatypes whose values a field may take; its own first."""
    own = datatype_of(field)
    if own in ("FP64", "INT64"):
        numbers = [name for name in DATATYPES if name not in ("BOOL", "BYTES", own)]
        return (own, *numbers, *(["BYTES"] if field.type is FieldType.CATEGORY else []))
    return (own,) if own == "BYTES" or field.type is FieldType.BOOLEAN else (own, "BYTES")


def output_names(task: Task) -> tuple[str, ...]:
    """The outputs a model of this task has, in the order in which they are given."""
    return (PREDICTION, PREDICTION_IDS) if task is Task.REGRESSION else (PREDICTION, PROBABILITIES, PREDICTION_IDS)


def described_inputs(manifest: Manifest) -> list[Tensor]:
    """The protocol's metadata of all inputs; `parameters` says what is allowed beyond the datatype."""
    return [{"name": name, "datatype": datatype_of(field), "shape": [-1]} for name, field in manifest.inputs.items()]


def described_outputs(manifest: Manifest) -> list[Tensor]:
    """The protocol's metadata of all outputs."""
    shares = {"name": PROBABILITIES, "datatype": "FP64", "shape": [-1, len(manifest.classes)], **_class_names(manifest)}
    outputs = {
        PREDICTION: {"name": PREDICTION, "datatype": _prediction_datatype(manifest), "shape": [-1]},
        PROBABILITIES: shares,
        PREDICTION_IDS: {"name": PREDICTION_IDS, "datatype": "BYTES", "shape": [-1]},
    }
    return [outputs[name] for name in output_names(manifest.task)]


# -- inputs ------------------------------------------------------------------------------------------------------------


def rows_of(inputs: Any, codes: Mapping[str, Mapping[str, Scalar]], max_rows: int) -> list[dict[str, Any]]:
    """Turn a request's tensors into rows, as a predict request would hold them; not yet checked against the contract.

    Args:
        inputs: What the request has under `inputs`, decoded.
        codes: See `Contract.listed_codes`.
        max_rows: So many rows are taken.

    Raises:
        ContractViolationError: Naming every tensor that contradicts itself or the others.
        RequestRefusedError: 413 if there are more than `max_rows`.
    """
    if not isinstance(inputs, list) or not inputs:
        raise ContractViolationError("request", ["inputs: allowed: a list of at least one tensor {name, shape, datatype, data}"])
    columns: dict[str, list[Any]] = {}
    violations: list[str] = []
    for index, tensor in enumerate(inputs):
        if _add_plain_column(columns, tensor, codes):
            continue
        fault = _add_column(columns, tensor, codes)
        if fault is not None:
            violations.append(f"inputs[{index}]{fault}")
        if len(violations) >= 20:
            break
    if violations:
        raise ContractViolationError("request", violations)
    lengths = {len(column) for column in columns.values()}
    if len(lengths) > 1:
        listed = join_bounded(sorted(lengths), 5)
        raise ContractViolationError("request", [f"inputs: tensors of {listed} rows given; allowed: all of the same number of rows"])
    if max(lengths) > max_rows:
        raise RequestRefusedError(413, "too_many_rows", f"the tensors have {max(lengths)} rows; allowed: at most {max_rows} a request")
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _add_plain_column(columns: dict[str, list[Any]], tensor: Any, codes: Mapping[str, Mapping[str, Scalar]]) -> bool:
    """Add a tensor as almost all are; False: it is unusual or wrong, and `_add_column` finds out what."""
    try:
        name, shape, datatype, data = _parts_of(tensor)
        size = shape[0]
        is_plain = (
            len(tensor) == 4
            and datatype in _PLAIN
            and type(name) is str
            and name not in columns
            and type(data) is list
            and len(data) == size >= 1
            and type(size) is int
            and len(shape) == 1
            and type(shape) is list
            and _JSON_TYPES[datatype].issuperset(map(type, data))
            and (datatype != "INT64" or (None not in data and max(data) <= _LARGEST))
            and not (datatype == "BYTES" and name in codes)
        )
    except (KeyError, TypeError, IndexError):
        return False
    if is_plain:
        columns[name] = data
    return is_plain


def _add_column(columns: dict[str, list[Any]], tensor: Any, codes: Mapping[str, Mapping[str, Scalar]]) -> str | None:
    """Add one tensor's values under its name; return what is wrong with it instead, if anything is."""
    fault = _fault_of_shape(tensor)
    if fault is not None:
        return fault
    name, shape, datatype, data = tensor["name"], tensor["shape"], tensor["datatype"], tensor["data"]
    if name in columns:
        return f".name: {name[:80]} given more than once; allowed: once"
    if len(shape) == 2 and data and type(data[0]) is list:
        if any(type(row) is not list or len(row) != 1 for row in data):
            return ".data: allowed: flat, or one list of one value a row"
        data = [row[0] for row in data]
    if len(data) != shape[0]:
        return f".data: {len(data)} values given; allowed: {shape[0]}, as the shape says"
    fault = _fault_of_values(data, datatype)
    if fault is not None:
        return fault
    known = codes.get(name) if datatype == "BYTES" else None
    columns[name] = data if known is None else [known.get(value, value) for value in data]
    return None


def _fault_of_shape(tensor: Any) -> str | None:
    if type(tensor) is not dict:
        return ": allowed: a tensor {name, shape, datatype, data}"
    missing = _TENSOR_KEYS - tensor.keys()
    if missing:
        hint = "; binary and shared-memory tensors are not taken, send the values as JSON" if "data" in missing else ""
        return f".{min(missing)}: nothing given{hint}"
    if len(tensor) > 5 or (len(tensor) == 5 and "parameters" not in tensor):
        extra = sorted(key[:80] for key in tensor.keys() - _TENSOR_KEYS - {"parameters"})
        return f": unknown field {join_bounded(extra, 5)}; allowed: name, shape, datatype, parameters, data"
    if not is_parameters(tensor.get("parameters")):
        return ".parameters: allowed: an object"
    if tensor.get("parameters") and tensor["parameters"].get("content_type") in ENCODED:
        return f".parameters.content_type: encoded values ({', '.join(ENCODED)}) are not taken; allowed: the values as they are"
    if type(tensor["name"]) is not str:
        return ".name: allowed: a text, the name of an input field"
    if type(tensor["datatype"]) is not str or tensor["datatype"] not in _JSON_TYPES:
        return f".datatype: allowed: {join_bounded(DATATYPES, 20)}"
    if type(tensor["data"]) is not list:
        return ".data: allowed: a list of values"
    return None if _is_row_shape(tensor["shape"]) else ".shape: allowed: [n] or [n, 1], where n is the number of rows and at least 1"


def is_parameters(value: Any) -> bool:
    """Whether a request may have this as `parameters`; what is in them is ignored, as the protocol wants of unknown ones."""
    return value is None or type(value) is dict


def _is_row_shape(shape: Any) -> bool:
    if type(shape) is not list or len(shape) not in (1, 2) or any(type(size) is not int for size in shape):
        return False
    return bool(shape[0] >= 1 and shape[1:] in ([], [1]))


def _fault_of_values(data: Sequence[Any], datatype: str) -> str | None:
    if not set(map(type, data)) <= _JSON_TYPES[datatype]:
        return f".data: other than {_NOUNS[datatype[:2]]} or null given; allowed in {datatype}: {_NOUNS[datatype[:2]]} or null"
    if datatype in _BOUNDS:
        low, high = _BOUNDS[datatype]
        numbers = [value for value in data if value is not None] if None in data else data
        if numbers and not (low <= min(numbers) and max(numbers) <= high):
            return f".data: a number out of range given; allowed in {datatype}: {low} to {high}"
    return None


_NOUNS = {"BO": "true, false", "IN": "whole numbers", "UI": "whole numbers", "FP": "numbers", "BY": "texts"}


# -- outputs -----------------------------------------------------------------------------------------------------------


def output_tensors(reply: Reply, ids: Sequence[str], wanted: Sequence[str]) -> list[Tensor]:
    """Return the wanted outputs, data flat in row-major order.

    Args:
        reply: What was answered.
        ids: One a row.
        wanted: Names of outputs, each once.
    """
    tensors = {tensor["name"]: tensor for tensor in described_outputs(reply.loaded.manifest)}
    return [_filled(tensors[name], reply, ids) for name in wanted]


def _filled(tensor: Tensor, reply: Reply, ids: Sequence[str]) -> Tensor:
    match tensor["name"]:
        case "prediction":
            data = [str(label) for label in reply.predictions] if tensor["datatype"] == "BYTES" else reply.predictions
        case "probabilities":
            data = list(chain.from_iterable(reply.probabilities or ()))
        case _:
            data = ids
    return {**tensor, "shape": [len(ids), *tensor["shape"][1:]], "data": data}


def _prediction_datatype(manifest: Manifest) -> str:
    return "FP64" if manifest.task is Task.REGRESSION else _common_datatype(manifest.classes)


def _class_names(manifest: Manifest) -> dict[str, Any]:
    return {"parameters": {"classes": [str(label) for label in manifest.classes]}}


def _common_datatype(values: Sequence[Scalar]) -> str:
    """The one datatype that all values have; BYTES, their texts, if they are of several kinds."""
    datatypes = {_DATATYPE_OF[type(value)] for value in values}
    return datatypes.pop() if len(datatypes) == 1 else "BYTES"
