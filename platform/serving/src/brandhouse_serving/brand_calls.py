"""What a brand may ask besides predictions: which models it has, and to take a label."""

import asyncio
from datetime import UTC, datetime
from typing import Any

from fastapi import FastAPI, Request

from brandhouse_serving.bodies import check_headers, parse_json, read_body, read_headers, refuse_repeated_keys
from brandhouse_serving.callers import authenticate, find_loaded, manifest_of, model_names
from brandhouse_serving.feedback import LabelStore, check_label
from brandhouse_serving.keys import Scope, permit
from brandhouse_serving.parts import Parts
from brandhouse_serving.schemas import AUTH_ERRORS, FEEDBACK_ERRORS, documented, row_schema
from brandhouse_shared.errors import ContractViolationError
from brandhouse_shared.names import ModelKey


def add_brand_calls(app: FastAPI, parts: Parts, labels: LabelStore) -> None:
    """Add the listing and feedback."""

    @app.get("/v1/{brand}/models", tags=["models"], summary="The caller's models", responses=documented(AUTH_ERRORS))
    async def models(brand: str, request: Request) -> dict[str, Any]:
        permit(authenticate(parts, request), brand, Scope.READ)
        return {"brand": brand, "models": [await _describe(parts, ModelKey(brand, name)) for name in model_names(parts, brand)]}

    body = {"type": "object", "required": ["prediction_id", "label"], "additionalProperties": False}
    body["properties"] = {"prediction_id": {"type": "string"}, "label": {"type": ["string", "number", "boolean"]}}

    @app.post(
        "/v1/{brand}/{model}/feedback",
        tags=["models"],
        summary="Join the truth to a prediction, once",
        openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": body}}}},
        responses=documented(FEEDBACK_ERRORS),
    )
    async def feedback(brand: str, model: str, request: Request) -> dict[str, str]:
        permit(authenticate(parts, request), brand, Scope.FEEDBACK)
        key = ModelKey(brand, model)
        route = parts.find_route(key)
        check_headers(read_headers(request.headers.raw))
        sent = await read_body(request.receive)
        prediction_id, label = _feedback_fields(parse_json(sent))
        refuse_repeated_keys(sent, 2)
        check_label(await manifest_of(route), label)
        await asyncio.to_thread(labels.add, key, prediction_id, label, datetime.now(UTC))
        return {"prediction_id": prediction_id, "status": "joined"}


def _feedback_fields(document: Any) -> tuple[str, Any]:
    if not isinstance(document, dict) or document.keys() != {"prediction_id", "label"}:
        raise ContractViolationError("feedback", ['body: allowed: an object {"prediction_id": ..., "label": ...}'])
    prediction_id = document["prediction_id"]
    if not isinstance(prediction_id, str):
        raise ContractViolationError("feedback", ["prediction_id: allowed: a text"])
    return prediction_id, document["label"]


async def _describe(parts: Parts, key: ModelKey) -> dict[str, Any]:
    """One row of the listing; a model without a version in production has none."""
    route = parts.router.table.get(key)
    loaded = None if route is None else await find_loaded(route)
    described: dict[str, Any] = {"model": key.model, "version": None, "stage": None, "task": None, "inputs": None}
    if route is not None:
        described |= {"version": str(route.production.version.key), "stage": "production", "task": route.config.task}
    if loaded is not None:
        described |= {"target": loaded.manifest.target, "runtime": loaded.manifest.runtime, "inputs": row_schema(loaded.manifest)}
    return described
