"""The gateway beside its peers: the same fitted pipelines, one server process each, in one run.

    make bench-serving

Written down as docs/benchmarks/serving.md. Peers are installed into environments of their own below .tools/peers. Every
figure is the median of rounds that go through all servers in turn, so that a noisy moment meets all of them. The client
is wrk with one thread, on the same machine. Brandhouse runs as it always does: key, validation, limits, metrics and
prediction log on.
"""

import argparse
import contextlib
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import serving_load
import serving_report
from serving_house import BRAND, COMMAND, ROOT, House, build_house, pipelines
from serving_load import Load

PEERS = Path(__file__).parent / "serving_peers"
ENVIRONMENTS = ROOT / ".tools" / "peers"
PINS = {
    "mlserver": ["mlserver==1.7.1"],
    "mlflow": ["mlflow==3.17.2"],
    "bentoml": ["bentoml==1.4.39"],
    "fastapi": ["fastapi==0.150.0", "uvicorn[standard]==0.54.0"],
}
"""What each peer's environment holds besides the scikit-learn, pandas and joblib of our own lock."""

REPORT = ROOT / "docs" / "benchmarks" / "serving.md"
START_SECONDS = 120


@dataclass(frozen=True)
class Server:
    """One server of one pipeline.

    Attributes:
        command: `{port}` and `{port2}` stand for free ports.
        body: Makes a request's body out of rows.
    """

    name: str
    command: Sequence[str]
    path: str
    body: Any
    environment: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0, help="Of one server in one round.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--estimators", default=",".join(pipelines.ESTIMATORS))
    parser.add_argument("--no-peers", action="store_true", help="Only Brandhouse and the two limits.")
    parser.add_argument("--no-report", action="store_true", help="Print only.")
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is missing; it is in Debian's package of that name: apt-get install wrk")
    if not arguments.no_peers:
        install_peers()
    measured: dict[str, Any] = {"loads": {}}
    with tempfile.TemporaryDirectory(prefix="brandhouse-bench-") as scratch:
        house = build_house(Path(scratch) / "house")
        for estimator in arguments.estimators.split(","):
            servers = [*own_servers(house, estimator), *([] if arguments.no_peers else peer_servers(Path(scratch), estimator))]
            measured["loads"][estimator] = measure(servers, arguments.rounds, arguments.seconds)
        measured["workers"] = measure_workers(house, arguments.rounds, arguments.seconds)
        measured["log"] = measure_log(house, arguments.rounds, arguments.seconds)
    measured["models"] = figures_of("bench_models.py", "--models", "1000", "--rounds", str(arguments.rounds))
    measured["neighbour"] = figures_of("bench_neighbour.py", "--rounds", str(arguments.rounds))
    measured["machine"] = describe_machine()
    report = serving_report.build(measured)
    print(report)
    if not (arguments.no_report or arguments.no_peers):
        REPORT.write_text(report, encoding="utf-8")
        print(f"wrote {REPORT.relative_to(ROOT)}")


def measure(servers: Sequence[Server], rounds: int, seconds: float) -> dict[str, dict[str, Load]]:
    """Load of each server by its name, for 1 and 32 rows a request over 16 connections."""
    shapes = {"1 row": (1, 16), "32 rows": (32, 16)}
    with contextlib.ExitStack() as stack:
        ports = {server.name: stack.enter_context(running(server)) for server in servers}
        return {
            title: serving_load.in_turns(
                {server.name: _target(server, ports[server.name], rows) for server in servers}, rounds, seconds, connections
            )
            for title, (rows, connections) in shapes.items()
        }


def measure_workers(house: House, rounds: int, seconds: float) -> dict[str, Load]:
    """One and two worker processes, linear pipeline."""
    named = {"1 worker": "1", "2 workers": "2"}
    return _measure_ours({name: gateway(house, "linear", ["--workers", count]) for name, count in named.items()}, rounds, seconds)


def measure_log(house: House, rounds: int, seconds: float) -> dict[str, Load]:
    """The gateway as it is, and the same one whose prediction log forgets everything."""
    unlogged = Server(
        "log off",
        [sys.executable, str(PEERS / "unlogged.py"), "--port", "{port}"],
        f"/v1/{BRAND}/linear/predict",
        _instances,
        house.environment,
        {"Authorization": f"Bearer {house.key}"},
    )
    return _measure_ours({"log on": gateway(house, "linear"), "log off": unlogged}, rounds, seconds)


