"""The report of an upgraded ring as Markdown: which brands, what was compared, and what stopped it."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any


def render_report(result: Mapping[str, Any], at: datetime) -> str:
    """Write a ring's result, as `RingResult.as_document` gives it, for people."""
    return "\n".join([*_head(result, at), *_brands(result), *_models(result), ""])


def _head(result: Mapping[str, Any], at: datetime) -> Iterator[str]:
    stopped = result["stopped_by"]
    yield f"# Upgrade of ring {result['ring']}, {at:%Y-%m-%d %H:%M} UTC"
    yield ""
    yield f"Stopped by {stopped}; no brand of the ring was written." if stopped else "No brand became worse."
    yield ""
    yield f"Order of the rings: {', '.join(result['order']) or 'no brand follows the template'}."
    if result["unmanaged"]:
        yield f"Not reached, for want of an answers file: {', '.join(result['unmanaged'])}."
    yield ""


def _brands(result: Mapping[str, Any]) -> Iterator[str]:
    yield from ("| brand | state | why |", "|---|---|---|")
    for brand in result["brands"]:
        yield f"| {brand['brand']} | {brand['state']} | {_cell(brand['detail'])} |"
    yield ""


def _models(result: Mapping[str, Any]) -> Iterator[str]:
    yield from ("| model | metric | before | after | gates before | gates after |", "|---|---|---|---|---|---|")
    for brand in result["brands"]:
        for model in brand["models"]:
            before, after = model["before"], model["after"]
            key = f"{brand['brand']}/{model['model']}"
            if before is None:
                yield f"| {key} | - | nothing that is trained changes | - | - | - |"
            else:
                yield f"| {key} | {before['metric']} | {_score(before)} | {_score(after)} | {_gates(before)} | {_gates(after)} |"


def _score(judgement: Mapping[str, Any]) -> str:
    low, high = judgement["low"], judgement["high"]
    interval = "" if low is None or high is None else f" ({low:.4g} to {high:.4g})"
    return f"{judgement['score']:.4g}{interval}, {judgement['how']}"


def _gates(judgement: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {outcome}" for name, outcome in judgement["gates"].items() if outcome != "not applicable")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
