"""The platform's events on the Prefect server: what automations wait for.

Sent at once and by themselves, not by Prefect's background thread: a run's process may end right after, and an event that is lost
starts nothing. Without a server nothing is sent; `retrain_due` of aftercare finds what an event that never came was to start.
"""

import logging
import os
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

CHECK_RED = "brandhouse.check.red"
CHECK_GREEN = "brandhouse.check.green"
SNAPSHOT_NEW = "brandhouse.snapshot.new"
TRIGGER_LABEL = "brandhouse.trigger"
"""Label of the event's resource that says which retraining trigger it is; `none`: it is none."""

_TRIGGERS = {"drift": "drift", "prediction_drift": "drift", "quality": "quality", "staleness": "staleness"}
"""Family of a check to the trigger that its red finding is; other checks find what training again does not mend."""


logger = logging.getLogger(__name__)


def model_resource(brand: str, model: str) -> str:
    """Prefect's resource id of a model."""
    return f"brandhouse.model.{brand}.{model}"


def dataset_resource(brand: str, dataset: str) -> str:
    """Prefect's resource id of a dataset."""
    return f"brandhouse.dataset.{brand}.{dataset}"


def trigger_of(check: str) -> str:
    """Which retraining trigger a red check is, by its family (`drift` of `drift.mileage`); `none` if training does not mend it."""
    return _TRIGGERS.get(check.partition(".")[0], "none")


def emit_check(
    brand: str, model: str, check: str, *, state: str, detail: str, value: float | None = None, limit: float | None = None
) -> bool:
    """Say that a check of a model is red, or green again after it was. Returns whether a server was told.

    Args:
        brand: Whose.
        model: Of the brand.
        check: The finding's name, such as `drift.mileage`.
        state: red or green.
        detail: One sentence, without row values.
        value: What was measured.
        limit: What it was compared with.
    """
    trigger = trigger_of(check) if state == "red" else "none"
    payload = {"brand": brand, "model": model, "check": check, "trigger": trigger, "value": value, "limit": limit, "detail": detail}
    return _emit(CHECK_RED if state == "red" else CHECK_GREEN, model_resource(brand, model), f"{brand}/{model}", trigger, payload)


def emit_snapshot(brand: str, dataset: str, hash_md5: str, rows: int) -> bool:
    """Say that a dataset has a snapshot that was not there before. Returns whether a server was told."""
    detail = f"new snapshot {hash_md5[:12]} of {dataset}, {rows:,} rows"
    payload = {"brand": brand, "dataset": dataset, "hash": hash_md5, "trigger": "snapshot", "detail": detail}
    return _emit(SNAPSHOT_NEW, dataset_resource(brand, dataset), f"{brand}/{dataset}", "snapshot", payload)


def _emit(event: str, resource: str, name: str, trigger: str, payload: dict[str, Any]) -> bool:
    if not os.environ.get("PREFECT_API_URL"):
        return False
    import httpx
    from prefect.client.orchestration import get_client

    labels = {"prefect.resource.id": resource, "prefect.resource.name": name, TRIGGER_LABEL: trigger}
    document = {"id": str(uuid4()), "occurred": datetime.now(UTC).isoformat(), "event": event, "resource": labels, "payload": payload}
    try:
        with get_client(sync_client=True) as client:
            client.request("POST", "/events", json=[document])
    except httpx.HTTPError as error:  # the work that it tells about is done, and must not fail for it
        logger.warning("%s of %s could not be sent, the Prefect server is away: %s", event, name, type(error).__name__)
        return False
    return True
