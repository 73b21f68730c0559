"""How often a monitor cries wolf, and how much it takes until it speaks: measured by simulation, with the checks' own code.

    python benchmarks/false_alarms.py [--months N] [--write]

Stationary data: a brand's training and every day's rows are drawn from one distribution, and its monitor runs once a day for
months, as the checks `drift`, `prediction_drift`, `data_quality` and `volume` judge it. Twenty fields: normal, skewed, heavy-tailed,
whole, mostly zero, categories with few and with many values, yes or no, half of them partly missing. Any red is a false alarm.
Drift: the same with one field moved; told is how many rows a run needs until nine of ten runs are red.

Reading files is left out, since what it returns is tested; all that decides is as in a monitor. `--write` puts the tables into
docs/monitoring.md.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "fixtures"))

PAGE = ROOT / "docs" / "monitoring.md"
BEGIN, END = "<!-- written by benchmarks/false_alarms.py -->", "<!-- end of benchmarks/false_alarms.py -->"
DAYS = 31
NOON = datetime(2027, 3, 10, 12, tzinfo=UTC)
SIZES = ((200, 1_000), (1_000, 3_000), (5_000, 20_000))
"""Rows of a run, and of the training."""

POWER_TRAINING = 3_000
POWER_RUNS = 100
POWER_ROWS = (50, 100, 150, 200, 300, 400, 600, 1_000, 2_000, 5_000)
KINDS = ("normal", "skewed", "heavy", "whole", "zeros", "few", "many", "yes_no")

Rng = np.random.Generator


def main() -> None:
    """Measure both, print both tables."""
    options = _parse()
    with ProcessPoolExecutor(2) as pool:
        jobs = [(rows, training, month) for rows, training in SIZES for month in range(options.months)]
        months = list(pool.map(_month, jobs))
        powers = list(pool.map(_power, _shifts()))
    lines = [*_alarm_table(jobs, months), "", *_power_table(powers)]
    print("\n".join(lines))
    if options.write:
        _write(lines)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--months", type=int, default=40, help="of each size")
    parser.add_argument("--write", action="store_true")
    return parser.parse_args()


@dataclass(frozen=True)
class World:
    """One brand's fields, and what is known of them."""

    watch: Any
    fields: tuple[str, ...]
    training: Mapping[str, NDArray[Any]]


def _month(job: tuple[int, int, int]) -> dict[str, int]:
    """Runs of one brand and month, and its red ones by check. The training is drawn anew each month: its error counts too."""
    rows, training, seed = job
    rng = np.random.default_rng([rows, seed])
    world = _make_world(rng, training)
    red: dict[str, int] = dict.fromkeys(("drift", "prediction_drift", "data_quality", "volume"), 0)
    usual = [int(rng.poisson(rows)) for _ in range(29)]
    for _ in range(DAYS):
        for name, state in _run(world, _draw(rng, world.fields, rows), rng, [int(rng.poisson(rows)), *usual]):
            red[name] += state == "red"
        usual = [int(rng.poisson(rows)), *usual[:-1]]
    return red


def _make_world(rng: Rng, training: int) -> World:
    from brandhouse_flows.statistics import feature_statistics
    from brandhouse_shared.brands import Brand
    from brandhouse_shared.config import BrandConfig
    from brandhouse_shared.contracts import Contract
    from brandhouse_shared.metrics import Task
    from brandhouse_shared.names import ModelKey

    fields = tuple(f"{kind}_{place}" for place in range(3) for kind in KINDS)[:20]
    config = BrandConfig.model_validate(_declare(fields))
    drawn = _draw(rng, fields, training)
    rows = Contract(config.models["price"].inputs).parse_table(_as_frame(drawn), "training")
    statistics = feature_statistics(rows, Contract(config.models["price"].inputs), _predict(rng, drawn))
    brand = Brand(Path("/"), config)
    version = _Version(_Record(statistics, Task.REGRESSION))
    return World(_watch(brand, ModelKey(config.name, "price"), version), fields, drawn)


@dataclass(frozen=True)
class _Record:
    feature_statistics: dict[str, Any]
    task: Any


@dataclass(frozen=True)
class _Version:
    record: _Record
    number: int = 1


