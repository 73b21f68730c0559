"""Progress of long work on a terminal; silent for machines and in logs."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")


class _Steps:
    """Carries out the steps of a template and shows each while it runs."""

    def __init__(self, subject: str, status: Any) -> None:
        self._subject = subject
        self._status = status

    def __call__(self, name: str, function: Callable[..., T], *arguments: Any) -> T:
        if self._status is not None:
            self._status.update(f"{self._subject}: {name}")
        started = time.monotonic()
        result = function(*arguments)
        if self._status is not None:
            self._status.console.print(f"  {self._subject}: {name} [dim]{time.monotonic() - started:.2f} s[/dim]", highlight=False)
        return result


@contextmanager
def show_steps(subject: str, *, silent: bool) -> Iterator[_Steps]:
    """Yield a `Step` that shows what it does on standard error."""
    if silent or not sys.stderr.isatty():
        yield _Steps(subject, None)
        return
    from rich.console import Console

    with Console(stderr=True).status(subject) as status:
        yield _Steps(subject, status)


def show_line(text: str) -> None:
    """Show a line in the place of the one before, on a terminal alone; an empty one takes it away."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
