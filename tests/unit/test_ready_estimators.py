"""Every ready estimator compiles, and answers as scikit-learn does for missing, unseen and unknown values."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from brandhouse_flows.packaging import package
from brandhouse_shared.artifacts import Runtime
from brandhouse_shared.brands import Brand, load_brand_module, read_brand, unload_brand
from brandhouse_shared.config import BrandConfig
from brandhouse_shared.contracts import Contract
from brandhouse_shared.features import build_model_input
from brandhouse_shared.ready import amounts, classes, counts, prices, topics, yes_no
from brandhouse_shared.ready.candidates import FEW_ROWS, MANY_ROWS, MODULES, recommend
from brandhouse_shared.ready.columns import NoColumnsError, build_encoder
from brandhouse_shared.ready.kinds import UnknownKindError, UnknownParameterError

TOML = """
name = "havenzicht"
title = "Havenzicht"
story = "Berths in a harbour."
owner = "havenzicht-data@house.example"
risk = "low"
budget_eur_month = 20

[datasets.berths]
file = "data/berths.csv"
source = {{ kind = "file", path = "berths.csv" }}

[models.berth]
entrypoint = "brand_havenzicht.berth"
dataset = "berths"
task = "{task}"
target = "y"
metric = "{metric}"
{positive}

[models.berth.inputs]
length = {{ type = "number", nullable = true }}
"depth m" = {{ type = "number", nullable = true }}
quay = {{ type = "category", nullable = true }}
boat = {{ type = "category" }}
story = {{ type = "text", nullable = true }}
booked = {{ type = "date", nullable = true }}
"""
CODE = '''"""Berths."""

from brandhouse_shared.ready import numbers, texts, times


def build_features(rows):
    rows = rows.assign(story=texts.clean(rows["story"]), long=numbers.log_amount(rows["length"]))
    return times.add_cycles(times.add_calendar(rows, ["booked"], keep=True), ["booked"])


def build_estimator(**params):
    return None
'''
NUMBERS = ["length", "depth m", "long", "booked_month", "booked_weekday", "booked_month_sin", "booked_weekday_cos"]
COLUMNS: dict[str, Any] = {"numbers": NUMBERS, "categories": ["quay", "boat"], "texts": ["story"]}
ROWS, TRAINED = 420, 300
BOOSTED = {"max_iter": 25}
TASKS = {
    "regression": ("rmse", ""),
    "binary": ("roc_auc", 'positive = "yes"'),
    "multiclass": ("accuracy", ""),
}
ESTIMATORS: dict[str, tuple[str, str, Any]] = {
    **{
        f"amounts {kind}": ("regression", "amount", lambda kind=kind: amounts.build_estimator(kind, **COLUMNS, **size(kind)))
        for kind in amounts.KINDS
    },
    **{
        f"prices {kind}": ("regression", "price", lambda kind=kind: prices.build_estimator(kind, **COLUMNS, **size(kind)))
        for kind in amounts.KINDS
    },
    **{
        f"counts {kind}": ("regression", "count", lambda kind=kind: counts.build_estimator(kind, **COLUMNS, **size(kind)))
        for kind in counts.KINDS
    },
    **{
        f"yes_no {kind}": ("binary", "yes", lambda kind=kind: yes_no.build_estimator(kind, **COLUMNS, **size(kind)))
        for kind in yes_no.KINDS
    },
    **{
        f"yes_no balanced {kind}": ("binary", "yes", lambda kind=kind: yes_no.build_estimator(kind, **COLUMNS, balanced=True, **size(kind)))
        for kind in yes_no.KINDS
    },
    **{
        f"classes {kind}": ("multiclass", "class", lambda kind=kind: classes.build_estimator(kind, **COLUMNS, **size(kind)))
        for kind in classes.KINDS
    },
    **{
        f"topics {kind}": ("multiclass", "class", lambda kind=kind: topics.build_estimator(kind, **COLUMNS, **size(kind)))
        for kind in topics.KINDS
    },
    **{
        f"amounts rare {kind}": (
            "regression",
            "amount",
            lambda kind=kind: amounts.build_estimator(kind, **COLUMNS, max_categories=3, **size(kind)),
        )
        for kind in ("linear", "boosting")
    },
    "prices many-valued": (
        "regression",
        "price",
        lambda: prices.build_estimator("linear", numbers=NUMBERS, categories=[], many_valued=["quay"]),
    ),
    "yes_no many-valued": (
        "binary",
        "yes",
        lambda: yes_no.build_estimator("forest", numbers=[], categories=["boat"], many_valued=["quay"], **size("forest")),
    ),
    "topics of texts alone": ("multiclass", "class", lambda: topics.build_estimator(texts=["story"])),
    "amounts of gamma loss": ("regression", "price", lambda: amounts.build_estimator("boosting", **COLUMNS, loss="gamma", **BOOSTED)),
}


def size(kind: str) -> dict[str, Any]:
    return {"linear": {}, "forest": {"n_estimators": 15}, "boosting": BOOSTED}[kind]


def make_table() -> tuple[pd.DataFrame, dict[str, Any]]:
    """Raw texts; the last rows hold values that the first ones, the trained, do not."""
    random = np.random.default_rng(4)
    words = ["Diep", "rustig", "NÄCHSTE", "Straße", "пристань", "x1", "auto's", "—"]
    length, depth = random.gamma(4, 3, ROWS), random.normal(3, 1, ROWS)
    quay, boat = (
        random.choice(["n", "e", "s", "w", "rare1", "rare2", ""], ROWS, p=[0.3, 0.3, 0.2, 0.1, 0.02, 0.03, 0.05]),
        random.choice(["sail", "motor"], ROWS),
    )
    quay[TRAINED : TRAINED + 20], boat[TRAINED + 10 : TRAINED + 30] = "unseen", "raft"
    story = [" ".join(random.choice(words, count)) for count in random.integers(0, 7, ROWS)]
    score = 1 + length / 15 + depth / 5 + (quay == "n") + np.array(["rustig" in text for text in story]) + random.normal(0, 0.3, ROWS)
    length_text = np.where(
        (random.random(ROWS) < 0.1) & (np.arange(ROWS) >= TRAINED), "", length.round(4).astype(str)
    )  # missing only later
    days = pd.Timestamp("2025-01-01") + pd.to_timedelta(random.integers(0, 700, ROWS), unit="D")
    table = pd.DataFrame(
        {
            "length": length_text,
            "depth m": np.where(random.random(ROWS) < 0.2, "", depth.astype(str)),
            "quay": quay,
            "boat": boat,
            "story": story,
            "booked": np.where(random.random(ROWS) < 0.1, "", days.strftime("%Y-%m-%d")),
        }
    )
    truths = {
        "amount": score * 100,
        "price": np.exp(score * 2 + 6),
        "count": random.poisson(np.exp(score / 3)).astype(float),
        "yes": np.where(score > np.quantile(score, 0.85), "yes", "no"),
        "class": np.digitize(score, np.quantile(score, [0.3, 0.7])).astype(str),
    }
    return table.replace("", None), truths


TABLE, TRUTHS = make_table()


def make_brand(folder: Path, task: str) -> Brand:
    package_folder = folder / "havenzicht" / "src" / "brand_havenzicht"
    package_folder.mkdir(parents=True)
    metric, positive = TASKS[task]
    (folder / "havenzicht" / "brand.toml").write_text(TOML.format(task=task, metric=metric, positive=positive))
    (package_folder / "__init__.py").write_text('"""Havenzicht."""\n')
    (package_folder / "berth.py").write_text(CODE)
    return read_brand(folder / "havenzicht")


@pytest.fixture(scope="module")
def brands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Brand]]:
    yield {task: make_brand(tmp_path_factory.mktemp(task), task) for task in TASKS}
    unload_brand("havenzicht")


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_ready_estimator_compiles_and_agrees(name: str, brands: dict[str, Brand], tmp_path: Path) -> None:
    task, target, build = ESTIMATORS[name]
    brand, truth = brands[task], TRUTHS[target]
    code = load_brand_module(brand, "brand_havenzicht.berth")
    rows = Contract(brand.model("berth").inputs).parse_table(TABLE, "test")
    features = build_model_input(code, rows, "test")
    estimator = build().fit(features[:TRAINED], truth[:TRAINED])
    labels = [] if task == "regression" else [str(one) for one in estimator.classes_]
    packaged = package(
        tmp_path,
        brand=brand,
        model_name="berth",
        estimator=estimator,
        rows_holdout=rows[TRAINED:],
        classes=labels,
        constant=[1 / len(labels)] * len(labels) if labels else [1.0],
        code=code,
    )
    assert packaged.manifest.runtime is Runtime.COMPILED, packaged.manifest.reason
    assert packaged.agreement is not None
    assert packaged.agreement.agrees
    assert packaged.agreement.rows > 2 * (ROWS - TRAINED) - 40, "rows with missing values are compared too"


BUILDERS = {"amounts": amounts, "prices": prices, "counts": counts, "yes_no": yes_no, "classes": classes}


@pytest.mark.parametrize("name", BUILDERS)
def test_an_unknown_kind_is_answered_with_what_is_allowed(name: str) -> None:
    with pytest.raises(UnknownKindError, match=f"ready.{name} has no kind 'boosted'; allowed: linear, forest, boosting"):
        BUILDERS[name].build_estimator("boosted", numbers=["a"], categories=[])


def test_topics_offer_no_forest() -> None:
    with pytest.raises(UnknownKindError, match="allowed: linear, boosting"):
        topics.build_estimator("forest", texts=["a"])


def test_an_unknown_parameter_is_answered_with_what_the_kind_takes() -> None:
    with pytest.raises(UnknownParameterError, match=r"'linear', takes no parameter max_iterations; allowed: alpha, "):
        amounts.build_estimator("linear", numbers=["a"], categories=[], max_iterations=3)


def test_a_column_has_one_role_and_there_is_at_least_one() -> None:
    with pytest.raises(NoColumnsError, match="at least one column"):
        build_encoder("linear", numbers=[], categories=[])
    with pytest.raises(NoColumnsError, match="named twice: a"):
        build_encoder("linear", numbers=["a"], categories=["a", "b"])


def test_counts_are_never_negative_and_prices_at_most_by_one() -> None:
    frame = pd.DataFrame({"x": np.linspace(0, 10, 60, dtype=np.float32)})
    far = pd.DataFrame({"x": np.array([-1e3, 1e3], dtype=np.float32)})
    falling = np.maximum(0.0, 20 - 3 * frame["x"])
    for module, least in ((counts, 0), (prices, -1)):
        answers = module.build_estimator("linear", numbers=["x"], categories=[]).fit(frame, falling).predict(far[1:])
        assert (answers >= least).all(), module.__name__


def test_two_fits_of_one_estimator_answer_the_same() -> None:
    frame = pd.DataFrame({"x": np.random.default_rng(0).normal(size=200).astype(np.float32)})
    truth = np.where(frame["x"] + np.random.default_rng(1).normal(size=200) > 1, "yes", "no")
    for kind in yes_no.KINDS:
        one, two = (
            yes_no.build_estimator(kind, numbers=["x"], categories=[], balanced=True, **size(kind)).fit(frame, truth) for _ in range(2)
        )
        assert (one.predict_proba(frame) == two.predict_proba(frame)).all(), kind


def test_balanced_probabilities_stay_those_of_the_data() -> None:
    random = np.random.default_rng(2)
    frame = pd.DataFrame({"x": random.normal(size=3_000).astype(np.float32)})
    truth = random.random(3_000) < 1 / (1 + np.exp(4 - frame["x"].to_numpy()))
    build = lambda **more: yes_no.build_estimator("linear", numbers=["x"], categories=[], **more).fit(frame, truth)  # noqa: E731
    weighted = build(class_weight="balanced").predict_proba(frame)[:, 1].mean()
    assert weighted > 3 * truth.mean(), "weights alone distort: the test would be empty otherwise"
    assert build(balanced=True).predict_proba(frame)[:, 1].mean() == pytest.approx(truth.mean(), rel=0.15)


# -- candidates ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [30, FEW_ROWS, MANY_ROWS])
@pytest.mark.parametrize("module", MODULES)
def test_what_is_recommended_can_be_built_and_searched(module: str, rows: int) -> None:
    built = {**BUILDERS, "topics": topics}[module]
    recommendation = recommend(module, rows)
    assert recommendation.candidates
    assert recommendation.search.trials >= len(recommendation.candidates)
    for candidate in recommendation.candidates.values():
        drawn = {name: one.choices[0] if one.choices else one.low for name, one in candidate.space.items()}
        columns = {"texts": ["t"]} if module == "topics" else {"numbers": ["a"], "categories": []}
        drawn = {name: int(value) if candidate.space[name].integer else value for name, value in drawn.items()}
        built.build_estimator(**columns, **{**candidate.params, **drawn})


def test_recommendations_fit_in_a_brand_file() -> None:
    assert BrandConfig.model_fields["models"] is not None
    for module in MODULES:
        for candidate in recommend(module, 5_000).candidates.values():
            assert type(candidate).model_validate_json(candidate.model_dump_json()) == candidate


def test_a_first_search_of_a_small_table_ends_soon_and_a_forest_for_classes_keeps_its_default() -> None:
    for module in MODULES:
        assert recommend(module, MANY_ROWS - 1).search.seconds <= 15
    assert "max_features" in recommend("prices", 5_000).candidates["forest"].params
    assert "max_features" not in recommend("yes_no", 5_000).candidates["forest"].params


def test_a_category_of_many_values_is_one_column_though_the_target_holds_whole_numbers() -> None:
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"town": [f"town {number}" for number in random.integers(0, 60, 600)]})
    target = frame["town"].str[5:].astype(float).to_numpy() // 2
    model = amounts.build_estimator("linear", numbers=[], categories=[], many_valued=["town"]).fit(frame, target)
    assert model[0].transform(frame).shape == (600, 1)
    assert np.abs(model.predict(frame) - target).mean() < 3
