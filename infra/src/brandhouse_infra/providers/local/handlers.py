"""What each handler of the provider can do; one a type of resource."""

from typing import Protocol

from brandhouse_infra.providers.plugin import State
from brandhouse_infra.providers.schema import Attribute, Block, Nested


class Handler(Protocol):
    """Makes, reads, changes and removes one type of resource."""

    schema: Block

    def read(self, state: State) -> State | None:
        """What is really there; None: nothing any more."""

    def create(self, planned: State) -> State:
        """Make it, or take it over if it is there and ours: a run that was cut off may have made it."""

    def update(self, prior: State, planned: State) -> State:
        """Change it."""

    def delete(self, state: State) -> None:
        """Remove it; nothing happens if it is not there."""

    def identify(self, identifier: str) -> State:
        """The least of a state by which it can be read, from what was typed after `terraform import`."""


REQUIRED = Attribute(required=True)
FIXED = Attribute(required=True, forces_replacement=True)
GIVEN = Attribute(computed=True)
TAGS = Attribute(["map", "string"], optional=True)


def single(**attributes: Attribute) -> Nested:
    """A nested block of attributes that stands once."""
    return Nested(Block(attributes), max_items=1)
