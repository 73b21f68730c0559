"""An answer computed once more: the same version, the same rows together, the same runtime; then compared bit by bit.

A python version answers in a process of the brand's own, as it does when it serves: brand code never runs in this process.
"""

import asyncio
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brandhouse_serving.scores import Scores, check_scores, predictions_of
from brandhouse_serving.silo_pool import SiloPool
from brandhouse_shared.artifacts import Manifest, Runtime
from brandhouse_shared.config import Isolation
from brandhouse_shared.metrics import Task
from brandhouse_shared.settings import Settings

TIMEOUT_SECONDS = 60.0
"""For one request in the brand's own process; its start has a time of its own."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered for one row.

    Attributes:
        prediction: A number (regression) or a label as text.
        probabilities: In the order of the model's classes; None for a regression.
    """

    prediction: float | str
    probabilities: tuple[float, ...] | None

    def parts(self, classes: Sequence[object]) -> dict[str, float | str]:
        """The answer taken apart, by name: `prediction`, and `probability of <class>`."""
        shares = dict(zip(classes, self.probabilities or (), strict=False))
        return {"prediction": self.prediction} | {f"probability of {name}": share for name, share in shares.items()}


@dataclass(frozen=True, slots=True)
class Difference:
    """One part of an answer that is not the same.

    Attributes:
        part: `prediction`, or `probability of <class>`.
        amount: Size of the difference; None between labels.
    """

    part: str
    logged: float | str
    recomputed: float | str
    amount: float | None


def recompute(
    settings: Settings, folder: Path, manifest: Manifest, digest: str, rows: Sequence[Mapping[str, Any]], isolation: Isolation
) -> list[Answer]:
    """Answer rows once more, all together, as the gateway does.

    Args:
        settings: Of this process.
        folder: Of the artifact, whose bytes have been verified.
        manifest: Of the artifact.
        digest: Of the artifact.
        rows: The request's objects.
        isolation: What the brand declares: a silo's versions all answer in its own process.

    Raises:
        ContractViolationError: If the rows contradict the version's input schema.
        VersionFailedError: If the version cannot answer.
        ArtifactCorruptError: If it cannot be loaded.
    """
    columns = manifest.contract.parse_rows(list(rows))
    if manifest.runtime is Runtime.PYTHON or isolation is Isolation.SILO:
        return _answers(manifest, asyncio.run(_ask_own_process(settings, manifest, digest, columns)))
    from brandhouse_shared.answering import load_predictor

    return _answers(manifest, load_predictor(folder, manifest).predict(columns).tolist())


def constant_answer(manifest: Manifest) -> Answer:
    """What a version answers when nothing else can: it depends on no row."""
    score: Any = manifest.constant[0] if manifest.task is Task.REGRESSION else list(manifest.constant)
    return _answers(manifest, [score])[0]


def logged_answer(row: Mapping[str, Any]) -> Answer | None:
    """What the log says was answered; None if it may not keep answers."""
    if row["value"] is not None:
        return Answer(float(row["value"]), None)
    if row["prediction"] is None:
        return None
    shares = row["probabilities"]
    return Answer(str(row["prediction"]), None if shares is None else tuple(shares))


def differences(logged: Answer, recomputed: Answer, manifest: Manifest) -> list[Difference]:
    """Compare two answers bit by bit; nothing is returned if they are the same."""
    before, after = logged.parts(manifest.classes), recomputed.parts(manifest.classes)
    return [_difference(part, before[part], after[part]) for part in before if not _is_same(before[part], after.get(part))]


def _answers(manifest: Manifest, scores: Scores) -> list[Answer]:
    predictions, shares = predictions_of(manifest, check_scores(scores, str(manifest.key)))
    if shares is None:
        return [Answer(float(prediction), None) for prediction in predictions]
    return [Answer(str(label), tuple(share)) for label, share in zip(predictions, shares, strict=True)]


async def _ask_own_process(settings: Settings, manifest: Manifest, digest: str, columns: Mapping[str, list[Any]]) -> Scores:
    pool = SiloPool(settings.home, settings.silo_memory_mib)
    try:
        pool.start(manifest.brand)
        return await pool.scores(manifest.key, digest, columns, TIMEOUT_SECONDS)
    finally:
        pool.stop()


def _is_same(one: float | str, other: float | str | None) -> bool:
    if isinstance(one, str) or isinstance(other, str | None):
        return one == other
    return struct.pack("<d", one) == struct.pack("<d", other)


def _difference(part: str, before: float | str, after: float | str) -> Difference:
    is_number = isinstance(before, float) and isinstance(after, float)
    return Difference(part, before, after, abs(float(after) - float(before)) if is_number else None)
