"""May this version serve? Each gate compares one measured value with what the brand declared.

A gate that does not apply says so and does not count. A gate that applies but whose value is unknown is no pass.
The rules are the docstrings of `brandhouse_shared.config.Gates`.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from brandhouse_flows.fairness import FairnessReport
from brandhouse_flows.leakage import Leak
from brandhouse_flows.scores import Difference, ScoreReport
from brandhouse_flows.slices import SliceScore
from brandhouse_flows.wording import say_interval, say_number, say_share, say_signed, shorten
from brandhouse_shared.config import Gates, ModelConfig
from brandhouse_shared.errors import join_bounded


@dataclass(frozen=True)
class GateResult:
    """The outcome of one gate.

    Attributes:
        name: threshold, baseline, production, slices, leakage, latency or fairness.
        passed: None if not applicable, or if its value is unknown.
        detail: One sentence for people.
        value: What was measured; None if unknown or not one number.
        limit: What it was compared with; None likewise.
        applicable: Whether it counts. An applicable gate with an unknown outcome blocks.
    """

    name: str
    passed: bool | None
    detail: str
    value: float | None = None
    limit: float | None = None
    applicable: bool = True

    @property
    def outcome(self) -> str:
        """passed, failed, unknown (blocks) or not applicable."""
        if not self.applicable:
            return "not applicable"
        return {True: "passed", False: "failed", None: "unknown"}[self.passed]

    def as_document(self) -> dict[str, Any]:
        """The result as plain values for the ledger."""
        return asdict(self)


class AgainstProduction(StrEnum):
    """What a version must show against the one in production. Judged on the same hold-out, with `gates.confidence`."""

    NOT_WORSE = "not worse"
    """The lower end of the gain is within `gates.production_tolerance_share`: somebody asked for this training."""
    BETTER = "better"
    """The lower end of the gain is above zero: a retraining that nobody asked for replaces nothing that is as good."""
    BETTER_OR_BROKEN = "better, or not worse than a broken one"
    """Better; not worse is enough if production itself breaks its threshold or loses to the best baseline on this hold-out."""


@dataclass(frozen=True)
class ProductionComparison:
    """How the version in production did on the same hold-out.

    Attributes:
        name: Its key in the score report's differences; None if it could not answer.
        refusal: Why it could not answer, such as a changed input schema; empty if it did.
        fresh: The same report over those hold-out rows alone that production has not learned from, for a retraining; in words why
            there is none; None: not asked for.
    """

    name: str | None
    refusal: str = ""
    fresh: ScoreReport | str | None = None


def judge(
    model: ModelConfig,
    report: ScoreReport,
    baselines: Sequence[str],
    production: ProductionComparison | None,
    slices: Sequence[SliceScore],
    leaks: Sequence[Leak] | None,
    latency_ms: float | None,
    against: AgainstProduction = AgainstProduction.NOT_WORSE,
    fairness: FairnessReport | None = None,
) -> list[GateResult]:
    """Apply every gate, in a fixed order.

    Args:
        model: Declares the limits.
        report: Score on the hold-out with the differences to baselines and production.
        baselines: Names of the baselines in `report.differences`.
        production: None if no version is in production.
        slices: From `slice_scores`.
        leaks: From `find_leaks`; None if the check could not be made.
        latency_ms: Median milliseconds one row takes in the packaged runtime; None if it was not measured.
        against: What must be shown against production.
        fairness: From `measure_fairness`; None if nothing is declared.
    """
    return [
        _threshold(model, report),
        _baseline(model.gates, report, baselines),
        _production(model.gates, report, production, baselines, against),
        _slices(model, report, slices),
        _leakage(model.gates, leaks),
        _latency(model.serving.latency_budget_ms, latency_ms),
        _fairness(fairness),
    ]


def gates_passed(results: Iterable[GateResult]) -> bool:
    """Whether every applicable gate passed; unknown is not a pass."""
    return all(result.passed is True for result in results if result.applicable)


def _threshold(model: ModelConfig, report: ScoreReport) -> GateResult:
    limit = model.gates.threshold
    if limit is None:
        return _not_applicable("threshold", "no threshold is declared")
    if not math.isfinite(report.score):
        return _unknown("threshold", f"the score is unknown: {report.reason or 'not a number'}", limit)
    passed = report.score >= limit if report.greater_is_better else report.score <= limit
    wanted = "at least" if report.greater_is_better else "at most"
    return GateResult("threshold", passed, f"{report.metric} {say_number(report.score)}; {wanted} {say_number(limit)}", report.score, limit)


def _baseline(gates: Gates, report: ScoreReport, baselines: Sequence[str]) -> GateResult:
    if not gates.beat_baseline:
        return _not_applicable("baseline", "gates.beat_baseline is off")
    known = {name: report.differences[name] for name in baselines if name in report.differences}
    answered = {name: difference for name, difference in known.items() if math.isfinite(difference.score)}
    if not answered or not math.isfinite(report.score):
        return _unknown("baseline", f"no comparison with a baseline: {report.reason or 'no baseline has a score'}", 0.0)
    name, best = min(answered.items(), key=lambda item: item[1].gain)
    if not math.isfinite(best.low):
        return _unknown("baseline", f"the interval of the gain over {name} is unknown; too few rows", 0.0)
    detail = f"gain over {name} ({say_number(best.score)}): {_gain(best, report)}; its lower end must be above 0"
    return GateResult("baseline", best.low > 0, detail, best.low, 0.0)


def _production(
    gates: Gates, report: ScoreReport, production: ProductionComparison | None, baselines: Sequence[str], against: AgainstProduction
) -> GateResult:
    if production is None:
        return _not_applicable("production", "no version is in production")
    if production.name is None:
        refusal = production.refusal or "no reason given"
        return _not_applicable("production", f"not compared: production could not answer on this hold-out: {refusal}")
    if isinstance(production.fresh, str):
        return _unknown("production", f"not compared on rows that {production.name} has not learned from: {production.fresh}", 0.0)
    report = production.fresh or report
    difference = report.differences.get(production.name)
    if difference is None or not math.isfinite(difference.low) or not math.isfinite(difference.score):
        return _unknown("production", f"the comparison with {production.name} is unknown; too few rows, or an undefined score")
    broken = _broken_gate(gates, report, difference.score, baselines) if against is AgainstProduction.BETTER_OR_BROKEN else ""
    if against is not AgainstProduction.NOT_WORSE and not broken:
        of_rows = f" on {report.rows:,} rows that are new to both" if production.fresh else ""
        detail = f"gain over {production.name} ({say_number(difference.score)}){of_rows}: {_gain(difference, report)}"
        needed = "a retraining must be better: its lower end above 0"
        return GateResult("production", difference.low > 0, f"{detail}; {needed}", difference.low, 0.0)
    # Non-inferiority: the worst that is still plausible must lie within the tolerance.
    limit = -gates.production_tolerance_share * abs(difference.score)
    detail = (
        f"gain over {production.name} ({say_number(difference.score)}): {_gain(difference, report)}; its lower end may be at worst "
        f"{say_number(limit)} ({say_share(gates.production_tolerance_share)} of production's score){broken}"
    )
    return GateResult("production", difference.low >= limit, detail, difference.low, limit)


def _broken_gate(gates: Gates, report: ScoreReport, score: float, baselines: Sequence[str]) -> str:
    """Which gate production's score on this hold-out breaks, in words; empty if none."""
    sign = 1 if report.greater_is_better else -1
    if gates.threshold is not None and sign * score < sign * gates.threshold:
        return f"; that is enough, as production breaks its threshold {say_number(gates.threshold)} on these rows"
    known = [report.differences[name].score for name in baselines if name in report.differences]
    best = max((sign * one for one in known if math.isfinite(one)), default=-math.inf)
    if gates.beat_baseline and sign * score < best:
        return f"; that is enough, as production loses to the best baseline ({say_number(sign * best)}) on these rows"
    return ""


