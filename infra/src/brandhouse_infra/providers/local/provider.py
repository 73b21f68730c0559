"""Which handler makes what. A type without one is an error of Terraform's, before anything is done."""

from collections.abc import Mapping
from pathlib import Path

from brandhouse_infra.providers.local.buckets import Bucket, Encryption, Lifecycle, Versioning
from brandhouse_infra.providers.local.connections import Connections
from brandhouse_infra.providers.local.databases import Role, Schema
from brandhouse_infra.providers.local.handlers import REQUIRED, Handler
from brandhouse_infra.providers.local.identities import AccessKey, User, UserPolicy
from brandhouse_infra.providers.plugin import Change, ProviderError, State, plan_by_schema
from brandhouse_infra.providers.schema import Block

_SETTINGS = {
    "aws_s3_bucket_server_side_encryption_configuration": {"AES256"},
    "aws_s3_bucket_versioning": {"Enabled", "Suspended"},
}


class LocalProvider:
    """Answers for one store and one database."""

    config_schema = Block(dict.fromkeys(("store", "database", "region"), REQUIRED))
    data_sources: Mapping[str, Block] = {}

    def __init__(self, operator_file: Path, home: Path) -> None:
        self._connections = Connections(operator_file)
        self._handlers: dict[str, Handler] = {
            "aws_iam_user": User(self._connections),
            "aws_iam_user_policy": UserPolicy(self._connections),
            "aws_s3_bucket": Bucket(self._connections),
            "aws_s3_bucket_lifecycle_configuration": Lifecycle(self._connections),
            "aws_s3_bucket_server_side_encryption_configuration": Encryption(self._connections),
            "aws_s3_bucket_versioning": Versioning(self._connections),
            "local_access_key": AccessKey(self._connections, home),
            "local_postgres_role": Role(self._connections, home),
            "local_postgres_schema": Schema(self._connections),
        }

    @property
    def resources(self) -> Mapping[str, Block]:
        """By type."""
        return {kind: handler.schema for kind, handler in self._handlers.items()}

    def configure(self, config: State) -> None:
        """Take the addresses."""
        self._connections.configure({name: str(config[name]) for name in self.config_schema.names})

    def check(self, kind: str, config: State) -> None:
        """Refuse what the store would answer with an error much later, or lose: it forgets keys of a key service when it restarts."""
        allowed = _SETTINGS.get(kind)
        said = set(_texts({name: value for name, value in config.items() if name not in ("bucket", "id")}))
        if allowed and said and not said <= allowed:
            raise ProviderError(f"{kind}: allowed here: {', '.join(sorted(allowed))}")

    def read(self, kind: str, state: State) -> State | None:
        """What is really there."""
        return self._handlers[kind].read(state)

    def plan(self, change: Change) -> State:
        """By the schema."""
        return plan_by_schema(self.resources[change.kind], change)

    def create(self, kind: str, planned: State) -> State:
        """Make it."""
        return self._handlers[kind].create(planned)

    def update(self, kind: str, prior: State, planned: State) -> State:
        """Change it."""
        return self._handlers[kind].update(prior, planned)

    def delete(self, kind: str, state: State) -> None:
        """Remove it."""
        self._handlers[kind].delete(state)

    def read_data(self, kind: str, config: State) -> State:
        """Refuse: there is nothing to look up."""
        raise ProviderError(f"{kind} cannot be looked up here")

    def find(self, kind: str, identifier: str) -> State:
        """Read by name, for `terraform import`."""
        handler = self._handlers[kind]
        found = handler.read(handler.identify(identifier))
        if found is None:
            raise ProviderError(f"{kind} {identifier[:100]!r} is not there")
        return found


def _texts(value: object) -> list[str]:
    if isinstance(value, Mapping):
        return [text for below in value.values() for text in _texts(below)]
    if isinstance(value, list):
        return [text for below in value for text in _texts(below)]
    return [value] if isinstance(value, str) else []
