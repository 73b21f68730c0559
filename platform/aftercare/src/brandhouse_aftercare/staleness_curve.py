"""How much worse is a model that is so and so old? Told by a back-test on the version's own snapshot.

The rows are put in order of time and the newer part is cut into blocks. A model is trained before each block, always on
as many rows, with the params of the version in production, and answers all later blocks. Within one block the fresh
model and the older ones answer the same rows: what differs is their age, not how hard the block is.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from brandhouse_aftercare.staleness import CURVE
from brandhouse_flows.data_project import DataProject, Snapshot
from brandhouse_flows.material import read_learnable_rows
from brandhouse_flows.resampling import draw_weights, normalised, resample_scores
from brandhouse_flows.scores import score, undefined_reason
from brandhouse_flows.search import build_candidate, fit, predict
from brandhouse_flows.splits import MIN_SIDE_ROWS, read_times
from brandhouse_shared.brands import Brand, load_brand_module
from brandhouse_shared.config import Scalar
from brandhouse_shared.contracts import Contract
from brandhouse_shared.errors import BrandhouseError
from brandhouse_shared.features import build_model_input
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import Entry, EntryKind, Version
from brandhouse_shared.metrics import METRICS
from brandhouse_shared.names import ModelKey
from brandhouse_shared.settings import Settings

BLOCKS = 6
"""So many fits: each costs as much as a training without its search."""

LEARNED_SHARE = 0.4
"""Oldest rows that the first model learns from, and as many rows every other one."""

MOST_ROWS = 100_000
"""The newest rows; a back-test is no training."""

RESAMPLES = 400
NANOSECONDS_A_DAY = 86_400e9

Floats = NDArray[np.float64]


class NoTimeError(BrandhouseError):
    """The model's data have no time by which a back-test could go."""


@dataclass(frozen=True, slots=True)
class AgePoint:
    """Models of one age, beside fresh ones.

    Attributes:
        age: How much older than the fresh model, on average, in the curve's unit.
        loss: How much worse, in the metric's unit; positive is worse. Mean over blocks.
        low: Lower end of the loss's interval.
        high: Upper end.
        loss_share: The loss as a share of the fresh models' score.
        blocks: Blocks in which models of this age answered.
        rows: Rows of these blocks.
    """

    age: float
    loss: float
    low: float
    high: float
    loss_share: float
    blocks: int
    rows: int


@dataclass(frozen=True, slots=True)
class StalenessCurve:
    """The outcome of a back-test.

    Attributes:
        number: Version whose params and snapshot were used.
        unit: `days`, or the name of the time column where it holds plain numbers.
        fresh_score: Mean score of models that were trained just before a block.
        confidence: Of the intervals.
        learned_rows: Rows of each fit.
        fits: How many there were.
        points: The youngest first.
    """

    key: ModelKey
    number: int
    metric: str
    unit: str
    fresh_score: float
    confidence: float
    learned_rows: int
    fits: int
    points: tuple[AgePoint, ...]

    def as_document(self) -> dict[str, Any]:
        """The curve as plain values."""
        plain = asdict(self) | {"points": [asdict(point) for point in self.points]}
        return plain | {"brand": self.key.brand, "model": self.key.model, "key": str(self.key)}


def measure_staleness(settings: Settings, ledger: Ledger, brand: Brand, key: ModelKey) -> StalenessCurve:
    """Back-test the version in production.

    Raises:
        NoTimeError: If the model's split is not by time.
        BrandhouseError: If nothing is in production that was trained, or there are too few rows.
        EntrypointError: If brand code is missing or fails.
        DatasetError: If the snapshot does not come.
    """
    model = brand.model(key.model)
    if model.split.kind != "time":
        raise NoTimeError(
            f"{key}: not applicable: the split is {model.split.kind}, so the data have no declared time to go by; "
            'with a column of times set split.kind = "time" and split.by'
        )
    version = _trained_version(ledger, key)
    rows = _read(settings, brand, version, key)
    cuts = _cut(rows.times)
    predictions = _fit_and_ask(brand, version, key, rows, cuts)
    is_date = model.split.format is not None
    ages = rows.times[cuts[:-1]] / (NANOSECONDS_A_DAY if is_date else 1.0)
    fresh, points = _points(model.metric, rows.target, cuts, predictions, ages, model.gates.confidence)
    unit = "days" if is_date else str(model.split.by)
    return StalenessCurve(key, version.number, model.metric, unit, fresh, model.gates.confidence, cuts[0], len(predictions), tuple(points))


def record_curve(ledger: Ledger, curve: StalenessCurve, now: datetime, actor: str) -> Entry:
    """Keep a curve in the ledger, where the check of the age finds it."""
    return ledger.record_entry(
        Entry(
            kind=EntryKind.MARK,
            brand=curve.key.brand,
            model=curve.key.model,
            number=curve.number,
            name=CURVE,
            state="measured",
            value=curve.points[-1].loss_share if curve.points else None,
            detail=say_curve(curve),
            facts=curve.as_document(),
            actor=actor,
            at=now,
        )
    )


def say_curve(curve: StalenessCurve) -> str:
    """Say the oldest point in a sentence."""
    from brandhouse_flows.wording import say_interval, say_number, say_signed

    if not curve.points:
        return f"{curve.metric} has no value on any block"
    last = curve.points[-1]
    return (
        f"models {say_number(round(last.age, 1))} {curve.unit} older lose {say_signed(last.loss)} of {curve.metric} "
        f"({say_interval(last.low, last.high)}) against fresh ones ({say_number(curve.fresh_score)})"
    )


