"""What a source that is elsewhere is asked for, and what it answers. How each kind is asked is in its own module."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from brandhouse_flows.pointers import Pointer
from brandhouse_shared.brands import Brand
from brandhouse_shared.config import Dataset
from brandhouse_shared.settings import Settings


@dataclass(frozen=True, slots=True)
class Order:
    """One question to a source.

    Attributes:
        settings: Of this process.
        brand: Who asks.
        name: Of the dataset.
        pointer: What was let in last; None if nothing ever was.
        find_present: Returns the bytes of that snapshot, fetched if need be.
        target: Where the new bytes are to be written, all of them.
    """

    settings: Settings
    brand: Brand
    name: str
    pointer: Pointer | None
    find_present: Callable[[], Path]
    target: Path

    @property
    def dataset(self) -> Dataset:
        """Its declaration."""
        return self.brand.config.datasets[self.name]

    @property
    def subject(self) -> str:
        """Brand and dataset, for messages."""
        return f"{self.brand.name}/{self.name}"

    @property
    def position(self) -> Mapping[str, Any]:
        """How far the source had been read."""
        return self.pointer.position if self.pointer else {}


def _nothing() -> None:
    """Nothing is to be settled."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """What a source had.

    Attributes:
        is_new: Whether `target` was written.
        position: How far the source has been read now; kept with the snapshot.
        notes: What a person should know, one sentence each; never a value of a row.
        settle: Tells the source that the snapshot is in. May be lost with its process: the next question makes up for it.
    """

    is_new: bool
    position: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    settle: Callable[[], None] = _nothing


class Feed(Protocol):
    """One kind of source."""

    def __call__(self, order: Order) -> Arrival:
        """Write what is new to the order's target.

        Raises:
            DatasetError: If the source cannot be used as declared.
            RetryableError: If it does not answer now.
        """
