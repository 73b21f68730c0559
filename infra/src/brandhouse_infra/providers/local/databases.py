"""Roles and schemas of PostgreSQL. What somebody granted beside what is declared is drift, and the next apply takes it back."""

import secrets
from pathlib import Path
from typing import Any

from brandhouse_infra.providers.local.connections import Connections
from brandhouse_infra.providers.local.handlers import FIXED, GIVEN, REQUIRED
from brandhouse_infra.providers.local.identities import digest
from brandhouse_infra.providers.plugin import ProviderError, State
from brandhouse_infra.providers.schema import Attribute, Block
from brandhouse_shared.secret_files import read_secrets, secret_file, write_secrets

DATABASE = "database"
URL = "DATABASE_URL"
_FLAG = Attribute("bool", required=True)
_NAMES = Attribute(["list", "string"], required=True)
_RIGHTS = {"superuser": "SUPERUSER", "creates_roles": "CREATEROLE", "creates_databases": "CREATEDB"}


class Role:
    """A role that logs in with a password, which is in the brand's file of secrets only, as a URL."""

    schema = Block({"name": FIXED, "brand": FIXED, **dict.fromkeys(_RIGHTS, _FLAG), "member_of": _NAMES, "id": GIVEN, "digest": GIVEN})

    def __init__(self, connections: Connections, home: Path) -> None:
        self._connections = connections
        self._home = home

    def read(self, state: State) -> State | None:
        """Its rights as they are. None, so that it gets a new password, if the file lost it or it does not open the database."""
        name = str(state["name"])
        with self._connections.database() as connection:
            row = connection.execute(_READ_ROLE, [name]).fetchone()
        url = read_secrets(self._home, str(state["brand"]), DATABASE).get(URL, "")
        if row is None or digest(url) != state["digest"] or not self._opens(url):
            return None
        return state | dict(zip(_RIGHTS, row[:3], strict=True)) | {"member_of": sorted(row[3])}

    def create(self, planned: State) -> State:
        """Make it with a new password; one of this name is taken over."""
        from psycopg import sql

        name, password = str(planned["name"]), secrets.token_urlsafe(30)
        with self._connections.database() as connection:
            known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name]).fetchone()
            verb = sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}" if known else "CREATE ROLE {} LOGIN PASSWORD {}")
            connection.execute(verb.format(sql.Identifier(name), sql.Literal(password)))
            connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(self._database()))
            connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(self._database(), sql.Identifier(name)))
            self._set_rights(connection, planned)
        address = self._connections.address
        url = f"postgresql://{name}:{password}@{address['host']}:{address['port']}/{address['dbname']}?sslmode={address['sslmode']}"
        write_secrets(self._home, str(planned["brand"]), DATABASE, {URL: url})
        return planned | {"id": name, "digest": digest(url)}

    def update(self, prior: State, planned: State) -> State:
        """Set its rights."""
        with self._connections.database() as connection:
            self._set_rights(connection, planned)
        return planned

    def delete(self, state: State) -> None:
        """Remove it, if nothing is its own any more."""
        from psycopg import sql

        name = str(state["name"])
        with self._connections.database() as connection:
            if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name]).fetchone():
                connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM {}").format(self._database(), sql.Identifier(name)))
                connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))
        secret_file(self._home, str(state["brand"]), DATABASE).unlink(missing_ok=True)

    def identify(self, identifier: str) -> State:
        """Refuse: its password cannot be had back."""
        raise ProviderError("a role cannot be imported, its password is known only when it is made; plan and apply take it over")

    def _set_rights(self, connection: Any, planned: State) -> None:
        from psycopg import sql

        role = sql.Identifier(str(planned["name"]))
        rights = " ".join(word if planned[name] else f"NO{word}" for name, word in _RIGHTS.items())
        # No right to pass by row security, to replicate, or to act for others, whatever was given by hand.
        connection.execute(sql.SQL("ALTER ROLE {} " + rights + " NOBYPASSRLS NOREPLICATION").format(role))
        member_of = set(connection.execute(_READ_ROLE, [planned["name"]]).fetchone()[3])
        for other in member_of - set(planned["member_of"]):
            connection.execute(sql.SQL("REVOKE {} FROM {}").format(sql.Identifier(other), role))
        for other in set(planned["member_of"]) - member_of:
            connection.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(other), role))

    def _opens(self, url: str) -> bool:
        """Whether the password in the file is the role's."""
        import psycopg

        try:
            psycopg.connect(url, connect_timeout=5).close()
        except psycopg.OperationalError as error:
            if "authentication failed" in str(error) or "permission denied" in str(error):
                return False
            raise ProviderError(f"could not connect to PostgreSQL: {type(error).__name__}") from error
        return True

    def _database(self) -> Any:
        from psycopg import sql

        return sql.Identifier(str(self._connections.address["dbname"]))


class Schema:
    """A schema that its owner alone may use."""

    schema = Block({"name": FIXED, "owner": REQUIRED, "others": _NAMES, "id": GIVEN})

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def read(self, state: State) -> State | None:
        """Its owner, and who else may use it."""
        with self._connections.database() as connection:
            row = connection.execute(_READ_SCHEMA, [state["name"]]).fetchone()
        return None if row is None else {"name": state["name"], "owner": row[0], "others": sorted(row[1]), "id": state["name"]}

    def create(self, planned: State) -> State:
        """Make it; one of this name is taken over."""
        from psycopg import sql

        with self._connections.database() as connection:
            connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(str(planned["name"]))))
        return self.update(planned, planned)

    def update(self, prior: State, planned: State) -> State:
        """Set the owner, and take it from everyone who is not named."""
        from psycopg import sql

        schema, owner = sql.Identifier(str(planned["name"])), sql.Identifier(str(planned["owner"]))
        with self._connections.database() as connection:
            connection.execute(sql.SQL("ALTER SCHEMA {} OWNER TO {}").format(schema, owner))
            _, others = connection.execute(_READ_SCHEMA, [planned["name"]]).fetchone()
            for other in set(others) - set(planned["others"]):
                role = sql.SQL("PUBLIC") if other == PUBLIC else sql.Identifier(other)
                connection.execute(sql.SQL("REVOKE ALL ON SCHEMA {} FROM {}").format(schema, role))
            for other in set(planned["others"]) - set(others):
                connection.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(schema, sql.Identifier(other)))
        return planned | {"id": planned["name"]}

    def delete(self, state: State) -> None:
        """Remove it, if it is empty."""
        from psycopg import sql

        with self._connections.database() as connection:
            connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} RESTRICT").format(sql.Identifier(str(state["name"]))))

    def identify(self, identifier: str) -> State:
        """A schema's name."""
        return {"name": identifier}


PUBLIC = "public"
"""As whom PostgreSQL writes everyone in a list of rights."""

_READ_ROLE = """
SELECT rolsuper, rolcreaterole, rolcreatedb,
       ARRAY(SELECT g.rolname::text FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid WHERE m.member = r.oid)
FROM pg_roles r WHERE rolname = %s
"""
_READ_SCHEMA = """
SELECT pg_get_userbyid(nspowner)::text,
       ARRAY(SELECT DISTINCT CASE WHEN a.grantee = 0 THEN 'public' ELSE pg_get_userbyid(a.grantee)::text END
             FROM aclexplode(nspacl) a WHERE a.grantee <> nspowner)
FROM pg_namespace WHERE nspname = %s
"""
