"""`brandhouse demo`: the whole story with all brands on this machine, then a summary."""

import asyncio
import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from brandhouse_console.local_stack import LocalStack, find_port, print_addresses, stop_on_sigterm, watch
from brandhouse_console.output import format_cell, print_json, print_table
from brandhouse_console.server_runs import register_all, run_trainings
from brandhouse_flows.server import HOST
from brandhouse_shared.api_keys import create_key
from brandhouse_shared.brands import Brand, discover_brands
from brandhouse_shared.config import Risk
from brandhouse_shared.errors import BrandhouseError
from brandhouse_shared.ledger import open_ledger
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import StageChange, Version
from brandhouse_shared.ledger.stages import Stage
from brandhouse_shared.names import ModelKey
from brandhouse_shared.settings import Settings, load_settings

if TYPE_CHECKING:
    from brandhouse_flows.deployments import RunChange

HELD_OUT_ROWS = 5
ROUTED_SECONDS = 30.0
KEY_LIFE = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Shown:
    """One model in the summary."""

    key: ModelKey
    version: Version
    rows: int
    outcome: str
    seconds: float
    prediction: Any
    truth: Any


def demo(*, port: int | None, prefect_port: int | None, keep: bool, as_json: bool) -> None:
    """Start everything, train all brands through the server, serve them, ask each for held-out rows, and sum up."""
    started = time.monotonic()
    settings = load_settings()
    brands, errors = discover_brands(settings.brands_dir)
    if errors:
        raise BrandhouseError("\n".join(str(error) for error in errors))
    say = _Narrator(silent=as_json)
    ledger = open_ledger(settings.ledger_url.get_secret_value())
    stop_on_sigterm()
    stack = LocalStack(settings, brands, host=HOST, port=find_port(port, 8080), prefect_port=find_port(prefect_port, settings.prefect_port))
    with stack:
        say(f"{len(brands)} brands; starting the Prefect server, {len(stack.limits)} worker(s) and the gateway")
        # The server's start takes longest: the workers warm up beside it, and the gateway beside the runs.
        stack.start_workers()
        stack.start_server()
        stack.start_gateway()
        say(f"Prefect  {stack.server.url}")
        say(f"deployments: {str(asyncio.run(register_all(settings, brands))).splitlines()[-1]}")
        keys = [key for brand in brands for key in brand.model_keys]
        results = asyncio.run(run_trainings(settings, keys, force=False, watch=say.watch(len(keys))))
        failed = [result["detail"] for result in results if result["outcome"] == "failed"]
        _approve_high_risk(settings, brands, ledger, say)
        stack.wait_for_gateway()
        shown = asyncio.run(_ask_all(stack, settings, brands, ledger, results))
        total = time.monotonic() - started
        _print_summary(shown, failed, total, as_json=as_json)
        if not as_json:
            print_addresses(stack)
        if keep:
            print("Ctrl-C stops everything")
            watch(stack)
    if failed:
        sys.exit(1)


class _Narrator:
    """Says what is going on, on standard error; with a bar for the runs."""

    def __init__(self, *, silent: bool) -> None:
        self._silent = silent
        self._started = time.monotonic()

    def __call__(self, text: str) -> None:
        if not self._silent:
            print(f"[{time.monotonic() - self._started:5.1f} s] {text}", file=sys.stderr, flush=True)

    def watch(self, total: int) -> Any:
        """Return what is called with every change of a run's state."""
        done = 0

        def changed(change: "RunChange") -> None:
            nonlocal done
            if change.is_final:
                done += 1
                bar = "█" * done + "░" * (total - done)
                self(f"{bar} {done}/{total}  {change.seconds:5.1f} s  {change.state:11s} {change.message[:150]}")

        return changed


