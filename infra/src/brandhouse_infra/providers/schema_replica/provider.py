"""A provider that knows the whole schema and nothing of the world: it validates and plans, and refuses to apply."""

from collections.abc import Mapping
from typing import Any

from brandhouse_infra.providers.plugin import Change, ProviderError, State, plan_by_schema
from brandhouse_infra.providers.schema import Block

REFUSED = (
    "this is the offline schema of the AWS provider: it validates and plans, and can neither apply nor read. "
    "Run `brandhouse infra apply` with credentials and without --offline"
)


class SchemaReplica:
    """Answers from schemas alone."""

    def __init__(self, provider: Block, resources: Mapping[str, Block], data_sources: Mapping[str, Block]) -> None:
        self.config_schema = provider
        self.resources = resources
        self.data_sources = data_sources

    def configure(self, config: State) -> None:
        """Take anything: no account is asked."""

    def check(self, kind: str, config: State) -> None:
        """Refuse what Terraform leaves to providers: values of attributes that only the provider sets, and blocks with nothing in them.

        An empty block is what is left where the CDK's typed classes drop a dict.
        """
        for name, attribute in self.resources[kind].attributes.items():
            if config.get(name) is not None and attribute.computed and not attribute.optional:
                raise ProviderError(f"{kind}: {name} cannot be set; the provider decides it")
        for path in _hollow(config, self.resources[kind]):
            raise ProviderError(f"{kind}: block {path} is empty; its content was dropped or forgotten")

    def read(self, kind: str, state: State) -> State | None:
        """Refuse."""
        raise ProviderError(REFUSED)

    def plan(self, change: Change) -> State:
        """Plan by the schema."""
        return plan_by_schema(self.resources[change.kind], change)

    def create(self, kind: str, planned: State) -> State:
        """Refuse."""
        raise ProviderError(REFUSED)

    def update(self, kind: str, prior: State, planned: State) -> State:
        """Refuse."""
        raise ProviderError(REFUSED)

    def delete(self, kind: str, state: State) -> None:
        """Refuse."""
        raise ProviderError(REFUSED)

    def read_data(self, kind: str, config: State) -> State:
        """Say that it exists and that nobody knows what it holds: unset attributes get a text that tells where it would come from."""
        block = self.data_sources[kind]
        name = str(config.get("name") or kind)
        return {key: config[key] if config.get(key) is not None else _placeholder(block, key, name) for key in block.names}

    def find(self, kind: str, identifier: str) -> State:
        """Refuse."""
        raise ProviderError(REFUSED)


def _placeholder(block: Block, key: str, name: str) -> Any:
    attribute = block.attributes.get(key)
    if attribute is None or not attribute.computed:
        return None
    return ",".join(f"offline-{name.rpartition('/')[2]}-{index}" for index in range(4)) if attribute.type == "string" else None


def _hollow(value: State, block: Block, path: str = "") -> list[str]:
    found = []
    for name, nested in block.blocks.items():
        below = value.get(name)
        for index, one in enumerate(below if isinstance(below, list) else [below]):
            if not isinstance(one, dict):
                continue
            where = f"{path}{name}[{index}]"
            if all(held in (None, []) for held in one.values()):
                found.append(where)
            found += _hollow(one, nested.block, f"{where}.")
    return found
