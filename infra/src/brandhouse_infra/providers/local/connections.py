"""How the provider reaches store and database: as their operator. Errors of both become sentences without secrets."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from brandhouse_infra.environments import LocalPlace
from brandhouse_infra.local.operator import OperatorError, read_operator
from brandhouse_infra.providers.plugin import ProviderError

CONNECT_SECONDS = 5
READ_SECONDS = 30


class Connections:
    """Clients of one store and one database. Shared by all threads of the provider."""

    def __init__(self, operator_file: Path) -> None:
        self._file = operator_file
        self._lock = threading.Lock()
        self._clients: dict[str, Any] = {}
        self._place: dict[str, str] = {}

    def configure(self, place: dict[str, str]) -> None:
        """Take store, database and region. Nothing is asked yet, so that a plan of new things needs nobody.

        Raises:
            ProviderError: If another stack of the same process named other ones: a process is of one environment.
        """
        with self._lock:
            if self._place and self._place != place:
                raise ProviderError("this provider process already serves another store or database; one process is of one environment")
            self._place = dict(place)

    @property
    def store(self) -> Any:
        """Client of S3."""
        return self._client("s3")

    @property
    def users(self) -> Any:
        """Client of IAM."""
        return self._client("iam")

    @property
    def store_url(self) -> str:
        """Address of the store."""
        return self._place["store"]

    @property
    def region(self) -> str:
        """The environment's region; a store of one's own takes any."""
        return self._place["region"]

    @property
    def address(self) -> dict[str, Any]:
        """How to reach the database."""
        return LocalPlace(store=self._place["store"], database=self._place["database"]).connection

    @contextlib.contextmanager
    def database(self) -> Iterator[Any]:
        """A connection whose changes are kept together at the end, or none of them.

        Raises:
            ProviderError: If the database does not answer or refuses.
        """
        import psycopg

        operator = self._operator()
        try:
            with psycopg.connect(
                **self.address, user=operator.database_user, password=operator.database_password, connect_timeout=CONNECT_SECONDS
            ) as connection:
                yield connection
        except psycopg.OperationalError as error:
            raise ProviderError(f"could not connect to PostgreSQL at {self._place['database']}: {str(error)[:300]}") from error
        except psycopg.Error as error:
            raise ProviderError(f"PostgreSQL refused: {str(error)[:400]}") from error

    def holds_objects(self, bucket: str) -> bool:
        """Whether a bucket holds anything, old versions included."""
        with told(f"bucket {bucket}"):
            try:
                found = self.store.list_object_versions(Bucket=bucket, MaxKeys=1)
            except self.store.exceptions.NoSuchBucket:
                return False
            return bool(found.get("Versions") or found.get("DeleteMarkers"))

    def tables_in(self, schema: str) -> int:
        """How many tables, views and other relations a schema has."""
        query = "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relkind <> 'i'"
        with self.database() as connection:
            return int(connection.execute(query, [schema]).fetchone()[0])

    def _client(self, service: str) -> Any:
        with self._lock:
            if service not in self._clients:
                self._clients[service] = self._new_client(service)
            return self._clients[service]

    def _new_client(self, service: str) -> Any:
        import boto3
        from botocore.config import Config

        operator = self._operator()
        # Every argument is given, so that no file and no variable of whoever calls has a say.
        session = boto3.session.Session(operator.store_key, operator.store_secret, region_name=self.region)
        retries: Any = {"max_attempts": 2, "mode": "standard"}
        config = Config(
            connect_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS, retries=retries, s3={"addressing_style": "path"}, proxies={}
        )
        return session.client(service, endpoint_url=self.store_url, config=config)

    def _operator(self) -> Any:
        try:
            return read_operator(self._file)
        except OperatorError as error:
            raise ProviderError(str(error)) from error


@contextlib.contextmanager
def told(what: str) -> Iterator[None]:
    """Turn errors of the store into ours.

    Args:
        what: What was being made or looked at.

    Raises:
        ProviderError: For any of them.
    """
    from botocore import exceptions

    try:
        yield
    except exceptions.ClientError as error:
        found = error.response["Error"]
        raise ProviderError(f"{what}: the store answered {found.get('Code')}: {str(found.get('Message'))[:300]}") from error
    except (exceptions.ConnectionError, exceptions.HTTPClientError) as error:
        raise ProviderError(f"{what}: could not connect to the store: {str(error)[:300]}") from error
    except exceptions.BotoCoreError as error:
        raise ProviderError(f"{what}: {str(error)[:300]}") from error


def code_of(error: Any) -> str:
    """The store's word for what is wrong."""
    return str(error.response["Error"].get("Code"))


MISSING = frozenset({"404", "NoSuchBucket", "NoSuchEntity", "NoSuchTagSet", "NoSuchLifecycleConfiguration", "NotFound"})
"""Words for: there is none."""
