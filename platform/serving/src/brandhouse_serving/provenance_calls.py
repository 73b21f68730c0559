"""What a brand may ask about a prediction that it was given: where it came from."""

import asyncio

from fastapi import FastAPI, Request

from brandhouse_serving import prediction_ids
from brandhouse_serving.callers import authenticate
from brandhouse_serving.failures import NoSuchPredictionError
from brandhouse_serving.feedback import await_record
from brandhouse_serving.keys import Scope, permit
from brandhouse_serving.parts import Parts
from brandhouse_serving.provenance import Provenance, read_provenance
from brandhouse_serving.schemas import AUTH_ERRORS, documented
from brandhouse_shared.errors import InvalidNameError
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.settings import Settings

ERRORS = {**AUTH_ERRORS, "404": "No such prediction of this brand, or it is kept no longer"}


def add_provenance_calls(app: FastAPI, parts: Parts, settings: Settings, ledger: Ledger) -> None:
    """Add the question where a prediction came from."""

    @app.get(
        "/v1/{brand}/predictions/{prediction_id}",
        tags=["models"],
        summary="Where a prediction came from: version, data, code, and who promoted it",
        responses=documented(ERRORS),
    )
    async def provenance(brand: str, prediction_id: str, request: Request) -> Provenance:
        permit(authenticate(parts, request), brand, Scope.READ)
        return await asyncio.to_thread(_find, parts, settings, ledger, brand, prediction_id)


def _find(parts: Parts, settings: Settings, ledger: Ledger, brand: str, prediction_id: str) -> Provenance:
    """Look only for what can be the caller's: another brand's id is as unknown as one that nobody has."""
    try:
        is_own = prediction_ids.parse(prediction_id).version.brand == brand
    except InvalidNameError:
        is_own = False
    if is_own and await_record(parts.log, prediction_id):
        found = read_provenance(settings.home, ledger, prediction_id)
        if found is not None:
            return found
    raise NoSuchPredictionError(brand)
