"""All parameters of the flows of a model, with their defaults: the server refuses a run with others."""

from typing import Any

from brandhouse_shared.names import ModelKey


def train_parameters(key: ModelKey) -> dict[str, Any]:
    """Of `training.train_model`."""
    return {"brand": key.brand, "model": key.model, "force": False, "estimator": "", "params": "", "sample": "", "dry_run": False}


def retrain_parameters(key: ModelKey) -> dict[str, Any]:
    """Of `brandhouse_aftercare.retrain_flow.retrain_model`."""
    return {"brand": key.brand, "model": key.model, "trigger": "schedule", "reason": "its schedule"}


def score_parameters(key: ModelKey) -> dict[str, Any]:
    """Of `scoring.score_model`."""
    texts = dict.fromkeys(("input", "output", "version", "keep", "separator", "encoding"), "")
    return {"brand": key.brand, "model": key.model, **texts, **dict.fromkeys(("strict", "restart", "overwrite"), False)}
