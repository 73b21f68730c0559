"""Where brands run: `infra/environments.toml`. An environment is an account, a region and a network; not a target."""

import re
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, Self

import tomli
from pydantic import Field, ValidationError, field_validator, model_validator

from brandhouse_infra.errors import EnvironmentsError, UnknownEnvironmentError
from brandhouse_shared.config import Declared

FILE = "infra/environments.toml"
NAME_RULE = "2 to 10 lower-case letters and digits, starting with a letter"
_NAME = re.compile(r"[a-z][a-z0-9]{1,9}")


class LocalPlace(Declared):
    """Store and database of the local target: of this machine, or on-premises. Credentials are never in here."""

    store: str = Field(default="http://127.0.0.1:8333", pattern=r"^https?://[\w.-]+:\d{2,5}$")
    """An S3-compatible store with IAM, such as SeaweedFS. Outside this machine only `https://`."""
    database: str = Field(default="127.0.0.1:5433/postgres", pattern=r"^[\w.-]+:\d{2,5}/[a-z_][a-z0-9_]{0,40}$")
    """PostgreSQL as HOST:PORT/DATABASE. Outside this machine its certificate is checked against the system's authorities."""

    @model_validator(mode="after")
    def _is_encrypted_on_the_way(self) -> Self:
        if self.store.startswith("http://") and not is_this_machine(self.store):
            raise ValueError(f"store {self.store!r} is not on this machine, so it must be https://: keys would be readable on the way")
        return self

    @property
    def connection(self) -> dict[str, Any]:
        """How to reach the database, as PostgreSQL's clients take it; without user and password."""
        address, _, name = self.database.partition("/")
        host, _, port = address.rpartition(":")
        here = is_this_machine(address)
        return {"host": host, "port": int(port), "dbname": name, "sslmode": "disable" if here else "verify-full"}


def is_this_machine(address: str) -> bool:
    """Whether an address, with or without scheme and port, is a loopback one."""
    host = address.rpartition("//")[2].rpartition(":")[0]
    return host in ("localhost", "127.0.0.1")


class Environment(Declared):
    """One place in which all brands may run, such as production."""

    name: str
    """Part of every name in the cloud."""
    repository: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    """OWNER/NAME on GitHub whose workflows may deploy, by OIDC."""
    account: str = Field(pattern=r"^\d{12}$")
    """AWS account. Every plan refuses credentials of another one."""
    region: str = Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")
    """AWS region."""
    zones: tuple[str, ...] = Field(default=("a", "b"), min_length=2, max_length=4)
    """Letters of the availability zones that are used."""
    cidr: str
    """Addresses of the private network; a /16 to a /20."""
    domain: str = Field(pattern=r"^[a-z0-9.-]{4,200}$")
    """Host name of the API; a silo brand answers on `<brand>.<domain>`."""
    certificate: str = Field(pattern=r"^arn:aws:acm:")
    """ARN of the TLS certificate, for the domain and `*.<domain>`."""
    alerts_email: str = Field(pattern=r"^[^@\s]+@[^@\s]+$")
    """Who is told of alarms of the platform."""
    release: str = Field(default="v1", pattern=r"^[A-Za-z0-9][\w.-]{0,60}$")
    """Tag of the platform's image. Tags are immutable, so a release is a change of this line."""
    local: LocalPlace = LocalPlace()
    """Where `--target local` makes things. Default: what `brandhouse infra local-services` starts on this machine."""

    @field_validator("name")
    @classmethod
    def _is_short(cls, value: str) -> str:
        if not _NAME.fullmatch(value):
            raise ValueError(f"{value[:80]!r} is no name of an environment; allowed: {NAME_RULE}")
        return value

    @model_validator(mode="after")
    def _network_holds_the_subnets(self) -> Self:
        try:
            network = IPv4Network(self.cidr)
        except ValueError as error:
            raise ValueError(f"cidr {self.cidr!r} is no network; such as 10.40.0.0/16") from error
        if not network.is_private or not 16 <= network.prefixlen <= 20:
            raise ValueError(f"cidr {self.cidr!r} must be a private network from /16 to /20")
        if f":{self.region}:{self.account}:" not in self.certificate:
            raise ValueError(f"certificate must be of region {self.region} and account {self.account}: the load balancer takes no other")
        return self

    def subnet(self, index: int) -> str:
        """The index-th sixteenth of the network."""
        network = IPv4Network(self.cidr)
        return str(list(network.subnets(prefixlen_diff=4))[index])


def read_environments(root: Path) -> dict[str, Environment]:
    """Read all environments of a workspace, by name.

    Raises:
        EnvironmentsError: If the file is missing or cannot be read, or an environment is declared twice or wrongly.
    """
    path = root / FILE
    try:
        document = tomli.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise EnvironmentsError(f"{FILE} does not exist in {root}; it declares accounts and regions, see docs/infrastructure.md") from error
    except (OSError, UnicodeDecodeError, tomli.TOMLDecodeError) as error:
        raise EnvironmentsError(f"{FILE} cannot be read: {error}; an environment is declared once, under a name of its own") from error
    tables = document.pop("environments", {})
    repository = document.pop("repository", "")
    if document or not isinstance(tables, dict) or not tables:
        raise EnvironmentsError(f"{FILE} holds repository and one [environments.NAME] or more, and nothing else")
    return {name: _environment(name, repository, table) for name, table in tables.items()}


def find_environment(root: Path, name: str) -> Environment:
    """Read one environment.

    Raises:
        UnknownEnvironmentError: If it is not declared.
    """
    environments = read_environments(root)
    if name not in environments:
        raise UnknownEnvironmentError(name, list(environments))
    return environments[name]


def _environment(name: str, repository: object, table: object) -> Environment:
    try:
        return Environment.model_validate({**(table if isinstance(table, dict) else {}), "name": name, "repository": repository})
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        lines = "".join(f"\n  - {'.'.join(map(str, one['loc'])) or 'the table'}: {one['msg']}" for one in found)
        raise EnvironmentsError(f"{FILE}, environment {name[:80]!r}: {len(found)} problem(s):{lines}") from None
