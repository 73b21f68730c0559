"""Each gate can pass, fail and be unknown; unknown is never a pass."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from brandhouse_flows.gates import AgainstProduction, GateResult, ProductionComparison, gates_passed, judge
from brandhouse_flows.leakage import Leak
from brandhouse_flows.scores import Difference, ScoreReport
from brandhouse_flows.slices import SliceScore
from brandhouse_shared.config import ModelConfig

PRODUCTION = ProductionComparison("production")


def declare(metric: str = "rmse", slices: Sequence[str] = (), latency_budget_ms: float | None = None, **gates: Any) -> ModelConfig:
    declared = {
        "entrypoint": "brand_tulpen.price",
        "dataset": "bulbs",
        "target": "answer",
        "metric": metric,
        "slices": tuple(slices),
        "gates": gates,
        "inputs": {"size": {"type": "number"}, "invoice": {"type": "number"}},
        "serving": {"latency_budget_ms": latency_budget_ms},
    }
    task = {"task": "regression"} if metric == "rmse" else {"task": "binary", "positive": 1}
    return ModelConfig.model_validate(declared | task)


def report_of(score: float = 10.0, metric: str = "rmse", **differences: Difference) -> ScoreReport:
    return ScoreReport(
        metric, score, score * 0.9, score * 1.1, 0.95, 500, differences=differences, reason="nothing" if math.isnan(score) else ""
    )


def gain(low: float, score: float = 12.0, gain: float | None = None) -> Difference:
    return Difference(low + 0.5 if gain is None else gain, low, low + 1, score, score - 1, score + 1)


def outcome(
    gate: str,
    model: ModelConfig,
    report: ScoreReport | None = None,
    production: ProductionComparison | None = None,
    slices: Sequence[SliceScore] = (),
    leaks: Sequence[Leak] | None = (),
    latency_ms: float | None = None,
) -> GateResult:
    given = report or report_of(dummy=gain(1))
    results = judge(model, given, ["dummy", "linear"], production, slices, leaks, latency_ms)
    return next(result for result in results if result.name == gate)


def judged(score: float, rows: int = 50) -> SliceScore:
    return SliceScore("fuel", "petrol", rows, score, True, score - 1, score + 1)


UNJUDGED = SliceScore("fuel", "gas", 5, None, False, reason="too few rows (30 are needed)")


def test_gates_come_in_a_fixed_order_and_a_good_version_passes_all() -> None:
    model = declare(threshold=11, slices=["fuel"], latency_budget_ms=1)
    report = report_of(dummy=gain(5), linear=gain(1), production=gain(0))
    results = judge(model, report, ["dummy", "linear"], PRODUCTION, [judged(11)], [], 0.5)
    assert [result.name for result in results] == ["threshold", "baseline", "production", "slices", "leakage", "latency", "fairness"]
    assert [result.outcome for result in results] == [*["passed"] * 6, "not applicable"]
    assert gates_passed(results)


@pytest.mark.parametrize(
    ("metric", "limit", "passed"), [("rmse", 10, True), ("rmse", 9.99, False), ("roc_auc", 10, True), ("roc_auc", 10.01, False)]
)
def test_threshold_follows_the_direction_of_the_metric(metric: str, limit: float, passed: bool) -> None:
    result = outcome("threshold", declare(metric, threshold=limit), report_of(metric=metric, dummy=gain(1)))
    assert result.passed is passed
    assert (result.value, result.limit) == (10, limit)


def test_no_threshold_is_not_applicable() -> None:
    result = outcome("threshold", declare())
    assert (result.outcome, result.passed, result.detail) == ("not applicable", None, "no threshold is declared")


def test_unknown_score_blocks_a_declared_threshold() -> None:
    result = outcome("threshold", declare(threshold=1), report_of(math.nan, dummy=gain(1)))
    assert result.outcome == "unknown"
    assert not gates_passed([result])
    assert result.detail == "the score is unknown: nothing"


@pytest.mark.parametrize(("low", "passed"), [(0.001, True), (0.0, False), (-0.1, False)])
def test_gain_over_the_baseline_must_be_above_zero_with_confidence(low: float, passed: bool) -> None:
    assert outcome("baseline", declare(), report_of(dummy=gain(low))).passed is passed


def test_the_best_baseline_counts() -> None:
    result = outcome("baseline", declare(), report_of(dummy=gain(5), linear=gain(-0.2)))
    assert result.passed is False
    assert "gain over linear (12): +0.3 (95 % interval -0.2 to 0.8); its lower end must be above 0" in result.detail


def test_a_baseline_that_could_not_be_scored_does_not_hide_the_other() -> None:
    broken = Difference(math.nan, math.nan, math.nan, math.nan, math.nan, math.nan)
    assert outcome("baseline", declare(), report_of(linear=broken, dummy=gain(-1))).passed is False


@pytest.mark.parametrize("differences", [{}, {"dummy": Difference(1, math.nan, math.nan, 12, 11, 13)}])
def test_missing_comparison_with_a_baseline_blocks(differences: dict[str, Difference]) -> None:
    result = outcome("baseline", declare(), report_of(**differences))
    assert result.outcome == "unknown"
    assert not gates_passed([result])


def test_baseline_gate_can_be_switched_off() -> None:
    assert outcome("baseline", declare(beat_baseline=False), report_of(dummy=gain(-5))).outcome == "not applicable"


@pytest.mark.parametrize(("low", "passed"), [(-0.24, True), (-0.25, False), (1, True)])
def test_a_version_may_be_worse_than_production_by_the_tolerance_only(low: float, passed: bool) -> None:
    result = outcome("production", declare(), report_of(dummy=gain(1), production=gain(low, score=12)), PRODUCTION)
    assert result.passed is passed
    assert result.limit == pytest.approx(-0.24)


def test_tolerance_is_a_share_of_the_size_of_a_negative_score() -> None:
    result = outcome("production", declare(), report_of(dummy=gain(1), production=gain(-0.1, score=-12)), PRODUCTION)
    assert result.limit == pytest.approx(-0.24)


@pytest.mark.parametrize(
    ("against", "low", "threshold", "production_score", "passed"),
    [
        (AgainstProduction.NOT_WORSE, -0.1, None, 12.0, True),
        (AgainstProduction.BETTER, -0.1, None, 12.0, False),
        (AgainstProduction.BETTER, 0.0, None, 12.0, False),
        (AgainstProduction.BETTER, 0.1, None, 12.0, True),
        (AgainstProduction.BETTER, -0.1, 11.0, 12.0, False),
        (AgainstProduction.BETTER_OR_BROKEN, -0.1, None, 12.0, False),
        (AgainstProduction.BETTER_OR_BROKEN, -0.1, 12.5, 12.0, False),
        (AgainstProduction.BETTER_OR_BROKEN, -0.1, 11.0, 12.0, True),
        (AgainstProduction.BETTER_OR_BROKEN, -0.1, None, 21.0, True),
        (AgainstProduction.BETTER_OR_BROKEN, -0.5, 11.0, 12.0, False),
    ],
)
def test_a_retraining_must_be_better_unless_production_is_broken(
    against: AgainstProduction, low: float, threshold: float | None, production_score: float, passed: bool
) -> None:
    """`rmse` 10; the dummy has 20; of production's 12 a tolerance of 2 % is 0.24."""
    model = declare(threshold=threshold)
    report = report_of(dummy=gain(5.0, score=20.0), production=gain(low, score=production_score))
    [result] = [one for one in judge(model, report, ["dummy"], PRODUCTION, [], [], None, against) if one.name == "production"]
    assert result.passed is passed, result.detail


