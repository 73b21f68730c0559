"""Hold-outs and targets: what is held out, and what is refused with a reason."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from brandhouse_flows.splits import encode_target, split_rows
from brandhouse_shared.config import ModelConfig
from brandhouse_shared.errors import DatasetError


def declare(task: str = "regression", positive: Any = None, **split: Any) -> ModelConfig:
    metric = {"regression": "rmse", "binary": "roc_auc", "multiclass": "log_loss"}[task]
    declared = {
        "entrypoint": "brand_tulpen.price",
        "dataset": "bulbs",
        "task": task,
        "target": "answer",
        "metric": metric,
        "inputs": {"size": {"type": "number"}},
        "split": split,
    }
    return ModelConfig.model_validate(declared | ({} if positive is None else {"positive": positive}))


def codes_of(texts: list[str], model: ModelConfig) -> np.ndarray[Any, Any]:
    return encode_target(pd.Series(texts), model).values


def test_random_split_divides_all_rows_once_in_the_declared_share() -> None:
    table = pd.DataFrame({"size": [str(number) for number in range(200)]})
    split = split_rows(table, declare(), np.arange(200.0))
    assert sorted([*split.train, *split.holdout]) == list(range(200))
    assert len(split.holdout) == 50


def test_same_seed_gives_the_same_holdout_and_another_seed_another() -> None:
    table = pd.DataFrame({"size": [str(number) for number in range(200)]})
    first, again, other = (split_rows(table, declare(seed=seed), np.arange(200.0)) for seed in (3, 3, 4))
    assert np.array_equal(first.holdout, again.holdout)
    assert not np.array_equal(first.holdout, other.holdout)


def test_random_split_keeps_class_shares_and_the_rarest_class_on_both_sides() -> None:
    model = declare("multiclass")
    texts = ["a"] * 300 + ["b"] * 98 + ["c"] * 2
    codes = codes_of(texts, model)
    split = split_rows(pd.DataFrame({"answer": texts}), model, codes)
    assert list(np.bincount(codes[split.holdout])) == [75, 24, 1]
    assert list(np.bincount(codes[split.train])) == [225, 74, 1]


def test_class_with_one_row_is_refused() -> None:
    model = declare("multiclass")
    texts = ["a"] * 60 + ["b"] * 60 + ["c"]
    with pytest.raises(DatasetError, match=r"1 of 3 classes are absent on one side of the split \(the rarest has 1 rows\)"):
        split_rows(pd.DataFrame({"answer": texts}), model, codes_of(texts, model))


def test_grouped_split_has_no_group_on_both_sides_and_tells_the_groups() -> None:
    groups = np.repeat(np.arange(40), np.arange(1, 41))
    table = pd.DataFrame({"customer": groups.astype(str)})
    split = split_rows(table, declare(kind="grouped", by="customer"), np.arange(float(len(groups))))
    assert not set(groups[split.train]) & set(groups[split.holdout])
    assert split.holdout_groups is not None
    assert len(split.holdout_groups) == len(split.holdout)
    assert abs(len(split.holdout) / len(groups) - 0.25) < 0.03, "the attempt closest to the wanted share is kept"


def test_rows_without_a_group_stay_together() -> None:
    table = pd.DataFrame({"customer": [str(number // 5) for number in range(160)] + [None] * 20 + [""] * 20})
    split = split_rows(table, declare(kind="grouped", by="customer"), np.arange(200.0))
    nameless = np.arange(160, 200)
    assert set(nameless) <= set(split.train) or set(nameless) <= set(split.holdout)


def test_one_group_only_is_refused() -> None:
    table = pd.DataFrame({"customer": ["7"] * 100})
    with pytest.raises(DatasetError, match=r"split\.by = 'customer' has one group only"):
        split_rows(table, declare(kind="grouped", by="customer"), np.arange(100.0))


def test_time_split_holds_out_the_newest_rows_by_their_format() -> None:
    days = pd.date_range("2024-01-01", periods=120).strftime("%d/%m/%Y").to_series().sample(frac=1, random_state=0)
    split = split_rows(pd.DataFrame({"sold": list(days)}), declare(kind="time", by="sold", format="%d/%m/%Y"), np.arange(120.0))
    stamps = pd.to_datetime(days, format="%d/%m/%Y").to_numpy()
    assert stamps[split.train].max() < stamps[split.holdout].min()
    assert len(split.holdout) == 30


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_rows_of_one_time_stay_on_one_side(share: float) -> None:
    hours = np.repeat(np.arange(12), 20)
    split = split_rows(pd.DataFrame({"hour": hours.astype(str)}), declare(kind="time", by="hour", holdout_share=share), np.arange(240.0))
    assert not set(hours[split.train]) & set(hours[split.holdout])
    assert abs(len(split.holdout) / 240 - share) <= 20 / 240


def test_one_time_only_is_refused() -> None:
    with pytest.raises(DatasetError, match="holds one time only"):
        split_rows(pd.DataFrame({"hour": ["7"] * 100}), declare(kind="time", by="hour"), np.arange(100.0))


def test_large_newest_tie_leaves_the_older_rows_to_learn_from() -> None:
    hours = np.array(["1"] * 40 + ["2"] * 60)
    split = split_rows(pd.DataFrame({"hour": hours}), declare(kind="time", by="hour"), np.arange(100.0))
    assert set(hours[split.train]) == {"1"}
    assert set(hours[split.holdout]) == {"2"}


def test_unreadable_times_are_counted_and_not_shown() -> None:
    table = pd.DataFrame({"sold": ["2024-01-01"] * 90 + ["secret"] * 9 + [None]})
    with pytest.raises(DatasetError, match=r"10 of 100 rows .* no readable time; allowed: a time in the format %Y-%m-%d") as caught:
        split_rows(table, declare(kind="time", by="sold", format="%Y-%m-%d"), np.arange(100.0))
    assert "secret" not in str(caught.value)


def test_text_times_without_a_format_are_refused_with_the_way_out() -> None:
    with pytest.raises(DatasetError, match=r"set split\.format"):
        split_rows(pd.DataFrame({"sold": ["2024-01-01"] * 100}), declare(kind="time", by="sold"), np.arange(100.0))


@pytest.mark.parametrize("kind", ["grouped", "time"])
def test_missing_column_is_named_with_those_there_are(kind: str) -> None:
    with pytest.raises(DatasetError, match="names the column 'sold', which the data lack; columns: size"):
        split_rows(pd.DataFrame({"size": ["1"] * 100}), declare(kind=kind, by="sold"), np.arange(100.0))


def test_too_few_rows_says_how_many_are_needed() -> None:
    with pytest.raises(DatasetError, match=r"39 rows have a target; with split.holdout_share = 0.25 at least 40 are needed"):
        split_rows(pd.DataFrame({"size": ["1"] * 39}), declare(), np.arange(39.0))


def test_classes_that_a_time_split_keeps_apart_are_refused() -> None:
    model = declare("binary", positive="new", kind="time", by="hour")
    texts = ["old"] * 75 + ["new"] * 25
    table = pd.DataFrame({"hour": [str(number) for number in range(100)]})
    with pytest.raises(DatasetError, match="2 of 2 classes are absent on one side"):
        split_rows(table, model, codes_of(texts, model))


def test_regression_target_becomes_numbers_and_missing_rows_are_dropped() -> None:
    target = encode_target(pd.Series(["1.5", None, "2", "", "3e1"]), declare())
    assert list(target.values) == [1.5, 2, 30]
    assert list(target.keep) == [True, False, True, False, True]
    assert target.missing == 2
    assert target.classes == ()


def test_whole_number_classes_stay_numbers_and_are_ordered_as_such() -> None:
    target = encode_target(pd.Series(["10", "9", "2"]), declare("multiclass"))
    assert target.classes == (2, 9, 10)
    assert list(target.values) == [2, 1, 0]


def test_codes_that_merely_look_like_numbers_stay_texts() -> None:
    assert encode_target(pd.Series(["007", "8", "9"]), declare("multiclass")).classes == ("007", "8", "9")


@pytest.mark.parametrize(
    ("texts", "positive", "classes"),
    [
        (["0", "1"], 0, (1, 0)),
        (["ham", "spam"], "ham", ("spam", "ham")),
        (["False", "True"], True, ("False", "True")),
        (["0.0", "1.0"], 1, ("0.0", "1.0")),
    ],
)
def test_positive_class_is_code_one(texts: list[str], positive: Any, classes: tuple[Any, ...]) -> None:
    target = encode_target(pd.Series(texts), declare("binary", positive=positive))
    assert target.classes == classes
    assert target.values[texts.index(str(classes[1]))] == 1


def test_unknown_positive_class_is_refused_with_those_there_are() -> None:
    with pytest.raises(DatasetError, match="the positive class 'yes' is not in the target 'answer'; its classes: 0, 1"):
        encode_target(pd.Series(["0", "1"]), declare("binary", positive="yes"))


def test_third_class_of_a_binary_task_is_refused() -> None:
    with pytest.raises(DatasetError, match="has 3 classes; a binary task has exactly two"):
        encode_target(pd.Series(["0", "1", "2"]), declare("binary", positive=1))


@pytest.mark.parametrize(("texts", "task"), [(["4", "4"], "regression"), (["4", "4.0"], "regression"), (["a", "a", None], "multiclass")])
def test_constant_target_is_refused(texts: list[Any], task: str) -> None:
    with pytest.raises(DatasetError, match=r"tulpen.*the target 'answer' is the same in all 2 rows"):
        encode_target(pd.Series(texts), declare(task))


def test_target_that_is_missing_everywhere_is_refused() -> None:
    with pytest.raises(DatasetError, match="all 2 rows lack the target 'answer'"):
        encode_target(pd.Series([None, ""]), declare())


def test_target_that_is_no_number_is_counted_and_not_shown() -> None:
    with pytest.raises(DatasetError, match="not a number in 2 of 4 rows") as caught:
        encode_target(pd.Series(["1", "2", "private", "inf"]), declare())
    assert "private" not in str(caught.value)
