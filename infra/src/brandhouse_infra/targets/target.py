"""What a target must be able to say. Constructs do not know it; commands know nothing else."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from brandhouse_infra.blocks import Blocks
from brandhouse_infra.costs.estimates import Resource
from brandhouse_infra.environments import Environment
from brandhouse_infra.errors import UnknownTargetError
from brandhouse_infra.site import BrandPlace, Place
from brandhouse_shared.settings import Settings

TARGETS = ("aws", "local")


class Target(Protocol):
    """One kind of place in which stacks run."""

    name: str
    """As written in `--target`."""

    data_bearing: frozenset[str]
    """Types of resources whose end is the end of data."""

    def head(self, place: Place) -> Mapping[str, Any]:
        """What stands at the head of a stack: the blocks `terraform` (required providers, backend) and `provider`."""

    def add_brand(self, blocks: Blocks, place: BrandPlace) -> None:
        """Add all that a brand's stack is made of here, by the constructs."""

    def add_platform(self, blocks: Blocks, place: Place) -> None:
        """Add all that the platform's stack is made of here. Nothing, where the target has none."""

    @property
    def has_platform(self) -> bool:
        """Whether there is a stack of what all brands share."""

    def breaches(self, resources: Sequence[Resource]) -> Sequence[str]:
        """Rules that a plan breaks here, a sentence each. A plan that breaks one is not saved, so it cannot be applied."""

    def data_left(self, place: Place, variables: Mapping[str, str]) -> str:
        """What is still in the tenant's store, in words; empty: nothing. A destroy that stops half-way has taken keys already."""

    def session(
        self, settings: Settings, environment: Environment, folders: Sequence[Path], *, offline: bool
    ) -> AbstractContextManager[Mapping[str, str]]:
        """Make Terraform able to work: start and write what it needs, and end it again.

        Args:
            settings: Of the process.
            environment: Where.
            folders: Of the stacks that will be worked on, each with its `cdk.tf.json`.
            offline: Whether nothing outside this machine may be asked: state stays in the stack's folder, nothing can be applied.

        Yields:
            Variables for Terraform: its own configuration file, credentials for state and provider. Never printed.
        """


def find_target(name: str) -> Target:
    """The target of this name.

    Raises:
        UnknownTargetError: If there is none.
    """
    if name == "aws":
        from brandhouse_infra.targets.aws import AwsTarget

        return AwsTarget()
    if name == "local":
        from brandhouse_infra.targets.local import LocalTarget  # type: ignore[import-not-found, unused-ignore]

        target: Target = LocalTarget()
        return target
    raise UnknownTargetError(name, TARGETS)
