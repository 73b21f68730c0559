"""What a stack consists of, in Terraform's JSON syntax, put together by constructs. Plain values: no CDK is needed to build or test it.

Not the CDK's typed classes: a class of the CDK drops a dict in a list without a word (`rule=[{...}]` becomes `rule: [{}]`, a
bucket without encryption), and each object costs a round trip to Node. Here a value stays what it is, an empty one is
refused, and arguments are checked against the provider's schema, every one (ADR 0030, ADR 0031).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from brandhouse_infra.errors import BlockError

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Reference:
    """Something declared in the same stack, or read by it."""

    address: str

    def __getattr__(self, attribute: str) -> str:
        """An attribute as Terraform resolves it: `bucket.id` is `${aws_s3_bucket.data.id}`."""
        if attribute.startswith("_"):
            raise AttributeError(attribute)
        return f"${{{self.address}.{attribute}}}"


@dataclass(slots=True)
class Blocks:
    """The blocks of one stack. Constructs add to it; a name is used once.

    Attributes:
        tags: Put on every resource that is added with `tagged`.
        leaving: Whether nothing is kept any more: Terraform may destroy all of it.
    """

    tags: Mapping[str, str]
    leaving: bool = False
    _resources: dict[str, Document] = field(default_factory=dict)
    _data: dict[str, Document] = field(default_factory=dict)
    _outputs: Document = field(default_factory=dict)

    def resource(self, kind: str, name: str, /, *, tagged: bool = False, keep: bool = False, **arguments: Any) -> Reference:
        """Declare a resource.

        Args:
            kind: Its type, such as `aws_s3_bucket`.
            name: Its name within the stack.
            tagged: Whether it carries the stack's tags; its own `tags` are added to them.
            keep: Whether it holds what cannot be made again: Terraform refuses to destroy it, whoever asks.
            arguments: As Terraform takes them. A nested block is a mapping, or a list of mappings.

        Raises:
            BlockError: If the name is taken, or a block is empty or null.
        """
        if tagged:
            arguments["tags"] = {**self.tags, **arguments.get("tags", {})}
        if keep and not self.leaving:
            arguments["lifecycle"] = {**arguments.get("lifecycle", {}), "prevent_destroy": True}
        return self._add(self._resources, "", kind, name, arguments)

    def data(self, kind: str, name: str, /, **arguments: Any) -> Reference:
        """Declare something that is only read."""
        return self._add(self._data, "data.", kind, name, arguments)

    def output(self, name: str, value: str, description: str) -> None:
        """Declare what the stack tells after it is applied. Never a secret."""
        self._outputs[name] = {"value": value, "description": description}

    def as_document(self, head: Mapping[str, Any]) -> Document:
        """All blocks, under what a target puts at the head: terraform, provider."""
        parts = {"resource": self._resources, "data": self._data, "output": self._outputs}
        return {**head, **{name: blocks for name, blocks in parts.items() if blocks}}

    def _add(self, place: dict[str, Document], prefix: str, kind: str, name: str, arguments: Document) -> Reference:
        address = f"{prefix}{kind}.{name}"
        if name in place.get(kind, {}):
            raise BlockError(f"{address} is declared twice; give the second a name of its own")
        for where in empty_blocks(arguments):
            raise BlockError(f"{address}: {where} is empty or null; leave the argument out, or fill it")
        place.setdefault(kind, {})[name] = arguments
        return Reference(address)


def empty_blocks(value: Any, path: str = "") -> list[str]:
    """Paths of all mappings that hold nothing and all values that are null, below a value of Terraform's JSON syntax."""
    if value is None or value == {}:
        return [path or "."]
    if isinstance(value, Mapping):
        return [found for key, below in value.items() for found in empty_blocks(below, f"{path}.{key}" if path else str(key))]
    if isinstance(value, list | tuple):
        return [found for index, below in enumerate(value) for found in empty_blocks(below, f"{path}[{index}]")]
    return []
