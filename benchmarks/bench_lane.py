"""Where the time of a prediction request goes: our lane beside a raw handler, stage by stage, and both under load.

Both answer with the same compiled pipeline (6 numbers, 4 categories). The raw handler decodes JSON and runs the graph; the
lane also finds out who calls, checks every value, counts, limits and writes the prediction log.

    .venv/bin/python benchmarks/bench_lane.py                     # microseconds in this process, no network
    .venv/bin/python benchmarks/bench_lane.py --wrk 5             # both as processes, wrk for 5 s each
    .venv/bin/python benchmarks/bench_lane.py --profile           # what the lane calls, by its own time
"""

import argparse
import asyncio
import contextlib
import cProfile
import json
import os
import pstats
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import orjson

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests" / "fixtures"), str(ROOT / "benchmarks" / "serving_peers")]

from pipelines import CATEGORIES, NUMBERS, TARGET, build_pipeline, build_table  # noqa: E402
from serving_house import House  # noqa: E402

from brandhouse_serving.dialects import Call  # noqa: E402
from brandhouse_serving.lane import DIALECTS, PredictLane  # noqa: E402
from brandhouse_serving.parts import build_parts  # noqa: E402
from brandhouse_shared.names import ModelKey  # noqa: E402

LOAN = ModelKey("lender", "loan")
TOML = """
name = "lender"
title = "Lender"
story = "Loans; predicts which are repaid."
owner = "lender-data@house.example"
risk = "low"
budget_eur_month = 20

[datasets.loans]
file = "data/loans.csv"
source = {{ kind = "file", path = "loans.csv" }}

[models.loan]
entrypoint = "brand_lender.loan"
dataset = "loans"
task = "binary"
target = "repaid"
positive = "yes"
metric = "roc_auc"

[models.loan.serving]
rate_per_second = 1_000_000

[models.loan.inputs]
{inputs}
"""
CODE = "def build_features(rows):\n    return rows\n\n\ndef build_estimator(**params):\n    return None\n"


class Bench:
    """A workspace with one packaged model, a key, and requests for it."""

    def __init__(self, root: Path, kind: str) -> None:
        self.house = House(root)
        _write_brand(root / "brands" / "lender")
        self.package = root / "package"
        self.package.mkdir()
        self.rows = _package(root, self.package, kind)
        self.house.register_package(self.package)
        self.key = self.house.add_key("lender")

    def body(self, rows: int) -> bytes:
        """A request of so many rows."""
        return orjson.dumps({"instances": self.rows[:rows]})

    def headers(self, body: bytes) -> list[tuple[bytes, bytes]]:
        """What a client sends with it."""
        named = {"host": "127.0.0.1:8080", "authorization": f"Bearer {self.key}", "content-type": "application/json"}
        return [(name.encode(), value.encode()) for name, value in {**named, "content-length": str(len(body))}.items()]


def _write_brand(folder: Path) -> None:
    package = folder / "src" / "brand_lender"
    package.mkdir(parents=True)
    inputs = [f'{name} = {{ type = "number", nullable = true, min = -1000, max = 1000 }}' for name in NUMBERS]
    inputs += [f'{name} = {{ type = "category", nullable = true, values = {json.dumps(words)} }}' for name, words in CATEGORIES.items()]
    (folder / "brand.toml").write_text(TOML.format(inputs="\n".join(inputs)))
    (package / "__init__.py").write_text("")
    (package / "loan.py").write_text(CODE)


def _package(root: Path, folder: Path, kind: str) -> list[dict[str, Any]]:
    """Fit, package for the gateway, and return rows as a client has them."""
    from brandhouse_flows.packaging import package
    from brandhouse_shared.brands import load_brand_module, read_brand
    from brandhouse_shared.contracts import Contract
    from brandhouse_shared.features import build_model_input

    brand = read_brand(root / "brands" / "lender")
    table = build_table()
    texts = table.drop(columns=TARGET).astype(object).map(lambda cell: str(cell) if cell == cell else None)
    contract = Contract(brand.model("loan").inputs)
    rows = contract.parse_table(texts, "bench")
    code = load_brand_module(brand, "brand_lender.loan")
    features = build_model_input(code, rows, "bench")
    fitted = build_pipeline(kind).fit(features, table[TARGET])
    made = package(
        folder,
        brand=brand,
        model_name="loan",
        estimator=fitted,
        rows_holdout=rows[:500],
        features_holdout=features[:500],
        classes=[str(one) for one in fitted.classes_],
        constant=[0.5, 0.5],
        code=code,
        truth=table[TARGET][:500],
    )
    assert made.manifest.runtime == "compiled", made.manifest.reason
    return contract.instances_of(rows[:1000])


# -- in this process -------------------------------------------------------------------------------------------------