def _approve_high_risk(settings: Settings, brands: Sequence[Brand], ledger: Ledger, say: _Narrator) -> None:
    """Do what two people do: agree that the passed version of a high-risk brand goes into production, each with a reason."""
    for key in (key for brand in brands if brand.config.risk is Risk.HIGH for key in brand.model_keys):
        newest = next((item for item in ledger.versions(key) if item.record.kind == "candidate"), None)
        if newest is None or newest.stage is not Stage.CANDIDATE or not newest.record.gates_passed:
            continue
        people = (settings.actor, f"colleague of {settings.actor}")
        for person in people:
            reason = "demo: card read, gates passed"
            ledger.approve(StageChange(version=newest.key, to=Stage.PRODUCTION, actor=person, reason=reason))
        say(f"{newest.key} is of a high-risk brand and was promoted by two people's approval: {' and '.join(people)}")


async def _ask_all(
    stack: LocalStack, settings: Settings, brands: Sequence[Brand], ledger: Ledger, results: Sequence[dict[str, Any]]
) -> list[Shown]:
    outcomes = {(result["brand"], result["model"]): result for result in results}
    production = ledger.production_versions()
    shown = []
    for brand in brands:
        plain, record = create_key(brand.name, ("predict", "read"), datetime.now(UTC) + KEY_LIFE, actor=settings.actor)
        ledger.add_key(record)
        try:
            for key in brand.model_keys:
                if key in production:
                    result = outcomes[key.brand, key.model]
                    shown.append(_ask(stack, settings, brand, production[key], plain, result))
        finally:
            ledger.revoke_key(record.key_id, actor=settings.actor, reason="end of the demo")
    return shown


def _ask(stack: LocalStack, settings: Settings, brand: Brand, version: Version, plain: str, result: dict[str, Any]) -> Shown:
    from brandhouse_flows.holdouts import sample_holdout

    rows = sample_holdout(settings, brand, version, HELD_OUT_ROWS)
    key = version.record.key
    answer = _post(f"{stack.gateway_url}/v1/{key}/predict", plain, {"instances": [row.instance for row in rows]})
    total = version.record.rows_train + version.record.rows_holdout
    return Shown(key, version, total, result["outcome"], result["seconds"], answer["predictions"][0], rows[0].truth)


def _post(url: str, key: str, document: Any) -> dict[str, Any]:
    """Ask the gateway; a key or a version that it has not heard of yet is asked for again, for a while."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(document).encode(), headers)  # noqa: S310 - an HTTP address of our own
    deadline = time.monotonic() + ROUTED_SECONDS
    while True:
        try:
            with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310 - an HTTP address of our own
                answer: dict[str, Any] = json.load(response)
                return answer
        except urllib.error.HTTPError as error:
            if error.code not in (401, 404, 503) or time.monotonic() > deadline:
                raise BrandhouseError(f"{url} answered {error.code}: {error.read(500).decode(errors='replace')}") from error
            time.sleep(0.1)


def _print_summary(shown: Sequence[Shown], failed: Sequence[str], seconds: float, *, as_json: bool) -> None:
    if as_json:
        print_json({"seconds": round(seconds, 1), "models": [_document(item) for item in shown], "failed": failed})
        return
    print_table(
        ["brand", "model", "rows", "task", "metric", "score", "baseline", "version", "runtime", "predicted", "true", "run", "seconds"],
        [
            [
                item.key.brand,
                item.key.model,
                item.rows,
                str(item.version.record.task),
                item.version.record.metric,
                item.version.record.score,
                item.version.record.baseline_score,
                f"v{item.version.number}",
                item.version.record.runtime,
                format_cell(item.prediction),
                format_cell(item.truth),
                item.outcome,
                item.seconds,
            ]
            for item in shown
        ],
    )
    for detail in failed:
        print(f"failed: {detail}")
    trained = sum(item.outcome != "unchanged" for item in shown)
    print(f"{len(shown)} models in production; {trained} trained, {len(shown) - trained} unchanged; {seconds:.0f} s in all")


def _document(item: Shown) -> dict[str, Any]:
    record = item.version.record
    return {
        "brand": item.key.brand,
        "model": item.key.model,
        "rows": item.rows,
        "task": record.task,
        "metric": record.metric,
        "score": record.score,
        "baseline_score": record.baseline_score,
        "version": f"v{item.version.number}",
        "runtime": record.runtime,
        "prediction": item.prediction,
        "truth": item.truth,
        "outcome": item.outcome,
        "seconds": item.seconds,
    }
