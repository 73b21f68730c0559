"""What a quiet brand feels of a loud one: its p99 while another brand floods the same gateway, beside its p99 alone.

The quiet brand asks one row every few milliseconds on one connection. The loud brand floods with wrk: at ten times its own
rate limit, and then with requests of 1,000 rows within its limit of requests at once. Alone and flooded go in turns.

    .venv/bin/python benchmarks/bench_neighbour.py
"""

import argparse
import http.client
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from model_houses import Gateway, ModelHouse

from brandhouse_shared.names import ModelKey

QUIET = ModelKey("quiet", "loan")
LOUD = ModelKey("loud", "loan")
BROAD = ModelKey("broad", "loan")
RATE = 100
MOST_RATIO = 1.5
SCRIPT = """
wrk.method = "POST"
wrk.body = {body}
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = {key}
{delay}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each turn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="brandhouse-neighbour-") as folder:
        figures = Bench(Path(folder)).measure(arguments.seconds, arguments.rounds)
    if arguments.json:
        print(json.dumps(figures, indent=2))
        return
    for what, value in figures.items():
        print(f"{what:52s} {value:9.2f}" + (f"   at most {MOST_RATIO}" if what.startswith("flooded beside alone") else ""))


class Bench:
    """Three brands with one model each; two of them can be loud."""

    def __init__(self, root: Path) -> None:
        self.house = ModelHouse(root)
        serving = {QUIET: "", LOUD: f"rate_per_second = {RATE}", BROAD: "concurrency = 2"}
        for key, limits in serving.items():
            self.house.write_brand(key.brand, [key.model], serving=limits)
        packaged = self.house.package(QUIET.brand, QUIET.model, "linear")
        for key in serving:
            self.house.add(packaged, key)
        self.secrets = {key: self.house.add_key(key.brand) for key in serving}
        self.one = json.dumps({"instances": packaged.rows[:1]})
        self.thousand = json.dumps({"instances": packaged.rows})

    def measure(self, seconds: float, rounds: int) -> dict[str, float]:
        """All figures by what they measure; each ratio is the median of the rounds' own."""
        turns: list[dict[str, Any]] = []
        with self.house.gateway() as gateway:
            self._quiet(gateway, 1.0)
            for _ in range(rounds):
                alone = self._quiet(gateway, seconds)
                flooded, asked = self._flooded(gateway, seconds, LOUD, self.one, 10 * RATE)
                broad, large = self._flooded(gateway, seconds, BROAD, self.thousand, None)
                turns.append({"alone": alone, "flooded": flooded, "broad": broad, "asked": asked, "large": large})
        median = {name: statistics.median(turn[name] for turn in turns) for name in turns[0]}
        return {
            "quiet brand's p99 alone, ms": median["alone"],
            "p99 beside ten times another's rate, ms": median["flooded"],
            "flooded beside alone, ten times the rate": statistics.median(turn["flooded"] / turn["alone"] for turn in turns),
            "requests/s of the loud brand": median["asked"],
            "p99 beside 1,000 rows a request, two at once, ms": median["broad"],
            "beside 1,000 rows a request, to alone": statistics.median(turn["broad"] / turn["alone"] for turn in turns),
            "requests/s of the broad brand": median["large"],
        }

    def _quiet(self, gateway: Gateway, seconds: float) -> float:
        """p99 in milliseconds of one request after the other, with a short pause between."""
        connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=30)
        headers = {"Authorization": f"Bearer {self.secrets[QUIET]}", "Content-Type": "application/json"}
        taken, until = [], time.monotonic() + seconds
        while time.monotonic() < until:
            started = time.perf_counter()
            connection.request("POST", f"/v1/{QUIET}/predict", self.one, headers)
            answer = connection.getresponse()
            answer.read()
            taken.append((time.perf_counter() - started) * 1000)
            if answer.status != 200:
                raise SystemExit(f"the quiet brand was answered {answer.status}")
            time.sleep(0.003)
        connection.close()
        return statistics.quantiles(taken, n=100)[98]

    def _flooded(self, gateway: Gateway, seconds: float, key: ModelKey, body: str, rate: int | None) -> tuple[float, float]:
        """The quiet brand's p99 while another brand floods, and how many requests a second that was."""
        delay = "" if rate is None else f"function delay() return {1000 * 8 // rate} end"  # wrk's only brake: 8 connections that pause
        script = self.house.root / "flood.lua"
        script.write_text(SCRIPT.format(body=json.dumps(body), key=json.dumps(f"Bearer {self.secrets[key]}"), delay=delay))
        command = ["wrk", "-t1", "-c8", f"-d{seconds + 1:g}s", "-s", str(script), f"http://127.0.0.1:{gateway.port}/v1/{key}/predict"]
        flood = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        time.sleep(0.5)
        p99 = self._quiet(gateway, seconds)
        printed = flood.communicate()[0]
        return p99, float(printed.split("Requests/sec:")[1].split()[0])


if __name__ == "__main__":
    main()
