"""Drift: do the inputs, and the predictions, still look as they did when the version in production was trained?

Red takes both: an effect above `monitoring.drift_effect`, and proof that it is no chance (see `distances`), at a level
that leaves room for all fields, models, checks and daily runs (see `alarm_budget`). Silence of the data is not green: with
fewer rows than it takes to find twice the effect nine times of ten, a check says how many it has and needs.
"""

import hmac
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from brandhouse_aftercare.answers import Answers, Categories, Column, Numbers
from brandhouse_aftercare.checks import Finding, State, Watch
from brandhouse_aftercare.distances import Distance, holm, measure_distance, reference_rows_needed, rows_needed, shares_of
from brandhouse_aftercare.references import HashOf, Reference, classes_reference, field_reference, number_reference
from brandhouse_serving.prediction_log import load_hash_key
from brandhouse_shared.config import Privacy
from brandhouse_shared.metrics import Task

TOLD_FIELDS = 50
"""So many fields are told of one by one in the ledger, the ones that drifted most."""

DRAWN_FIELDS = 4
"""Of so many also the shares, for a picture."""

SINGLE_PRECISION = 1e-6
MOST_WANTED = 100_000
"""A field whose reference is so small that it takes more rows than this does not make all others wait."""

PROBABILITY, CLASSES, CONFIDENCE, NUMBER = "probability", "classes", "confidence", "number"


@dataclass(frozen=True)
class Compared:
    """One field, compared with the training.

    Attributes:
        counts: Rows of each cell of the reference, now.
        distance: None: there is no value at all.
        needed: Rows with a value that it takes to say that it has not drifted; infinite if the training had too few.
        adjusted: Probability of so much by chance, adjusted for all fields of the check.
    """

    reference: Reference
    counts: NDArray[np.int64]
    distance: Distance | None
    needed: float
    adjusted: float = 1.0

    @property
    def rows(self) -> int:
        """Rows with a value, now."""
        return int(self.counts.sum())


class DriftCheck:
    """Looks at every input field."""

    name = "drift"

    def look(self, watch: Watch) -> Finding:
        """See `Check.look`."""
        reason = _why_not(watch)
        if reason is not None:
            return Finding(self.name, State.NOT_APPLICABLE, reason)
        references, left_out = input_references(watch)
        answers = watch.answers
        chosen = answers.has_inputs
        pairs = {name: (reference, answers.inputs[name]) for name, reference in references.items() if name in answers.inputs}
        return judge_drift(self.name, watch, pairs, chosen, left_out, "fields")


class PredictionDriftCheck:
    """Looks at what the version in production answers, against what it answered on its hold-out."""

    name = "prediction_drift"

    def look(self, watch: Watch) -> Finding:
        """See `Check.look`."""
        reason = _why_not(watch)
        if reason is not None or watch.version is None:
            return Finding(self.name, State.NOT_APPLICABLE, reason or "no version is in production")
        references, left_out = prediction_references(watch)
        chosen = watch.answers.by_production(watch.version.number) & watch.answers.has_inputs
        columns = prediction_columns(watch, watch.answers, chosen)
        pairs = {name: (reference, columns[name]) for name, reference in references.items()}
        return judge_drift(self.name, watch, pairs, np.ones(int(chosen.sum()), bool), left_out, "views of the answers")


def wanted_rows(watch: Watch) -> int:
    """So many rows it takes to see twice the effect that is called drift, in any field that can be compared."""
    least = watch.model.monitoring.min_rows
    if watch.version is None or not watch.brand.config.capabilities.may_store_predictions:
        return least
    limit = watch.model.monitoring.drift_effect
    references, _ = input_references(watch)
    needed = [rows_needed(one.counts, limit, watch.alarm_share / len(references), one.slack) for one in references.values()]
    of_predictions, _ = prediction_references(watch)
    needed += [rows_needed(one.counts, limit, watch.alarm_share / len(of_predictions)) for one in of_predictions.values()]
    return max([least, *(int(rows) for rows in needed if math.isfinite(rows) and rows <= MOST_WANTED)])


def input_references(watch: Watch) -> tuple[dict[str, Reference], dict[str, str]]:
    """References of the fields that can be compared, and why the others cannot."""
    told: Any = {} if watch.version is None else watch.version.record.feature_statistics.get("fields", {})
    references: dict[str, Reference] = {}
    left_out: dict[str, str] = {}
    for name, field in watch.model.inputs.items():
        hash_of = _hash_of(watch, name) if field.privacy is Privacy.PERSONAL else None
        built = field_reference(field, told[name], hash_of) if name in told else "the version in production does not know it"
        _sort(name, built, references, left_out)
    return references, left_out


