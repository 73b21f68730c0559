"""One answer without a gateway: the same versions, checks, limits of size and prediction log, in the caller's process.

For the command line on the machine itself, where whoever may read the ledger needs no key.
"""

import time
from typing import Any

from brandhouse_serving.bodies import instances_of
from brandhouse_serving.dialects import build_document
from brandhouse_serving.parts import build_parts
from brandhouse_shared.names import ModelKey
from brandhouse_shared.settings import Settings


async def predict_here(settings: Settings, key: ModelKey, instances: list[Any]) -> dict[str, Any]:
    """Return the API's answer to `{"instances": instances}`, logged like any other.

    Raises:
        ContractViolationError: If the instances contradict the input schema.
        UnavailableError: If nothing can answer.
        UnknownModelError: If the brand declares no such model.
    """
    parts = build_parts(settings, [key.brand])
    try:
        await parts.router.refresh(with_trials=False)
        route = parts.find_route(key)
        started = time.perf_counter()
        rows = instances_of({"instances": instances}, route.config.serving.max_rows)
        reply = await parts.answerer.answer(route, rows)
        ids, now_ms = parts.make_ids(reply, len(rows))
        parts.record(reply, rows, ids, now_ms, started)
        return build_document(reply, ids)
    finally:
        await parts.close()
