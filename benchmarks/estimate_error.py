"""How far is the estimated score from the true one, when other rows are asked about than those it was learned from?

Every model of every brand is trained as its template does. Then, again and again: the hold-out is cut into two halves;
calibration and errors are learned from one; of the other, rows are drawn that are not like the rest (a random feature is
made rarer or more frequent at its upper end: covariate shift by reweighting); their score is estimated without their
truth, and compared with what it is. Beside it: who simply repeats the score of the first half.

    .venv/bin/python benchmarks/estimate_error.py [--brand NAME ...] [--repeats 30] [--write]
"""

import argparse
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray

from brandhouse_aftercare.expected_scores import Known, estimate_score
from brandhouse_shared.brands import discover_brands, load_brand_module
from brandhouse_shared.names import ModelKey
from brandhouse_shared.settings import Settings, load_settings

PAGE = Path("docs/monitoring.md")
SHIFTS = (0.0, 1.0, 2.0)
"""Weight of a row is exp(shift * standardised rank): at 2 the upper end is seven times as frequent as the middle."""
MIN_ROWS = 40


@dataclass(frozen=True)
class Line:
    """What came of one model and one strength of shift.

    Attributes:
        error: Mean absolute difference of estimate and truth, in the metric's unit.
        repeated_error: The same for who repeats the other half's score.
        covered_share: How often the truth lay in the 95 % interval.
    """

    model: str
    metric: str
    score: float
    shift: float
    rows: int
    error: float
    repeated_error: float
    covered_share: float
    repeats: int


def main() -> None:
    """Measure and print; with --write also into the page."""
    options = _options()
    with tempfile.TemporaryDirectory() as home:
        settings = load_settings().model_copy(update={"home": Path(home)})
        brands, _ = discover_brands(settings.brands_dir)
        chosen = [brand for brand in brands if not options.brand or brand.name in options.brand]
        keys = [key for brand in chosen for key in brand.model_keys]
        with ProcessPoolExecutor(2) as pool:
            jobs = [pool.submit(measure, settings, key, options.repeats) for key in keys]
            lines = [line for job in jobs for line in job.result()]
    if options.json:
        print(json.dumps([asdict(line) for line in lines]))
        return
    table = render(lines)
    print(table)
    if options.write:
        write(table)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--brand", action="append", default=[])
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE}")
    return parser.parse_args()


def measure(settings: Settings, key: ModelKey, repeats: int) -> list[Line]:
    """Train one model and try its estimates."""
    from brandhouse_flows.data_project import DataProject
    from brandhouse_flows.evaluation import fit_models
    from brandhouse_flows.material import prepare_material
    from brandhouse_flows.planning import plan_training
    from brandhouse_flows.scores import score
    from brandhouse_flows.search import predict

    plan = plan_training(settings, key, "bench", "local")
    code = load_brand_module(plan.brand, plan.model.entrypoint)
    material = prepare_material(plan, DataProject(plan.brand, settings).import_source(plan.model.dataset), code)
    fitted = fit_models(plan, material, code)
    prediction = predict(fitted.estimator, plan.model.task, material.holdout_features, str(key), len(material.target.classes))
    ranks = _ranks(material.holdout_rows)
    whole = score(plan.model.metric, material.truth, prediction)
    lines = []
    for shift in SHIFTS:
        tries = list(_tries(plan.model.metric, material.truth, prediction, material.split.holdout_groups, ranks, shift, repeats))
        if tries:
            rows, errors, repeated, covered = (np.array(column) for column in zip(*tries, strict=True))
            measured = (int(rows.mean()), errors.mean(), repeated.mean(), covered.mean(), len(tries))
            lines.append(Line(str(key), plan.model.metric, whole, shift, *measured))
    return lines


