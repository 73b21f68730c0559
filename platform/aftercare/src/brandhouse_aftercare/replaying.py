"""`replay`: where a prediction came from, whether all of that is still there, and the same number computed once more."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from brandhouse_aftercare.evidence import (
    RUNBOOK,
    Piece,
    PieceState,
    find_brand_or_none,
    look_at_artifact,
    look_at_commit,
    look_at_environment,
    look_at_snapshot,
)
from brandhouse_aftercare.recomputing import Answer, Difference, constant_answer, differences, logged_answer, recompute
from brandhouse_serving.failures import VersionFailedError
from brandhouse_serving.prediction_ids import parse
from brandhouse_serving.prediction_lookup import LoggedRequest, find_request
from brandhouse_serving.provenance import Provenance, provenance_of
from brandhouse_serving.replies import BASELINE
from brandhouse_shared.artifacts import ArtifactStore, Manifest, Runtime, read_manifest
from brandhouse_shared.config import Isolation
from brandhouse_shared.errors import ArtifactCorruptError, BrandhouseError, ContractViolationError, join_bounded
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.settings import Settings

ROUNDING_SHARE = 1e-5
"""Of a number: some graphs add in 32 bits, which keep seven digits."""


class NotLoggedError(BrandhouseError):
    """No prediction of that id is in the log."""

    def __init__(self, prediction_id: str) -> None:
        made = parse(prediction_id)
        super().__init__(
            f"{made.version.model_key}: no prediction of that id in the log of {made.at:%Y-%m-%d}; it was never made here, is older "
            f"than the brand keeps answers, was erased at a person's request, or its file was cut short ({RUNBOOK})"
        )


@dataclass(frozen=True, slots=True)
class Replay:
    """What a replay found.

    Attributes:
        match: Whether the answer is the same bit by bit; None: it could not be compared, `reason` says why.
        reason: One sentence: why it could not be compared, or what may explain a difference.
        differences: Part by part; empty unless `match` is false, or the comparison was of the row alone.
        pieces: What the version was made of, and whether it is still there.
    """

    provenance: Provenance
    match: bool | None
    reason: str
    differences: tuple[Difference, ...]
    pieces: tuple[Piece, ...]

    @property
    def is_sound(self) -> bool:
        """Whether nobody has to do anything: the answer did not differ, and nothing is missing."""
        return self.match is not False and not any(piece.is_fault for piece in self.pieces)

    def as_document(self) -> dict[str, Any]:
        """Plain values: the provenance, and beside it what the replay found."""
        document: dict[str, Any] = self.provenance.model_dump(mode="json")
        found = {
            "match": self.match,
            "reason": self.reason,
            "differences": [asdict(one) for one in self.differences],
            "evidence": [asdict(piece) for piece in self.pieces],
            "sound": self.is_sound,
        }
        return document | found


@dataclass(frozen=True, slots=True)
class _Compared:
    match: bool | None
    reason: str
    inputs: Piece
    differences: tuple[Difference, ...] = ()


INPUTS_OK = Piece("inputs", PieceState.OK, "all that was asked is in the log")


def replay(settings: Settings, ledger: Ledger, store: ArtifactStore, prediction_id: str) -> Replay:
    """Look up one prediction, fetch what it was made of, and compute it once more.

    Raises:
        InvalidNameError: If the text is no prediction id.
        NotLoggedError: If the log holds no such prediction.
        LogDamagedError: If a file of the log in which it may be cannot be read.
        UnknownVersionError: If the ledger does not know the version that answered.
    """
    request = find_request(settings.home, prediction_id)
    if request is None:
        raise NotLoggedError(prediction_id)
    provenance = provenance_of(settings.home, ledger, request)
    version = ledger.find_version(provenance.key)
    artifact, folder = look_at_artifact(store, version)
    snapshot, _ = look_at_snapshot(settings, ledger, version)
    compared = _compare(settings, provenance, request, folder)
    others = (look_at_commit(settings.root, version), look_at_environment(settings, version), compared.inputs)
    return Replay(provenance, compared.match, compared.reason, compared.differences, (artifact, snapshot, *others))


def _compare(settings: Settings, provenance: Provenance, request: LoggedRequest, folder: Path | None) -> _Compared:
    logged = logged_answer(request.row)
    if logged is None:
        reason = "the brand may not store inputs and answers (may_store_predictions = false), so there is nothing to compare"
        return _Compared(None, reason, Piece("inputs", PieceState.NOT_RECORDED, reason))
    if folder is None:
        return _Compared(None, "the version's artifact cannot be used", INPUTS_OK)
    manifest = read_manifest(folder)
    if provenance.served_by == BASELINE or manifest.runtime is Runtime.CONSTANT:
        return _judged(manifest, logged, constant_answer(manifest), "it depends on no input")
    rows: list[dict[str, Any]] = [orjson.loads(row["inputs"]) for row in request.rows]  # a request is kept with all inputs or with none
    hidden = _hidden(rows[request.place], request.row)
    if hidden:
        reason = f"{join_bounded(hidden)}: about a person, and therefore hashed or not kept; the answer cannot be computed without"
        return _Compared(None, reason, Piece("inputs", PieceState.WITHHELD, reason))
    together = request.is_whole and not any(_hidden(inputs, row) for inputs, row in zip(rows, request.rows, strict=True))
    return _recompute(settings, provenance, manifest, folder, logged, rows if together else [rows[request.place]], request)


def _hidden(inputs: Mapping[str, Any], row: Mapping[str, Any]) -> list[str]:
    """Fields that are not known any more. One that is hashed and was missing in the request is: it is missing in the log."""
    return [name for name in row["withheld"] if name not in inputs or inputs[name] is not None]


def _recompute(
    settings: Settings,
    provenance: Provenance,
    manifest: Manifest,
    folder: Path,
    logged: Answer,
    rows: Sequence[Mapping[str, Any]],
    request: LoggedRequest,
) -> _Compared:
    brand = find_brand_or_none(settings, manifest.brand)
    isolation = Isolation.POOL if brand is None else brand.config.isolation
    try:
        answers = recompute(settings, folder, manifest, provenance.artifact_digest, rows, isolation)
    except ContractViolationError as error:
        detail = f"what the log holds contradicts the version's input schema in {len(error.violations)} places"
        return _Compared(None, detail, Piece("inputs", PieceState.DAMAGED, detail, f"restore the log from the backup: {RUNBOOK}"))
    except (VersionFailedError, ArtifactCorruptError) as error:
        return _Compared(None, f"the version could not answer: {error}", Piece("inputs", PieceState.FAILED, str(error), RUNBOOK))
    if len(rows) == len(request.rows):
        return _judged(manifest, logged, answers[request.place], f"{len(rows)} rows were asked together, as then")
    return _judged_alone(manifest, logged, answers[0], provenance.request_rows)


def _judged(manifest: Manifest, logged: Answer, answer: Answer, how: str) -> _Compared:
    found = differences(logged, answer, manifest)
    reason = f"computed in the {manifest.runtime} runtime; {how}"
    if found:
        reason += "; the packages that compute may be others than those that answered then"
    return _Compared(not found, reason, INPUTS_OK, tuple(found))


def _judged_alone(manifest: Manifest, logged: Answer, answer: Answer, asked: int) -> _Compared:
    """A row whose fellows are not all in the log: an equal answer is one, a different one may be the rounding of sums."""
    found = differences(logged, answer, manifest)
    if not found:
        return _judged(manifest, logged, answer, f"asked alone, of {asked} rows that were asked together")
    if not all(_is_rounding(one) for one in found):
        return _judged(manifest, logged, answer, f"asked alone, of {asked} rows that were asked together")
    reason = f"{asked} rows were asked together and are not all in the log as they came; the row alone gives another last digit"
    return _Compared(None, reason, Piece("inputs", PieceState.WITHHELD, reason), tuple(found))


def _is_rounding(difference: Difference) -> bool:
    """Whether a sum in another order explains it. Between labels nothing does."""
    return difference.amount is not None and difference.amount <= ROUNDING_SHARE * abs(float(difference.logged))