def prediction_references(watch: Watch) -> tuple[dict[str, Reference], dict[str, str]]:
    """The same for what the version answers: its numbers, or its probabilities and classes."""
    told: Any = None if watch.version is None else watch.version.record.feature_statistics.get("prediction")
    references: dict[str, Reference] = {}
    left_out: dict[str, str] = {}
    if not told:
        return {}, {"answers": "the record of the version in production does not tell what it answered"}
    if watch.model.task is Task.REGRESSION:
        _sort(NUMBER, number_reference(told, told["rows"], tolerance=SINGLE_PRECISION), references, left_out)
    elif "probability" in told:
        _sort(PROBABILITY, number_reference(told["probability"], told["rows"], tolerance=SINGLE_PRECISION), references, left_out)
    else:
        shares = {name: one["predicted_share"] * told["rows"] for name, one in told["classes"].items()}
        references[CLASSES] = classes_reference(shares)
        if "confidence" in told:
            _sort(CONFIDENCE, number_reference(told["confidence"], told["rows"], tolerance=SINGLE_PRECISION), references, left_out)
    return references, left_out


def prediction_columns(watch: Watch, answers: Answers, chosen: NDArray[np.bool_]) -> Mapping[str, Column]:
    """What was answered, by the names of `prediction_references`; the chosen rows only."""
    if watch.model.task is Task.REGRESSION:
        return {NUMBER: Numbers(answers.value[chosen])}
    told: Any = watch.version.record.feature_statistics["prediction"] if watch.version is not None else {"classes": {}}
    probabilities = answers.probabilities(chosen, len(told["classes"]))
    if "probability" in told:
        return {PROBABILITY: Numbers(probabilities[:, 1])}
    names = tuple(told["classes"])
    codes = probabilities.argmax(axis=1).astype(np.int32) if len(probabilities) else np.zeros(0, np.int32)
    best = probabilities.max(axis=1) if len(probabilities) else np.zeros(0)
    return {CLASSES: Categories(codes, names), CONFIDENCE: Numbers(best)}


def _sort(name: str, built: Reference | str, references: dict[str, Reference], left_out: dict[str, str]) -> None:
    if isinstance(built, str):
        left_out[name] = built
    elif len(built.cells) < 2 or (np.count_nonzero(built.counts) < 2 and built.cells[0] == "all"):
        left_out[name] = "it is always the same"
    else:
        references[name] = built


def _why_not(watch: Watch) -> str | None:
    if not watch.brand.config.capabilities.may_store_predictions:
        return "the brand may not store predictions: neither inputs nor answers are kept"
    return "no version is in production" if watch.version is None else None


def _hash_of(watch: Watch, field: str) -> HashOf:
    key = load_hash_key(watch.home, watch.brand.name)
    return lambda value: "hmac:" + hmac.digest(key, orjson.dumps([field, value]), "sha256").hex()[:32]


def judge_drift(
    check: str,
    watch: Watch,
    pairs: Mapping[str, tuple[Reference, Column]],
    chosen: NDArray[np.bool_],
    left_out: Mapping[str, str],
    noun: str,
) -> Finding:
    """Compare columns with their references and say what is found.

    Args:
        check: Name of the finding.
        watch: Limits, and the time that was looked at.
        pairs: What is compared, by name.
        chosen: Which rows of all columns count.
        left_out: What is not compared, and why.
        noun: What the pairs are, for people; plural.
    """
    limit, rows = watch.model.monitoring.drift_effect, int(chosen.sum())
    if not pairs:
        return Finding(
            check,
            State.UNKNOWN,
            f"no {noun} that can be compared: {_first(left_out.values())}",
            rows=rows,
            facts={"left_out": dict(left_out)},
        )
    compared = _compare(pairs, chosen, limit, watch.alarm_share)
    drifted = {name for name, one in compared.items() if _has_drifted(one, limit, watch.alarm_share)}
    short = {name for name, one in compared.items() if one.rows < one.needed}
    wanted = max(watch.model.monitoring.min_rows, min(one.needed for one in compared.values()))
    by_effect = sorted(compared, key=lambda name: -_effect(compared[name]))
    state, detail = _say(watch, rows, wanted, drifted, short, compared, by_effect, noun)
    return Finding(
        check,
        state,
        detail,
        value=round(_effect(compared[by_effect[0]]), 4),
        limit=limit,
        rows=rows,
        facts={
            "unit": "share of rows",
            "window_days": round(watch.answers.days, 2),
            "sampled_every": watch.answers.step,
            "compared": len(compared),
            "drifted": [name for name in by_effect if name in drifted],
            "too_few_rows": {name: _plain(compared[name].needed) for name in by_effect if name in short},
            "left_out": dict(left_out),
            "alarm_share": watch.alarm_share,
            "fields": [_told(name, compared[name], name in drifted) for name in by_effect[:TOLD_FIELDS]],
            "shares": {name: _shares(compared[name]) for name in by_effect[:DRAWN_FIELDS]},
        },
    )


