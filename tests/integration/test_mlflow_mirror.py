"""The mirror on a real MLflow server: everything is there, each brand in its own workspace, and training never waits for long."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from brandhouse_flows import mlflow_client
from brandhouse_flows.learning import rehearse
from brandhouse_flows.mlflow_client import MirrorAwayError, MirrorError
from brandhouse_flows.mlflow_mirror import Mirrored, sync_model
from brandhouse_flows.planning import plan_training
from brandhouse_flows.steps import call_step
from brandhouse_flows.wishes import Wishes
from brandhouse_shared.errors import BrandhouseError
from brandhouse_shared.names import ModelKey

pytestmark = pytest.mark.alone

CASA = ModelKey("casa", "price")
VILLA = ModelKey("villa", "sold")
MLFLOW = Path(sys.executable).with_name("mlflow")
START_SECONDS = 90
SEARCHED = """
[models.price.candidates.default]
space = { n_estimators = { low = 20, high = 60, integer = true } }

[models.price.search]
trials = 3
"""


def free_port() -> int:
    for port in range(21510, 21600):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
    raise RuntimeError("no free port from 21510 to 21599")


@contextmanager
def running_server(folder: Path, *options: str, **environment: str) -> Iterator[str]:
    """A real MLflow server, whose artifacts lie below `folder`; yields its address."""
    port = free_port()
    command = [str(MLFLOW), "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1", *options]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}", "--artifacts-destination", str(folder / "artifacts")]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "BRANDHOUSE_", "PYTHONDONTWRITE"))}
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            cwd=folder,
            start_new_session=True,
            env={**clean, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **environment},
        )
        try:
            wait_for(server, f"http://127.0.0.1:{port}", folder / "log")
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)


def wait_for(server: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and server.poll() is None:
        try:
            if httpx.get(f"{url}/health", timeout=2).is_success:
                return
        except httpx.HTTPError:
            time.sleep(0.2)
    raise RuntimeError(f"the MLflow server did not start: {log.read_text()[-2000:]}")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_server(tmp_path_factory.mktemp("mlflow"), "--enable-workspaces") as url:
        yield url


@pytest.fixture
def house(workspace: Any, server: str) -> Any:
    """A workspace whose brands have names that no other test mirrors to the server."""
    return with_mirror(workspace, server)


def with_mirror(workspace: Any, url: str) -> Any:
    workspace.settings = workspace.settings.model_copy(update={"mlflow_url": url})
    return workspace


def ask(url: str, workspace: str, path: str, body: dict[str, Any] | None = None, **named: Any) -> Any:
    headers = {"X-MLFLOW-WORKSPACE": workspace} if workspace else {}
    answer = httpx.request("POST" if body is not None else "GET", f"{url}/api/2.0/{path}", json=body, headers=headers, timeout=20, **named)
    assert answer.is_success, answer.text
    return answer.json()


def runs_of(url: str, workspace: str, experiment: str) -> list[dict[str, Any]]:
    """Runs as plain values, oldest first."""
    found = ask(url, workspace, f"mlflow/experiments/get-by-name?experiment_name={experiment}")["experiment"]
    runs = ask(url, workspace, "mlflow/runs/search", {"experiment_ids": [found["experiment_id"]], "max_results": 100})["runs"]
    plain = [
        {
            "name": run["info"]["run_name"],
            "id": run["info"]["run_id"],
            "status": run["info"]["status"],
            **{part: {pair["key"]: pair["value"] for pair in run["data"].get(part, [])} for part in ("params", "metrics", "tags")},
        }
        for run in runs
    ]
    return sorted(plain, key=lambda run: run["tags"]["brandhouse.run_id"] and run["tags"].get("mlflow.runName", ""))


def go(house: Any, **wishes: Any) -> Any:
    return rehearse(
        plan_training(house.settings, CASA, secrets.token_hex(16), "local", Wishes(**wishes)), house.ledger, house.store, call_step
    )


# One story, since each brand is mirrored to its workspace once.


def test_runs_metrics_slices_card_and_model_are_in_the_brands_own_workspace(house: Any, server: str) -> None:
    house.append("brands/casa/brand.toml", SEARCHED)
    house.edit("brands/casa/brand.toml", 'metric = "mae"', 'metric = "mae"\nslices = ["town"]')
    version = house.train(CASA)
    house.train(VILLA)
    go(house, dry=True)
    with pytest.raises(BrandhouseError, match="takes no depth"):
        go(house, dry=True, params={"depth": 3})
    house.train(CASA)
    record = house.ledger.find_version(version.version).record
    runs = {run["tags"]["brandhouse.outcome"]: run for run in runs_of(server, "casa", "price")}
    assert {outcome: run["status"] for outcome, run in runs.items()} == {
        "registered": "FINISHED",
        "rehearsed": "FINISHED",
        "failed": "FAILED",
        "unchanged": "FINISHED",
    }
    made = runs["registered"]
    assert made["name"] == "v1"
    assert made["metrics"]["mae"] == pytest.approx(record.score)
    assert made["metrics"]["mae_low"] == pytest.approx(record.score_low)
    assert made["metrics"]["mae_high"] == pytest.approx(record.score_high)
    delft = next(item for item in record.slices if item["value"] == "Delft")
    assert made["metrics"]["slice/town/Delft/mae"] == pytest.approx(delft["score"])
    assert made["params"] == {"candidate": "default", **{name: str(value) for name, value in record.params.items()}}
    lineage = {
        "brand": "casa",
        "model": "price",
        "version": "v1",
        "data_hash": record.snapshot_hash,
        "lock_hash": record.lock_hash,
        "code_digest": record.code_digest,
    }
    assert {name: made["tags"][f"brandhouse.{name}"] for name in lineage} == lineage
    assert made["tags"]["mlflow.source.git.commit"] == "uncommitted"
    assert runs["failed"]["params"] == {"depth": "3"}
    assert "takes no depth" in runs["failed"]["tags"]["mlflow.note.content"]
    trials = ask(server, "casa", f"mlflow/metrics/get-history?run_id={made['id']}&metric_key=cv_mae")["metrics"]
    assert [one["step"] for one in trials] == [1, 2, 3], "every trial of the search"
    files = {one["path"] for one in ask(server, "casa", f"mlflow/artifacts/list?run_id={made['id']}")["files"]}
    assert files == {"card.html", "gates.json", "slices.json", "trials.json", "models"}
    card = httpx.get(f"{server}/get-artifact?path=card.html&run_uuid={made['id']}", headers={"X-MLFLOW-WORKSPACE": "casa"}, timeout=20)
    assert card.text == version.card_path.read_text()
    model = ask(server, "casa", "mlflow/registered-models/get?name=casa.price")["registered_model"]
    assert model["aliases"] == [{"alias": "production", "version": "1"}]
    (registered,) = ask(server, "casa", "mlflow/model-versions/search?filter=name%3D%27casa.price%27")["model_versions"]
    assert {tag["key"]: tag["value"] for tag in registered["tags"]}["brandhouse.version"] == "v1"
    held = {one["path"] for one in ask(server, "casa", f"mlflow/artifacts/list?run_id={made['id']}&path=models/v1")["files"]}
    assert held == {"models/v1/MLmodel", "models/v1/model.onnx", "models/v1/manifest.json"}, "no pickle, and no held-out rows"
    assert [run["tags"]["brandhouse.brand"] for run in runs_of(server, "villa", "sold")] == ["villa"]
    assert [one["name"] for one in ask(server, "villa", "mlflow/registered-models/search")["registered_models"]] == ["villa.sold"]
    done = sync_model(house.settings, house.ledger, house.store, CASA)
    assert done == Mirrored(0, 0), "nothing is written twice"
    assert len(runs_of(server, "casa", "price")) == 4


def test_mirror_that_is_switched_on_late_catches_up_in_order(house: Any, server: str) -> None:
    mirrored = house.settings
    house.settings = mirrored.model_copy(update={"mlflow_url": None})
    rename(house, "casa", "hutte")
    key = ModelKey("hutte", "price")
    house.train(key)
    house.append("brands/hutte/brand.toml", "\n[models.price.gates]\nthreshold = 1\n")
    house.train(key)
    house.ledger.retire(key, "anna", "no longer wanted")
    house.settings = mirrored
    assert sync_model(house.settings, house.ledger, house.store, key) == Mirrored(2, 2)
    model = ask(server, "hutte", "mlflow/registered-models/get?name=hutte.price")["registered_model"]
    assert "aliases" not in model, "nothing is in production"
    versions = ask(server, "hutte", "mlflow/model-versions/search?filter=name%3D%27hutte.price%27")["model_versions"]
    numbers = {one["version"]: {tag["key"]: tag["value"] for tag in one["tags"]}["brandhouse.version"] for one in versions}
    assert numbers == {"1": "v1", "2": "v2"}, "MLflow counts as the ledger does"
    house.ledger.rollback(key, "anna", "needed after all")
    sync_model(house.settings, house.ledger, house.store, key)
    model = ask(server, "hutte", "mlflow/registered-models/get?name=hutte.price")["registered_model"]
    assert model["aliases"] == [{"alias": "production", "version": "1"}]


def rename(house: Any, old: str, new: str) -> None:
    """Give a brand of the invented workspace another name."""
    folder = house.root / "brands" / old
    folder.rename(folder.with_name(new))
    source = folder.with_name(new) / "src"
    (source / f"brand_{old}").rename(source / f"brand_{new}")
    house.edit(f"brands/{new}/brand.toml", f'name = "{old}"', f'name = "{new}"')
    house.edit(f"brands/{new}/brand.toml", f"brand_{old}.", f"brand_{new}.")


# A server that is away or slow


@contextmanager
def silent_server() -> Iterator[str]:
    """Takes connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        taken: list[socket.socket] = []

        def accept() -> None:
            try:
                while True:
                    taken.append(listener.accept()[0])
            except OSError:  # closed at the end of the test
                return

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        for connection in taken:
            connection.close()


