"""Stacks: how fast 12, 100 and 1,000 brands are written beside their peers, and 12 checked offline and really applied on this machine.

    make bench-infra

Written down as docs/benchmarks/infra.md. The same stacks are written three ways, each in a process of its own: as Brandhouse
does; through the typed classes of cdktn (the bindings in our own lock); through those of cdktf, in an environment of its own
below .tools/peers. The peers write as many resources a brand as a brand of the pool has. Time is the whole process's, memory
is the peak of Python and Node together.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from tests.fixtures import infra_house, local_house  # noqa: E402

from brandhouse_infra.local.seaweed import PORTS  # noqa: E402

REPORT = ROOT / "docs" / "benchmarks" / "infra.md"
PEER = ROOT / "benchmarks" / "infra_peers" / "typed.py"
PEER_PLACE = ROOT / ".tools" / "peers" / "cdktf"
PEER_PACKAGES = ("cdktf==0.21.0", "cdktf-cdktf-provider-aws==21.22.1")
COMMAND = str(Path(sys.executable).with_name("brandhouse"))
COUNTS = (12, 100, 1000)
LIMITS = {12: (4.0, None), 100: (5.0, None), 1000: (15.0, 1200.0)}
"""Seconds and MiB that the platform promises on two cores."""
MOST_OF_PEERS = 100
"""Brands; typed classes take minutes and gigabytes for a thousand."""
OFFLINE_SECONDS = 30.0
RESOURCES = 27
"""Of a brand in the pool; the peers write as many."""
LOCAL_SECONDS = 60.0
LOCAL_BRANDS = 12
PAGE = """# Stacks: how fast they are written and checked

Written by `make bench-infra` on {date}: {machine}. Seconds are of the whole process, from its start to its end; MiB are the
most that Python and Node had together.

## Writing stacks

A brand of the pool has {resources} resources, every twelfth is a silo and has 60. The peers write {resources} resources for each
brand through typed classes, without policies, so they do less; they are left out where they take minutes and gigabytes. The first time
includes unpacking the CDK.

| brands | way | seconds | MiB | at most |
|---:|---|---:|---:|---|
{table}

## Checking 12 brands offline

`brandhouse infra plan --all --offline`: written, initialised, validated and planned by Terraform, rules checked, cost counted.

| | seconds | at most |
|---|---:|---:|
{plans}

## Applying {local_brands} brands on this machine

The target `local`, by the commands, in a real store and a real database: `infra plan --all`, then `infra apply BRAND` for one after the
other, then `infra plan --all` again.

| | seconds | at most | resources changed |
|---|---:|---:|---:|
{local}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brands", type=int, nargs="*", default=list(COUNTS))
    parser.add_argument("--no-peers", action="store_true", help="Only Brandhouse.")
    asked = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(prefix="bh-infra-") as scratch:
        for count in asked.brands:
            house = write_house(Path(scratch) / str(count), count)
            rows += [
                measure(way, count, command, house)
                for way, command in ways(count, house, peers=count <= MOST_OF_PEERS and not asked.no_peers)
            ]
        offline = measure_offline(write_house(Path(scratch) / "offline", 12))
        local = measure_local(write_house(Path(scratch) / "local", LOCAL_BRANDS))
    REPORT.write_text(build_report(rows, offline, local), encoding="utf-8")
    print(f"wrote {REPORT.relative_to(ROOT)}")


def write_house(root: Path, count: int) -> Path:
    """A workspace of declarations; every twelfth brand is a silo, as in ours."""
    infra_house.write_house(root, [])
    for number in range(count):
        # Words, not bare numbers: names that look alike are refused.
        name = "brand_" + "".join("abcdefghij"[int(digit)] for digit in str(number))
        infra_house.write_brand(root, name, isolation="silo" if number % 12 == 11 else "pool")
    return root


def ways(count: int, house: Path, *, peers: bool) -> list[tuple[str, list[str]]]:
    """What is measured, first ours cold and warm, then the peers."""
    ours = [COMMAND, "infra", "synth", "--all", "--target", "aws"]
    found = [("brandhouse, first time", ours), ("brandhouse, again", ours)]
    if peers:
        arguments = [str(PEER), str(count), str(RESOURCES), str(house / "peer")]
        found += [
            ("typed classes, cdktn", [sys.executable, *arguments, "cdktn"]),
            ("typed classes, cdktf", [peer_python(), *arguments, "cdktf"]),
        ]
    return found


def peer_python() -> str:
    python = PEER_PLACE / "bin" / "python"
    if not python.is_file():
        subprocess.run([sys.executable, "-m", "venv", str(PEER_PLACE)], check=True)
    subprocess.run([str(python), "-m", "ensurepip", "--upgrade"], check=True, capture_output=True)
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PEER_PACKAGES], check=True)
    return str(python)


