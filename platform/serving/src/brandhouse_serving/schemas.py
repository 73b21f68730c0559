"""The API's description in OpenAPI 3.1, typed per model from its input schema.

Description only: what is accepted is decided by `Contract.parse_rows` and nothing else.
"""

import math
from collections.abc import Iterable
from datetime import date
from typing import Any

from brandhouse_serving.explanations import MAX_EXPLAINED_ROWS
from brandhouse_serving.limits import MAX_BODY_BYTES
from brandhouse_serving.loading import LoadedVersion
from brandhouse_serving.open_inference_schemas import PROTOCOL_ERROR_SCHEMA, REQUEST_KEY, generic_infer_paths, infer_paths
from brandhouse_serving.router import Route
from brandhouse_shared.artifacts import Manifest
from brandhouse_shared.config import FieldType, InputField
from brandhouse_shared.contracts import describe_allowed
from brandhouse_shared.field_values import MAX_SAFE_INTEGER
from brandhouse_shared.metrics import Task

Document = dict[str, Any]

_TYPES: dict[FieldType, str] = {
    FieldType.NUMBER: "number",
    FieldType.INTEGER: "integer",
    FieldType.BOOLEAN: "boolean",
    FieldType.CATEGORY: "string",
    FieldType.TEXT: "string",
    FieldType.DATE: "string",
}
_JSON_TYPES: dict[type, str] = {bool: "boolean", int: "integer", float: "number", str: "string"}

ERROR_SCHEMA: Document = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "violations"],
            "properties": {
                "code": {"type": "string"},
                "message": {"type": "string"},
                "violations": {"type": "array", "items": {"type": "string"}},
            },
        }
    },
}
EXPLAIN: Document = {
    "name": "explain",
    "in": "query",
    "required": False,
    "description": f"Also say what each field contributed to each answer; of at most {MAX_EXPLAINED_ROWS} rows.",
    "schema": {"type": "boolean", "default": False},
}
REPEATED_HEADER = "A header that decides something was sent twice"
FRAMEWORK_ERRORS = ("HTTPValidationError", "ValidationError")
"""Schemas of errors that FastAPI describes and that never come."""

AUTH_ERRORS = {"401": "No key, or an unknown, expired or revoked one", "403": "The key belongs to another brand or lacks the scope"}
FEEDBACK_ERRORS = {
    **AUTH_ERRORS,
    "400": REPEATED_HEADER,
    "404": "No such model, or no such prediction of it",
    "408": "The body did not arrive in time",
    "409": "It has a label already",
    "413": f"The body is larger than {MAX_BODY_BYTES} bytes",
    "415": "The content type is not application/json",
    "422": "The body is no JSON, or the label cannot be one of this model",
    "503": "The model has no version in production",
}
PREDICT_ERRORS = {
    **AUTH_ERRORS,
    "400": REPEATED_HEADER,
    "404": "The brand has no such model",
    "408": "The body did not arrive in time",
    "413": f"The body is larger than {MAX_BODY_BYTES} bytes or has too many rows",
    "415": "The content type is not application/json",
    "422": "The body is no JSON or contradicts the input schema; a query parameter is unknown; or with explain=true: too many rows, or a "
    "version that cannot explain",
    "429": "More requests than the model's rate; see Retry-After",
    "503": "Nothing can answer at present; see Retry-After",
}


def field_schema(field: InputField) -> Document:
    """JSON Schema of one input field."""
    schema: Document = {"type": _TYPES[field.type], "description": field.description or describe_allowed(field)}
    if field.type in (FieldType.NUMBER, FieldType.INTEGER):
        schema |= _bounds(field)
    if field.type is FieldType.DATE:
        schema["examples"] = [date(2026, 1, 31).strftime(field.format)]
    if field.values is not None:
        kinds = sorted({_JSON_TYPES[type(value)] for value in field.values})
        schema["type"] = kinds[0] if len(kinds) == 1 else kinds
        schema |= _other_values(field, kinds) if field.others else {"enum": list(field.values)}
    elif field.type in (FieldType.CATEGORY, FieldType.TEXT):
        schema |= {"maxLength": field.max_length, "minLength": 0 if field.nullable else 1}
    return _nullable(schema) if field.nullable else schema


def _bounds(field: InputField) -> Document:
    """What is declared; whole numbers also end where JSON's numbers cease to tell two of them apart."""
    safe = MAX_SAFE_INTEGER if field.type is FieldType.INTEGER else math.inf
    low = -safe if field.min is None else max(field.min, -safe)
    high = safe if field.max is None else min(field.max, safe)
    return {name: bound for name, bound in (("minimum", low), ("maximum", high)) if math.isfinite(bound)}


def _other_values(field: InputField, kinds: list[str]) -> Document:
    """What a category takes beyond its listed values: any text, and a whole number where one is listed."""
    whole = {"minimum": -MAX_SAFE_INTEGER, "maximum": MAX_SAFE_INTEGER} if "integer" in kinds else {}
    texts = {"maxLength": field.max_length, "minLength": 0 if field.nullable else 1}
    return {"type": sorted({"string", *kinds}), "examples": list(field.values or ())[:10], **texts, **whole}


def row_schema(manifest: Manifest) -> Document:
    """JSON Schema of one row of a request."""
    return {
        "type": "object",
        "additionalProperties": False,
        "required": [name for name, field in manifest.inputs.items() if not field.nullable],
        "properties": {name: field_schema(field) for name, field in manifest.inputs.items()},
    }


