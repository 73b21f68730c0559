"""What an apply has done so far, from the events that `terraform apply -json` writes."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an apply came.

    Attributes:
        done: Addresses that were changed, in the order in which they were.
        errors: Terraform's errors, one a line; empty if there was none.
    """

    done: tuple[str, ...]
    errors: str


def read_events(said: str) -> Progress:
    """Read the events. Lines that are none are left out: a killed process may have written half of one."""
    done: dict[str, None] = {}
    errors = []
    for event in _events(said):
        if event.get("type") == "apply_complete":
            done[event["hook"]["resource"]["addr"]] = None
        elif event.get("type") == "diagnostic" and event["diagnostic"]["severity"] == "error":
            errors.append(_said(event["diagnostic"]))
    return Progress(tuple(done), "\n".join(errors))


def _events(said: str) -> Iterator[dict[str, Any]]:
    for line in said.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            yield event


def _said(diagnostic: dict[str, Any]) -> str:
    return " ".join(filter(None, ("Error:", diagnostic.get("address", ""), diagnostic["summary"], diagnostic.get("detail", ""))))
