"""What a provider declares of its resources: attributes and nested blocks, as values, and as messages of the protocol."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from brandhouse_infra.providers.protocol import LIST, SET, SINGLE, messages

Type = str | list[Any]
"""As Terraform writes types in JSON: `"string"`, `["list", "string"]`, `["object", {"a": "string"}]`."""

NESTING = {"single": SINGLE, "list": LIST, "set": SET}


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute.

    Attributes:
        type: What it holds.
        required: Whether a configuration must set it.
        optional: Whether it may.
        computed: Whether the provider sets it.
        sensitive: Whether Terraform hides it.
        forces_replacement: Whether a change makes another resource.
    """

    type: Type = "string"
    required: bool = False
    optional: bool = False
    computed: bool = False
    sensitive: bool = False
    forces_replacement: bool = False


@dataclass(frozen=True, slots=True)
class Nested:
    """A nested block: its content and how often it may stand."""

    block: "Block"
    nesting: str = "list"
    min_items: int = 0
    max_items: int = 0


@dataclass(frozen=True, slots=True)
class Block:
    """Attributes and nested blocks of a resource, a data source, a provider, or a nested block."""

    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    blocks: Mapping[str, Nested] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Of all attributes and nested blocks."""
        return (*self.attributes, *self.blocks)

    @property
    def type(self) -> Type:
        """The type of a value of this block."""
        parts: dict[str, Any] = {name: attribute.type for name, attribute in self.attributes.items()}
        for name, nested in self.blocks.items():
            parts[name] = nested.block.type if nested.nesting == "single" else [nested.nesting, nested.block.type]
        return ["object", parts]


def schema_message(block: Block, version: int = 0) -> Any:
    """A block as the protocol's Schema."""
    return messages()["Schema"](version=version, block=_block_message(block))


def _block_message(block: Block) -> Any:
    classes = messages()
    attributes = [
        classes["Attribute"](
            name=name,
            type=json.dumps(attribute.type).encode(),
            required=attribute.required,
            optional=attribute.optional,
            computed=attribute.computed,
            sensitive=attribute.sensitive,
        )
        for name, attribute in sorted(block.attributes.items())
    ]
    nested = [
        classes["NestedBlock"](
            type_name=name, block=_block_message(one.block), nesting=NESTING[one.nesting], min_items=one.min_items, max_items=one.max_items
        )
        for name, one in sorted(block.blocks.items())
    ]
    return classes["Block"](attributes=attributes, block_types=nested)