def _slices(model: ModelConfig, report: ScoreReport, slices: Sequence[SliceScore]) -> GateResult:
    if not model.slices:
        return _not_applicable("slices", "no slices are declared")
    limit = model.gates.slice_max_loss_share
    losses = [(_loss_share(report, item.score), item) for item in slices if item.judged and item.score is not None]
    if not losses:
        return _unknown("slices", f"none of {len(slices)} slices could be judged; lower gates.slice_min_rows, or hold out more rows", limit)
    if not math.isfinite(report.score) or report.score == 0:
        return _unknown("slices", "the whole's score is zero or unknown, so a share of it says nothing", limit)
    worst, item = max(losses, key=lambda pair: pair[0])
    unjudged = len(slices) - len(losses)
    rest = f"; {unjudged} of {len(slices)} slices were not judged" if unjudged else ""
    detail = (
        f"worst slice {item.column} = {shorten(item.value)}: {report.metric} {say_number(item.score)}, {_compared(worst)} the whole; "
        f"at most {say_share(limit)} worse is allowed{rest}"
    )
    return GateResult("slices", worst <= limit, detail, worst, limit)


def _leakage(gates: Gates, leaks: Sequence[Leak] | None) -> GateResult:
    limit = gates.leakage_score
    if leaks is None:
        return _unknown("leakage", "the leakage check could not be made", limit)
    blocking = [leak for leak in leaks if leak.feature not in gates.allow_leakage]
    strongest = max((leak.score for leak in leaks), default=None)
    if not blocking:
        allowed = f"; allowed by name: {join_bounded(shorten(leak.feature) for leak in leaks)}" if leaks else ""
        return GateResult("leakage", True, f"no unallowed feature alone reaches {say_number(limit)}{allowed}", strongest, limit)
    named = join_bounded(f"{shorten(leak.feature)} ({say_number(leak.score)})" for leak in blocking)
    hint = "remove it, or name it in gates.allow_leakage if it is known when a prediction is asked for"
    return GateResult("leakage", False, f"alone predicts the target too well: {named}; {hint}", blocking[0].score, limit)