class Wire:
    """What a server gives an ASGI application for one request, again and again."""

    def __init__(self, path: str, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        self.scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "headers": headers, "query_string": b""}
        self.message = {"type": "http.request", "body": body, "more_body": False}
        self.sent: list[Any] = []

    async def receive(self) -> Any:
        """The request."""
        return self.message

    async def send(self, message: Any) -> None:
        """Keep what is answered."""
        self.sent.append(message)

    async def ask(self, app: Any, times: int) -> float:
        """Microseconds of this thread's CPU a request."""
        started = time.thread_time()
        for _ in range(times):
            self.sent.clear()
            await app(self.scope, self.receive, self.send)
        return (time.thread_time() - started) / times * 1e6


async def _no_app(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("the lane passed the request on")


@contextlib.asynccontextmanager
async def _lane(bench: Bench) -> Any:
    parts = build_parts(bench.house.settings, ["lender"])
    parts.keys.refresh()
    await parts.router.refresh()
    await parts.router.warm_up()
    try:
        yield PredictLane(_no_app, parts), parts
    finally:
        await parts.close()


def _raw_app(bench: Bench) -> Any:
    os.environ |= {"KIND": "raw", "MODEL": str(bench.package)}
    import limits

    return limits.app


async def compare(bench: Bench, rounds: int, profile: bool) -> None:
    async with _lane(bench) as (lane, parts):
        raw = _raw_app(bench)
        for rows in (1, 32):
            body = bench.body(rows)
            wire = Wire(f"/v1/{LOAN}/predict", bench.headers(body), body)
            if profile:
                await _profile(wire, lane, 4000 // rows)
                continue
            # The shortest of many short turns: other work on the machine only ever adds.
            pairs = [(await wire.ask(raw, 20), await wire.ask(lane, 20)) for _ in range(rounds)]
            answer = orjson.loads(wire.sent[1]["body"])
            assert wire.sent[0]["status"] == 200 and len(answer["predictions"]) == rows, answer
            theirs, ours = (min(one) for one in zip(*pairs, strict=True))
            others = [await _of_other_threads(wire, lane, parts) for _ in range(20)]
            print(f"{rows:>3} row(s): raw {theirs:6.1f} us   lane {ours:6.1f} us + {median(others):.1f} us of the log's thread, of CPU")
            _print_stages(await _stages(parts, wire, body, rows))


async def _of_other_threads(wire: Wire, lane: Any, parts: Any) -> float:
    """Microseconds of CPU a request that are spent beside the lane's thread until its rows are on disk: the interpreter is one."""
    before = time.process_time() - time.thread_time()
    await wire.ask(lane, 400)
    parts.log.flush()
    return (time.process_time() - time.thread_time() - before) / 400 * 1e6


async def _profile(wire: Wire, lane: Any, times: int) -> None:
    profiler = cProfile.Profile()
    profiler.enable()
    await wire.ask(lane, times)
    profiler.disable()
    pstats.Stats(profiler).sort_stats("tottime").print_stats(28)


async def _stages(parts: Any, wire: Wire, body: bytes, rows: int) -> dict[str, float]:
    from brandhouse_serving.bodies import read_headers
    from brandhouse_serving.keys import Scope, permit

    headers = read_headers(wire.scope["headers"])
    dialect = DIALECTS[b"/v1/"]
    call = dialect.find_call(wire.scope["raw_path"])
    assert isinstance(call, Call)
    call.headers, call.body = headers, body
    route = parts.find_route(LOAN)
    loaded = route.production.loaded
    instances = dialect.rows_of(call, route)
    columns = loaded.contract.parse_rows(instances)
    reply = await parts.answerer.answer(route, instances)
    ids, now_ms = parts.make_ids(reply, rows)
    stages: dict[str, Callable[[], Any]] = {
        "path": lambda: dialect.find_call(wire.scope["raw_path"]),
        "headers": lambda: (read_headers(wire.scope["headers"]), dialect.check_headers(call)),
        "key": lambda: permit(parts.keys.authenticate(headers[b"authorization"]), "lender", Scope.PREDICT),
        "route, rate": lambda: parts.find_route(ModelKey(call.brand, call.model)).bucket.take(),
        "body to rows": lambda: dialect.rows_of(call, route),
        "contract": lambda: loaded.contract.parse_rows(instances),
        "model": lambda: _run(loaded.runtime.predict(columns, 10)),
        "whole answer": lambda: _run(parts.answerer.answer(route, instances)),
        "ids": lambda: parts.make_ids(reply, rows),
        "answer's JSON": lambda: dialect.answer_of(reply, ids, call),
        "log, metrics": lambda: parts.record(reply, instances, ids, now_ms, time.perf_counter()),
    }
    return {name: _microseconds(work) for name, work in stages.items()}


def _run(coroutine: Any) -> None:
    with contextlib.suppress(StopIteration):
        coroutine.send(None)


def _microseconds(work: Callable[[], Any]) -> float:
    best = float("inf")
    for _ in range(300):
        started = time.thread_time()
        for _ in range(20):
            work()
        best = min(best, time.thread_time() - started)
    return best / 20 * 1e6


def _print_stages(stages: dict[str, float]) -> None:
    for name, microseconds in stages.items():
        print(f"      {name:<16}{microseconds:7.2f} us")


# -- as processes ----------------------------------------------------------------------------------------------------


def load(bench: Bench, seconds: int, rounds: int, rows: tuple[int, ...]) -> None:
    """Requests a second of the raw handler, an application that does nothing, and the gateway, one after the other in turn."""
    uvicorn = [sys.executable, "-m", "uvicorn", "--app-dir", str(ROOT / "benchmarks" / "serving_peers"), "limits:app"]
    uvicorn += ["--no-access-log", "--loop", "uvloop", "--http", "httptools", "--log-level", "warning", "--port"]
    gateway = [sys.executable, "-m", "brandhouse_serving.main", "lender", "--port"]
    settings = bench.house.settings
    places = {"BRANDHOUSE_ROOT": str(settings.root), "BRANDHOUSE_HOME": str(settings.home), "BRANDHOUSE_LEDGER_URL": bench.house.url}
    kinds = {
        "noop": (uvicorn, {"KIND": "noop"}),
        "raw": (uvicorn, {"KIND": "raw", "MODEL": str(bench.package)}),
        "lane": (gateway, places),
    }
    with contextlib.ExitStack() as stack:
        servers = {name: stack.enter_context(_server(command, environment)) for name, (command, environment) in kinds.items()}
        for count in rows:
            script = bench.house.root / f"{count}.lua"
            script.write_text(_lua(bench, count))
            found: dict[str, list[tuple[float, float]]] = {name: [] for name in kinds}
            for _ in range(rounds):
                for name, (port, pid) in servers.items():
                    found[name].append(_wrk(port, pid, script, seconds))
            rates = {name: median(rate for rate, _ in turns) for name, turns in found.items()}
            costs = {name: min(cost for _, cost in turns) for name, turns in found.items()}
            ratio = median(ours / theirs for (ours, _), (theirs, _) in zip(found["lane"], found["raw"], strict=True))
            print(f"{count:>3} row(s): " + "   ".join(f"{name} {rates[name]:,.0f}/s, {costs[name]:.0f} us of CPU" for name in kinds))
            by_cpu = costs["raw"] / costs["lane"]
            print(f"      lane/raw: {ratio:.2f} of the requests/s, {by_cpu:.2f} by CPU; {rates['lane'] * count:,.0f} rows/s", flush=True)


@contextlib.contextmanager
def _server(command: list[str], environment: dict[str, str]) -> Iterator[tuple[int, int]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([*command, str(port)], env={**os.environ, **environment}, stdout=subprocess.DEVNULL)
    try:
        for _ in range(300):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.1)
        time.sleep(1)
        yield port, process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def _lua(bench: Bench, rows: int) -> str:
    lines = ['wrk.method = "POST"', f"wrk.body = [==[{bench.body(rows).decode()}]==]"]
    lines += [
        f'wrk.headers["{name.decode()}"] = "{value.decode()}"'
        for name, value in bench.headers(b"")
        if name not in (b"host", b"content-length")
    ]
    return "\n".join(lines)


def _wrk(port: int, pid: int, script: Path, seconds: int) -> tuple[float, float]:
    """Requests a second, and the server's microseconds of CPU a request, which other work on the machine changes less."""
    command = ["wrk", "-t1", "-c16", f"-d{seconds}s", "-s", str(script), f"http://127.0.0.1:{port}/v1/{LOAN}/predict"]
    before = _cpu_seconds(pid)
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    used = _cpu_seconds(pid) - before
    assert "Non-2xx" not in text, text
    lines = [line.split() for line in text.splitlines()]
    requests = next(int(words[0]) for words in lines if words[1:3] == ["requests", "in"])
    return next(float(words[1]) for words in lines if words[:1] == ["Requests/sec:"]), used / requests * 1e6


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=("linear", "forest", "boosting"), default="linear")
    parser.add_argument("--rounds", type=int, help="default 5 with --wrk, else 300")
    parser.add_argument("--wrk", type=int, metavar="SECONDS")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-lane-") as folder:
        bench = Bench(Path(folder), options.kind)
        if options.wrk:
            load(bench, options.wrk, options.rounds or 5, (1, 32))
        else:
            asyncio.run(compare(bench, options.rounds or 300, options.profile))


if __name__ == "__main__":
    main()
