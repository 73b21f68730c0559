"""A brand team's first day in seconds: from a table to the first HTTP answer, and the commands of every day after.

    make bench-first-day

Written down as docs/benchmarks/first-day.md. The commands are the real ones, each in a fresh process, in a workspace of
their own. Beside it, in the same run, the shortest script with scikit-learn and MLflow gets the same table to its first answer.
"""

import argparse
import contextlib
import http.client
import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bench_scale
import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
REPORT = ROOT / "docs" / "benchmarks" / "first-day.md"
COMMAND = str(Path(sys.executable).with_name("brandhouse"))
MLFLOW = str(Path(sys.executable).with_name("mlflow"))
REPEATS = 5
LIMITS = {
    "new, 5,000 rows x 30 columns": 5.0,
    "new, 500,000 rows x 30 columns": 30.0,
    "from new to the first HTTP answer": 45.0,
    "check of one brand": 1.0,
    "affected, 1,000 brands": 1.0,
    "status": 0.3,
    "--help": 0.3,
}
"""Seconds promised on two cores."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brands", type=int, default=1000)
    parser.add_argument("--no-report", action="store_true", help="Print only.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="brandhouse-first-day-") as folder:
        figures, steps, peer = measure(Path(folder), arguments.brands)
    report = build_report(figures, steps, peer)
    print(report)
    if not arguments.no_report:
        REPORT.write_text(report, encoding="utf-8")
        print(f"wrote {REPORT.relative_to(ROOT)}")


def measure(folder: Path, brands: int) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
    house = write_house(folder / "house")
    environment = {**os.environ, "BRANDHOUSE_ROOT": str(house), "BRANDHOUSE_HOME": str(house / ".brandhouse")}
    small, large = folder / "small.csv", folder / "large.csv"
    write_table(small, 5_000)
    write_table(large, 500_000)
    steps = measure_day(environment, small)
    figures = {"new, 5,000 rows x 30 columns": steps["new"], "from new to the first HTTP answer": sum(steps.values())}
    figures["check of one brand"] = repeated(lambda: run([COMMAND, "check", "flats"], environment))
    figures["status"] = repeated(lambda: run([COMMAND, "status"], environment))
    figures["--help"] = repeated(lambda: run([COMMAND, "--help"], environment))
    figures["new, 500,000 rows x 30 columns"] = run(new_command("towers", large), environment)
    peer = measure_peer(folder, small)
    shutil.rmtree(house)
    figures[f"affected, {brands:,} brands"] = measure_affected(folder / "many", brands)
    return figures, steps, peer


def write_house(house: Path) -> Path:
    """A workspace without brands, as far as the commands read it."""
    (house / "brands").mkdir(parents=True)
    for name in ("pyproject.toml", "requirements.lock"):
        shutil.copy2(ROOT / name, house / name)
    shutil.copytree(ROOT / "templates", house / "templates")
    commit(house)
    return house


def commit(house: Path) -> None:
    who = ["-c", "user.name=bench", "-c", "user.email=bench@house.example"]
    for arguments in (["init", "--quiet"], ["add", "--all"], [*who, "commit", "--quiet", "--message", "all"]):
        subprocess.run(["git", "-C", str(house), *arguments], check=True, capture_output=True)


def write_table(path: Path, rows: int) -> None:
    """Invented flats: 30 columns of every kind, a price that depends on products of some, a few missing cells."""
    random = np.random.default_rng(0)
    area, floor = random.uniform(20, 200, rows).round(1), random.integers(0, 30, rows)
    lift, town = random.random(rows) < 0.5, random.choice(["Delft", "Gouda", "Zwolle", "Breda"], rows)
    listed = pd.Timestamp("2023-01-01") + pd.to_timedelta(random.integers(0, 700, rows), "D")
    price = area * np.where(town == "Delft", 5_000, 3_000) * np.where(lift | (floor < 3), 1.2, 0.9) * random.normal(1, 0.08, rows)
    table = pd.DataFrame({"flat id": np.arange(rows) + 10_000, "area m2": area, "floor": floor, "lift": np.where(lift, "yes", "no")})
    table = table.assign(town=town, listed=pd.Series(listed).dt.strftime("%Y-%m-%d"), energy=random.choice(list("ABCDEFG"), rows))
    for number in range(12):
        table[f"measure {number}"] = random.normal(10 * number, 5, rows).round(2)
    for number in range(6):
        table[f"count {number}"] = random.integers(0, 9, rows)
    for number in range(4):
        table[f"kind {number}"] = random.choice(["plain", "modern", "old", ""], rows)
    table = table.mask(random.random(table.shape) < 0.01)
    table.assign(price=price.round(0)).to_csv(path, index=False)


def new_command(name: str, table: Path) -> list[str]:
    return [COMMAND, "new", name, "--from", str(table), "--target", "price", "--model", "price", "--json"]


def measure_day(environment: dict[str, str], table: Path) -> dict[str, float]:
    """Seconds of each step that a person types, one after the other."""
    steps = {"new": run(new_command("flats", table), environment), "train": run([COMMAND, "train", "flats"], environment)}
    started = time.perf_counter()
    key = json.loads(output([COMMAND, "keys", "create", "flats", "--json"], environment))["key"]
    steps["keys create"] = time.perf_counter() - started
    row = example_row(environment)
    with serving([COMMAND, "serve", "--port", "{port}"], environment) as (port, started):
        body = {"instances": [row]}
        answer = ask(port, "/v1/flats/price/predict", body, {"Authorization": f"Bearer {key}"})
        steps["serve and answer"] = time.perf_counter() - started
    assert answer["predictions"], answer
    return steps


def example_row(environment: dict[str, str]) -> dict[str, Any]:
    """The request that the proposed brand shows as its example."""
    answers = Path(environment["BRANDHOUSE_ROOT"]) / "brands" / "flats" / ".template.toml"
    return dict(tomllib.loads(answers.read_text())["answers"]["example"])


def measure_peer(folder: Path, table: Path) -> dict[str, float]:
    model = folder / "peer-model"
    steps = {
        "fit and save": run(
            [sys.executable, str(Path(__file__).with_name("peer_first_day.py")), str(table), "price", str(model)], dict(os.environ)
        )
    }
    rows = pd.read_csv(table).drop(columns="price").dropna().head(1)
    body = {"dataframe_split": json.loads(rows.to_json(orient="split", index=False))}
    command = [MLFLOW, "models", "serve", "--model-uri", str(model), "--env-manager", "local", "--host", "127.0.0.1", "--port", "{port}"]
    environment = {**os.environ, "PATH": f"{Path(MLFLOW).parent}:{os.environ['PATH']}"}  # it looks for uvicorn there
    with serving(command, environment) as (port, started):
        assert ask(port, "/invocations", body, {})["predictions"]
        steps["serve and answer"] = time.perf_counter() - started
    return steps


def measure_affected(root: Path, brands: int) -> float:
    root.mkdir()
    bench_scale.write_workspace(root, brands)
    commit(root)
    readme = root / "brands" / "brand_0007" / "src" / "brand_brand_0007" / "price.py"
    readme.write_text(readme.read_text() + "\n# changed\n")
    environment = {**os.environ, "BRANDHOUSE_ROOT": str(root), "BRANDHOUSE_HOME": str(root / "home")}
    return repeated(lambda: run([COMMAND, "affected", "--base", "HEAD", "--json"], environment, expected="brand_0007"))


def run(command: list[str], environment: dict[str, str], expected: str = "") -> float:
    started = time.perf_counter()
    printed = output(command, environment)
    seconds = time.perf_counter() - started
    if expected not in printed:
        raise SystemExit(f"{' '.join(command)} did not print {expected!r}:\n{printed[-2000:]}")
    return seconds


def output(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-3000:]}")
    return done.stdout


def repeated(timed: Callable[[], float]) -> float:
    return statistics.median(timed() for _ in range(REPEATS))


@contextlib.contextmanager
def serving(command: list[str], environment: dict[str, str]) -> Iterator[tuple[int, float]]:
    """Start a server; yields its port and when it was started, at once."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    started = time.perf_counter()
    process = subprocess.Popen(
        [part.format(port=port) for part in command], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield port, started
    finally:
        process.terminate()
        process.wait(20)


def ask(port: int, path: str, body: dict[str, Any], headers: dict[str, str]) -> dict[str, Any]:
    """The first answer of a server that is starting."""
    deadline = time.monotonic() + 60
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json", **headers})
            answer = connection.getresponse()
            content = answer.read()
            if answer.status == 200:
                return dict(json.loads(content))
            raise SystemExit(f"{path}: {answer.status} {content[:500]!r}")
        except ConnectionError:
            if time.monotonic() > deadline:
                raise SystemExit(f"{path}: nothing listens on {port}") from None
            time.sleep(0.02)


def build_report(figures: dict[str, float], steps: dict[str, float], peer: dict[str, float]) -> str:
    lines = [
        "# A brand team's first day",
        "",
        "Written by `make bench-first-day`. Machines differ and this one is shared: read ratios first, seconds as a guide.",
        "",
        f"- measured: {datetime.now(UTC).date()}",
        f"- machine: {os.cpu_count()} cores, {platform.machine()}, {platform.system()}, Python {platform.python_version()}",
        "",
        "| what | seconds | at most |",
        "|---|---:|---:|",
        *(f"| {what} | {seconds:.2f} | {LIMITS.get(what, float('nan')):g} |" for what, seconds in figures.items()),
        "",
        "## From a table of 5,000 rows and 30 columns to the first HTTP answer",
        "",
        "Brandhouse checks the contract, trains baselines and three candidates with a search, judges them by gates, writes card, ledger",
        "and artifact, and answers with a key. The peer (`benchmarks/peer_first_day.py`) fits one estimator without a search and serves it",
        "with `mlflow models serve`; its script has to be written first.",
        "",
        "| step | Brandhouse, seconds | scikit-learn + MLflow, seconds |",
        "|---|---:|---:|",
        f"| write the code | {steps['new']:.2f} | by hand |",
        f"| train | {steps['train']:.2f} | {peer['fit and save']:.2f} |",
        f"| make a key | {steps['keys create']:.2f} | has none |",
        f"| serve and answer | {steps['serve and answer']:.2f} | {peer['serve and answer']:.2f} |",
        f"| in all | {sum(steps.values()):.2f} | {sum(peer.values()):.2f} |",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