def test_first_version_has_no_production_to_beat() -> None:
    result = outcome("production", declare())
    assert (result.outcome, result.detail) == ("not applicable", "no version is in production")


def test_production_that_cannot_answer_is_told_and_does_not_block() -> None:
    result = outcome("production", declare(), production=ProductionComparison(None, "its schema lacks the field 'colour'"))
    assert result.outcome == "not applicable"
    assert "production could not answer on this hold-out: its schema lacks the field 'colour'" in result.detail
    assert gates_passed([result])


@pytest.mark.parametrize("difference", [None, Difference(1, math.nan, 1, 12, 11, 13), Difference(1, 0.5, 1, math.nan, 11, 13)])
def test_unknown_comparison_with_production_blocks(difference: Difference | None) -> None:
    differences = {"dummy": gain(1)} | ({"production": difference} if difference else {})
    result = outcome("production", declare(), report_of(**differences), PRODUCTION)
    assert result.outcome == "unknown"
    assert not gates_passed([result])


@pytest.mark.parametrize(("score", "passed"), [(14.9, True), (15.1, False), (5, True)])
def test_worst_slice_may_lose_a_share_of_the_whole(score: float, passed: bool) -> None:
    result = outcome("slices", declare(slices=["fuel"], slice_max_loss_share=0.5), slices=[judged(10), judged(score)])
    assert result.passed is passed


