"""What the ledger is too narrow for: every trial of a run's search, and what its model answered for the held-out rows.

One file a run below the home, in a folder of its own for each brand, named by its content. It makes two runs comparable
row by row later on. Whoever deletes it loses that comparison and the list of trials; the ledger keeps the rest.
"""

import hashlib
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from brandhouse_flows.content import write_whole
from brandhouse_flows.search import Trial
from brandhouse_shared.brands import Brand
from brandhouse_shared.names import ModelKey

if TYPE_CHECKING:  # whoever only reads needs neither plots nor packaging
    from brandhouse_flows.evaluation import Evaluation, Fitted
    from brandhouse_flows.material import Material
    from brandhouse_flows.planning import Plan

FOLDER = "experiments"
MAX_KEPT_VALUES = 2_000_000
"""Predictions of larger hold-outs are not kept (8 MB before compression); such runs are compared by their intervals."""


@dataclass(frozen=True)
class RunDetails:
    """What one run leaves beside its row in the ledger.

    Attributes:
        trials: What the search tried, in order.
        sources: Path below the brand's folder to text of its declaration and Python files, if Git alone could not bring
            them back (the work tree differed from the commit); else empty.
        truth: Target of the hold-out, shape (rows,); None if it was too large to keep.
        prediction: Shape (rows,) or (rows, classes), 32-bit; None likewise.
        groups: Group of each hold-out row of a grouped split, else None.
    """

    trials: tuple[Trial, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)
    truth: NDArray[Any] | None = None
    prediction: NDArray[Any] | None = None
    groups: NDArray[Any] | None = None


def keep_details(plan: "Plan", material: "Material", fitted: "Fitted", evaluation: "Evaluation") -> str:
    """Write the file of a run and return its digest.

    Raises:
        DiskFullError: If there is no space.
    """
    arrays: dict[str, Any] = {}
    if evaluation.prediction.size <= MAX_KEPT_VALUES:
        arrays = {"truth": material.truth, "prediction": evaluation.prediction.astype(np.float32)}
        if material.split.holdout_groups is not None:
            arrays["groups"] = material.split.holdout_groups
    sources = read_sources(plan.brand) if plan.git.dirty else {}
    document = {"trials": [_trial_document(trial) for trial in fitted.choice.trials], "sources": sources}
    text = np.frombuffer(json.dumps(document).encode(), dtype=np.uint8)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, document=text, **arrays)
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()
    write_whole(_path(plan.settings.home, plan.key, digest), buffer.getvalue())
    return digest


def find_details(home: Path, key: ModelKey, digest: str | None) -> RunDetails | None:
    """Read the file of a run; None if this machine has none, or not the one that was written."""
    if digest is None:
        return None
    try:
        content = _path(home, key, digest).read_bytes()
    except OSError:
        return None
    if hashlib.sha256(content).hexdigest() != digest:
        return None
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        document = json.loads(arrays["document"].tobytes())
        kept = {name: arrays[name] for name in ("truth", "prediction", "groups") if name in arrays}
    trials = tuple(Trial(**(one | {"score": math.nan if one["score"] is None else one["score"]})) for one in document["trials"])
    return RunDetails(trials, document["sources"], **kept)


def holdout_digest(material: "Material") -> str:
    """Name the held-out rows by what they hold: equal for two runs only if both were judged on the same rows and truths."""
    rows = material.holdout_table.astype(object).where(material.holdout_table.notna(), "").astype(str)
    digest = hashlib.sha256("\0".join(map(str, rows.columns)).encode())
    digest.update(pd.util.hash_pandas_object(rows, index=False).to_numpy().tobytes())
    digest.update(np.ascontiguousarray(material.truth).tobytes())
    return digest.hexdigest()


def read_sources(brand: Brand) -> dict[str, str]:
    """The brand's declaration and Python files, path below its folder to text."""
    files: Sequence[Path] = [brand.folder / "brand.toml", *sorted(brand.source_dir.rglob("*.py"))]
    return {path.relative_to(brand.folder).as_posix(): path.read_text(encoding="utf-8", errors="replace") for path in files}


def _trial_document(trial: Trial) -> dict[str, Any]:
    return asdict(trial) | {"score": trial.score if math.isfinite(trial.score) else None}


def _path(home: Path, key: ModelKey, digest: str) -> Path:
    return home / FOLDER / key.brand / key.model / f"{digest}.npz"