def _trained_version(ledger: Ledger, key: ModelKey) -> Version:
    """The version in production, or the newest that was trained where a baseline serves."""
    production = ledger.production(key)
    versions = [production] if production is not None else []
    versions += sorted(ledger.versions(key), key=lambda version: -version.number)
    for version in versions:
        if version.record.kind == "candidate":
            return version
    raise BrandhouseError(f"{key} has no trained version; `brandhouse train {key}` makes one")


@dataclass(frozen=True)
class _Rows:
    """The snapshot in order of time: times as numbers, target, and features of the same rows."""

    times: Floats
    target: NDArray[Any]
    classes: int
    features: Any


def _read(settings: Settings, brand: Brand, version: Version, key: ModelKey) -> _Rows:
    record, model = version.record, brand.model(key.model)
    code = load_brand_module(brand, model.entrypoint)
    path = DataProject(brand, settings).fetch(record.snapshot_dataset, record.snapshot_hash)
    file = brand.config.datasets[record.snapshot_dataset].file
    snapshot = Snapshot(record.snapshot_dataset, file, record.snapshot_hash, path.stat().st_size, path, changed=False)
    table, target = read_learnable_rows(brand, model, str(key), snapshot)
    newest = slice(max(0, len(table) - MOST_ROWS), None)
    table = table.iloc[newest].reset_index(drop=True)
    times = read_times(table[str(model.split.by)], model.split, str(key))
    rows = Contract(model.inputs).parse_table(table, str(key))
    return _Rows(times, target.values[newest], len(target.classes), build_model_input(code, rows, str(key)))


def _fit_and_ask(brand: Brand, version: Version, key: ModelKey, rows: _Rows, cuts: Sequence[int]) -> list[Floats]:
    """The answers of each model to all rows from its cut on."""
    record, model = version.record, brand.model(key.model)
    code = load_brand_module(brand, model.entrypoint)
    params = {name: cast(Scalar, value) for name, value in record.params.items()}
    answers = []
    for cut in cuts[:-1]:
        learned = slice(cut - cuts[0], cut)
        estimator = build_candidate(code, str(key), record.candidate_name, params)
        fitted = fit(estimator, rows.features.iloc[learned], rows.target[learned], str(key))
        answers.append(predict(fitted, model.task, rows.features.iloc[cut:], str(key), rows.classes))
    return answers


def _cut(times: Floats) -> list[int]:
    """First row of each block, and the end; rows of one time stay together.

    Raises:
        BrandhouseError: If there are too few rows or times for two blocks.
    """
    wanted = np.linspace(LEARNED_SHARE * len(times), len(times), BLOCKS + 1)[:-1]
    starts = sorted({int(np.searchsorted(times, times[min(int(at), len(times) - 1)], "left")) for at in wanted})
    cuts = [starts[0]] if starts else []
    for start in [*starts[1:], len(times)]:
        if start - cuts[-1] >= MIN_SIDE_ROWS:
            cuts.append(start)
    cuts[-1] = len(times)
    if len(cuts) < 3 or cuts[0] < MIN_SIDE_ROWS:
        raise BrandhouseError(f"{len(times)} rows of {len(np.unique(times))} times are too few for a back-test")
    return cuts


def _points(
    metric: str, target: NDArray[Any], cuts: Sequence[int], predictions: Sequence[Floats], ages: Floats, confidence: float
) -> tuple[float, list[AgePoint]]:
    """The fresh models' mean score, and one point for each number of blocks between training and answer."""
    blocks = len(predictions)
    resampled = [_block_scores(metric, target, cuts, predictions, block) for block in range(blocks)]
    fresh = float(np.nanmean([values[block] for block, (values, _) in enumerate(resampled)]))
    sign = 1.0 if METRICS[metric].greater_is_better else -1.0
    points = []
    for steps in range(1, blocks):
        losses, samples, older = [], [], []
        for block in range(steps, blocks):
            values, drawn = resampled[block]
            if math.isfinite(values[block]) and math.isfinite(values[block - steps]):
                losses.append(sign * (values[block] - values[block - steps]))
                samples.append(sign * (drawn[block] - drawn[block - steps]))
                older.append(ages[block] - ages[block - steps])
        if losses:
            tail = (1 - confidence) / 2
            low, high = np.nanquantile(np.mean(samples, axis=0), [tail, 1 - tail])
            rows = sum(cuts[block + 1] - cuts[block] for block in range(steps, blocks))
            loss = float(np.mean(losses))
            points.append(AgePoint(float(np.mean(older)), loss, float(low), float(high), loss / abs(fresh), len(losses), rows))
    return fresh, points


def _block_scores(
    metric: str, target: NDArray[Any], cuts: Sequence[int], predictions: Sequence[Floats], block: int
) -> tuple[Floats, Floats]:
    """Scores of the models trained up to a block on it, shape (models,), and on its resamples, shape (models, resamples)."""
    first, end = cuts[block], cuts[block + 1]
    truth = target[first:end]
    answers = [predictions[model][first - cuts[model] : end - cuts[model]] for model in range(block + 1)]
    answers = [answer if answer.ndim == 1 else normalised(answer) for answer in answers]
    scores = np.array([score(metric, truth, answer) for answer in answers])
    if undefined_reason(metric, truth, answers[0]):
        return scores, np.full((len(answers), RESAMPLES), np.nan)
    weights = np.concatenate(list(draw_weights(len(truth), None, block, RESAMPLES)), axis=1)  # the same rows for all models
    return scores, np.array([resample_scores(metric, truth, answer, weights) for answer in answers])