@pytest.mark.parametrize(("score", "passed"), [(0.41, True), (0.39, False)])
def test_slices_follow_the_direction_of_the_metric(score: float, passed: bool) -> None:
    model = declare("roc_auc", slices=["fuel"], slice_max_loss_share=0.5)
    assert outcome("slices", model, report_of(0.8, "roc_auc", dummy=gain(1)), slices=[judged(score)]).passed is passed


def test_bad_slice_that_is_not_judged_does_not_count_but_is_told() -> None:
    result = outcome("slices", declare(slices=["fuel"]), slices=[judged(10), UNJUDGED])
    assert result.passed is True
    assert result.detail.endswith("1 of 2 slices were not judged")


def test_slices_of_which_none_could_be_judged_are_no_pass() -> None:
    result = outcome("slices", declare(slices=["fuel"]), slices=[UNJUDGED])
    assert result.outcome == "unknown"
    assert not gates_passed([result])
    assert "lower gates.slice_min_rows" in result.detail


def test_no_declared_slices_are_not_applicable() -> None:
    assert outcome("slices", declare()).outcome == "not applicable"


def test_score_of_zero_makes_shares_of_it_unknown() -> None:
    result = outcome("slices", declare(slices=["fuel"]), report_of(0.0, dummy=gain(1)), slices=[judged(1)])
    assert result.outcome == "unknown"


def test_leak_blocks_and_is_named_with_the_way_out() -> None:
    result = outcome("leakage", declare(), leaks=[Leak("invoice", 0.999)])
    assert result.passed is False
    assert "alone predicts the target too well: invoice (0.999)" in result.detail
    assert "name it in gates.allow_leakage" in result.detail


def test_leak_that_is_allowed_by_name_passes_and_stays_visible() -> None:
    model = declare(allow_leakage=["invoice"])
    allowed = outcome("leakage", model, leaks=[Leak("invoice", 0.999)])
    assert allowed.passed is True
    assert "allowed by name: invoice" in allowed.detail
    assert outcome("leakage", model, leaks=[Leak("invoice", 0.999), Leak("receipt", 0.99)]).passed is False


def test_leakage_check_that_was_not_made_blocks() -> None:
    result = outcome("leakage", declare(), leaks=None)
    assert result.outcome == "unknown"
    assert not gates_passed([result])


@pytest.mark.parametrize(("latency_ms", "wanted"), [(2.0, "passed"), (2.1, "failed"), (None, "unknown"), (math.nan, "unknown")])
def test_latency_is_held_against_its_budget(latency_ms: float | None, wanted: str) -> None:
    assert outcome("latency", declare(latency_budget_ms=2), latency_ms=latency_ms).outcome == wanted


def test_without_a_budget_any_latency_will_do() -> None:
    assert outcome("latency", declare(), latency_ms=900).outcome == "not applicable"


@pytest.mark.parametrize("failing", range(6))
def test_one_failed_or_unknown_gate_is_enough_to_fail(failing: int) -> None:
    results = [GateResult(str(number), True, "") for number in range(6)]
    for passed in (False, None):
        assert not gates_passed([*results[:failing], replace(results[failing], passed=passed), *results[failing + 1 :]])
    assert gates_passed([*results[:failing], replace(results[failing], passed=None, applicable=False), *results[failing + 1 :]])


def test_results_go_to_the_ledger_as_plain_values() -> None:
    assert outcome("threshold", declare(threshold=11)).as_document() == {
        "name": "threshold",
        "passed": True,
        "detail": "rmse 10; at most 11",
        "value": 10.0,
        "limit": 11.0,
        "applicable": True,
    }
