"""What a thousand models in one gateway cost: start, memory a model, a cold model's first answer, throughput beside one model, stalls.

Every figure is measured on the real gateway process. The pipeline is the one of the other serving benchmarks: logistic
regression behind imputer, scaler and one-hot encoder, compiled. Throughput is wrk's, 16 connections, one row a request,
one model and all models in turns; a stall is the longest answer to a client that asks again and again, alone.

    .venv/bin/python benchmarks/bench_models.py --models 1000
"""

import argparse
import http.client
import json
import random
import re
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from model_houses import Gateway, ModelHouse

from brandhouse_shared.names import ModelKey

LIMITS = {"MiB a model beyond its file": 1.0, "cold answer p99, ms": 50.0}
LEAST_THROUGHPUT_SHARE = 0.8
SCRIPT = """
local paths = {{{paths}}}
local keys = {{{keys}}}
local body = {body}
math.randomseed(7)
request = function()
  local i = math.random(#paths)
  return wrk.format("POST", paths[i], {{["Authorization"] = keys[i], ["Content-Type"] = "application/json"}}, body)
end
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=1000)
    parser.add_argument("--brands", type=int, default=0, help="over how many brands they are spread; default: a tenth of the models")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each run of wrk")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="brandhouse-models-") as folder:
        bench = Bench(Path(folder), arguments.models, arguments.brands or max(1, arguments.models // 10))
        figures = bench.measure(arguments.seconds, arguments.rounds)
    if arguments.json:
        print(json.dumps(figures, indent=2))
        return
    for what, value in figures.items():
        limit = LIMITS.get(what)
        print(f"{what:44s} {value:10.2f}" + ("" if limit is None else f"   at most {limit:g}: {'ok' if value < limit else 'TOO MUCH'}"))


class Bench:
    """A workspace with many models."""

    def __init__(self, root: Path, models: int, brands: int) -> None:
        self.house = ModelHouse(root)
        names = [f"brand_{number:04d}" for number in range(brands)]
        self.keys = [ModelKey(names[number % brands], f"model_{number // brands:03d}") for number in range(models)]
        for name in names:
            self.house.write_brand(name, [key.model for key in self.keys if key.brand == name])
        packaged = self.house.package(self.keys[0].brand, self.keys[0].model, "linear")
        self.file_mib = (packaged.folder / "model.onnx").stat().st_size / 2**20
        self.body = json.dumps({"instances": packaged.rows[:1]}).encode()
        for key in self.keys:
            self.house.add(packaged, key)
        self.secrets = {name: self.house.add_key(name) for name in names}

    def measure(self, seconds: float, rounds: int) -> dict[str, float]:
        """All figures by what they measure."""
        with self.house.gateway(model_memory_mib="1") as gateway:  # room for two: nearly every request meets an unloaded version
            self._ask(gateway, self.keys[:3])
            cold = sorted(self._ask(gateway, random.Random(1).sample(self.keys, min(300, len(self.keys)))))
            unloaded = gateway.resident_mib()
        with self.house.gateway(model_memory_mib="16384") as gateway:
            first = self._ask(gateway, self.keys[:1])[0]
            self._wait_until_loaded(gateway)
            everything = gateway.resident_mib()
            shares = [self._shares(gateway, seconds) for _ in range(rounds)]
            stalls = self._stalls(gateway)
            ready = gateway.ready_seconds
        one = self._memory_of_one()
        one_rate, all_rate = (statistics.median(pair[place] for pair in shares) for place in (0, 1))
        return {
            "models": len(self.keys),
            "seconds until requests are answered": ready,
            "first answer of all, ms": first,
            "cold answer p50, ms": cold[len(cold) // 2],
            "cold answer p99, ms": cold[int(len(cold) * 0.99)],
            "MiB with one model": one,
            "MiB after 300 were loaded and unloaded": unloaded,
            "MiB with all models": everything,
            "MiB a model beyond its file": (everything - one) / max(1, len(self.keys) - 1) - self.file_mib,
            "requests/s, one model": one_rate,
            "requests/s, all models": all_rate,
            "all models to one model": statistics.median(many / single for single, many in shares),
            "longest of 5 s of answers, ms": stalls,
        }

    def _memory_of_one(self) -> float:
        """Memory of the gateway with the same ledger and brands, of which only one version is loaded, after as many requests."""
        with self.house.gateway(model_memory_mib="1") as gateway:
            self._wrk(gateway, self.keys[:1], 2.0)
            return gateway.resident_mib()

    def _shares(self, gateway: Gateway, seconds: float) -> tuple[float, float]:
        return self._wrk(gateway, self.keys[:1], seconds), self._wrk(gateway, self.keys, seconds)

    def _wait_until_loaded(self, gateway: Gateway) -> None:
        self._ask(gateway, self.keys)
        time.sleep(1)

    def _ask(self, gateway: Gateway, keys: Sequence[ModelKey], body: bytes | None = None) -> list[float]:
        """Milliseconds of one request to each model, one after the other, on one connection."""
        connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=60)
        taken = []
        for key in keys:
            started = time.perf_counter()
            answer = self._post(connection, key, body or self.body)
            taken.append((time.perf_counter() - started) * 1000)
            if answer["model"] != f"{key}/v1":
                raise SystemExit(f"{key} was answered by {answer['model']}")
        connection.close()
        return taken

    def _post(self, connection: http.client.HTTPConnection, key: ModelKey, body: bytes) -> Any:
        headers = {"Authorization": f"Bearer {self.secrets[key.brand]}", "Content-Type": "application/json"}
        connection.request("POST", f"/v1/{key}/predict", body, headers)
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise SystemExit(f"{key}: {answer.status}: {content[:500]!r}")
        return json.loads(content)

    def _stalls(self, gateway: Gateway) -> float:
        """The longest answer, in ms, within 5 s in which `brand.toml` files are looked at and a promotion is followed."""
        connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=60)
        until, longest, changed = time.monotonic() + 6, 0.0, False
        while time.monotonic() < until:
            if not changed and time.monotonic() > until - 3:
                changed = True
                self.house.add_key(self.keys[0].brand)
                self.house.ledger.retire(self.keys[-1], actor="bench", reason="measure")  # the table is made anew
            started = time.perf_counter()
            self._post(connection, self.keys[0], self.body)
            longest = max(longest, (time.perf_counter() - started) * 1000)
            time.sleep(0.001)
        connection.close()
        return longest

    def _wrk(self, gateway: Gateway, keys: Sequence[ModelKey], seconds: float) -> float:
        paths = ",".join(json.dumps(f"/v1/{key}/predict") for key in keys)
        secrets = ",".join(json.dumps(f"Bearer {self.secrets[key.brand]}") for key in keys)
        script = self.house.root / "wrk.lua"
        script.write_text(SCRIPT.format(paths=paths, keys=secrets, body=json.dumps(self.body.decode())))
        command = ["wrk", "-t1", "-c16", f"-d{seconds:g}s", "-s", str(script), f"http://127.0.0.1:{gateway.port}"]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        if "Non-2xx" in printed:
            raise SystemExit(f"not all requests were answered:\n{printed}")
        return float(re.findall(r"Requests/sec:\s+([\d.]+)", printed)[0])


if __name__ == "__main__":
    main()
