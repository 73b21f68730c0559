"""The Open Inference Protocol in the API's description, typed per model from its input schema.

Description only: what is accepted is decided by `open_inference_tensors` and the model's contract.
"""

from typing import Any

from brandhouse_serving.limits import MAX_BODY_BYTES
from brandhouse_serving.loading import LoadedVersion
from brandhouse_serving.open_inference_tensors import DATATYPES, accepted_datatypes, output_names
from brandhouse_serving.router import Route
from brandhouse_shared.artifacts import Manifest

Document = dict[str, Any]

TAG = "open inference protocol"

_TEXT: Document = {"type": "string"}
_OBJECT: Document = {"type": "object"}
_SHAPE: Document = {"type": "array", "items": {"type": "integer"}}
_DATA: Document = {"type": "array", "items": {"type": ["number", "string", "boolean", "null"]}}
PROTOCOL_ERROR_SCHEMA: Document = {"type": "object", "required": ["error"], "properties": {"error": _TEXT}}
SERVER_SCHEMA: Document = {
    "type": "object",
    "required": ["name", "version", "extensions"],
    "properties": {"name": _TEXT, "version": _TEXT, "extensions": {"type": "array", "items": _TEXT}},
}
READY_SCHEMA: Document = {"type": "object", "required": ["name", "ready"], "properties": {"name": _TEXT, "ready": {"type": "boolean"}}}
_TENSOR_METADATA: Document = {
    "type": "object",
    "required": ["name", "datatype", "shape"],
    "properties": {"name": _TEXT, "datatype": {"enum": list(DATATYPES)}, "shape": _SHAPE, "parameters": _OBJECT},
}
METADATA_SCHEMA: Document = {
    "type": "object",
    "required": ["name", "versions", "platform", "inputs", "outputs"],
    "properties": {
        "name": _TEXT,
        "versions": {"type": "array", "items": _TEXT},
        "platform": _TEXT,
        "inputs": {"type": "array", "items": _TENSOR_METADATA},
        "outputs": {"type": "array", "items": _TENSOR_METADATA},
    },
}
METADATA_ERRORS = {
    "401": "No key, or an unknown, expired or revoked one",
    "403": "The key belongs to another brand or lacks the scope",
    "404": "The brand has no such model, or the version does not answer requests",
    "503": "The version cannot answer at present",
}
INFER_ERRORS = {
    **METADATA_ERRORS,
    "400": "A header that decides something was sent twice",
    "408": "The body did not arrive in time",
    "413": f"The body is larger than {MAX_BODY_BYTES} bytes or has too many rows",
    "415": "Not JSON, compressed, or with binary tensors",
    "422": "The body is no JSON, not of the protocol's form, or contradicts the input schema",
    "429": "More requests than the model's rate; see Retry-After",
}


REQUEST_KEY: Document = {
    "name": "X-Request-Key",
    "in": "header",
    "required": False,
    "description": "Who asks, as a pseudonym: the same key is answered by the same version while a canary has its share. "
    "Without it the body decides. Hashed, never stored.",
    "schema": {"type": "string"},
}
"""What makes a canary's share sticky, in both protocols."""


def documented_protocol(answer: Document, errors: dict[str, str]) -> dict[int | str, dict[str, Any]]:
    """OpenAPI responses of a call: its answer, and its errors in the protocol's shape."""
    shape = {"$ref": "#/components/schemas/ProtocolError"}
    return {"200": _json("Successful Response", answer), **{status: _json(text, shape) for status, text in errors.items()}}


def infer_paths(route: Route, loaded: LoadedVersion) -> Document:
    """The OpenAPI paths of one model's infer call."""
    key = route.key
    operation = _infer_operation(f"infer_{key.brand}_{key.model}", f"Infer {loaded.manifest.target} with {loaded.key}", [key.brand])
    operation["requestBody"] = _request_body(loaded.manifest, route.config.serving.max_rows)
    return {f"/v2/models/{key.dotted}/infer": {"post": operation}}


def generic_infer_paths() -> Document:
    """The OpenAPI paths of infer, for any model."""
    summary = "Infer; which tensors a model takes is described with the brand's key"
    name = _path_parameter("name", "BRAND.MODEL")
    version = _path_parameter("version", "The version in production or the canary, such as v7")
    return {
        "/v2/models/{name}/infer": {"post": _generic_infer("infer", summary, [name])},
        "/v2/models/{name}/versions/{version}/infer": {"post": _generic_infer("infer_version", summary, [name, version])},
    }


def _generic_infer(identifier: str, summary: str, parameters: list[Document]) -> Document:
    tensor = _tensor({"type": "string"}, DATATYPES, _DATA)
    body = {"required": True, "content": {"application/json": {"schema": _request_schema([tensor], None)}}}
    return {**_infer_operation(identifier, summary, [TAG]), "parameters": [*parameters, REQUEST_KEY], "requestBody": body}


def _infer_operation(identifier: str, summary: str, tags: list[str]) -> Document:
    output = _TENSOR_METADATA | {"required": ["name", "datatype", "shape", "data"]}
    output["properties"] = {**_TENSOR_METADATA["properties"], "data": _DATA}
    answer = {
        "type": "object",
        "required": ["model_name", "model_version", "outputs"],
        "properties": {"model_name": _TEXT, "model_version": _TEXT, "id": _TEXT, "outputs": {"type": "array", "items": output}},
    }
    return {
        "operationId": identifier,
        "summary": summary,
        "tags": tags,
        "security": [{"key": []}],
        "parameters": [REQUEST_KEY],
        "responses": documented_protocol(answer, INFER_ERRORS),
    }


def _request_body(manifest: Manifest, max_rows: int) -> Document:
    tensors = []
    for name, field in manifest.inputs.items():
        kinds = accepted_datatypes(field)
        tensors.append(_tensor({"const": name, "description": field.description}, kinds, {**_DATA, "minItems": 1, "maxItems": max_rows}))
    schema = _request_schema(tensors, output_names(manifest.task))
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _request_schema(tensors: list[Document], outputs: tuple[str, ...] | None) -> Document:
    name = _TEXT if outputs is None else {"enum": list(outputs)}
    output = {"type": "object", "required": ["name"], "additionalProperties": False, "properties": {"name": name, "parameters": _OBJECT}}
    return {
        "type": "object",
        "required": ["inputs"],
        "additionalProperties": False,
        "properties": {
            "id": _TEXT,
            "parameters": _OBJECT,
            "inputs": {"type": "array", "minItems": 1, "items": tensors[0] if len(tensors) == 1 else {"anyOf": tensors}},
            "outputs": {"type": "array", "items": output},
        },
    }


def _tensor(name: Document, datatypes: tuple[str, ...], data: Document) -> Document:
    shape = {"type": "array", "minItems": 1, "maxItems": 2, "items": {"type": "integer", "minimum": 1}}
    return {
        "type": "object",
        "required": ["name", "shape", "datatype", "data"],
        "additionalProperties": False,
        "properties": {"name": name, "shape": shape, "datatype": {"enum": list(datatypes)}, "parameters": _OBJECT, "data": data},
    }


def _path_parameter(name: str, description: str) -> Document:
    return {"name": name, "in": "path", "required": True, "description": description, "schema": {"type": "string"}}


def _json(description: str, schema: Document) -> Document:
    return {"description": description, "content": {"application/json": {"schema": schema}}}