def _compare(pairs: Mapping[str, tuple[Reference, Column]], chosen: NDArray[np.bool_], limit: float, alpha: float) -> dict[str, Compared]:
    each = alpha / len(pairs)
    compared: dict[str, Compared] = {}
    for name, (reference, column) in pairs.items():
        counts = reference.count(column, chosen)
        distance = measure_distance(reference.counts, counts, each, reference.slack) if counts.any() else None
        compared[name] = Compared(reference, counts, distance, rows_needed(reference.counts, limit, each, reference.slack))
    adjusted = holm({name: 1.0 if one.distance is None else one.distance.probability for name, one in compared.items()})
    return {name: Compared(one.reference, one.counts, one.distance, one.needed, adjusted[name]) for name, one in compared.items()}


def _has_drifted(one: Compared, limit: float, alpha: float) -> bool:
    return one.distance is not None and one.distance.effect > limit and one.adjusted <= alpha


def _effect(one: Compared) -> float:
    return 0.0 if one.distance is None else one.distance.effect


def _say(
    watch: Watch,
    rows: int,
    wanted: float,
    drifted: set[str],
    short: set[str],
    compared: Mapping[str, Compared],
    by_effect: list[str],
    noun: str,
) -> tuple[State, str]:
    least = watch.model.monitoring.min_rows
    worst = compared[by_effect[0]]
    if rows < least or (not drifted and len(short) == len(compared)):
        return State.UNKNOWN, _say_short(watch, rows, wanted, compared)
    if drifted:
        named = [name for name in by_effect if name in drifted]
        more = f" and {len(named) - 1} more" if len(named) > 1 else ""
        size = f"{_effect(compared[named[0]]):.2f} of the rows lie elsewhere than in training{_interval(compared[named[0]])}"
        return State.RED, f"{named[0]}{more}: {size}, in {rows:,} rows of {watch.answers.days:g} days"
    unsaid = f"; {len(short)} have too few values to say" if short else ""
    return State.GREEN, f"{len(compared) - len(short)} {noun} as in training, within {_effect(worst):.2f} of the rows{unsaid}"


def _interval(one: Compared) -> str:
    return "" if one.distance is None else f" ({one.distance.low:.2f} to {one.distance.high:.2f})"


def _say_short(watch: Watch, rows: int, wanted: float, compared: Mapping[str, Compared]) -> str:
    if math.isfinite(wanted):
        return f"not enough data: {rows:,} of {int(wanted):,} rows in {watch.answers.days:g} days"
    limit = watch.model.monitoring.drift_effect
    least = min(
        reference_rows_needed(one.reference.counts, limit, watch.alarm_share / len(compared), one.reference.slack)
        for one in compared.values()
    )
    held = max(int(one.reference.rows) for one in compared.values())
    return f"not enough data: the training itself had {held:,} of {least:,} rows that it takes to compare with"


def _told(name: str, one: Compared, has_drifted: bool) -> dict[str, Any]:
    if one.distance is None:
        return {"field": name, "rows": 0, "needed": _plain(one.needed), "drifted": False}
    return {
        "field": name,
        "effect": round(one.distance.effect, 4),
        "low": round(one.distance.low, 4),
        "high": round(one.distance.high, 4),
        "probability": float(f"{one.adjusted:.3g}"),
        "rows": one.rows,
        "needed": _plain(one.needed),
        "drifted": has_drifted,
    }


def _shares(one: Compared) -> list[list[Any]]:
    """Cell, share in training, share now. Cells are those of the version's record: no category that came since is named."""
    before, after = shares_of(one.reference.counts), shares_of(one.counts)
    return [[cell, round(float(p), 4), round(float(q), 4)] for cell, p, q in zip(one.reference.cells, before, after, strict=True)]


def _plain(rows: float) -> int | None:
    return int(rows) if math.isfinite(rows) else None


def _first(texts: Iterable[str]) -> str:
    return next(iter(texts), "the model has no fields")