def _ranks(rows: Any) -> NDArray[np.float64]:
    """Standardised ranks of every input that varies, shape (rows, inputs); categories in a random order."""
    generator = np.random.default_rng(0)
    columns = []
    for name in rows.columns:
        codes = np.unique(rows[name].astype(str), return_inverse=True)[1] if rows[name].dtype.kind not in "fiM" else None
        values = generator.permutation(codes.max() + 1)[codes] if codes is not None else rows[name].rank().fillna(0).to_numpy()
        order = np.argsort(np.argsort(values, kind="stable"), kind="stable").astype(float)
        tied = np.array([order[values == value].mean() for value in np.unique(values)])[np.unique(values, return_inverse=True)[1]]
        if tied.std() > 0:
            columns.append((tied - tied.mean()) / tied.std())
    return np.column_stack(columns)


def _tries(
    metric: str,
    truth: NDArray[Any],
    prediction: NDArray[np.float64],
    groups: NDArray[np.int64] | None,
    ranks: NDArray[np.float64],
    shift: float,
    repeats: int,
) -> Iterator[tuple[int, float, float, bool]]:
    from brandhouse_flows.scores import score

    for repeat in range(repeats):
        generator = np.random.default_rng([repeat, int(shift * 10)])
        units = np.arange(len(truth)) if groups is None else groups
        learned = np.isin(units, generator.permutation(np.unique(units))[: len(np.unique(units)) // 2])
        other = np.flatnonzero(~learned)
        direction = generator.choice([-1.0, 1.0]) * ranks[other, generator.integers(ranks.shape[1])]
        # Gumbel's trick: the largest sums are a draw by weight, without repeating a row.
        asked = other[np.argsort(-(shift * direction + generator.gumbel(size=len(other))))[: len(other) // 2]]
        actual, seen = score(metric, truth[asked], prediction[asked]), score(metric, truth[learned], prediction[learned])
        if len(asked) < MIN_ROWS or not np.isfinite([actual, seen]).all():
            continue
        own = None if groups is None else np.unique(groups[learned], return_inverse=True)[1]
        estimate = estimate_score(metric, Known(truth[learned], prediction[learned], own), prediction[asked], seed=repeat)
        if np.isfinite(estimate.score):
            yield len(asked), abs(estimate.score - actual), abs(seen - actual), estimate.low <= actual <= estimate.high


def render(lines: Sequence[Line]) -> str:
    """One row a model; its strongest shift, and the share of truths in the interval without and with it."""
    from brandhouse_flows.wording import say_number, say_share

    head = ["model", "metric", "score", "rows", "error", "error, shifted", "shifted, repeating the old score", "in the interval"]
    table = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for model in dict.fromkeys(line.model for line in lines):
        own = [line for line in lines if line.model == model]
        first, last = own[0], own[-1]
        inside = sum(line.covered_share * line.repeats for line in own) / sum(line.repeats for line in own)
        cells = [model, first.metric, say_number(first.score), str(first.rows), say_number(first.error), say_number(last.error)]
        table.append(f"| {' | '.join([*cells, say_number(last.repeated_error), say_share(round(inside, 3))])} |")
    relative = [line.error / abs(line.score) for line in lines if line.score]
    inside = sum(line.covered_share * line.repeats for line in lines) / sum(line.repeats for line in lines)
    told = f"Over all: the estimate is off by {say_share(round(float(np.median(relative)), 3))} of the score (median of models and shifts)"
    return "\n".join([*table, "", f"{told}; {say_share(round(inside, 3))} of the truths lie in the interval that says 95 %."])


def write(table: str) -> None:
    """Replace what stands between the page's marks."""
    text = PAGE.read_text(encoding="utf-8")
    begin, end = "<!-- estimate-error begin -->", "<!-- estimate-error end -->"
    changed, count = re.subn(re.escape(begin) + ".*?" + re.escape(end), lambda _: f"{begin}\n\n{table}\n\n{end}", text, flags=re.DOTALL)
    if count != 1:
        sys.exit(f"{PAGE} lacks the marks of the table")
    PAGE.write_text(changed, encoding="utf-8")


if __name__ == "__main__":
    main()
