"""`replay`: where a prediction came from, and the same number again."""

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from brandhouse_console.output import format_cell, print_json, print_table
from brandhouse_shared.artifacts import load_artifact_store
from brandhouse_shared.ledger import open_ledger
from brandhouse_shared.settings import load_settings

if TYPE_CHECKING:
    from brandhouse_aftercare.rebuilding import Rebuild
    from brandhouse_aftercare.replaying import Replay

SHOWN = (
    *("prediction_id", "version", "at", "served_by", "fallback_reason", "prediction", "label", "stage", "promoted_by", "promoted_at"),
    *("promoted_why", "run_id", "run_by", "flow_run_url", "git_commit", "git_dirty", "snapshot_dataset", "snapshot_hash", "lock_hash"),
    *("template_version", "code_digest", "artifact_digest", "runtime", "estimator", "candidate", "seed", "trained_at", "owner"),
)


def replay(prediction_id: str, *, retrain: bool, as_json: bool) -> None:
    """Print where a prediction came from and whether it comes out again; exit status 1 if it differs or something is missing.

    Args:
        prediction_id: As answers hold it.
        retrain: Whether to train again from the version's record, too.
        as_json: Print JSON.
    """
    from brandhouse_aftercare.replaying import replay as replay_prediction

    settings = load_settings()
    ledger, store = open_ledger(settings.ledger_url.get_secret_value()), load_artifact_store(settings)
    found = replay_prediction(settings, ledger, store, prediction_id)
    rebuilt = None
    if retrain:
        from brandhouse_aftercare.readiness_proofs import record_rebuild
        from brandhouse_aftercare.rebuilding import rebuild

        rebuilt = rebuild(settings, ledger, store, ledger.find_version(found.provenance.key))
        key = found.provenance.key
        record_rebuild(ledger, key.model_key, key.number, rebuilt.state, rebuilt.detail, datetime.now(UTC), settings.actor)
    if as_json:
        print_json(found.as_document() | ({} if rebuilt is None else {"retrain": rebuilt.as_document()}))
    else:
        _print_replay(found)
        if rebuilt is not None:
            _print_rebuild(rebuilt)
    if not found.is_sound or (rebuilt is not None and not rebuilt.is_sound):
        sys.exit(1)


def _print_replay(found: "Replay") -> None:
    document = found.as_document()
    print(f"{document['brand']}/{document['model']}/{document['version']}")
    for name in SHOWN:
        value = document[name]
        if value not in (None, ""):
            print(f"  {name.replace('_', ' '):<17} {_shown(value)}")
    print()
    print_table(
        ["when", "from", "to", "who", "why"],
        [[step.at, step.came_from, step.stage, step.by, step.why] for step in found.provenance.stage_history],
    )
    for what, remarks in (("approved", found.provenance.approvals), ("marked", found.provenance.marks)):
        for remark in remarks:
            print(f"{what}: {remark.name} {remark.state} by {remark.by}, {format_cell(remark.at)}: {remark.detail}")
    print()
    print_table(["evidence", "state", "what", "what to do"], [[one.name, one.state, one.detail, one.advice or "-"] for one in found.pieces])
    print()
    print(f"match: {_say(found.match)} ({found.reason})")
    for one in found.differences:
        print(f"  {one.part}: logged {one.logged!r}, recomputed {one.recomputed!r}, difference {one.amount!r}")


def _print_rebuild(rebuilt: "Rebuild") -> None:
    print()
    print(f"trained again: {rebuilt.state}; {rebuilt.detail}")
    for reason in rebuilt.reasons:
        print(f"  why: {reason}")
    if rebuilt.files:
        print_table(["file", "same", "what differs"], [[one.name, one.is_same, one.detail or "-"] for one in rebuilt.files])


def _say(match: bool | None) -> str:
    return {True: "yes, bit by bit", False: "NO", None: "not compared"}[match]


def _shown(value: Any) -> str:
    return format_cell(value) if isinstance(value, bool) else str(value)