def test_dead_server_fails_no_training_and_is_not_asked_again_at_once(workspace: Any, caplog: pytest.LogCaptureFixture) -> None:
    house = with_mirror(workspace, f"http://127.0.0.1:{free_port()}")
    assert house.train(CASA).kind == "registered"
    assert "casa/price: not mirrored yet: the MLflow server 127.0.0.1" in caplog.text
    caplog.clear()
    house.train(CASA)
    assert caplog.text == "", "known to be away for a minute"
    with pytest.raises(MirrorAwayError, match="does not answer"):
        sync_model(house.settings, house.ledger, house.store, CASA)


def test_slow_server_delays_a_run_by_one_time_out(workspace: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlflow_client, "CALL_SECONDS", 0.5)
    workspace.train(CASA)
    with silent_server() as url:
        house = with_mirror(workspace, url)
        started = time.monotonic()
        assert house.train(CASA).kind == "unchanged"
        assert time.monotonic() - started < 5


@pytest.mark.parametrize("url", ["postgresql://host/db", "http://anna:geheim@host:5000", "localhost:5000"])
def test_address_that_is_none_or_holds_a_password_is_refused_unrepeated(url: str, workspace: Any, caplog: pytest.LogCaptureFixture) -> None:
    house = with_mirror(workspace, url)
    with pytest.raises(MirrorError, match="BRANDHOUSE_MLFLOW_URL is no address of an MLflow server") as caught:
        sync_model(house.settings, house.ledger, house.store, CASA)
    assert "geheim" not in f"{caught.value}{caplog.text}"


