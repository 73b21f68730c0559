"""Where a version is worse than the one in production: found in the segment where it is, and only there."""

from typing import Any

import numpy as np
import pandas as pd

from brandhouse_flows.segments import compare_segments
from brandhouse_shared.config import ModelConfig

ROWS = 600


def declare(metric: str = "mae") -> ModelConfig:
    declared: dict[str, Any] = {
        "entrypoint": "brand_tulpen.price",
        "dataset": "bulbs",
        "task": "regression" if metric == "mae" else "binary",
        "target": "answer",
        "metric": metric,
        "inputs": {"size": {"type": "number"}},
        "slices": ["fuel"],
        "gates": {"slice_min_rows": 40},
    }
    return ModelConfig.model_validate(declared | ({"positive": 1} if metric != "mae" else {}))


def test_the_segment_that_got_worse_comes_first_and_is_called_so() -> None:
    generator = np.random.default_rng(0)
    fuels = generator.choice(["gas", "petrol", "diesel"], ROWS)
    fuels[:10] = "steam"
    truth = generator.normal(100, 10, ROWS)
    production = truth + generator.normal(0, 3, ROWS)
    prediction = truth + (production - truth) * np.where(fuels == "diesel", 1.5, 0.9)
    found = compare_segments(declare(), truth, prediction, production, pd.DataFrame({"fuel": fuels}), ["fuel"])
    assert [(one.value, one.verdict) for one in found] == [("diesel", "worse"), *((one.value, "better") for one in found[1:])]
    assert {one.value for one in found[1:]} == {"gas", "petrol"}, "ten rows are no segment"
    diesel = found[0]
    mask = fuels == "diesel"
    assert diesel.rows == mask.sum()
    assert diesel.gain == np.abs(production - truth)[mask].mean() - np.abs(prediction - truth)[mask].mean()
    assert diesel.low < diesel.gain < diesel.high < 0


def test_equal_answers_show_no_difference_and_undefined_scores_are_left_out() -> None:
    truth = np.array([0, 1] * 100 + [0] * 100)
    answers = np.column_stack([np.linspace(1, 0, 300), np.linspace(0, 1, 300)])
    columns = pd.DataFrame({"fuel": ["gas"] * 200 + ["petrol"] * 100})
    (gas,) = compare_segments(declare("roc_auc"), truth, answers, answers, columns, ["fuel"])
    assert (gas.value, gas.gain, gas.verdict) == ("gas", 0.0, "no difference shown")
