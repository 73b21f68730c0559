"""What a run shows in the Prefect UI: the card, the gate and slice tables, and links."""

from typing import Any

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from brandhouse_flows.learning import Outcome
from brandhouse_flows.planning import Plan


def publish_outcome(plan: Plan, outcome: Outcome) -> None:
    """Create the artifacts of one training. Keys are `<brand>-<model>-<what>`, so each has a history of its own."""
    prefix = f"{plan.key.brand}-{plan.key.model}".replace("_", "-")
    if outcome.kind == "unchanged":
        return  # the run's message says whose inputs they are, and the card of that version stays the newest
    card = outcome.card + (f"\n\nAll plots: {outcome.card_path} on the machine that trained.\n" if outcome.card_path else "")
    create_markdown_artifact(key=f"{prefix}-card", markdown=card, description=outcome.detail)
    gates = [_gate_row(gate) for gate in outcome.gates]
    create_table_artifact(key=f"{prefix}-gates", table=gates, description=f"Gates of {outcome.version}")
    if outcome.slices:
        slices = [_rounded(row) for row in outcome.slices]
        create_table_artifact(key=f"{prefix}-slices", table=slices, description=f"Slices of {outcome.version}")


def _gate_row(gate: Any) -> dict[str, Any]:
    return {"gate": gate.name, "outcome": gate.outcome, "detail": gate.detail}


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    return {name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in row.items()}