# Slow: servers of their own

AUTH = """[mlflow]
default_permission = NO_PERMISSIONS
database_uri = sqlite:///{folder}/auth.db
admin_username = admin
admin_password = {password}
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
grant_default_workspace_access = false
auth_cache_ttl_seconds = 60
"""


@pytest.mark.slow
def test_one_brands_user_sees_nothing_of_another_brand(workspace: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    password = secrets.token_urlsafe(12)
    (tmp_path / "auth.ini").write_text(AUTH.format(folder=tmp_path, password=password))
    environment = {"MLFLOW_AUTH_CONFIG_PATH": str(tmp_path / "auth.ini"), "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(16)}
    with running_server(tmp_path, "--enable-workspaces", "--app-name", "basic-auth", **environment) as url:
        house = with_mirror(workspace, url)
        with pytest.raises(MirrorError, match=r"401.*set BRANDHOUSE_SECRET_<BRAND>_MLFLOW_TRACKING_USERNAME"):
            sync_model(house.settings, house.ledger, house.store, CASA)
        for brand in ("casa", "villa"):
            make_user(url, password, brand)
            monkeypatch.setenv(f"BRANDHOUSE_SECRET_{brand.upper()}_MLFLOW_TRACKING_USERNAME", f"{brand}-mirror")
            monkeypatch.setenv(f"BRANDHOUSE_SECRET_{brand.upper()}_MLFLOW_TRACKING_PASSWORD", f"{brand}-{password}")
        assert house.train(CASA).kind == house.train(VILLA).kind == "registered"
        casa, villa = ((f"{brand}-mirror", f"{brand}-{password}") for brand in ("casa", "villa"))
        assert sync_model(house.settings, house.ledger, house.store, CASA) == Mirrored(0, 0), "the run itself mirrored it"
        experiment = ask(url, "casa", "mlflow/experiments/get-by-name?experiment_name=price", auth=casa)["experiment"]["experiment_id"]
        runs = {"experiment_ids": [experiment]}
        assert len(ask(url, "casa", "mlflow/runs/search", runs, auth=casa)["runs"]) == 1
        assert_sees_nothing(url, villa, experiment)
        monkeypatch.setenv("BRANDHOUSE_SECRET_CASA_MLFLOW_TRACKING_USERNAME", villa[0])
        monkeypatch.setenv("BRANDHOUSE_SECRET_CASA_MLFLOW_TRACKING_PASSWORD", villa[1])
        house.train(CASA)
        with pytest.raises(MirrorError, match=r"403.*the user needs MANAGE on the brand's workspace") as caught:
            sync_model(house.settings, house.ledger, house.store, CASA)
        assert password not in str(caught.value)


def make_user(url: str, password: str, brand: str) -> None:
    """What an administrator does for a brand: a workspace, a role that manages it, a user with that role."""
    script = f"""
import mlflow, os
from mlflow.server.auth.client import AuthServiceClient
mlflow.set_tracking_uri({url!r})
mlflow.create_workspace({brand!r})
client = AuthServiceClient({url!r})
client.create_user("{brand}-mirror", os.environ["NEW_PASSWORD"])
role = client.create_role(workspace={brand!r}, name="mirror")
client.add_role_permission(role.id, resource_type="workspace", resource_pattern="*", permission="MANAGE")
client.assign_role("{brand}-mirror", role.id)
"""
    admin = {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": password, "NEW_PASSWORD": f"{brand}-{password}"}
    done = subprocess.run([sys.executable, "-c", script], env={**os.environ, **admin}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def assert_sees_nothing(url: str, stranger: tuple[str, str], experiment: str) -> None:
    """A user of another brand is refused, whichever workspace the request names."""
    asked: list[Callable[[dict[str, str]], httpx.Response]] = [
        lambda headers: httpx.get(f"{url}/api/2.0/mlflow/experiments/get?experiment_id={experiment}", headers=headers, auth=stranger),
        lambda headers: httpx.get(f"{url}/api/2.0/mlflow/registered-models/get?name=casa.price", headers=headers, auth=stranger),
        lambda headers: httpx.get(f"{url}/api/2.0/mlflow-artifacts/artifacts?path=workspaces/casa", headers=headers, auth=stranger),
        lambda headers: httpx.get(f"{url}/api/3.0/mlflow/workspaces/casa", headers=headers, auth=stranger),
    ]
    for workspace in ("casa", "villa"):
        for request in asked:
            answer = request({"X-MLFLOW-WORKSPACE": workspace})
            assert answer.status_code in (400, 403, 404), f"{answer.request.url} in {workspace}: {answer.text[:200]}"
    search = {"experiment_ids": [experiment]}
    answer = httpx.post(f"{url}/api/2.0/mlflow/runs/search", json=search, headers={"X-MLFLOW-WORKSPACE": "casa"}, auth=stranger)
    assert answer.status_code == 403 or not answer.json().get("runs")
    named = [one["name"] for one in httpx.get(f"{url}/api/3.0/mlflow/workspaces", auth=stranger).json().get("workspaces", [])]
    assert "casa" not in named


@pytest.mark.slow
def test_server_without_workspaces_gets_an_experiment_for_each_model_and_onnx_loads_there(workspace: Any, tmp_path: Path) -> None:
    with running_server(tmp_path) as url:
        house = with_mirror(workspace, url)
        house.train(CASA)
        house.train(VILLA)
        assert [run["name"] for run in runs_of(url, "", "casa.price")] == ["v1"]
        assert [run["name"] for run in runs_of(url, "", "villa.sold")] == ["v1"]
        script = """
import sys, mlflow
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.onnx.load_model("models:/casa.price@production")
print([one.name for one in model.graph.input])
"""
        done = subprocess.run([sys.executable, "-c", script, url], capture_output=True, text=True, check=False)
        assert "'in_0'" in done.stdout, done.stderr[-2000:]