def measure(way: str, count: int, command: list[str], house: Path) -> dict[str, Any]:
    """Run one way in a fresh process; seconds and MiB."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONDONTWRITEBYTECODE", "BRANDHOUSE_HOME")}
    environment |= {"BRANDHOUSE_ROOT": str(house), "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": node_major()}
    started = time.monotonic()
    with subprocess.Popen(command, cwd=house, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        peak = Peak(process.pid)
        _, said = process.communicate()
    seconds = time.monotonic() - started
    if process.returncode:
        raise SystemExit(f"{way}, {count} brands, failed:\n{said[-3000:]}")
    row = {"way": way, "brands": count, "seconds": round(seconds, 2), "mib": round(peak.stop())}
    print(json.dumps(row), flush=True)
    return row


class Peak:
    """Looks at a process and its children ten times a second, and keeps the most that they had together, in MiB."""

    def __init__(self, pid: int) -> None:
        self._pid, self._most, self._over = pid, 0.0, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def stop(self) -> float:
        """End the looking; return the most."""
        self._over.set()
        self._thread.join()
        return self._most

    def _look(self) -> None:
        while not self._over.wait(0.1):
            try:
                process = psutil.Process(self._pid)
                parts = [process, *process.children(recursive=True)]
                self._most = max(self._most, sum(part.memory_info().rss for part in parts) / 2**20)
            except psutil.Error:
                continue


def node_major() -> str:
    done = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False)
    return done.stdout.strip().removeprefix("v").partition(".")[0] or "0"


def measure_offline(house: Path) -> list[tuple[str, float]]:
    """Init, plan and the rules of 12 brands: the first time the schema is extracted, the second time it is there."""
    command = [COMMAND, "infra", "plan", "--all", "--offline", "--json"]
    environment = os.environ | {"BRANDHOUSE_ROOT": str(house), "BRANDHOUSE_HOME": str(house / "home")}
    found = []
    for way in ("first time, schema extracted", "again"):
        started = time.monotonic()
        done = subprocess.run(command, cwd=house, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"planning offline failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        found.append((way, round(time.monotonic() - started, 1)))
        print(f"offline, {way}: {found[-1][1]} s", flush=True)
    return found


def measure_local(house: Path) -> list[tuple[str, float, int]]:
    """Plan and apply all brands in a store and a database of this machine, and plan again: what, seconds, resources changed."""
    first = local_house.free_ports(PORTS + 1)
    file = house / "infra" / "environments.toml"
    section = local_house.SECTION.format(store=first, database=first + PORTS)
    file.write_text(file.read_text(encoding="utf-8").replace("\n[environments.staging]", section), encoding="utf-8")
    environment = os.environ | {"BRANDHOUSE_ROOT": str(house), "BRANDHOUSE_HOME": str(house / "home")}

    def said(*words: str) -> Any:
        command = [COMMAND, "infra", *words, "--target", "local", "--json"]
        done = subprocess.run(command, cwd=house, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(words)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return json.loads(done.stdout)

    services = [COMMAND, "infra", "local-services"]
    with subprocess.Popen(services, cwd=house, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()  # once both answer
            found, times = [], [time.monotonic()]
            planned = said("plan", "--all")
            times.append(time.monotonic())
            found.append(("plan", 0))
            changed = sum(len(said("apply", stack["brand"])["done"]) for stack in planned)
            times.append(time.monotonic())
            found.append(("apply", changed))
            found.append(("plan again", sum(len(stack["changes"]) for stack in said("plan", "--all"))))
            times.append(time.monotonic())
        finally:
            process.terminate()
    rows = [(what, round(end - begin, 1), number) for (what, number), begin, end in zip(found, times, times[1:], strict=False)]
    for row in rows:
        print("local: {}: {} s, {} resource(s)".format(*row), flush=True)
    return rows


def build_report(rows: list[dict[str, Any]], offline: list[tuple[str, float]], local: list[tuple[str, float, int]]) -> str:
    table = [f"| {row['brands']:,} | {row['way']} | {row['seconds']:.1f} | {row['mib']:,} | {_limit(row)} |" for row in rows]
    plans = [f"| {way} | {seconds:.1f} | {OFFLINE_SECONDS:.0f} |" for way, seconds in offline]
    whole = sum(seconds for _, seconds, _ in local[:2])
    locally = [f"| {what} | {seconds:.1f} | | {number} |" for what, seconds, number in local]
    locally.insert(2, f"| plan and apply | {whole:.1f} | {LOCAL_SECONDS:.0f} | |")
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, Node {node_major()}"
    return PAGE.format(
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        machine=machine,
        resources=RESOURCES,
        table="\n".join(table),
        plans="\n".join(plans),
        local_brands=LOCAL_BRANDS,
        local="\n".join(locally),
    )


def _limit(row: dict[str, Any]) -> str:
    if not row["way"].startswith("brandhouse"):
        return ""
    seconds, mib = LIMITS.get(row["brands"], (None, None))
    return f"{seconds:.0f} s" + (f", {mib:,.0f} MiB" if mib else "") if seconds else ""


if __name__ == "__main__":
    main()
