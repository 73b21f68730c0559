"""Requests by wrk: one thread on this machine, the same body again and again, servers in turns."""

import json
import re
import resource
import statistics
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass

WARM_UP_SECONDS = 1.0
_RATE = re.compile(r"Requests/sec:\s+([\d.]+)")
_QUANTILE = re.compile(r"^\s+(50|99)%\s+([\d.]+)(us|ms|s)\s*$", re.MULTILINE)
_MILLISECONDS = {"us": 0.001, "ms": 1.0, "s": 1_000.0}


@dataclass(frozen=True)
class Target:
    """What is asked.

    Attributes:
        rows: In one request.
    """

    port: int
    path: str
    headers: Mapping[str, str]
    body: bytes
    rows: int


@dataclass(frozen=True)
class Load:
    """What a server bore.

    Attributes:
        rows: In one request.
        client_share: CPU seconds of the client a second.
    """

    requests_per_second: float
    p50_ms: float
    p99_ms: float
    failed: int
    rows: int
    client_share: float

    @property
    def rows_per_second(self) -> float:
        """Rows answered a second."""
        return self.requests_per_second * self.rows


def in_turns(targets: Mapping[str, Target], rounds: int, seconds: float, connections: int) -> dict[str, Load]:
    """Ask every target in every round; return the medians."""
    for target in targets.values():
        ask(target, WARM_UP_SECONDS, connections)
    loads: dict[str, list[Load]] = {name: [] for name in targets}
    for _ in range(rounds):
        for name, target in targets.items():
            loads[name].append(ask(target, seconds, connections))
    return {name: _median(found) for name, found in loads.items()}


def ask(target: Target, seconds: float, connections: int) -> Load:
    """One run of wrk."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write('wrk.method = "POST"\n')
        script.write(f"wrk.body = {json.dumps(target.body.decode())}\n")
        script.writelines(f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}\n" for name, value in target.headers.items())
        script.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--latency", "--timeout", "30s", "-s", script.name]
        before, started = _child_seconds(), time.monotonic()
        printed = subprocess.run(
            [*command, f"http://127.0.0.1:{target.port}{target.path}"], capture_output=True, text=True, check=True
        ).stdout
        share = (_child_seconds() - before) / (time.monotonic() - started)
    rate = _RATE.search(printed)
    quantiles = {share_: float(value) * _MILLISECONDS[unit] for share_, value, unit in _QUANTILE.findall(printed)}
    if rate is None or len(quantiles) < 2:
        raise SystemExit(f"wrk measured nothing:\n{printed}")
    return Load(float(rate[1]), quantiles["50"], quantiles["99"], _failed(printed), target.rows, share)


def _failed(printed: str) -> int:
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", printed)
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", printed)
    return int(refused[1] if refused else 0) + sum(map(int, broken.groups() if broken else ()))


def _child_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _median(loads: list[Load]) -> Load:
    def of(name: str) -> float:
        return statistics.median(getattr(load, name) for load in loads)

    failed = sum(load.failed for load in loads)
    return Load(of("requests_per_second"), of("p50_ms"), of("p99_ms"), failed, loads[0].rows, of("client_share"))