def _watch(brand: Any, key: Any, version: Any) -> Any:
    from brandhouse_aftercare.alarm_budget import FALSE_ALARMS_PER_BRAND_MONTH, MONTH_DAYS
    from brandhouse_aftercare.checks import Watch
    from brandhouse_aftercare.monitoring import standard_checks

    share = FALSE_ALARMS_PER_BRAND_MONTH / (MONTH_DAYS * len(standard_checks()))
    since = NOON - timedelta(days=28)
    nowhere: Any = None
    return Watch(brand, key, version, nowhere, Path("/nowhere"), since, NOON, NOON, share, nowhere)


def _declare(fields: tuple[str, ...]) -> dict[str, Any]:
    types = {"whole": "integer", "zeros": "number", "few": "category", "many": "category", "yes_no": "boolean"}
    inputs = {name: {"type": types.get(name.rpartition("_")[0], "number"), "nullable": True} for name in fields}
    model = {"entrypoint": "brand_wolf.price", "dataset": "rows", "task": "regression", "target": "y", "metric": "rmse", "inputs": inputs}
    dataset = {"file": "data/d.csv", "source": {"kind": "file", "path": "d.csv"}}
    about = {"name": "wolf", "title": "Wolf", "story": "Nothing ever changes here.", "owner": "wolf@house.example", "risk": "low"}
    return {**about, "budget_eur_month": 1, "datasets": {"rows": dataset}, "models": {"price": model}}


def _draw(rng: Rng, fields: tuple[str, ...], rows: int, moved: str = "", by: float = 0.0) -> dict[str, NDArray[Any]]:
    drawn: dict[str, NDArray[Any]] = {}
    for place, name in enumerate(fields):
        values = _DRAWS[name.rpartition("_")[0]](rng, rows, by if name == moved else 0.0)
        if place % 2:
            values = values.astype(object)
            values[rng.random(rows) < 0.1] = None
        drawn[name] = values
    return drawn


def _shares(count: int, by: float) -> NDArray[np.float64]:
    """Shares of categories, the first with `by` more, taken from all others."""
    shares = 1 / np.arange(1, count + 1)
    shares /= shares.sum()
    moved = shares * (1 - by / (1 - shares[0]))
    moved[0] = shares[0] + by
    return moved


_DRAWS: dict[str, Callable[[Rng, int, float], NDArray[Any]]] = {
    "normal": lambda rng, rows, by: rng.normal(by, 1, rows),
    "skewed": lambda rng, rows, by: rng.lognormal(by, 1, rows),
    "heavy": lambda rng, rows, by: rng.standard_t(3, rows) + by,
    "whole": lambda rng, rows, by: rng.poisson(7 + by, rows),
    "zeros": lambda rng, rows, by: np.where(rng.random(rows) < 0.6 - by, 0.0, rng.exponential(5, rows)),
    "few": lambda rng, rows, by: np.asarray(["a", "b", "c", "d"], dtype=object)[rng.choice(4, rows, p=_shares(4, by))],
    "many": lambda rng, rows, by: np.asarray([f"k{n}" for n in range(60)], dtype=object)[rng.choice(60, rows, p=_shares(60, by))],
    "yes_no": lambda rng, rows, by: (rng.random(rows) < 0.3 + by).astype(object),
}


def _as_frame(drawn: Mapping[str, NDArray[Any]]) -> Any:
    import pandas as pd

    return pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in drawn.items()})


