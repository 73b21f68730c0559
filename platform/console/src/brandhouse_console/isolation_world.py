"""What the denial matrix is tried on: a real gateway over a copy of the ledger, a key a brand that ends with it, and a client.

The copy lies in a folder that is removed afterwards, so neither keys nor answers of the probes reach the ledger or the
prediction log of production; artifacts are those of production, and the gateway is the one that `brandhouse serve` starts.
"""

import http.client
import json
import os
import secrets
import select
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any, cast
from urllib.parse import urlsplit

from pydantic import SecretStr

from brandhouse_shared.api_keys import create_key
from brandhouse_shared.artifacts import load_artifact_store, read_manifest
from brandhouse_shared.brands import Brand
from brandhouse_shared.errors import ArtifactCorruptError, BrandhouseError
from brandhouse_shared.invented import invent_rows
from brandhouse_shared.ledger import open_ledger
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import Version
from brandhouse_shared.names import ModelKey
from brandhouse_shared.settings import Settings

KEY_MINUTES = 15
START_SECONDS = 60.0
STOP_SECONDS = 10.0
PATIENCE_SECONDS = 20.0
"""For a key to be known, a model to be loaded, or a rate to allow the next request."""

TRY_LATER = (401, 429, 503)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the gateway answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        """The body as JSON; None if it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


class Client:
    """One connection to a gateway, kept open."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)

    def call(self, method: str, path: str, key: str | None, body: Any = None, **headers: str) -> Answer:
        """Send one request."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            sent["Authorization"] = f"Bearer {key}"
        if body is not None:
            sent["Content-Type"] = "application/json"
        content = None if body is None else json.dumps(body).encode()
        try:
            return self._send(method, path, content, sent)
        except (http.client.HTTPException, ConnectionError):  # the gateway has closed a connection that was idle
            self._connection.close()
            return self._send(method, path, content, sent)

    def call_patiently(self, method: str, path: str, key: str | None, body: Any = None) -> Answer:
        """Send one request that is allowed, again while the gateway says that it cannot answer yet."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (answer := self.call(method, path, key, body)).status in TRY_LATER and time.monotonic() < deadline:
            time.sleep(0.1)
        return answer

    def _send(self, method: str, path: str, content: bytes | None, headers: Mapping[str, str]) -> Answer:
        self._connection.request(method, path, content, dict(headers))
        answer = self._connection.getresponse()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


@dataclass(frozen=True, slots=True)
class World:
    """What probes work with.

    Attributes:
        settings: Of the home in which the gateway works.
        home: Of production, whose folders are looked at.
        versions: The version in production of one model of each brand that has any.
        rows: A row a brand that its model takes.
        keys: A key a brand, with all scopes but `admin`.
        planted: A secret a brand, in the gateway's environment under the brand's name; empty for a gateway that runs already.
        pid: Of the gateway; None if it runs already.
    """

    settings: Settings
    home: Path
    brands: Mapping[str, Brand]
    versions: Mapping[str, Version]
    rows: Mapping[str, Mapping[str, Any]]
    keys: Mapping[str, str]
    planted: Mapping[str, str]
    client: Client
    pid: int | None

    def model(self, brand: str) -> ModelKey:
        """The model of a brand that is tried.

        Raises:
            BrandhouseError: If none is in production.
        """
        if brand not in self.versions:
            raise BrandhouseError(f"{brand} has no version in production that can be read")
        return self.versions[brand].record.key


@contextmanager
def scratch_world(settings: Settings, brands: Sequence[Brand]) -> Iterator[World]:
    """Start a gateway over a copy of the ledger, and end and remove everything afterwards.

    Raises:
        BrandhouseError: If the ledger is no SQLite file, or the gateway does not start.
    """
    with tempfile.TemporaryDirectory(prefix="brandhouse-isolation-") as folder:
        scratch = _scratch_settings(settings, Path(folder))
        ledger = open_ledger(scratch.ledger_url.get_secret_value())
        keys = {brand.name: _add_key(ledger, brand.name)[0] for brand in brands}
        planted = {brand.name: secrets.token_hex(16) for brand in brands}
        with _gateway(scratch, planted) as (url, pid), closing(Client(url)) as client:
            yield _world(scratch, settings.home, brands, ledger, keys, planted, client, pid)


