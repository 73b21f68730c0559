"""One stack a brand, and one of the platform: which constructs there are is the target's, what they are made for is the brand's."""

from dataclasses import dataclass
from typing import Any

from brandhouse_infra.blocks import Blocks
from brandhouse_infra.environments import Environment
from brandhouse_infra.site import brand_place, platform_place
from brandhouse_infra.stack_names import PLATFORM_STACK
from brandhouse_infra.targets.target import Target
from brandhouse_shared.config import BrandConfig


@dataclass(frozen=True, slots=True)
class BrandStack:
    """Everything one brand has in one environment, from `brand.toml` alone."""

    brand: BrandConfig
    environment: Environment
    target: Target

    @property
    def name(self) -> str:
        """Of the folder and the state: the brand's own name."""
        return self.brand.name

    def as_document(self) -> dict[str, Any]:
        """The stack in Terraform's JSON syntax."""
        place = brand_place(self.brand, self.environment)
        blocks = Blocks(place.tags, leaving=self.brand.leaving)
        self.target.add_brand(blocks, place)
        return blocks.as_document(self.target.head(place))


@dataclass(frozen=True, slots=True)
class PlatformStack:
    """What all brands of an environment share. It names no brand."""

    environment: Environment
    target: Target

    @property
    def name(self) -> str:
        """Of the folder; no brand can have it."""
        return PLATFORM_STACK

    def as_document(self) -> dict[str, Any]:
        """The stack in Terraform's JSON syntax."""
        place = platform_place(self.environment)
        blocks = Blocks(place.tags)
        self.target.add_platform(blocks, place)
        return blocks.as_document(self.target.head(place))


Stack = BrandStack | PlatformStack