def figures_of(program: str, *options: str) -> dict[str, float]:
    """What a program beside this one measured."""
    command = [sys.executable, str(Path(__file__).with_name(program)), "--json", *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def _measure_ours(servers: dict[str, Server], rounds: int, seconds: float) -> dict[str, Load]:
    with contextlib.ExitStack() as stack:
        targets = {name: _target(server, stack.enter_context(running(server)), 1) for name, server in servers.items()}
        return serving_load.in_turns(targets, rounds, seconds, 16)


def own_servers(house: House, estimator: str) -> list[Server]:
    artifact = {"MODEL": str(house.artifact(estimator)), "PYTHONPATH": str(PEERS)}
    uvicorn = [sys.executable, "-m", "uvicorn", "limits:app", "--port", "{port}", "--log-level", "warning", "--no-access-log"]
    return [
        gateway(house, estimator),
        Server("raw ONNX handler", uvicorn, "/", _instances, {**os.environ, **artifact, "KIND": "raw"}),
        Server("ASGI no-op", uvicorn, "/", _instances, {**os.environ, **artifact, "KIND": "noop"}),
    ]


def gateway(house: House, estimator: str, options: Sequence[str] = ()) -> Server:
    command = [COMMAND, "serve", "--port", "{port}", *options]
    return Server(
        "Brandhouse", command, f"/v1/{BRAND}/{estimator}/predict", _instances, house.environment, {"Authorization": f"Bearer {house.key}"}
    )


def peer_servers(scratch: Path, estimator: str) -> list[Server]:
    """The peers, each with the pipeline fitted in its own environment."""
    servers = []
    for peer in PINS:
        folder = scratch / peer / estimator
        folder.mkdir(parents=True)
        _run([_python(peer), str(PEERS / "pipelines.py"), str(folder)])
        servers += _PEERS[peer](folder, folder / f"{estimator}.joblib")
    return servers


def _fastapi(folder: Path, model: Path) -> list[Server]:
    command = [_python("fastapi"), "-m", "uvicorn", "fastapi_app:app", "--port", "{port}", "--log-level", "warning", "--no-access-log"]
    return [Server("FastAPI + scikit-learn", command, "/predict", _instances, _peer_environment("fastapi", MODEL=str(model)))]


def _bentoml(folder: Path, model: Path) -> list[Server]:
    environment = _peer_environment("bentoml", MODEL=str(model), BENTOML_HOME=str(folder), BENTOML_DO_NOT_TRACK="true")
    serve = [str(ENVIRONMENTS / "bentoml" / "bin" / "bentoml"), "serve"]
    titles = {"bentoml_plain": "BentoML", "bentoml_batching": "BentoML, adaptive batching"}
    return [
        Server(title, [*serve, f"{module}:Loans", "--port", "{port}"], "/predict", lambda rows: {"rows": rows}, environment)
        for module, title in titles.items()
    ]


def _mlflow(folder: Path, model: Path) -> list[Server]:
    saved = folder / "saved"
    _run([_python("mlflow"), str(PEERS / "mlflow_save.py"), str(model), str(saved)])
    command = [str(ENVIRONMENTS / "mlflow" / "bin" / "mlflow"), "models", "serve", "-m", str(saved), "--env-manager", "local"]
    command += ["--host", "127.0.0.1", "-p", "{port}", "-w", "1"]
    return [Server("mlflow models serve", command, "/invocations", lambda rows: {"dataframe_records": rows}, _peer_environment("mlflow"))]


def _mlserver(folder: Path, model: Path) -> list[Server]:
    (folder / "loans").mkdir()
    settings = {"name": "loans", "implementation": "mlserver_runtime.Loans", "parameters": {"uri": str(model)}}
    (folder / "loans" / "model-settings.json").write_text(json.dumps(settings))
    (folder / "settings.json").write_text(json.dumps({"parallel_workers": 0, "debug": False, "host": "127.0.0.1"}))
    ports = {"MLSERVER_HTTP_PORT": "{port}", "MLSERVER_GRPC_PORT": "{port2}", "MLSERVER_METRICS_PORT": "{port3}"}
    command = [str(ENVIRONMENTS / "mlserver" / "bin" / "mlserver"), "start", str(folder)]
    return [Server("MLServer", command, "/v2/models/loans/infer", _tensors, _peer_environment("mlserver", **ports))]


_PEERS = {"mlserver": _mlserver, "mlflow": _mlflow, "bentoml": _bentoml, "fastapi": _fastapi}


def _peer_environment(peer: str, **more: str) -> dict[str, str]:
    path = f"{ENVIRONMENTS / peer / 'bin'}:{os.environ['PATH']}"
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    return {**os.environ, **threads, "PATH": path, "PYTHONPATH": str(PEERS), **more}


def _instances(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {"instances": rows}


def _tensors(rows: list[dict[str, Any]]) -> dict[str, Any]:
    numbers = [{"name": name, "shape": [len(rows)], "datatype": "FP64", "data": [row[name] for row in rows]} for name in pipelines.NUMBERS]
    words = [
        {
            "name": name,
            "shape": [len(rows)],
            "datatype": "BYTES",
            "parameters": {"content_type": "str"},
            "data": [row[name] for row in rows],
        }
        for name in pipelines.CATEGORIES
    ]
    return {"parameters": {"content_type": "pd"}, "inputs": [*numbers, *words]}


def _target(server: Server, port: int, rows: int) -> serving_load.Target:
    table = pipelines.build_table(rows * 4, seed=7).dropna().drop(columns=pipelines.TARGET).head(rows)
    body = json.dumps(server.body(table.to_dict("records"))).encode()
    return serving_load.Target(port, server.path, {"Content-Type": "application/json", **server.headers}, body, rows)


@contextlib.contextmanager
def running(server: Server) -> Iterator[int]:
    """Start a server; yield its port when it answers a row."""
    ports = _free_ports(3)
    names = dict(zip(("port", "port2", "port3"), map(str, ports), strict=True))
    environment = {name: value.format(**names) if value.startswith("{port") else value for name, value in server.environment.items()}
    log = tempfile.TemporaryFile()  # noqa: SIM115  # the server writes to it as long as it lives
    process = subprocess.Popen([part.format(**names) for part in server.command], env=environment, stdout=log, stderr=log)
    try:
        _wait_for_answer(server, process, ports[0], log)
        yield ports[0]
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=15)
        process.kill()
        process.wait()


def _wait_for_answer(server: Server, process: subprocess.Popen[bytes], port: int, log: Any) -> None:
    target = _target(server, port, 1)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError):
            request = urllib.request.Request(f"http://127.0.0.1:{port}{target.path}", target.body, target.headers)
            urllib.request.urlopen(request, timeout=10).read()
            return
        time.sleep(0.3)
    log.seek(0)
    raise SystemExit(f"{server.name} does not answer:\n{log.read()[-3000:].decode(errors='replace')}")


