"""Whether the packages that are installed are those that a lock names. Nothing is imported."""

import importlib.metadata
import re
from pathlib import Path

from brandhouse_shared.errors import join_bounded

_PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==([^\s;\\]+)", re.MULTILINE)


def differing_packages(lock: Path) -> str:
    """Name the packages that are installed in another version than a lock's, or not at all; empty if all are as locked."""
    installed = {_normal(one.metadata["Name"]): one.version for one in importlib.metadata.distributions() if one.metadata["Name"]}
    pins = {_normal(name): version for name, version in _PIN.findall(lock.read_text(encoding="utf-8"))}
    others = [
        f"{name} {version} -> {installed.get(name, 'not installed')}"
        for name, version in sorted(pins.items())
        if installed.get(name) != version
    ]
    return join_bounded(others) if others else ""


def _normal(name: str) -> str:
    """A package's name as packaging tools compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()
