"""Rows a second of `brandhouse score`, against pandas and scikit-learn over the same file, and the memory both take.

    python benchmarks/bench_score.py [--rows N] [--json FILE]

Each way runs in a process of its own, one after the other, over the same CSV file of an invented brand: seven columns, with a
text and a date. The peer is what one would write by hand: `pandas.read_csv` in pieces, the brand's features, the fitted
pipeline's `predict_proba`, `to_csv`. It checks nothing, goes on after no crash and records nothing. How often a row's number
differs from that of a request with one row is counted on a sample: for us it must be never.
"""

import argparse
import json
import os
import pickle
import resource
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "fixtures"))

ESTIMATORS = ("GradientBoostingClassifier", "LogisticRegression", "HistGradientBoostingClassifier, native categories")
CHUNK_ROWS = 20_000
SAMPLE = 200
TABLE_ROWS = 15_000
"""Different rows; the file repeats them."""


def main() -> None:
    """Measure all ways of all estimators, or one of them if this is a child."""
    options = _parse()
    if options.child:
        print(json.dumps(_CHILDREN[options.child](Path(options.folder))))
        return
    results = [_measure(name, options.rows) for name in ESTIMATORS]
    _print(results)
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=2))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--json", default="")
    parser.add_argument("--child", choices=list(_CHILDREN), default="")
    parser.add_argument("--folder", default="")
    return parser.parse_args()


def _measure(name: str, rows: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        runtime = _prepare(folder, name, rows)
        ours, theirs = (_run(child, folder) for child in ("brandhouse", "pandas"))
        size = (folder / "rows.csv").stat().st_size
        return {"estimator": name, "runtime": runtime, "rows": rows, "input_mb": size / 1e6, "brandhouse": ours, "pandas": theirs}


def _prepare(folder: Path, name: str, rows: int) -> str:
    """Fit, package, register and promote; write the file to score."""
    import pandas as pd
    from model_house import CLASSIFIERS, make_case, make_table
    from serving_house import House

    house = House(folder)
    case = make_case(folder / "brands")
    (folder / "package").mkdir()
    estimator = CLASSIFIERS[name][0]()
    package = case.package(folder / "package", estimator)
    house.register_package(folder / "package")
    with (folder / "estimator.pickle").open("wb") as stream:
        pickle.dump(estimator, stream)  # of our own making, for the peer's process
    table = make_table(min(rows, TABLE_ROWS))[0]
    pieces = [table.iloc[: min(len(table), rows - first)] for first in range(0, rows, len(table))]
    pd.concat(pieces).to_csv(folder / "rows.csv", index=False)
    return str(package.manifest.runtime)


def _run(child: str, folder: Path) -> dict[str, Any]:
    command = [sys.executable, __file__, "--child", child, "--folder", str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env={**os.environ, "PYTHONWARNINGS": "ignore"})
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _score(folder: Path) -> dict[str, Any]:
    from brandhouse_flows.batch_scoring import score_file
    from brandhouse_flows.batch_wishes import Wish
    from brandhouse_serving.model_store import BentoArtifactStore
    from brandhouse_shared.brands import find_brand
    from brandhouse_shared.ledger import open_ledger
    from brandhouse_shared.names import ModelKey
    from brandhouse_shared.settings import load_settings

    os.environ |= {"BRANDHOUSE_ROOT": str(folder), "BRANDHOUSE_HOME": str(folder / "home")}
    settings = load_settings()
    brand, ledger = find_brand(settings.brands_dir, "molen"), open_ledger(settings.ledger_url.get_secret_value())
    wish = Wish(ModelKey("molen", "price"), folder / "rows.csv", folder / "ours.csv")
    started = time.perf_counter()
    scored = score_file(settings, brand, wish, ledger, BentoArtifactStore(settings.home), lambda _: None, str(uuid.uuid4()), "local")
    found = _figures(scored.rows, time.perf_counter() - started)
    return found | {"one_by_one": scored.alone, "differ_from_requests": _differing(folder, folder / "ours.csv")}


def _score_by_hand(folder: Path) -> dict[str, Any]:
    import pandas as pd

    from brandhouse_shared.brands import find_brand, load_brand_module
    from brandhouse_shared.contracts import Contract
    from brandhouse_shared.features import build_model_input

    brand = find_brand(folder / "brands", "molen")
    code = load_brand_module(brand, "brand_molen.price")
    contract = Contract(brand.model("price").inputs)
    with (folder / "estimator.pickle").open("rb") as stream:
        estimator = pickle.load(stream)
    rows, started = 0, time.perf_counter()
    with (folder / "theirs.csv").open("w") as output:
        for table in pd.read_csv(folder / "rows.csv", dtype=str, keep_default_na=False, chunksize=CHUNK_ROWS):
            features = build_model_input(code, contract.parse_table(table, "peer"), "peer")
            probabilities = estimator.predict_proba(features)
            labels = estimator.classes_[probabilities.argmax(axis=1)]
            named = {f"probability_{label}": probabilities[:, place] for place, label in enumerate(estimator.classes_)}
            table.assign(prediction=labels, **named).to_csv(output, index=False, header=rows == 0)
            rows += len(table)
    return _figures(rows, time.perf_counter() - started) | {"differ_from_requests": _differing(folder, folder / "theirs.csv")}


def _figures(rows: int, seconds: float) -> dict[str, Any]:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"rows_per_second": rows / seconds, "seconds": seconds, "peak_rss_mb": peak}


def _differing(folder: Path, file: Path) -> int:
    """Of the first rows, how many have another number than a request with that row alone gets."""
    import pandas as pd

    from brandhouse_shared.answering import load_predictor
    from brandhouse_shared.artifacts import read_manifest

    manifest = read_manifest(folder / "package")
    predictor = load_predictor(folder / "package", manifest)
    table = pd.read_csv(folder / "rows.csv", dtype=str, keep_default_na=False, nrows=SAMPLE)
    instances = manifest.contract.instances_of(manifest.contract.parse_table(table, "sample"))
    alone = [predictor.predict(manifest.contract.parse_rows([one])).tolist()[0] for one in instances]
    names = [f"probability_{label}" for label in manifest.classes]
    written = pd.read_csv(file, nrows=SAMPLE, float_precision="round_trip")[names].to_numpy().tolist()
    return sum(row != found for row, found in zip(alone, written, strict=True))


_CHILDREN = {"brandhouse": _score, "pandas": _score_by_hand}


def _print(results: list[dict[str, Any]]) -> None:
    print(f"{'estimator':52} {'runtime':9} {'way':10} {'rows/s':>10} {'ratio':>6} {'peak MB':>8} {'of ' + str(SAMPLE) + ' differ':>14}")
    for one in results:
        for way in ("brandhouse", "pandas"):
            figures = one[way]
            ratio = figures["rows_per_second"] / one["pandas"]["rows_per_second"]
            line = f"{figures['rows_per_second']:10,.0f} {ratio:6.2f} {figures['peak_rss_mb']:8.0f} {figures['differ_from_requests']:14}"
            print(f"{one['estimator']:52} {one['runtime']:9} {way:10} {line}")
        print(f"  input {one['input_mb']:.0f} MB; one by one: {one['brandhouse']['one_by_one'] or 'no'}")


if __name__ == "__main__":
    main()
