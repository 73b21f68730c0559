"""A brand whose model is made of ready modules is trained, compiled, recorded, and recognised when nothing changed."""

from typing import Any

from brandhouse_shared.artifacts import Runtime, read_manifest
from brandhouse_shared.brands import code_digest
from brandhouse_shared.names import ModelKey

CODE = '''"""What a home is worth."""

from brandhouse_shared.ready import numbers, prices

NUMBERS = ["area", "rooms", "garden", "area_per_room"]
CATEGORIES = ["town"]


def build_features(rows):
    return rows.assign(area_per_room=numbers.ratio(rows["area"], rows["rooms"]))


def build_estimator(kind="boosting", **params):
    return prices.build_estimator(kind, numbers=NUMBERS, categories=CATEGORIES, **params)
'''
CANDIDATES = """
[models.price.candidates.boosting]
params = { kind = "boosting", max_iter = 30 }
space.learning_rate = { low = 0.05, high = 0.2, log = true }

[models.price.candidates.forest]
params = { kind = "forest", n_estimators = 20 }

[models.price.search]
trials = 3
folds = 2
"""


def test_a_brand_of_ready_modules_is_trained_and_compiled(workspace: Any) -> None:
    (workspace.root / "brands/casa/src/brand_casa/price.py").write_text(CODE)
    workspace.append("brands/casa/brand.toml", CANDIDATES)
    workspace.train()
    key = ModelKey("casa", "price")
    version = max(workspace.ledger.versions(key), key=lambda one: one.number)
    manifest = read_manifest(workspace.store.find(key, version.record.artifact_digest))
    assert manifest.runtime is Runtime.COMPILED, manifest.reason
    assert version.record.code_digest == manifest.code_digest == code_digest(workspace.brand("casa"))
    assert version.record.estimator == "TransformedTargetRegressor"