def _predict(rng: Rng, drawn: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
    first = next(iter(drawn.values())).astype(np.float64)
    return np.round(3 * first + rng.normal(0, 1, len(first)), 1)


def _run(world: World, drawn: Mapping[str, NDArray[Any]], rng: Rng, days: list[int]) -> Iterator[tuple[str, str]]:
    """The findings of one daily run, by the code that a monitor runs after reading."""
    from brandhouse_aftercare import data_quality, drift, volume
    from brandhouse_aftercare.answers import Numbers
    from brandhouse_aftercare.traffic import Traffic

    watch = world.watch
    watch.__dict__["answers"] = _answers(world, drawn, _predict(rng, drawn))  # what is read once; nothing is read here
    yield "drift", str(drift.DriftCheck().look(watch).state)
    references, left_out = drift.prediction_references(watch)
    pairs = {name: (one, Numbers(watch.answers.value)) for name, one in references.items()}
    everything = np.ones(watch.answers.rows, bool)
    yield "prediction_drift", str(drift.judge_drift("prediction_drift", watch, pairs, everything, left_out, "views").state)
    yield "data_quality", str(data_quality.judge_fields(watch).state)
    hours = np.repeat(np.asarray(days), 24) // 24
    hours[::24] += np.asarray(days) - hours.reshape(-1, 24).sum(axis=1)
    yield "volume", str(volume.compare_volume(watch, Traffic(hours, NOON)).state)


def _answers(world: World, drawn: Mapping[str, NDArray[Any]], prediction: NDArray[np.float64]) -> Any:
    import pyarrow as pa

    from brandhouse_aftercare.answers import Answers

    columns = {name: _column(world.watch.model.inputs[name], values) for name, values in drawn.items()}
    table = pa.table({"value": prediction})
    return Answers(NOON - timedelta(days=1), NOON, table, columns, np.ones(len(prediction), bool), [], 0, 1)


def _column(field: Any, values: NDArray[Any]) -> Any:
    from brandhouse_aftercare.answers import Categories, Numbers

    if field.is_numeric:
        return Numbers(np.asarray([np.nan if value is None else float(value) for value in values]))
    names = tuple(sorted({value for value in values if value is not None}))
    places = {name: code for code, name in enumerate(names)} | {None: -1}
    return Categories(np.asarray([places[value] for value in values], np.int32), names)


def _shifts() -> list[tuple[str, str, float]]:
    return [
        ("a normal field moves by three quarters of a standard deviation", "normal_0", 0.75),
        ("by one standard deviation", "normal_0", 1.0),
        ("by two", "normal_0", 2.0),
        ("the first of four categories gets 25 points more", "few_0", 0.25),
        ("the first of sixty categories gets 40 points more", "many_0", 0.4),
        ("yes goes from 30 % to 70 %", "yes_no_0", 0.4),
        ("mostly zero becomes a quarter zero", "zeros_0", 0.35),
    ]


def _power(shift: tuple[str, str, float]) -> tuple[str, dict[int, float]]:
    """Share of runs in which the moved field is found, by rows of the run."""
    what, field, by = shift
    found: dict[int, float] = {}
    for rows in POWER_ROWS:
        rng = np.random.default_rng([rows, len(what)])
        hits = sum(_is_found(rng, field, by, rows) for _ in range(POWER_RUNS))
        found[rows] = hits / POWER_RUNS
        if hits == POWER_RUNS:
            break
    return what, found


def _is_found(rng: Rng, field: str, by: float, rows: int) -> bool:
    from brandhouse_aftercare.drift import DriftCheck

    if rng.random() < 0.1 or not _WORLDS:  # some trainings, not one for each run: making one takes longest
        _WORLDS[:] = [_make_world(rng, POWER_TRAINING)]
    world = _WORLDS[0]
    drawn = _draw(rng, world.fields, rows, field, by)
    watch = world.watch
    watch.__dict__["answers"] = _answers(world, drawn, np.zeros(rows))
    return field in DriftCheck().look(watch).facts.get("drifted", [])


_WORLDS: list[World] = []


def _alarm_table(jobs: list[tuple[int, int, int]], months: list[dict[str, int]]) -> list[str]:
    lines = [
        "| rows a run | rows of the training | months of daily runs | red runs | at most a brand and month, 95 % sure |",
        "|---|---|---|---|---|",
    ]
    for rows, training in SIZES:
        chosen = [month for job, month in zip(jobs, months, strict=True) if job[0] == rows]
        red = sum(sum(month.values()) for month in chosen)
        by_check = ", ".join(f"{name} {sum(month[name] for month in chosen)}" for name in chosen[0] if sum(month[name] for month in chosen))
        told = f"{red} ({by_check})" if by_check else f"{red}"
        lines.append(f"| {rows:,} | {training:,} | {len(chosen)} | {told} | {_upper(red) / len(chosen):.2f} |")
    return lines


def _upper(red: int) -> float:
    """Greatest expected number that still shows so few (the exact Poisson bound)."""
    from scipy.special import gammaincinv

    return float(gammaincinv(red + 1, 0.95))


def _power_table(powers: list[tuple[str, dict[int, float]]]) -> list[str]:
    lines = ["| what happens | rows until 9 of 10 runs are red | found with 200 rows |", "|---|---|---|"]
    for what, found in powers:
        enough = next((f"{rows:,}" for rows, share in found.items() if share >= 0.9), f"more than {max(found):,}")
        with_200 = found.get(200, 1.0)
        lines.append(f"| {what} | {enough} | {with_200:.0%} |")
    return lines


def _write(lines: list[str]) -> None:
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(before + BEGIN + "\n\n" + "\n".join(lines) + "\n\n" + END + after, encoding="utf-8")


if __name__ == "__main__":
    main()
