"""What a shadow and a canary cost the requests of their model: the same gateway without, with a shadow, with a canary, in turns.

Each request has another body, so that all of them are worth comparing. Requests a second and 99 % say what clients feel and
depend on what else the machine does; CPU microseconds of the gateway a request depend less on it.

    .venv/bin/python benchmarks/bench_trials.py --rounds 5 --seconds 3
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "fixtures"))
from serving_house import CASA, Gateway, House

from brandhouse_shared.ledger.records import StageChange
from brandhouse_shared.ledger.stages import Stage
from brandhouse_shared.names import VersionKey

FOLLOW_SECONDS = 1.0
SCRIPT = """
request = function()
  local body = '{"instances":[{"Area m2":' .. (math.random(1, 99999999) / 100000) .. ',"garden":true}]}'
  return wrk.format("POST", "/v1/casa/price/predict", {["Authorization"] = "Bearer KEY", ["Content-Type"] = "application/json"}, body)
end
"""
Burst = tuple[float, float, float]
"""Requests a second, milliseconds at 99 %, CPU microseconds of the gateway a request."""


def main() -> None:
    """Measure and print medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), options.rounds, options.seconds)
    alone = median(burst[2] for burst in found["none"])
    for name, bursts in found.items():
        rate, p99, cpu = (median(column) for column in zip(*bursts, strict=True))
        print(f"{name:7} {rate:8,.0f} requests/s  99 % {p99:7.2f} ms  CPU {cpu:6.1f} us a request ({cpu / alone:.2f}x)")


def measure(folder: Path, rounds: int, seconds: int) -> dict[str, list[Burst]]:
    """Ask in turns: without a trial, with a shadow, with a canary of 10 %."""
    house = House(folder)
    house.register_casa(2.0)
    script = folder / "ask.lua"
    script.write_text(SCRIPT.replace("KEY", house.add_key("casa")))
    found: dict[str, list[Burst]] = {"none": [], "shadow": [], "canary": []}
    with Gateway(house) as gateway:
        ask(gateway, script, 1)
        for turn in range(rounds):
            found["none"].append(ask(gateway, script, seconds))
            version = house.register_casa(2.001 + turn / 1000, promote=False)
            put(house, version, Stage.SHADOW)
            found["shadow"].append(ask(gateway, script, seconds))
            put(house, version, Stage.CANARY)
            found["canary"].append(ask(gateway, script, seconds))
            house.ledger.retire(CASA, "bench", "next turn", version.number)
            time.sleep(FOLLOW_SECONDS)
    return found


def put(house: House, version: VersionKey, to: Stage) -> None:
    """Change a stage and wait until the gateway has followed."""
    house.ledger.change_stage(StageChange(version=version, to=to, actor="bench", reason="measure"))
    time.sleep(FOLLOW_SECONDS)


def ask(gateway: Gateway, script: Path, seconds: int) -> Burst:
    """One run of wrk."""
    before = _cpu_seconds(gateway)
    command = ["wrk", "-t1", "-c16", f"-d{seconds}s", "--latency", "-s", str(script), f"http://127.0.0.1:{gateway.port}"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "Non-2xx" not in printed, printed
    count, rate = re.search(r"(\d+) requests in", printed), re.search(r"Requests/sec:\s+([\d.]+)", printed)
    tail = re.search(r"^\s+99%\s+([\d.]+)(us|ms|s)$", printed, re.MULTILINE)
    assert count and rate and tail, printed
    milliseconds = float(tail[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[tail[2]]
    return float(rate[1]), milliseconds, (_cpu_seconds(gateway) - before) / int(count[1]) * 1e6


def _cpu_seconds(gateway: Gateway) -> float:
    times = psutil.Process(gateway.process.pid).cpu_times()
    return float(times.user + times.system)


if __name__ == "__main__":
    main()
