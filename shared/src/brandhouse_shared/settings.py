"""Where a process runs: read once from the environment at an entry point and passed on.

What a brand declares is configuration (`config`), never a setting.
"""

import json
import os
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from brandhouse_shared.errors import SettingsError, WorkspaceNotFoundError

PREFIX = "BRANDHOUSE_"


def find_workspace(start: Path) -> Path:
    """Return the nearest folder at or above `start` that holds `brands/` and `pyproject.toml`.

    Raises:
        WorkspaceNotFoundError: If there is none.
    """
    for folder in (start, *start.parents):
        if (folder / "brands").is_dir() and (folder / "pyproject.toml").is_file():
            return folder
    raise WorkspaceNotFoundError(start)


class Settings(BaseModel):
    """Settings of one process, prefix `BRANDHOUSE_`."""

    # Not pydantic-settings: importing it brings asyncio and TLS along, a third of what `brandhouse status` takes.
    model_config = ConfigDict(frozen=True, extra="forbid")

    root: Path
    """The workspace: the folder that holds `brands/`. Default: found upwards from the current folder."""

    home: Path
    """All local state. Default `.brandhouse/` in the workspace, ignored by Git. Read by every part."""

    ledger_url: SecretStr
    """SQLAlchemy URL of the ledger; may hold a password. Default: SQLite in `home`."""

    prefect_port: int = 4200
    """Port of the Prefect server that `up` and `demo` start, on 127.0.0.1."""

    concurrent_runs: int = 2
    """Flow runs of the shared pool that may execute at once on this machine. Default: two, for two cores."""

    artifact_store: str = "brandhouse_serving.model_store:BentoArtifactStore"
    """`module:class` of the artifact store. Named here, not imported, so that flows and serving stay strangers."""

    actor: str = ""
    """Who acts, as written to the ledger. Default: the operating system's user."""

    silo_memory_mib: int = 2048
    """What one brand's own serving process may write to, in MiB. Default: room for a forest and a batch. Read by serving."""

    model_memory_mib: int = Field(default=1024, ge=1)
    """What the versions that one gateway process has loaded may take in memory together, in MiB; the least recently used are
    unloaded above it and loaded again when they are asked. Default: about 2,000 small compiled models, half of a small machine.
    Python versions are not in it: they live in their brand's own process. Read by serving."""

    dask_address: str = ""
    """Scheduler on whose workers the folds of a search are fitted, such as `tcp://127.0.0.1:8786`; outside this machine only
    `tls://`. Empty: in the training's own process. Read by flows; never used for a brand with `isolation = "silo"`."""

    silo_dask_addresses: dict[str, str] = {}
    """Schedulers of single brands, as a JSON object from brand to address. A silo brand uses a cluster only if it is named here."""

    dask_tls_dir: Path | None = None
    """Folder with `ca.pem`, `cert.pem` and `key.pem` for `tls://` addresses; a sub-folder of a brand's name goes before it."""

    source_hosts: str = ""
    """Hosts, or host:port, with commas between, that are not public and that datasets may yet be fetched from over HTTP. Read by ingest."""

    brand_role: str = ""
    """On AWS: the role that a run of a brand acts as, an ARN with `{slug}` where the brand's name goes, or `own` where the worker is
    that role itself, as a silo brand's is. Its keys, which end after an hour, open the brand's remote. Empty: no roles. Read by workers."""

    brand_secrets: str = ""
    """On AWS: name of the entry in Secrets Manager with a brand's variables, with `{slug}` where the brand's name goes. Read by workers,
    as `brand_role`."""

    metrics_token: SecretStr | None = None
    """Bearer token that reads the metrics of all brands from another machine. None: only from this machine."""

    workers: int = Field(default=1, ge=1, le=64)
    """Processes of a gateway behind its port. Default: one; more than there are cores bring nothing. Read by serving."""

    traces_url: str | None = None
    """Where OpenTelemetry traces of predict calls are sent, OTLP over HTTP, such as http://127.0.0.1:4318/v1/traces. None: no traces;
    what an `OTEL_EXPORTER_OTLP_HEADERS` holds is sent along. Read by serving."""

    mlflow_url: str | None = None
    """Address of an MLflow server that mirrors runs and versions for people, such as http://127.0.0.1:5000. None: no mirror.
    Credentials are variables of their own (docs/how-to/mlflow.md). Read by flows after each run."""

    @property
    def brands_dir(self) -> Path:
        """The folder whose sub-folders are the brands."""
        return self.root / "brands"

    @property
    def listed_source_hosts(self) -> frozenset[str]:
        """The hosts of `source_hosts`."""
        return frozenset(host.strip() for host in self.source_hosts.split(",") if host.strip())

    @property
    def lock_file(self) -> Path:
        """The one lock of all dependencies; its hash is part of every version's record."""
        return self.root / "requirements.lock"


def load_settings(start: Path | None = None) -> Settings:
    """Read the settings of this process from its environment.

    Args:
        start: Where to look upwards for the workspace if the environment names none; by default the current folder.

    Raises:
        WorkspaceNotFoundError: If no workspace is at or above it and none is set.
        SettingsError: If a variable holds something that the setting cannot be.
    """
    root = Path(os.environ.get("BRANDHOUSE_ROOT") or find_workspace(start or Path.cwd())).resolve()
    home = Path(os.environ.get("BRANDHOUSE_HOME") or root / ".brandhouse").resolve()
    defaults = {"ledger_url": f"sqlite:///{home / 'ledger.db'}", "actor": login_name()}
    try:
        return Settings.model_validate({**defaults, **_given(), "root": root, "home": home})
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        raise SettingsError([f"{PREFIX}{str(one['loc'][0]).upper()}: {one['msg']}" for one in found]) from None


def environment_of(settings: Settings) -> dict[str, str]:
    """The variables with which `load_settings` gives these settings to a process that is started."""
    return {f"{PREFIX}{name.upper()}": _as_text(getattr(settings, name)) for name in Settings.model_fields}


def _as_text(value: Any) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, dict):
        return json.dumps(value)
    return "" if value is None else str(value)


def _given() -> dict[str, Any]:
    """What the environment sets, by the settings' names; a variable that is empty sets nothing."""
    given: dict[str, Any] = {}
    for name, field in Settings.model_fields.items():
        text = os.environ.get(f"{PREFIX}{name.upper()}")
        if text:
            given[name] = _as_object(name, text) if isinstance(field.default, dict) else text
    return given


def _as_object(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise SettingsError([f"{PREFIX}{name.upper()}: no JSON; allowed: an object"]) from None


def login_name() -> str:
    """Under which name this process's user is logged in on the machine."""
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return f"uid-{os.getuid()}"
