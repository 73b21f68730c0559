"""What a dry run found: the gates, and the comparison with the version in production. Nothing was registered."""

from typing import TYPE_CHECKING, Any

from brandhouse_console.output import print_table

if TYPE_CHECKING:
    from brandhouse_flows.learning import Rehearsal
    from brandhouse_flows.planning import Plan


def document(plan: "Plan", rehearsal: "Rehearsal") -> dict[str, Any]:
    """The result as plain values, as `train --json` prints it."""
    report = rehearsal.report
    return {
        "brand": plan.key.brand,
        "model": plan.key.model,
        "outcome": "rehearsed",
        "kind": plan.wishes.kind,
        "run_id": plan.run_id,
        "metric": report.metric,
        "score": report.score,
        "score_low": report.low,
        "score_high": report.high,
        "candidate": rehearsal.choice.candidate,
        "params": rehearsal.choice.params,
        "trials": len(rehearsal.choice.trials),
        "rows_train": rehearsal.rows_train,
        "rows_holdout": rehearsal.rows_holdout,
        "gates": [gate.as_document() for gate in rehearsal.gates],
        "gates_passed": rehearsal.passed,
        "production": str(rehearsal.production) if rehearsal.production else None,
        "gains": {
            name: {"gain": other.gain, "low": other.low, "high": other.high, "score": other.score}
            for name, other in report.differences.items()
        },
        "seconds": round(rehearsal.seconds, 3),
        "detail": rehearsal.detail,
    }


def show(result: dict[str, Any]) -> None:
    """Print such a result for people."""
    print(result["detail"], flush=True)
    params = ", ".join(f"{name} = {value}" for name, value in result["params"].items()) or "none"
    rows = f"{result['rows_train']:,} rows learned from, {result['rows_holdout']:,} held out"
    print(f"candidate {result['candidate']}; params: {params}; {rows}")
    print_table(["gate", "outcome", "detail"], [[gate["name"], _outcome(gate), gate["detail"]] for gate in result["gates"]])
    gains = [[_whose(name, result), one["score"], one["gain"], _noise(one)] for name, one in result["gains"].items()]
    print_table(["compared with", f"its {result['metric']}", "gain", "verdict"], gains)
    print(f"compare later: brandhouse runs {result['brand']}/{result['model']} --compare production {result['run_id'][:8]}", flush=True)


def _outcome(gate: dict[str, Any]) -> str:
    if not gate["applicable"]:
        return "not applicable"
    return {True: "passed", False: "failed", None: "unknown"}[gate["passed"]]


def _whose(name: str, result: dict[str, Any]) -> str:
    return f"production ({result['production'].rpartition('/')[2]})" if name == "production" else f"baseline: {name}"


def _noise(one: dict[str, Any]) -> str:
    if one["low"] > 0:
        return "better, beyond noise"
    return "worse, beyond noise" if one["high"] < 0 else "within noise"