def reply_schema(manifest: Manifest) -> Document:
    """JSON Schema of an answer."""
    prediction: Document = {"type": "number"} if manifest.task is Task.REGRESSION else {"enum": list(manifest.classes)}
    properties: Document = {
        "model": {"type": "string", "examples": [f"{manifest.key}/v1"]},
        "predictions": {"type": "array", "items": prediction},
        "prediction_ids": {"type": "array", "items": {"type": "string"}},
    }
    if manifest.task is not Task.REGRESSION:
        share = {"type": "number", "minimum": 0, "maximum": 1}
        shares = {"type": "object", "properties": {str(label): share for label in manifest.classes}}
        properties["probabilities"] = {"type": "array", "items": shares}
    required = list(properties)
    properties["explanations"] = {
        "type": "array",
        "items": explanation_schema(manifest),
        "description": "With explain=true: one per instance",
    }
    return {"type": "object", "required": required, "properties": properties}


def explanation_schema(manifest: Manifest) -> Document:
    """JSON Schema of one answer's reasons."""
    number: Document = {"type": "number"}
    fields = {"type": "object", "required": list(manifest.inputs), "additionalProperties": False}
    properties: Document = {
        "base": number | {"description": "The mean answer over the version's background rows"},
        "contributions": fields | {"properties": dict.fromkeys(manifest.inputs, number), "description": "What each field's value adds"},
        "method": {"enum": ["exact", "sampled"]},
        "error": {"type": "number", "minimum": 0, "description": "If sampled: the largest standard error of a contribution"},
    }
    required = ["base", "contributions", "method"]
    if manifest.task is not Task.REGRESSION:
        properties["class"] = {"enum": list(manifest.classes), "description": "Whose probability is explained"}
        required = ["class", *required]
    return {"type": "object", "required": required, "additionalProperties": False, "properties": properties}


def predict_operation(route: Route, loaded: LoadedVersion) -> Document:
    """The OpenAPI operation of one model's predict call."""
    rows = {"type": "array", "minItems": 1, "maxItems": route.config.serving.max_rows, "items": row_schema(loaded.manifest)}
    request = {"type": "object", "required": ["instances"], "additionalProperties": False, "properties": {"instances": rows}}
    return {
        "operationId": f"predict_{route.key.brand}_{route.key.model}",
        "summary": f"Predict {loaded.manifest.target} with {loaded.key}",
        "description": route.config.description,
        "tags": [route.key.brand],
        "security": [{"key": []}],
        "parameters": [EXPLAIN, REQUEST_KEY],
        "requestBody": {"required": True, "content": {"application/json": {"schema": request}}},
        "responses": {"200": _json("Predictions, one per row", reply_schema(loaded.manifest)), **error_responses(PREDICT_ERRORS)},
    }


def error_responses(errors: dict[str, str]) -> Document:
    """OpenAPI responses of a call's errors."""
    return {status: _json(text, {"$ref": "#/components/schemas/Error"}) for status, text in errors.items()}


def documented(errors: dict[str, str]) -> dict[int | str, dict[str, Any]]:
    """The same, as FastAPI types it."""
    return dict(error_responses(errors).items())


def _path_parameter(name: str) -> Document:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def build_openapi(generic: Document, models: Iterable[tuple[Route, LoadedVersion]]) -> Document:
    """Add what one brand's key may see to the description that everybody may see.

    Args:
        generic: FastAPI's own description. Not changed.
        models: The brand's models; empty without a key.
    """
    paths = {**_without_framework_errors(generic["paths"]), "/v1/{brand}/{model}/predict": {"post": _GENERIC_PREDICT}}
    paths |= generic_infer_paths()
    for route, loaded in models:
        paths[f"/v1/{route.key}/predict"] = {"post": predict_operation(route, loaded)}
        paths |= infer_paths(route, loaded)
    components = dict(generic.get("components", {}))
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer", "description": "`brandhouse keys create BRAND`"}}
    of_calls = {name: schema for name, schema in components.get("schemas", {}).items() if name not in FRAMEWORK_ERRORS}
    components["schemas"] = {**of_calls, "Error": ERROR_SCHEMA, "ProtocolError": PROTOCOL_ERROR_SCHEMA}
    return {**generic, "paths": paths, "components": components}


def _without_framework_errors(paths: Document) -> Document:
    """Drop the 422 that FastAPI describes for any path parameter: ours are texts and its own error shape never comes."""

    def clean(operation: Document) -> Document:
        responses = {code: text for code, text in operation["responses"].items() if "HTTPValidationError" not in str(text)}
        return {**operation, "responses": responses}

    return {path: {verb: clean(operation) for verb, operation in verbs.items()} for path, verbs in paths.items()}


def _json(description: str, schema: Document) -> Document:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _nullable(schema: Document) -> Document:
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    nullable = {**schema, "type": [*kinds, "null"]}
    if "enum" in schema:
        nullable["enum"] = [*schema["enum"], None]
    return nullable


_GENERIC_PREDICT: Document = {
    "operationId": "predict",
    "summary": "Predict; which fields a row has is described with the brand's key",
    "tags": ["models"],
    "security": [{"key": []}],
    "parameters": [_path_parameter("brand"), _path_parameter("model"), EXPLAIN, REQUEST_KEY],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["instances"],
                    "additionalProperties": False,
                    "properties": {"instances": {"type": "array", "minItems": 1, "items": {"type": "object"}}},
                }
            }
        },
    },
    "responses": {"200": _json("Predictions, one per row", {"type": "object"}), **error_responses(PREDICT_ERRORS)},
}