@contextmanager
def running_world(settings: Settings, brands: Sequence[Brand], url: str) -> Iterator[World]:
    """Use a gateway that runs. Its ledger gets a key a brand, revoked at the end; what is allowed is logged as any other."""
    ledger = open_ledger(settings.ledger_url.get_secret_value())
    made = {brand.name: _add_key(ledger, brand.name) for brand in brands}
    try:
        with closing(Client(url)) as client:
            keys = {name: plain for name, (plain, _) in made.items()}
            yield _world(settings, settings.home, brands, ledger, keys, {}, client, None)
    finally:
        for _, key_id in made.values():
            ledger.revoke_key(key_id, actor=settings.actor, reason="made for `brandhouse isolation`")


def _world(
    settings: Settings,
    home: Path,
    brands: Sequence[Brand],
    ledger: Ledger,
    keys: Mapping[str, str],
    planted: Mapping[str, str],
    client: Client,
    pid: int | None,
) -> World:
    store = load_artifact_store(settings)
    versions: dict[str, Version] = {}
    rows: dict[str, Mapping[str, Any]] = {}
    for key, version in sorted(ledger.production_versions().items()):
        if key.brand in keys and key.brand not in versions:
            with suppress(ArtifactCorruptError):  # that brand is then said not to be tried
                manifest = read_manifest(store.find(key, version.record.artifact_digest))
                versions[key.brand], rows[key.brand] = version, invent_rows(manifest.inputs, 1)[0]
    return World(settings, home, {brand.name: brand for brand in brands}, versions, rows, keys, planted, client, pid)


def _scratch_settings(settings: Settings, folder: Path) -> Settings:
    url = settings.ledger_url.get_secret_value()
    if not url.startswith("sqlite:///"):
        raise BrandhouseError("the ledger is no SQLite file that could be copied; name a running gateway with --url")
    home = folder / "home"
    home.mkdir(mode=0o700)
    present = f"file:{url.removeprefix('sqlite:///')}?mode=ro"
    with closing(sqlite3.connect(present, uri=True)) as source, closing(sqlite3.connect(home / "ledger.db")) as copy:
        source.backup(copy)
    (settings.home / "bentoml").mkdir(parents=True, exist_ok=True)
    (home / "bentoml").symlink_to(settings.home / "bentoml")
    return settings.model_copy(update={"home": home, "ledger_url": SecretStr(f"sqlite:///{home / 'ledger.db'}")})


def _add_key(ledger: Ledger, brand: str) -> tuple[str, str]:
    expires_at = datetime.now(UTC) + timedelta(minutes=KEY_MINUTES)
    plain, record = create_key(brand, ("predict", "feedback", "read"), expires_at, actor="brandhouse isolation")
    ledger.add_key(record)
    return plain, record.key_id


@contextmanager
def _gateway(settings: Settings, planted: Mapping[str, str]) -> Iterator[tuple[str, int]]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BRANDHOUSE_")}
    places = {"ROOT": str(settings.root), "HOME": str(settings.home), "LEDGER_URL": settings.ledger_url.get_secret_value()}
    environment |= {f"BRANDHOUSE_{name}": value for name, value in places.items()}
    environment |= {f"BRANDHOUSE_SECRET_{brand.upper()}_PLANTED": secret for brand, secret in planted.items()}
    command = [sys.executable, "-m", "brandhouse_serving.main", "--port", "0"]
    with (settings.home / "gateway.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log)
        try:
            yield _url_of(process, settings.home / "gateway.log"), process.pid
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            shutil.rmtree(settings.home, ignore_errors=True)


def _url_of(process: "subprocess.Popen[bytes]", log: Path) -> str:
    output = cast(IO[bytes], process.stdout)
    readable, _, _ = select.select([output], [], [], START_SECONDS)
    line = output.readline().decode() if readable else ""
    if " on http" not in line:
        raise BrandhouseError(f"the gateway to be tried did not start: {log.read_text(errors='replace')[-500:]}")
    return line.partition(" on ")[2].split()[0]
