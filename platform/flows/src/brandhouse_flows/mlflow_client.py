"""The few calls of an MLflow server's REST API that the mirror makes, each with a time-out and all within one deadline.

MLflow's own client is not used: importing it takes seconds in every run and brings thirty packages (ADR 0011).
Credentials come from the environment, the brand's own before MLflow's, and appear in no message.
"""

import base64
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from brandhouse_flows.brand_secrets import secrets_of
from brandhouse_shared.declarations import SECRET_PREFIX
from brandhouse_shared.errors import BrandhouseError, RetryableError

CALL_SECONDS = 5.0
UPLOAD_SECONDS = 30.0
PAGE = 500
CREDENTIALS = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
WORKSPACE_HEADER = "X-MLFLOW-WORKSPACE"
_SHOWN_AS_TRAINING = {"mlflow.experimentKind": "custom_model_development"}
"""Without it the interface may take an experiment for one about language models, and hide runs and metrics."""

_NOT_FOUND = "RESOURCE_DOES_NOT_EXIST"
_EXISTS = "RESOURCE_ALREADY_EXISTS"


class MirrorError(BrandhouseError):
    """The MLflow server refuses what the mirror asks for."""


class MirrorAwayError(RetryableError):
    """The MLflow server does not answer, or not in time. Nothing is lost: the ledger has it all."""


class MlflowServer:
    """One MLflow server, seen from one of its workspaces."""

    def __init__(self, url: str, credentials: Mapping[str, str], *, seconds: float) -> None:
        """Prepare; nothing is asked yet.

        Args:
            url: `http://HOST:PORT`, without credentials.
            credentials: From `find_credentials`.
            seconds: Time for all calls together.

        Raises:
            MirrorError: If the URL is none of HTTP, or holds credentials.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise MirrorError(
                "BRANDHOUSE_MLFLOW_URL is no address of an MLflow server; allowed: http://HOST:PORT, without user and password; "
                "those belong in MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
            )
        self.name = f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
        self._deadline = time.monotonic() + seconds
        self._client = httpx.Client(base_url=url.rstrip("/"), headers=_authorization(credentials), follow_redirects=False)

    def __enter__(self) -> "MlflowServer":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    @property
    def is_out_of_time(self) -> bool:
        """Whether the deadline has passed."""
        return time.monotonic() >= self._deadline

    # -- workspaces ----------------------------------------------------------------------------------------------------

    def enter_workspace(self, name: str) -> bool:
        """Work in a workspace from now on and create it if it is missing; False if the server has no workspaces.

        Raises:
            MirrorError: If the user may not.
        """
        info = self._call("GET", "3.0/mlflow/server-info", absent={})
        if not info.get("workspaces_enabled"):
            return False
        # The list holds what the user may see; asking for one by its name is an administrator's right.
        if name not in {one["name"] for one in self._call("GET", "3.0/mlflow/workspaces").get("workspaces", [])}:
            self._call("POST", "3.0/mlflow/workspaces", {"name": name, "description": f"Mirror of the brand {name}"}, exists={})
        self._client.headers[WORKSPACE_HEADER] = name
        return True

    # -- runs ----------------------------------------------------------------------------------------------------------

    def find_experiment(self, name: str) -> str:
        """Return the id of an experiment; a missing one is created, a deleted one restored."""
        found = self._call("GET", f"2.0/mlflow/experiments/get-by-name?experiment_name={quote(name, safe='')}", absent=None)
        if found is None:
            created = self._call("POST", "2.0/mlflow/experiments/create", {"name": name, "tags": _pairs(_SHOWN_AS_TRAINING)}, exists={})
            return str(created["experiment_id"]) if created else self.find_experiment(name)
        experiment = found["experiment"]
        if experiment.get("lifecycle_stage") == "deleted":
            self._call("POST", "2.0/mlflow/experiments/restore", {"experiment_id": experiment["experiment_id"]})
        return str(experiment["experiment_id"])

    def runs(self, experiment: str, tagged: str) -> Iterator[dict[str, Any]]:
        """All runs of an experiment that carry a tag, with `info` and `data`."""
        body = {"experiment_ids": [experiment], "filter": f"tags.`{tagged}` != ''", "max_results": PAGE}
        while True:
            page = self._call("POST", "2.0/mlflow/runs/search", body)
            yield from page.get("runs", [])
            if not page.get("next_page_token"):
                return
            body = {**body, "page_token": page["next_page_token"]}

    def create_run(self, experiment: str, name: str, started_ms: int, tags: Mapping[str, str]) -> dict[str, Any]:
        """Create a run and return its `info`."""
        body = {"experiment_id": experiment, "run_name": name, "start_time": started_ms, "tags": _pairs(tags)}
        info: dict[str, Any] = self._call("POST", "2.0/mlflow/runs/create", body)["run"]["info"]
        return info

    def log(self, run_id: str, params: Mapping[str, str], metrics: list[dict[str, Any]], tags: Mapping[str, str]) -> None:
        """Write params, metrics and tags; at most 1,000 metrics and 100 of each other a call, as MLflow allows."""
        left = [{"key": name, "value": value} for name, value in params.items()]
        body = {"run_id": run_id, "params": left[:100], "tags": _pairs(tags)}
        for start in range(0, max(1, len(metrics)), 800):
            self._call("POST", "2.0/mlflow/runs/log-batch", {**body, "metrics": metrics[start : start + 800]})

    def end_run(self, run_id: str, status: str, ended_ms: int, tags: Mapping[str, str]) -> None:
        """Write how a run ended, and then the tags."""
        self._call("POST", "2.0/mlflow/runs/update", {"run_id": run_id, "status": status, "end_time": ended_ms})
        self._call("POST", "2.0/mlflow/runs/log-batch", {"run_id": run_id, "tags": _pairs(tags)})

    def upload(self, artifact_uri: str, path: str, content: bytes) -> bool:
        """Put one file below a run's artifacts; False if the server does not take artifacts itself."""
        parts = urlsplit(artifact_uri)
        if parts.scheme != "mlflow-artifacts":
            return False
        place = quote(f"{parts.path.strip('/')}/{path}")
        self._call("PUT", f"2.0/mlflow-artifacts/artifacts/{place}", content, seconds=UPLOAD_SECONDS)
        return True

    # -- registered models ---------------------------------------------------------------------------------------------

    def find_model(self, name: str, description: str) -> dict[str, Any]:
        """Return a registered model with its aliases; a missing one is created."""
        # Searched for: a server with permissions answers 403, not 404, to whoever asks for one that is not there.
        wanted = quote(f"name='{name}'", safe="")
        found = self._call("GET", f"2.0/mlflow/registered-models/search?filter={wanted}").get("registered_models", [])
        if not found:
            self._call("POST", "2.0/mlflow/registered-models/create", {"name": name, "description": description}, exists={})
        model: dict[str, Any] = found[0] if found else {}
        return model

    def versions(self, name: str) -> Iterator[dict[str, Any]]:
        """All versions of a registered model."""
        wanted = quote(f"name='{name}'", safe="")
        query = f"2.0/mlflow/model-versions/search?filter={wanted}&max_results={PAGE}"
        token = ""
        while True:
            page = self._call("GET", query + (f"&page_token={quote(token, safe='')}" if token else ""))
            yield from page.get("model_versions", [])
            token = page.get("next_page_token", "")
            if not token:
                return

    def create_version(self, name: str, run_id: str, path: str, description: str, tags: Mapping[str, str]) -> str:
        """Register a folder of a run's artifacts as the model's next version and return MLflow's number."""
        body = {"name": name, "source": f"runs:/{run_id}/{path}", "run_id": run_id, "description": description, "tags": _pairs(tags)}
        return str(self._call("POST", "2.0/mlflow/model-versions/create", body)["model_version"]["version"])

    def set_alias(self, name: str, alias: str, version: str | None) -> None:
        """Let an alias name a version; None takes it away."""
        if version is None:
            path = f"2.0/mlflow/registered-models/alias?name={quote(name, safe='')}&alias={quote(alias, safe='')}"
            self._call("DELETE", path, absent={})
        else:
            self._call("POST", "2.0/mlflow/registered-models/alias", {"name": name, "alias": alias, "version": version})

    # -- the wire ------------------------------------------------------------------------------------------------------

    def _call(self, method: str, path: str, body: Any = None, *, seconds: float | None = None, **known: Any) -> Any:
        """Ask, and return the answer; `absent` and `exists` are what to return where MLflow says so.

        Raises:
            MirrorAwayError: If no answer comes in time, or the server has a fault of its own.
            MirrorError: If it refuses.
        """
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise MirrorAwayError(f"the MLflow server {self.name} was too slow; what is missing there is written later")
        content = {"content": body} if isinstance(body, bytes) else {"json": body} if body is not None else {}
        try:
            answer = self._client.request(method, f"/api/{path}", timeout=min(seconds or CALL_SECONDS, max(left, 0.1)), **content)
            document = answer.json() if answer.content else {}
        except httpx.HTTPError as error:
            raise MirrorAwayError(
                f"the MLflow server {self.name} does not answer ({type(error).__name__}); it is tried again later"
            ) from None
        except ValueError:
            document = {}
        code = str(document.get("error_code", "")) if isinstance(document, dict) else ""
        if answer.is_success:
            return document
        if "absent" in known and (code == _NOT_FOUND or answer.status_code == 404):
            return known["absent"]
        if "exists" in known and code == _EXISTS:
            return known["exists"]
        if answer.status_code >= 500 or answer.status_code == 429:
            raise MirrorAwayError(f"the MLflow server {self.name} answers {answer.status_code}; it is tried again later")
        raise MirrorError(_refusal(self.name, method, path, answer.status_code, code))


