"""The errors of infrastructure: what cannot be named, written, planned or applied, and what to do about it."""

from collections.abc import Sequence

from brandhouse_shared.errors import BrandhouseError, join_bounded


class InfraError(BrandhouseError):
    """Base of what goes wrong with stacks, Terraform or the cloud."""


class EnvironmentsError(InfraError):
    """`infra/environments.toml` cannot be read, or an environment in it cannot be."""


class UnknownEnvironmentError(InfraError):
    """An environment was named that is not declared."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(f"unknown environment {name[:80]!r}; declared in infra/environments.toml: {join_bounded(known)}")


class UnknownTargetError(InfraError):
    """A target was named that does not exist."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(f"unknown target {name[:80]!r}; allowed: {join_bounded(known)}")


class StackNamesError(InfraError):
    """Brands cannot have stacks beside each other, because of their names. Says all problems at once."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        lines = "".join(f"\n  - {problem}" for problem in problems)
        super().__init__(f"{len(problems)} problem(s) with names of stacks; nothing was written:{lines}")


class BlockError(InfraError):
    """A construct wrote a block that Terraform would take for something else: empty, null, or twice."""
