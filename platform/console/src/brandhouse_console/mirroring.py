"""Write to the MLflow server what it lacks."""

import sys
from collections.abc import Sequence

from brandhouse_console.output import print_json, print_table
from brandhouse_console.targets import known_brands, models_of_target
from brandhouse_shared.artifacts import load_artifact_store
from brandhouse_shared.errors import BrandhouseError
from brandhouse_shared.ledger import open_ledger
from brandhouse_shared.settings import load_settings


def sync(targets: Sequence[str], *, as_json: bool) -> None:
    """Mirror models, or all models of brands; one that fails does not stop the others, and the exit status says so.

    Args:
        targets: `BRAND` or `BRAND/MODEL` each; none: all brands.
        as_json: Print one list of results.
    """
    from brandhouse_flows.mlflow_mirror import sync_model

    settings = load_settings()
    ledger, store = open_ledger(settings.ledger_url.get_secret_value()), load_artifact_store(settings)
    results = []
    for key in [key for target in targets or known_brands() for key in models_of_target(settings, target)]:
        try:
            done = sync_model(settings, ledger, store, key)
            results.append({"brand": key.brand, "model": key.model, "runs": done.runs, "versions": done.versions, "problem": None})
        except BrandhouseError as error:
            results.append({"brand": key.brand, "model": key.model, "runs": 0, "versions": 0, "problem": str(error)})
    if as_json:
        print_json(results)
    else:
        rows = [[f"{one['brand']}/{one['model']}", one["runs"], one["versions"], one["problem"] or "up to date"] for one in results]
        print_table(["model", "runs written", "versions written", "now"], rows, empty="no brand yet")
    if any(one["problem"] for one in results):
        sys.exit(1)
