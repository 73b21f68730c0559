"""A gap between groups is found where there is one, not where there is none, and nothing is said of too few people."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from brandhouse_flows.fairness import FairnessReport, measure_fairness
from brandhouse_flows.gates import judge
from brandhouse_flows.scores import ScoreReport
from brandhouse_shared.config import ModelConfig

ROWS = 1_200


def declare(metric: str = "true_positive_rate", max_gap: float = 0.1, min_rows: int = 50, **changes: Any) -> ModelConfig:
    fairness = {"fields": ["region"], "metric": metric, "max_gap": max_gap, "min_rows": min_rows}
    is_number = metric in ("absolute_error", "mean_error")
    declared = {
        "entrypoint": "brand_tulpen.price",
        "dataset": "bulbs",
        "target": "answer",
        "metric": "mae" if is_number else "roc_auc",
        "inputs": {"size": {"type": "number"}},
        "task": "regression" if is_number else "binary",
        "fairness": fairness,
    }
    return ModelConfig.model_validate({**declared, **({} if is_number else {"positive": "yes"}), **changes})


def people(seed: int = 0, *, missed: float = 0.0) -> tuple[Any, Any, pd.DataFrame]:
    """Truth, probabilities and regions; of the positives in the south this share is missed beyond what is missed anywhere."""
    generator = np.random.default_rng(seed)
    regions = generator.choice(["north", "south", "west"], ROWS)
    truth = generator.integers(0, 2, ROWS)
    said = np.where(generator.random(ROWS) < 0.2, 1 - truth, truth)
    said[(regions == "south") & (truth == 1) & (generator.random(ROWS) < missed)] = 0
    return truth, np.column_stack([1.0 - said, said]), pd.DataFrame({"region": regions})


def measure(model: ModelConfig, truth: Any, prediction: Any, columns: pd.DataFrame, **more: Any) -> FairnessReport:
    report = measure_fairness(model, truth, prediction, columns, **more)
    assert report is not None
    return report


def gate_of(model: ModelConfig, report: FairnessReport | None) -> Any:
    whole = ScoreReport(model.metric, 0.9, 0.8, 1.0, 0.95, ROWS)
    return judge(model, whole, [], None, [], [], None, fairness=report)[-1]


@pytest.mark.parametrize(
    ("metric", "of"),
    [
        ("selection_rate", lambda truth, said: said),
        ("true_positive_rate", lambda truth, said: said[truth == 1]),
        ("false_positive_rate", lambda truth, said: said[truth == 0]),
        ("error_rate", lambda truth, said: truth != said),
    ],
)
def test_groups_have_their_own_scores(metric: str, of: Any) -> None:
    truth, prediction, columns = people()
    report = measure(declare(metric), truth, prediction, columns)
    assert {group.value for group in report.groups} == {"north", "south", "west"}
    for group in report.groups:
        mask = (columns["region"] == group.value).to_numpy()
        expected = of(truth[mask], prediction[mask, 1])
        assert (group.rows, group.score) == (len(expected), pytest.approx(expected.mean()))
        assert group.low is not None and group.high is not None and group.low < expected.mean() < group.high


def test_numbers_are_compared_by_their_errors() -> None:
    columns = pd.DataFrame({"region": ["north"] * 100 + ["south"] * 100})
    truth = np.zeros(200)
    errors = np.concatenate([np.tile([-1.0, 1.0], 50), np.tile([1.0, 3.0], 50)])
    for metric, scores in (("absolute_error", [1.0, 2.0]), ("mean_error", [0.0, 2.0])):
        report = measure(declare(metric, max_gap=0.5), truth, errors, columns)
        assert [group.score for group in report.groups] == scores
        assert gate_of(declare(metric, max_gap=0.5), report).outcome == "failed"


def test_a_group_that_is_missed_more_often_fails_the_gate() -> None:
    model = declare()
    report = measure(model, *people(missed=0.4))
    (gap,) = report.gaps
    assert (gap.lower, gap.higher in ("north", "west")) == ("south", True)
    assert gap.value is not None and gap.least is not None and 0.1 < gap.least < gap.value
    gate = gate_of(model, report)
    assert (gate.outcome, gate.value, gate.limit) == ("failed", gap.least, 0.1)
    assert "south" in gate.detail and "95 % confidence" in gate.detail
    assert gate_of(declare(max_gap=0.9), measure(declare(max_gap=0.9), *people(missed=0.4))).outcome == "passed"


def test_chance_alone_seldom_looks_like_a_gap() -> None:
    found = [measure(declare(), *people(seed)).gaps[0].least or 0.0 for seed in range(12)]
    assert sum(least > 0 for least in found) <= 3, "three equal groups differ far more often than in 5 % of the draws"


def test_too_few_people_block_the_gate_and_are_not_judged() -> None:
    model = declare(min_rows=450)
    report = measure(model, *people())
    assert not any(group.judged for group in report.groups)
    gate = gate_of(model, report)
    assert gate.outcome == "unknown" and "region" in gate.detail and "450" in gate.detail


def test_a_group_of_one_truth_is_not_judged_by_the_other() -> None:
    truth, prediction, columns = people()
    truth[columns["region"] == "west"] = 0
    west = next(group for group in measure(declare(), truth, prediction, columns).groups if group.value == "west")
    assert (west.rows, west.score, west.judged) == (0, None, False)


def test_dependent_rows_are_drawn_together() -> None:
    truth, prediction, columns = people(missed=0.15)
    alone = measure(declare(), truth, prediction, columns).gaps[0]
    twice = (np.repeat(truth, 4), np.repeat(prediction, 4, axis=0), pd.DataFrame({"region": np.repeat(columns["region"].to_numpy(), 4)}))
    surer, grouped = measure(declare(), *twice).gaps[0], measure(declare(), *twice, groups=np.repeat(np.arange(ROWS), 4)).gaps[0]
    assert (surer.least or 0) > (alone.least or 0) + 0.02, "copies of rows make nothing surer unless they are taken for new ones"
    assert grouped.least == pytest.approx(alone.least, abs=0.02)


def test_nothing_declared_is_not_applicable() -> None:
    model = declare(fairness=None)
    assert measure_fairness(model, *people()) is None
    assert gate_of(model, None).outcome == "not applicable"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metric": "absolute_error", "task": "binary"}, "allowed: selection_rate, true_positive_rate, false_positive_rate, error_rate"),
        ({"fields": ["answer"]}, "names the target"),
        ({"max_gap": 0}, "greater than 0"),
        ({"fields": []}, "at least 1"),
    ],
)
def test_what_cannot_be_measured_is_refused(changes: dict[str, Any], message: str) -> None:
    task = {name: changes.pop(name) for name in ("task",) if name in changes}
    fairness = {"fields": ["region"], "metric": "error_rate", "max_gap": 0.1, **changes}
    with pytest.raises(ValidationError, match=message):
        declare(fairness=fairness, **task)