def _latency(budget_ms: float | None, latency_ms: float | None) -> GateResult:
    if budget_ms is None:
        return _not_applicable("latency", "no latency budget is declared")
    if latency_ms is None or not math.isfinite(latency_ms):
        return _unknown("latency", f"the latency was not measured; the budget is {say_number(budget_ms)} ms a row", budget_ms)
    detail = f"{say_number(latency_ms)} ms a row (median); at most {say_number(budget_ms)} ms"
    return GateResult("latency", latency_ms <= budget_ms, detail, latency_ms, budget_ms)


def _fairness(fairness: FairnessReport | None) -> GateResult:
    if fairness is None:
        return _not_applicable("fairness", "no fairness is declared")
    declared = fairness.declared
    unjudged = [gap.column for gap in fairness.gaps if gap.least is None]
    if unjudged:
        few = f"fewer than two groups of {join_bounded(unjudged)} have {declared.min_rows} hold-out rows that count"
        return _unknown("fairness", f"{few}; lower fairness.min_rows, or hold out more rows", declared.max_gap)
    worst = max(fairness.gaps, key=lambda gap: gap.least or 0.0)
    groups = f"{worst.column} = {shorten(worst.lower)} and {shorten(worst.higher)}"
    surely = f"by at least {say_number(worst.least)} with {say_share(fairness.confidence)} confidence"
    detail = f"{declared.metric} differs by {say_number(worst.value)} between {groups}, {surely}; at most {say_number(declared.max_gap)}"
    return GateResult("fairness", (worst.least or 0.0) <= declared.max_gap, detail, worst.least, declared.max_gap)


def _not_applicable(name: str, detail: str) -> GateResult:
    return GateResult(name, None, detail, applicable=False)


def _unknown(name: str, detail: str, limit: float | None = None) -> GateResult:
    return GateResult(name, None, detail, limit=limit)


def _gain(difference: Difference, report: ScoreReport) -> str:
    interval = say_interval(difference.low, difference.high)
    return f"{say_signed(difference.gain)} ({say_share(report.confidence)} interval {interval})"


def _loss_share(report: ScoreReport, score: float) -> float:
    """How much worse a slice is than the whole, as a share of the whole's score; negative if it is better."""
    worse = report.score - score if report.greater_is_better else score - report.score
    return worse / abs(report.score) if report.score else math.nan


def _compared(loss_share: float) -> str:
    return f"{say_share(loss_share)} worse than" if loss_share > 0 else f"{say_share(-loss_share)} better than"
