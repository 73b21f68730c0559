"""What a template asks of whoever runs it: carry out one named step."""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Step(Protocol):
    """Carries out one step of a template."""

    def __call__(self, name: str, function: Callable[..., T], *arguments: Any) -> T:
        """Return what `function(*arguments)` returns."""


def call_step(name: str, function: Callable[..., T], *arguments: Any) -> T:
    """Carry out a step by calling it."""
    return function(*arguments)
