"""Retrainings, what becomes of their versions, who has to agree, and the drill of the way back."""

import asyncio
import sys
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from brandhouse_console.output import print_json, print_table
from brandhouse_console.targets import find_model, models_of_target
from brandhouse_shared.brands import Brand, discover_brands, find_brand
from brandhouse_shared.ledger import open_ledger
from brandhouse_shared.ledger.records import Entry, EntryKind
from brandhouse_shared.names import ModelKey
from brandhouse_shared.settings import Settings, load_settings

if TYPE_CHECKING:
    from brandhouse_aftercare.retrain_run import Retrained


def retrain(target: str, *, reason: str, trigger: str, server: bool, as_json: bool) -> None:
    """Decide about a retraining here or through the server, carry it out, and say what came of it."""
    settings = load_settings()
    _, key = find_model(settings, target)
    document = asyncio.run(_on_server(settings, key, reason, trigger)) if server else _here(settings, key, reason, trigger, silent=as_json)
    print_json(document) if as_json else print(f"{key}: {document['detail']}")
    if document["outcome"] == "failed":
        sys.exit(1)


def _here(settings: Settings, key: ModelKey, reason: str, trigger: str, *, silent: bool) -> dict[str, Any]:
    from brandhouse_aftercare.retrain_run import retrain as decide_and_train
    from brandhouse_aftercare.retraining_facts import check_trigger
    from brandhouse_console.progress import show_steps
    from brandhouse_flows.planning import plan_training
    from brandhouse_shared.artifacts import load_artifact_store

    asked = check_trigger(trigger)
    plan = plan_training(settings, key, str(uuid.uuid4()), "local")
    ledger = open_ledger(settings.ledger_url.get_secret_value())
    with show_steps(str(key), silent=silent) as step:
        done = decide_and_train(plan, ledger, load_artifact_store(settings), step, trigger=asked, reason=reason, now=datetime.now(UTC))
    return _document(key, done)


def _document(key: ModelKey, done: "Retrained") -> dict[str, Any]:
    outcome = done.outcome
    return {
        "brand": key.brand,
        "model": key.model,
        "decision": done.decision.action,
        "reason": done.decision.reason,
        "outcome": None if outcome is None else outcome.kind,
        "version": None if outcome is None else f"v{outcome.version.number}",
        "stage": None if outcome is None else str(outcome.stage),
        "gates": [] if outcome is None else [gate.as_document() for gate in outcome.gates],
        "detail": done.detail,
    }


async def _on_server(settings: Settings, key: ModelKey, reason: str, trigger: str) -> dict[str, Any]:
    from brandhouse_console.server_runs import run_retraining

    return await run_retraining(settings, key, {"trigger": trigger, "reason": reason})


def decisions(targets: Sequence[str], *, limit: int, as_json: bool) -> None:
    """Print decisions about retrainings and trials."""
    settings = load_settings()
    ledger = open_ledger(settings.ledger_url.get_secret_value())
    keys = [key for target in targets for key in models_of_target(settings, target)]
    if not targets:
        keys = [key for brand in discover_brands(settings.brands_dir)[0] for key in brand.model_keys]
    found = [entry for key in keys for entry in ledger.entries(EntryKind.DECISION, key.brand, key.model, limit=limit)]
    if as_json:
        print_json([entry.model_dump(mode="json") for entry in found])
        return
    print_table(
        ["when", "model", "version", "about", "decision", "asked by", "why"],
        [_row(entry) for entry in sorted(found, key=lambda entry: entry.seq, reverse=True)],
        empty="nothing was decided yet; a trigger decides, or `brandhouse retrain BRAND/MODEL --reason ...`",
    )


def _row(entry: Entry) -> list[Any]:
    number = None if entry.number is None else f"v{entry.number}"
    return [entry.at, f"{entry.brand}/{entry.model}", number, entry.name, entry.state, entry.facts.get("trigger"), entry.detail]


def progress(brand: str | None, *, as_json: bool) -> None:
    """Move versions on, and list retrainings that are due."""
    from brandhouse_aftercare.house_progress import move_house_on

    settings = load_settings()
    ledger = open_ledger(settings.ledger_url.get_secret_value())
    done = move_house_on(settings, ledger, datetime.now(UTC), only=brand or "")
    moved = [
        {
            "version": str(one.version.key),
            "from": str(one.version.stage),
            "to": one.step.to,
            "state": one.step.state,
            "reason": one.step.reason,
        }
        for one in done.moved
    ]
    due = [{"brand": one.key.brand, "model": one.key.model, "trigger": one.trigger, "reason": one.reason} for one in done.due]
    if as_json:
        print_json({"moved": moved, "due": due, "problems": done.problems})
    else:
        rows = [[one["version"], one["from"], one["to"], one["state"], one["reason"]] for one in moved]
        print_table(["version", "in", "goes to", "state", "why"], rows, empty="no retrained version is on trial")
        for one in due:
            print(f"due: brandhouse retrain {one['brand']}/{one['model']} --trigger {one['trigger']} --reason ... ({one['reason']})")
    for problem in done.problems:
        print(f"left out: {problem}", file=sys.stderr)
    if done.problems:
        sys.exit(1)


def approvals(brand: str | None, *, as_json: bool) -> None:
    """Print which versions wait for people."""
    from brandhouse_aftercare.approvals_waiting import waiting_versions
    from brandhouse_shared.ledger.guarding import guard

    settings = load_settings()
    ledger = open_ledger(settings.ledger_url.get_secret_value())
    brands: Sequence[Brand] = [find_brand(settings.brands_dir, brand)] if brand else discover_brands(settings.brands_dir)[0]
    for one in brands:
        guard(ledger, one, settings.actor)
    waiting = [one.as_document() for one in waiting_versions(ledger, brands)]
    if as_json:
        print_json(waiting)
        return
    columns = ["brand", "model", "version", "stage", "agreed", "missing", "metric", "score", "production_score"]
    rows = [[", ".join(row[name]) if name == "agreed" else row[name] for name in columns] for row in waiting]
    print_table(columns, rows, empty="no version waits for people to agree")
    for row in waiting:
        print(f"brandhouse promote {row['brand']}/{row['model']} --version {row['version']} --to production --approve --reason ...")


def drill(target: str, *, as_json: bool) -> None:
    """Practise the way back and say how long it took; exit status 1 if it is not well."""
    from brandhouse_aftercare.drill import rollback_drill

    settings = load_settings()
    brand, key = find_model(settings, target)
    ledger = open_ledger(settings.ledger_url.get_secret_value())
    done = rollback_drill(ledger, settings.home, brand, key, datetime.now(UTC))
    if as_json:
        version = None if done.version is None else f"v{done.version.number}"
        measured = {"seconds": done.seconds, "there_seconds": dict(done.there), "back_seconds": dict(done.back)}
        print_json({"brand": key.brand, "model": key.model, "version": version, "state": done.state, "detail": done.detail} | measured)
    else:
        print(f"{key}: {done.state}: {done.detail}")
    if done.state == "red":
        sys.exit(1)
