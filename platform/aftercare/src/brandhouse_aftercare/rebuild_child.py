"""One training in a process and a home of its own, for `rebuilding`: reads what to train from standard input, registers nothing.

The workspace that its environment names is a copy at the commit of the version; the snapshot is given by path, so that no
data project, remote or ledger of the house is touched.
"""

import json
import sys
from pathlib import Path
from typing import Any

from brandhouse_flows.data_project import Snapshot
from brandhouse_flows.learning import learn
from brandhouse_flows.planning import TEMPLATE_VERSION, Plan, plan_training
from brandhouse_flows.registration import package_baseline
from brandhouse_flows.results import Learned
from brandhouse_flows.steps import call_step
from brandhouse_flows.wishes import Wishes
from brandhouse_shared.artifacts import load_artifact_store
from brandhouse_shared.ledger import open_ledger
from brandhouse_shared.names import ModelKey
from brandhouse_shared.settings import load_settings


def main() -> None:
    """Train as standard input says, leave the artifact's files in its folder, and print what was chosen as JSON."""
    asked = json.load(sys.stdin)
    sys.stdout.write(f"\n{json.dumps(train_again(asked))}\n")


def train_again(asked: dict[str, Any]) -> dict[str, Any]:
    """Train once.

    Args:
        asked: `key`, `run_id`, `estimator`, `params`, `snapshot` (path), `hash_md5`, `baseline` (a name, or empty) and
            `folder` for the files.
    """
    settings = load_settings()
    wishes = Wishes(estimator=asked["estimator"], params=asked["params"])
    plan = plan_training(settings, ModelKey.parse(asked["key"]), asked["run_id"], "local", wishes)
    ledger, store = open_ledger(settings.ledger_url.get_secret_value()), load_artifact_store(settings)
    folder = Path(asked["folder"])
    learned = learn(plan, ledger, store, call_step, _snapshot(plan, asked), folder)
    if asked["baseline"]:
        _package_baseline(folder, plan, learned, asked["baseline"])
    return _summary(plan, learned, asked["hash_md5"])


def _snapshot(plan: Plan, asked: dict[str, Any]) -> Snapshot:
    dataset, path = plan.model.dataset, Path(asked["snapshot"])
    file = plan.brand.config.datasets[dataset].file
    return Snapshot(dataset, file, asked["hash_md5"], path.stat().st_size, path, changed=False)


def _package_baseline(folder: Path, plan: Plan, learned: Learned, name: str) -> None:
    """Put the baseline in the place of what was chosen."""
    for file in folder.iterdir():
        file.unlink()
    package_baseline(folder, plan, learned.material, learned.fitted.baselines[name], name, learned.code)


def _summary(plan: Plan, learned: Learned, hash_md5: str) -> dict[str, Any]:
    return {
        "template_version": TEMPLATE_VERSION,
        "code_digest": plan.code_digest,
        "lock_hash": plan.lock_hash,
        "fingerprint": plan.fingerprint(hash_md5),
        "candidate": learned.fitted.choice.candidate,
        "params": dict(learned.fitted.choice.params),
        "trials": len(learned.fitted.choice.trials),
        "rows_train": len(learned.material.split.train),
        "rows_holdout": len(learned.material.split.holdout),
    }


if __name__ == "__main__":
    main()