def _refusal(name: str, method: str, path: str, status: int, code: str) -> str:
    what = f"the MLflow server {name} refuses {method} {path.partition('?')[0]} ({status}{f' {code}' if code else ''})"
    if status == 401:
        return f"{what}: set BRANDHOUSE_SECRET_<BRAND>_MLFLOW_TRACKING_USERNAME and ..._PASSWORD to a user that it knows"
    if status == 403:
        return f"{what}: the user needs MANAGE on the brand's workspace; an administrator creates the workspace, or lets the user do it"
    return f"{what}; is it an MLflow server of version 3, and the address without a path?"


def find_credentials(brand: str, known_brands: Iterable[str], environment: Mapping[str, str]) -> dict[str, str]:
    """The brand's own credentials, `BRANDHOUSE_SECRET_<BRAND>_MLFLOW_TRACKING_...`, or else MLflow's `MLFLOW_TRACKING_...`.

    A run that a worker executes has only the former: brand code runs in it, and must not find what opens all workspaces.
    """
    prefix = f"{SECRET_PREFIX}{brand.upper()}_"
    own = {name.removeprefix(prefix): value for name, value in secrets_of(brand, known_brands, environment).items()}
    for source in (own, environment):
        if found := {name: source[name] for name in CREDENTIALS if source.get(name)}:
            return found
    return {}


def _authorization(credentials: Mapping[str, str]) -> dict[str, str]:
    user, password, token = (credentials.get(name, "") for name in CREDENTIALS)
    if user:
        return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}
    return {"Authorization": f"Bearer {token}"} if token else {}


def _pairs(values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": name, "value": value} for name, value in values.items() if value]