def _free_ports(count: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def install_peers() -> None:
    """Give each peer an environment of its own, once."""
    uv = ROOT / ".tools" / "bin" / "uv"
    same = [f"{name}=={version(name)}" for name in ("scikit-learn", "pandas", "joblib")]
    for peer, pins in PINS.items():
        folder = ENVIRONMENTS / peer
        wanted = " ".join([*pins, *same])
        mark = folder / "installed.txt"
        if mark.is_file() and mark.read_text() == wanted:
            continue
        print(f"installing {peer}", file=sys.stderr)
        _run([str(uv), "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)])
        _run([str(uv), "pip", "install", "--quiet", "--python", str(folder / "bin" / "python"), *pins, *same])
        mark.write_text(wanted)


def describe_machine() -> dict[str, str]:
    model = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "unknown")
    names = ("onnxruntime", "scikit-learn", "pandas", "uvicorn", "orjson")
    return {
        "cpu": f"{os.cpu_count()} x {model}",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "ours": ", ".join(f"{name} {version(name)}" for name in names),
        "peers": ", ".join(pin for pins in PINS.values() for pin in pins),
    }


def _python(peer: str) -> str:
    return str(ENVIRONMENTS / peer / "bin" / "python")


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-3000:]}")


if __name__ == "__main__":
    main()
