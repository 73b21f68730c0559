"""The process in which the folds of one training are fitted, beside a Dask worker; it ends with the training.

Brand code never runs in the Dask worker itself, which carries data of several brands. Parcel and jobs come over standard
input as frames (`fold_worker` writes them), answers go back as JSON: nothing that brand code could have made is unpickled.
Started as `python -m brandhouse_flows.fold_process`.
"""

import json
import os
import pickle
import select
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from brandhouse_flows.environment import read_environment
from brandhouse_flows.frames import read_frame, write_frame
from brandhouse_flows.planning import TEMPLATE_VERSION
from brandhouse_flows.search import Attempt, Contest, Fold, TrainingRows, score_fold
from brandhouse_shared.answering import load_packaged_code
from brandhouse_shared.config import ModelConfig, Scalar
from brandhouse_shared.errors import BrandhouseError

IDLE_SECONDS = 60.0
"""Without a job for so long it ends: the training is over, or has been killed, and its data should not lie about."""

PARENT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class ShippedCode:
    """The brand's package as texts: a worker needs no copy of the brand's folder, and cannot have a stale one."""

    key: str
    brand: str
    entrypoint: str
    code_files: dict[str, str]


@dataclass(frozen=True, slots=True)
class Parcel:
    """All that the folds of one training need; pickled once by the training's process.

    Attributes:
        code: The brand's package.
        model: The declaration.
        rows: Training rows; the hold-out never leaves the training's process.
        folds: Of the cross-validation.
        subject: Model key for messages.
        environment: Versions of what decides the numbers, where the training runs.
        template: Version of the training template there.
    """

    code: ShippedCode
    model: ModelConfig
    rows: TrainingRows
    folds: list[Fold]
    subject: str
    environment: dict[str, str] = field(default_factory=read_environment)
    template: str = TEMPLATE_VERSION


@dataclass(frozen=True, slots=True)
class Job:
    """One fold of one attempt."""

    candidate: str
    params: dict[str, Scalar]
    fold: int


def main() -> int:
    """Unpack the parcel and answer jobs until there are none."""
    jobs, answers = os.fdopen(os.dup(0), "rb", buffering=0), os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what brand code prints must not be taken for an answer
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    parcel = read_frame(jobs)
    if parcel is None:
        return 0
    scorer = _scorer_of(parcel)
    while select.select([jobs], [], [], IDLE_SECONDS)[0] and (job := read_frame(jobs)) is not None:
        write_frame(answers, json.dumps(scorer(Job(**json.loads(job)))).encode())
    return 0


def _end_with_parent(parent: int) -> None:
    """End even in the middle of a fit: the worker was killed and nobody waits for the answer."""
    while os.getppid() == parent:
        time.sleep(PARENT_SECONDS)
    os._exit(1)


def _scorer_of(pickled: bytes) -> Callable[[Job], dict[str, Any]]:
    try:
        parcel: Parcel = pickle.loads(pickled)  # noqa: S301 - written by the platform's own process, before brand code ran here
        _require_same_environment(parcel)
        contest = Contest(load_packaged_code(parcel.code), parcel.model, parcel.rows, parcel.folds, parcel.subject)
    except Exception as error:  # brand code may raise anything on import, and so may another release's pickle
        fault = _fault_of(error)
        return lambda job: fault
    return lambda job: _answer(contest, job)


def _require_same_environment(parcel: Parcel) -> None:
    here = read_environment() | {"template": TEMPLATE_VERSION}
    wanted = parcel.environment | {"template": parcel.template}
    other = [f"{name} {here.get(name)} (training: {version})" for name, version in wanted.items() if here.get(name) != version]
    if other:
        raise BrandhouseError(
            f"{parcel.subject}: a Dask worker has another environment, {', '.join(other)}; a score must not depend on who "
            "computed it: install the workers from the same requirements.lock"
        )


def _answer(contest: Contest, job: Job) -> dict[str, Any]:
    try:
        scored = score_fold(contest, Attempt(job.candidate, job.params), job.fold)
    except Exception as error:  # an entry point: the training's process raises it again
        return _fault_of(error)
    return {"score": scored.score, "seconds": scored.seconds, "refusal": scored.refusal}


def _fault_of(error: Exception) -> dict[str, str]:
    return {"fault": str(error) if isinstance(error, BrandhouseError) else f"{type(error).__name__}: {str(error)[:300]}"}


if __name__ == "__main__":
    sys.exit(main())
