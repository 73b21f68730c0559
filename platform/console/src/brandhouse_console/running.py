"""Run a template now: here in this process, or through the server."""

import asyncio
import sys
import traceback
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from brandhouse_console import rehearsing
from brandhouse_console.output import print_json
from brandhouse_console.targets import known_brands, models_of_target
from brandhouse_shared.artifacts import load_artifact_store
from brandhouse_shared.brands import discover_brands
from brandhouse_shared.errors import BrandhouseError
from brandhouse_shared.ledger import open_ledger
from brandhouse_shared.names import ModelKey
from brandhouse_shared.settings import Settings, load_settings

if TYPE_CHECKING:
    from brandhouse_flows.wishes import Wishes


@dataclass(frozen=True, slots=True)
class Asked:
    """What the caller of `train` asks for beside what the brands declare, as typed."""

    params: tuple[str, ...] = ()
    estimator: str = ""
    sample: str = ""
    dry: bool = False


def train(targets: Sequence[str], *, force: bool, server: bool, asked: Asked = Asked(), as_json: bool) -> None:
    """Train models, or all models of brands; one that fails does not stop the others, and the exit status says so.

    Args:
        targets: `BRAND` or `BRAND/MODEL` each; none: all brands.
        force: Train although nothing changed.
        server: Run through the Prefect server instead of here.
        asked: Another estimator, other params, a part of the rows, or no version.
        as_json: Print one list of results instead of a line each.
    """
    from brandhouse_flows.wishes import read_wishes

    settings = load_settings()
    wishes = read_wishes(asked.params, asked.estimator, asked.sample, dry=asked.dry)
    keys, results = _resolve(settings, targets or known_brands())
    if server:
        results += asyncio.run(_train_on_server(settings, keys, force, wishes))
    for result in results:
        _print_result(result, silent=as_json)
    for key in [] if server else keys:
        results.append(_train_here(settings, key, force, wishes, silent=as_json))
        _print_result(results[-1], silent=as_json)
    if as_json:
        print_json(results)
    if any(result["outcome"] == "failed" for result in results):
        sys.exit(1)


def _resolve(settings: Settings, targets: Sequence[str]) -> tuple[list[ModelKey], list[dict[str, Any]]]:
    """Return the models that were named, each once, and a failed result for what names none."""
    keys: dict[ModelKey, None] = {}
    failed = []
    for target in targets:
        try:
            keys |= dict.fromkeys(models_of_target(settings, target))
        except BrandhouseError as error:
            brand, _, model = target.partition("/")
            failed.append(_failure(brand, model or None, str(error)))
    return list(keys), failed


def _failure(brand: str, model: str | None, detail: str) -> dict[str, Any]:
    return {"brand": brand, "model": model, "outcome": "failed", "detail": detail}


def _print_result(result: dict[str, Any], *, silent: bool) -> None:
    if silent:
        return
    if result["outcome"] == "failed":
        print(f"brandhouse: {result['detail']}", file=sys.stderr, flush=True)
    elif result["outcome"] == "rehearsed" and "gates" in result:
        rehearsing.show(result)
    else:
        print(result["detail"], flush=True)


def _train_here(settings: Settings, key: ModelKey, force: bool, wishes: "Wishes", *, silent: bool) -> dict[str, Any]:
    from brandhouse_console.progress import show_steps
    from brandhouse_flows.learning import rehearse
    from brandhouse_flows.learning import train as learn
    from brandhouse_flows.planning import plan_training

    try:
        plan = plan_training(settings, key, str(uuid.uuid4()), "local", wishes)
        ledger = open_ledger(settings.ledger_url.get_secret_value())
        with show_steps(str(key), silent=silent) as step:
            if not wishes.may_register:
                return rehearsing.document(plan, rehearse(plan, ledger, load_artifact_store(settings), step))
            outcome = learn(plan, ledger, load_artifact_store(settings), step, force=force)
    except BrandhouseError as error:
        return _failure(key.brand, key.model, str(error))
    except Exception as error:  # an entry point: a fault of the platform must not stop the other models, and is shown whole
        traceback.print_exc()
        return _failure(key.brand, key.model, f"{key}: unexpected {type(error).__name__}: {str(error)[:300]}")
    return {
        "brand": key.brand,
        "model": key.model,
        "outcome": outcome.kind,
        "version": f"v{outcome.version.number}",
        "stage": str(outcome.stage),
        "gates": [gate.as_document() for gate in outcome.gates],
        "seconds": round(outcome.seconds, 3),
        "detail": outcome.detail,
    }


async def _train_on_server(settings: Settings, keys: list[ModelKey], force: bool, wishes: "Wishes") -> list[dict[str, Any]]:
    from brandhouse_console.server_runs import run_trainings

    return await run_trainings(settings, keys, force=force, asked=wishes.as_parameters())


def register(*, as_json: bool) -> None:
    """Make the server's deployments equal to what the brands declare."""
    from brandhouse_console.server_runs import register_all

    settings = load_settings()
    brands, errors = discover_brands(settings.brands_dir)
    difference = asyncio.run(register_all(settings, brands))
    print_json(difference) if as_json else print(difference)
    for error in errors:
        print(f"left out: {error}", file=sys.stderr)
    if errors:
        sys.exit(1)
