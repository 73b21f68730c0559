"""One role and one schema of PostgreSQL a brand, for its state: who deploys a brand reads that brand's state, and no other's.

Terraform's own way would let every deployer create in `public`; here schema and table are made beforehand, by the operator.
"""

import json
import secrets
import uuid
from collections.abc import Iterable
from pathlib import Path

from brandhouse_infra.environments import Environment
from brandhouse_infra.local.names import deployer_role, state_schema
from brandhouse_infra.local.operator import Operator, operator_file, read_operator, write_private
from brandhouse_shared.errors import RetryableError
from brandhouse_shared.settings import Settings

CONNECT_SECONDS = 5
SEQUENCE = "global_states_id_seq"
"""Numbers of states, over all schemas: Terraform locks by them, and locks are of the database, not of a schema."""


class DatabaseDownError(RetryableError):
    """The database does not answer."""

    def __init__(self, database: str, said: str) -> None:
        super().__init__(
            f"could not connect to PostgreSQL at {database}; start it (`brandhouse infra local-services`) or correct "
            f"[environments.*.local] in infra/environments.toml. It said: {said[:300]}",
            retry_after_seconds=10.0,
        )


def password_file(settings: Settings, environment: str, tenant: str) -> Path:
    """A deployer's password as PostgreSQL's clients read it; for PGPASSFILE."""
    return settings.home / "infra" / "local" / environment / "deployers" / f"{tenant}.pgpass"


def ensure_deployers(settings: Settings, environment: Environment, tenants: Iterable[str]) -> str:
    """See that each tenant has its role, schema and table; return the lines of all their password files.

    The operator is asked only where something is missing: a deployer who has its file needs no other credentials here.

    Raises:
        DatabaseDownError: If the database does not answer.
        OperatorError: If something is missing and there is no operator.
    """
    lines = []
    for tenant in tenants:
        path = password_file(settings, environment.name, tenant)
        if not (path.is_file() and _opens(environment, tenant, path)):
            _make(environment, tenant, path, read_operator(operator_file(settings, environment.name)))
        lines.append(path.read_text(encoding="utf-8"))
    return "".join(lines)


def _opens(environment: Environment, tenant: str, path: Path) -> bool:
    """Whether the file's password opens the tenant's own state, and there is one."""
    import psycopg
    from psycopg import sql

    address = environment.local.connection
    try:
        with psycopg.connect(
            **address, user=deployer_role(environment.name, tenant), passfile=str(path), connect_timeout=CONNECT_SECONDS
        ) as connection:
            schema = sql.Identifier(state_schema(environment.name, tenant))
            found = connection.execute(sql.SQL("SELECT 1 FROM {}.states LIMIT 1").format(schema)).fetchone()
    except psycopg.OperationalError as error:
        if "authentication failed" in str(error) or "does not exist" in str(error):
            return False
        raise DatabaseDownError(environment.local.database, str(error)) from error
    except psycopg.errors.Error:
        return False
    return found is not None


def _make(environment: Environment, tenant: str, path: Path, operator: Operator) -> None:
    import psycopg
    from psycopg import sql

    role, schema = deployer_role(environment.name, tenant), state_schema(environment.name, tenant)
    password = secrets.token_urlsafe(30)
    address = environment.local.connection
    names = {
        "role": sql.Identifier(role),
        "schema": sql.Identifier(schema),
        "database": sql.Identifier(str(address["dbname"])),
        "sequence": sql.Identifier("public", SEQUENCE),
        "default": sql.Literal(f"public.{SEQUENCE}"),
        "password": sql.Literal(password),
    }
    try:
        with psycopg.connect(
            **address, user=operator.database_user, password=operator.database_password, connect_timeout=CONNECT_SECONDS
        ) as connection:
            # Two who begin at once take turns.
            connection.execute("SELECT pg_advisory_xact_lock(hashtext('brandhouse deployers'))")
            known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone()
            for statement in ("ALTER" if known else "CREATE", *_STATEMENTS):
                text = f"{statement} ROLE {{role}} LOGIN PASSWORD {{password}}" if statement in ("ALTER", "CREATE") else statement
                connection.execute(sql.SQL(text).format(**names))
            insert = "INSERT INTO {schema}.states (name, data) VALUES ('default', %s) ON CONFLICT (name) DO NOTHING"
            connection.execute(sql.SQL(insert).format(**names), [_empty_state()])
    except psycopg.OperationalError as error:
        raise DatabaseDownError(environment.local.database, str(error)) from error
    line = f"{address['host']}:{address['port']}:{address['dbname']}:{role}:{password}\n"
    write_private(path, line)


def _empty_state() -> str:
    """A state of nothing. Where there is no row, Terraform locks all states of the database at once, to make one."""
    empty: dict[str, object] = {"outputs": {}, "resources": [], "check_results": None}
    return json.dumps({"version": 4, "terraform_version": "1.10.0", "serial": 0, "lineage": str(uuid.uuid4()), **empty})


_STATEMENTS = (
    "REVOKE ALL ON DATABASE {database} FROM PUBLIC",
    "REVOKE ALL ON SCHEMA public FROM PUBLIC",
    "GRANT CONNECT ON DATABASE {database} TO {role}",
    "CREATE SEQUENCE IF NOT EXISTS {sequence} AS bigint",
    "GRANT USAGE ON SCHEMA public TO {role}",
    "GRANT USAGE ON SEQUENCE {sequence} TO {role}",
    "CREATE SCHEMA IF NOT EXISTS {schema}",
    "REVOKE ALL ON SCHEMA {schema} FROM PUBLIC",
    "GRANT USAGE ON SCHEMA {schema} TO {role}",
    "CREATE TABLE IF NOT EXISTS {schema}.states (id bigint NOT NULL DEFAULT nextval({default}) PRIMARY KEY, name text UNIQUE, data text)",
    "CREATE UNIQUE INDEX IF NOT EXISTS states_by_name ON {schema}.states (name)",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.states TO {role}",
)
