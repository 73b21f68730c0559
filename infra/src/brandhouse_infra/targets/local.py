"""This machine, or machines of one's own: an S3-compatible store and PostgreSQL, made by a provider of ours (ADR 0032)."""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from brandhouse_infra.blocks import Blocks
from brandhouse_infra.constructs.local_database import add_local_database
from brandhouse_infra.constructs.local_identity import add_local_identity
from brandhouse_infra.constructs.local_store import add_local_store
from brandhouse_infra.costs.estimates import Resource
from brandhouse_infra.environments import Environment
from brandhouse_infra.errors import InfraError
from brandhouse_infra.local.deployers import ensure_deployers
from brandhouse_infra.local.names import brand_schema, deployer_role, state_schema
from brandhouse_infra.local.operator import operator_file, write_private
from brandhouse_infra.site import BrandPlace, Place
from brandhouse_shared.settings import Settings

PROVIDER_SOURCE = "brandhouse/local"
PROVIDER_VERSION = "1.0.0"
DATA_BEARING = frozenset({"aws_s3_bucket", "local_postgres_schema"})


class LocalTarget:
    """Stacks in a store and a database of one's own."""

    name = "local"
    has_platform = False
    data_bearing = DATA_BEARING

    def __init__(self) -> None:
        self._operator = Path()

    def head(self, place: Place) -> Mapping[str, Any]:
        """Our own provider, which says so, under the name `aws` that the shared constructs ask for; and the state in PostgreSQL."""
        environment = place.environment
        local = environment.local
        return {
            "terraform": {
                "required_version": ">= 1.10",
                "required_providers": {"aws": {"source": PROVIDER_SOURCE, "version": PROVIDER_VERSION}},
                "backend": {"pg": _backend(environment, place.tenant)},
            },
            "provider": {"aws": [{"store": local.store, "database": local.database, "region": environment.region}]},
        }

    def add_brand(self, blocks: Blocks, place: BrandPlace) -> None:
        """Bucket, user, role and schema. Serving and worker are `brandhouse up` here."""
        add_local_store(blocks, place)
        add_local_identity(blocks, place)
        add_local_database(blocks, place)

    def add_platform(self, blocks: Blocks, place: Place) -> None:
        """Refuse: what all share is started, not planned."""
        raise InfraError("target local has no platform stack; `brandhouse infra local-services` and `brandhouse up` start what all share")

    def breaches(self, resources: Sequence[Resource]) -> Sequence[str]:
        """Every bucket versioned and encrypted; no policy with a wildcard as action or resource."""
        from brandhouse_infra.policing.local_rules import find_local_breaches

        return find_local_breaches(resources)

    def data_left(self, place: Place, variables: Mapping[str, str]) -> str:
        """Look into bucket and schema, as the operator."""
        from brandhouse_infra.providers.local.connections import Connections

        connections = Connections(self._operator)
        local = place.environment.local
        connections.configure({"store": local.store, "database": local.database, "region": place.environment.region})
        objects, tables = connections.holds_objects(place.bucket), connections.tables_in(brand_schema(place))
        found = [f"objects in bucket {place.bucket}"] if objects else []
        return " and ".join(found + ([f"{tables} table(s) in schema {brand_schema(place)}"] if tables else []))

    @contextmanager
    def session(
        self, settings: Settings, environment: Environment, folders: Sequence[Path], *, offline: bool
    ) -> Iterator[Mapping[str, str]]:
        """One provider process for all stacks, with the operator's file; and the password of each stack's own deployer, of no others."""
        from brandhouse_infra.providers.mirrors import HOST, write_mirror
        from brandhouse_infra.providers.sessions import QUIET, attached_provider

        self._operator = operator_file(settings, environment.name)
        arguments = ["-m", "brandhouse_infra.providers.local", str(self._operator), str(settings.home)]
        place = settings.home / "infra" / "local" / environment.name
        config = write_mirror(place / "provider", PROVIDER_SOURCE, PROVIDER_VERSION, arguments)
        passwords = "" if offline else ensure_deployers(settings, environment, [folder.name for folder in folders])
        with tempfile.TemporaryDirectory(prefix="brandhouse-session-") as private, attached_provider(arguments) as reattach:
            write_private(Path(private) / "pgpass", passwords)
            attached = json.dumps({f"{HOST}/{PROVIDER_SOURCE}": json.loads(reattach)})
            yield {
                **QUIET,
                "TF_CLI_CONFIG_FILE": str(config),
                "TF_REATTACH_PROVIDERS": attached,
                "PGPASSFILE": str(Path(private) / "pgpass"),
            }


def _backend(environment: Environment, tenant: str) -> dict[str, Any]:
    """A schema of the brand's own, made beforehand; the password is in PGPASSFILE, never here."""
    address = environment.local.connection
    user = deployer_role(environment.name, tenant)
    place = f"{address['host']}:{address['port']}/{address['dbname']}"
    made = dict.fromkeys(("skip_schema_creation", "skip_table_creation", "skip_index_creation"), True)
    url = f"postgres://{user}@{place}?sslmode={address['sslmode']}&connect_timeout=5"
    return {"conn_str": url, "schema_name": state_schema(environment.name, tenant), **made}
