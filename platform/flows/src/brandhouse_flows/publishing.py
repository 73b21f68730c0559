"""What a run shows in the Prefect UI: the card, the gate and slice tables, and links."""

from typing import Any

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from brandhouse_flows.gates import GateResult
from brandhouse_flows.learning import Outcome, Rehearsal
from brandhouse_flows.planning import Plan


def publish_outcome(plan: Plan, outcome: Outcome) -> None:
    """Create the artifacts of one training. Keys are `<brand>-<model>-<what>`, so each has a history of its own."""
    if outcome.kind == "unchanged":
        return  # the run's message says whose inputs they are, and the card of that version stays the newest
    card = outcome.card + (f"\n\nAll plots: {outcome.card_path} on the machine that trained.\n" if outcome.card_path else "")
    _publish(_prefix(plan), card, outcome.gates, outcome.slices, outcome.detail, str(outcome.version))
    if outcome.card_path:
        text = f"Card of {outcome.version} with all plots"
        create_link_artifact(key=f"{_prefix(plan)}-card-page", link=outcome.card_path.as_uri(), link_text=text, description=text)


def publish_rehearsal(plan: Plan, rehearsal: Rehearsal) -> None:
    """Create the artifacts of a run that registered nothing, under keys of their own: the cards of versions stay as they are."""
    what = f"a {plan.wishes.kind} run"
    _publish(f"{_prefix(plan)}-{plan.wishes.kind}", rehearsal.card, rehearsal.gates, rehearsal.slices, rehearsal.detail, what)


def _prefix(plan: Plan) -> str:
    return f"{plan.key.brand}-{plan.key.model}".replace("_", "-")


def _publish(prefix: str, card: str, gates: list[GateResult], slices: list[dict[str, Any]], detail: str, whose: str) -> None:
    create_markdown_artifact(key=f"{prefix}-card", markdown=card, description=detail)
    create_table_artifact(key=f"{prefix}-gates", table=[_gate_row(gate) for gate in gates], description=f"Gates of {whose}")
    if slices:
        create_table_artifact(key=f"{prefix}-slices", table=[_rounded(row) for row in slices], description=f"Slices of {whose}")


def _gate_row(gate: GateResult) -> dict[str, Any]:
    return {"gate": gate.name, "outcome": gate.outcome, "detail": gate.detail}


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    return {name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in row.items()}
