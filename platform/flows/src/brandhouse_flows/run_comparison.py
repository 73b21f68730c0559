"""Compare runs of one model: params, scores and whether their difference is more than noise, slices, data, code, packages."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from brandhouse_flows.code_changes import CodeChange, LockChange, compare_code, compare_locks
from brandhouse_flows.experiments import Experiment
from brandhouse_flows.run_details import RunDetails, find_details
from brandhouse_flows.scores import bootstrap
from brandhouse_shared.brands import Brand
from brandhouse_shared.errors import BrandhouseError
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import RunResult
from brandhouse_shared.metrics import METRICS
from brandhouse_shared.names import ModelKey
from brandhouse_shared.settings import Settings


@dataclass(frozen=True)
class Gain:
    """How much better a run is than the first one.

    Attributes:
        gain: In the metric's unit; positive is better whatever the direction. None if they cannot be compared.
        low: Lower end of its interval.
        high: Upper end.
        paired: Whether both answered the same held-out rows and were compared row by row.
        verdict: better, worse, within noise, or why it cannot be said.
        how: How the interval was found, for people.
    """

    gain: float | None
    low: float | None
    high: float | None
    paired: bool
    verdict: str
    how: str


@dataclass(frozen=True)
class SliceRow:
    """One slice in all runs: score, interval and rows each; None where a run has no such slice or did not judge it."""

    column: str
    value: str
    scores: tuple[Mapping[str, Any] | None, ...]


@dataclass(frozen=True)
class SnapshotFacts:
    """The data of one run."""

    dataset: str
    hash_md5: str
    rows: int | None
    """Of the whole snapshot; None if the ledger does not know it."""
    rows_train: int
    rows_holdout: int


@dataclass(frozen=True)
class RunComparison:
    """Runs of one model beside each other; the first is the one that the others are compared with.

    Attributes:
        key: The model.
        metric: Of the first run.
        confidence: Of the intervals.
        experiments: The runs. All have a result.
        params: Name to value in each run, None where it has none; those that differ come first.
        gains: One for each run; None for the first.
        slices: In the order of the first run.
        data: Of each run.
        code: Each run but the first, compared with the first.
        locks: Likewise.
        details: Of each run; None where this machine has none.
    """

    key: ModelKey
    metric: str
    confidence: float
    experiments: tuple[Experiment, ...]
    params: Mapping[str, tuple[Any, ...]]
    gains: tuple[Gain | None, ...]
    slices: tuple[SliceRow, ...]
    data: tuple[SnapshotFacts, ...]
    code: tuple[CodeChange, ...]
    locks: tuple[LockChange, ...]
    details: tuple[RunDetails | None, ...]

    @property
    def results(self) -> list[RunResult]:
        """What each run measured."""
        return [one.result for one in self.experiments if one.result is not None]

    @property
    def greater_is_better(self) -> bool:
        """Direction of the metric."""
        return METRICS[self.metric].greater_is_better


def compare_runs(settings: Settings, brand: Brand, key: ModelKey, ledger: Ledger, experiments: Sequence[Experiment]) -> RunComparison:
    """Compare two or more runs with the first of them.

    Raises:
        BrandhouseError: If there are fewer than two, or one measured nothing.
    """
    empty = [one.label for one in experiments if one.result is None]
    if len(experiments) < 2 or empty:
        why = f"run {empty[0]} measured nothing ({_ending(experiments, empty[0])})" if empty else "there are fewer than two"
        raise BrandhouseError(f"{key}: nothing to compare: {why}; `brandhouse runs {key}` lists runs and their scores")
    results = [one.result for one in experiments if one.result is not None]
    details = [find_details(settings.home, key, one.details_digest) for one in results]
    model = brand.model(key.model)
    confidence, seed = model.gates.confidence, model.split.seed
    first, rest = experiments[0], experiments[1:]
    pairs = list(zip(rest, details[1:], strict=True))
    return RunComparison(
        key=key,
        metric=results[0].metric,
        confidence=confidence,
        experiments=tuple(experiments),
        params=_params(experiments, results),
        gains=(None, *(compare_scores(results[0], one, (details[0], kept), confidence, seed) for one, kept in _rest(results, details))),
        slices=_slices(results),
        data=_data(ledger, brand.name, results),
        code=tuple(compare_code(settings, brand, first, one, (details[0], kept)) for one, kept in pairs),
        locks=tuple(compare_locks(settings, first, one) for one in rest),
        details=tuple(details),
    )


def _rest(results: list[RunResult], details: list[RunDetails | None]) -> list[tuple[RunResult, RunDetails | None]]:
    return list(zip(results[1:], details[1:], strict=True))


def _ending(experiments: Sequence[Experiment], label: str) -> str:
    run = next(one.run for one in experiments if one.label == label)
    return f"{run.outcome}: {run.detail}"[:300] if run.outcome else "still running, or its process died"


def compare_scores(
    first: RunResult, other: RunResult, details: tuple[RunDetails | None, RunDetails | None], confidence: float, seed: int
) -> Gain:
    """Say how much better `other` is than `first`, row by row where both answered the same held-out rows."""
    if first.metric != other.metric:
        return Gain(None, None, None, False, "not comparable", f"{first.metric} and {other.metric} are different metrics")
    gain = other.score - first.score if METRICS[first.metric].greater_is_better else first.score - other.score
    same_rows = first.holdout_digest is not None and first.holdout_digest == other.holdout_digest
    paired = _paired(other.metric, details, confidence, seed) if same_rows else None
    if paired is not None:
        return Gain(gain, *paired, True, _verdict(*paired), "paired: both answered the same held-out rows")
    why = "they were judged on different rows"
    if first.holdout_digest is None or other.holdout_digest is None:
        why = "an older release, or a baseline, kept no predictions"
    elif same_rows:
        why = "the predictions of both are not on this machine"
    unpaired = _unpaired(first, other, gain)
    if unpaired is None:
        return Gain(gain, None, None, False, "not known", f"not paired: {why}, and an interval is unknown")
    return Gain(gain, *unpaired, False, _verdict(*unpaired), f"not paired, so the interval is wide: {why}")


def _paired(metric: str, details: tuple[RunDetails | None, RunDetails | None], confidence: float, seed: int) -> tuple[float, float] | None:
    """Interval of the gain on the same rows; None if the predictions of either are not here, or of other classes."""
    first, other = details
    if first is None or other is None or first.prediction is None or other.prediction is None or first.truth is None:
        return None
    if first.prediction.shape != other.prediction.shape:
        return None
    before, after = first.prediction.astype(np.float64), other.prediction.astype(np.float64)
    report = bootstrap(metric, first.truth, after, {"first": before}, confidence, seed, groups=first.groups)
    return report.differences["first"].low + 0.0, report.differences["first"].high + 0.0  # no minus zero


def _unpaired(first: RunResult, other: RunResult, gain: float) -> tuple[float, float] | None:
    """Interval of the difference of two independent scores: their half-widths add up as squares, as those of normal errors do."""
    one, two = _half_width(first), _half_width(other)
    if one is None or two is None:
        return None
    return gain - math.hypot(one, two), gain + math.hypot(one, two)


def _half_width(result: RunResult) -> float | None:
    return None if result.score_low is None or result.score_high is None else (result.score_high - result.score_low) / 2


def _verdict(low: float, high: float) -> str:
    if math.isnan(low) or math.isnan(high):
        return "not known"
    if low > 0:
        return "better"
    return "worse" if high < 0 else "within noise"


def _params(experiments: Sequence[Experiment], results: list[RunResult]) -> dict[str, tuple[Any, ...]]:
    rows: dict[str, tuple[Any, ...]] = {
        "candidate": tuple(one.candidate_name for one in results),
        "estimator": tuple(one.estimator for one in results),
    }
    names = list(dict.fromkeys(name for one in results for name in one.params))
    rows |= {name: tuple(one.params.get(name) for one in results) for name in names}
    rows["run"] = tuple(_kind(one) for one in experiments)
    # Stable: within each half the order in which a person declared them.
    return dict(sorted(rows.items(), key=lambda item: len(set(map(str, item[1]))) == 1))


def _kind(one: Experiment) -> str:
    sample = (one.run.record.asked or {}).get("sample")
    return f"sample {sample:g}" if isinstance(sample, int | float) else one.run.record.kind


def _slices(results: list[RunResult]) -> tuple[SliceRow, ...]:
    found = [{(str(item.get("column")), str(item.get("value"))): item for item in one.slices} for one in results]
    names = list(dict.fromkeys(name for one in found for name in one))
    rows = (SliceRow(column, value, tuple(one.get((column, value)) for one in found)) for column, value in names)
    return tuple(row for row in rows if any(item is not None and item.get("score") is not None for item in row.scores))


def _data(ledger: Ledger, brand: str, results: list[RunResult]) -> tuple[SnapshotFacts, ...]:
    rows = {(one.dataset, one.hash_md5): one.rows for one in ledger.snapshots(brand)}
    return tuple(
        SnapshotFacts(
            one.snapshot_dataset, one.snapshot_hash, rows.get((one.snapshot_dataset, one.snapshot_hash)), one.rows_train, one.rows_holdout
        )
        for one in results
    )


def diff_commands(comparison: RunComparison) -> list[str]:
    """Commands that show how the data of the runs differ; none if all learned from the same snapshot."""
    first = comparison.data[0]
    return [
        f"brandhouse data diff {comparison.key.brand}/{one.dataset} {first.hash_md5[:12]} {one.hash_md5[:12]}"
        for one in dict.fromkeys(comparison.data[1:])
        if one.dataset == first.dataset and one.hash_md5 != first.hash_md5
    ]
