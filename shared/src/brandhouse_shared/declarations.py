"""What declared tables share, and the kinds of places that a dataset's bytes come from.

A source never holds a secret: it names an environment variable, `BRANDHOUSE_SECRET_<BRAND>_...`, of the brand's own.
"""

import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Share = Annotated[float, Field(gt=0, lt=1)]
SECRET_PREFIX = "BRANDHOUSE_SECRET_"  # noqa: S105 - a name, no secret
_VARIABLE = re.compile(SECRET_PREFIX + r"[A-Z][A-Z0-9_]{1,90}")
_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,60}")


class Declared(BaseModel):
    """Base of all declared tables: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Schedule(Declared):
    """When a template runs by itself."""

    cron: str
    """Five fields: minute, hour, day of month, month, day of week."""
    timezone: str = "Europe/Amsterdam"
    """IANA name of the zone in which `cron` is read."""


def check_variable(name: str) -> str:
    """Return the name of an environment variable of some brand unchanged, or raise `ValueError`."""
    if not _VARIABLE.fullmatch(name):
        raise ValueError(f"{name[:80]!r} is no variable of a brand; allowed: {SECRET_PREFIX}<BRAND>_NAME in capitals, digits and _")
    return name


class PackageSource(Declared):
    """A table that an installed registry package carries; it rebuilds byte for byte from the lock."""

    kind: Literal["package"]
    package: str
    """Import name of the package."""
    path: str
    """Path of the file inside the package."""


class FileSource(Declared):
    """A file on this machine; relative paths start at the brand's folder."""

    kind: Literal["file"]
    path: str
    """Path of the file."""


class UploadSource(Declared):
    """Bytes that a person hands over: `brandhouse ingest BRAND --from FILE`. Other machines fetch them from the brand's remote."""

    kind: Literal["upload"]


class SqlSource(Declared):
    """The rows of a query. They are sorted, so that an equal result is an equal file, whatever order the database gives."""

    kind: Literal["sql"]

    url_env: str
    """Environment variable with the SQLAlchemy URL, `BRANDHOUSE_SECRET_<BRAND>_...`."""

    query: str = Field(min_length=1)
    """One SELECT; run in a transaction that may only read, where the database has such."""

    order_by: tuple[str, ...] = ()
    """Columns to sort the rows by; what is equal there is sorted by all other columns."""

    max_rows: int = Field(default=5_000_000, ge=1)
    """A longer result is refused, not cut."""
    timeout_seconds: float = Field(default=600.0, gt=0)
    """The query is given up after this time."""

    @field_validator("url_env")
    @classmethod
    def _names_a_variable(cls, value: str) -> str:
        return check_variable(value)


class S3Source(Declared):
    """One object in an S3 store; the key and endpoint are those of the brand's remote, `BRANDHOUSE_SECRET_<BRAND>_AWS_...`."""

    kind: Literal["s3"]
    url: str
    """`s3://bucket/key`."""
    max_mib: int = Field(default=4_096, ge=1)
    """A larger object is refused."""

    @field_validator("url")
    @classmethod
    def _is_an_object(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme != "s3" or not parts.netloc or not parts.path.strip("/") or "@" in parts.netloc:
            raise ValueError(f"{value[:80]!r} names no object; allowed: s3://bucket/key")
        return value


class HttpSource(Declared):
    """A file behind a URL, asked for again only if it has changed."""

    kind: Literal["http"]

    url: str
    """An https URL. http, and addresses that are not public, only for hosts listed in `BRANDHOUSE_SOURCE_HOSTS`."""

    header: str | None = None
    """Name of a request header, such as Authorization."""
    header_env: str | None = None
    """Environment variable with that header's value, `BRANDHOUSE_SECRET_<BRAND>_...`."""
    max_mib: int = Field(default=1_024, ge=1)
    """A larger answer is refused."""
    timeout_seconds: float = Field(default=120.0, gt=0)
    """Of the whole download."""

    @field_validator("url")
    @classmethod
    def _is_a_url(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{value[:80]!r} is no address; allowed: https://host/path")
        if "@" in parts.netloc:
            raise ValueError("the address holds a user or password; name a variable in header_env instead")
        return value

    @model_validator(mode="after")
    def _header_is_whole(self) -> Self:
        if (self.header is None) != (self.header_env is None):
            raise ValueError("header and header_env belong together: the header's name, and the variable with its value")
        if self.header is not None and self.header_env is not None:
            check_variable(self.header_env)
            if not _HEADER.fullmatch(self.header):
                raise ValueError(f"{self.header[:80]!r} is no header's name; allowed: letters, digits and -")
        return self


class StreamSource(Declared):
    """A folder into which files are dropped: each is taken once, and its rows are added to the dataset."""

    kind: Literal["stream"]

    folder: str
    """Below the brand's `data/`, or an absolute path. Files whose names begin with a dot or end in .tmp or .part are not looked at."""

    every_batches: int = Field(default=1, ge=1)
    """Files that must wait before a new snapshot is made of them; each snapshot is a whole copy of the dataset."""

    every_rows: int | None = Field(default=None, ge=1)
    """Rows that are enough for a new snapshot although fewer files wait. None: files alone are counted."""


class TopicSource(Declared):
    """A topic of a Kafka broker: each message is one JSON object, and becomes one row of the dataset, once."""

    kind: Literal["topic"]

    brokers: str = Field(min_length=1)
    """`host:port`, several separated by commas."""

    topic: str = Field(pattern=r"^[A-Za-z0-9._-]{1,249}$")
    """Name of the topic."""
    user_env: str | None = None
    """Environment variable with the user, `BRANDHOUSE_SECRET_<BRAND>_...`. None: no login."""
    password_env: str | None = None
    """Environment variable with that user's password."""
    login: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    """How the password is shown to the broker."""
    tls: bool = True
    """Whether the connection is encrypted; off only for a broker on the same network."""
    every_rows: int = Field(default=1, ge=1)
    """Messages that must wait before a new snapshot is made of them."""
    max_rows: int = Field(default=1_000_000, ge=1)
    """Messages taken in one ingest; the rest waits for the next."""

    @model_validator(mode="after")
    def _login_is_whole(self) -> Self:
        if (self.user_env is None) != (self.password_env is None):
            raise ValueError("user_env and password_env belong together")
        for name in (self.user_env, self.password_env):
            if name is not None:
                check_variable(name)
        return self


Source = Annotated[
    PackageSource | FileSource | UploadSource | SqlSource | S3Source | HttpSource | StreamSource | TopicSource,
    Field(discriminator="kind"),
]
"""Where a dataset's bytes come from."""


def secret_names(source: Source) -> list[str]:
    """Names of the environment variables that a source reads."""
    names = (getattr(source, key, None) for key in ("url_env", "header_env", "user_env", "password_env"))
    return [name for name in names if name is not None]
