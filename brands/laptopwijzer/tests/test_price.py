from pathlib import Path

import pandas as pd
import pytest

from brandhouse_shared.brands import load_brand_module, read_brand

price = load_brand_module(read_brand(Path(__file__).parents[1]), "brand_laptopwijzer.price")

OPTIONS = ["Battery Life (Hours)", "RAM (GB)", "Processor Speeds (GHz)", "HD Size (GB)", "Integrated Wireless?", "Bundled Applications?"]


def test_options_are_combined_as_buyers_pay_for_them() -> None:
    rows = pd.DataFrame([[5.0, 2.0, 1.5, 120.0, 1.0, 0.0]], columns=OPTIONS)

    features = price.build_features(rows).iloc[0]
    assert (features["memory_speed"], features["disk_per_memory"]) == (3.0, 60.0), "memory times speed, disk a gigabyte of memory"


@pytest.mark.parametrize("kind", ["boosting", "forest"])
def test_every_candidate_learns_that_memory_costs_money(kind: str) -> None:
    rows = pd.DataFrame([[5.0, memory, 2.0, 80.0, 1.0, 1.0] for memory in (1.0, 2.0) * 50], columns=OPTIONS)
    estimator = price.build_estimator(kind=kind).fit(price.build_features(rows), 400 + 50 * rows["RAM (GB)"])

    small, large = estimator.predict(price.build_features(rows.head(2)))
    assert large > small, "more memory costs more"
