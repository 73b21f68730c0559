"""The search of a training on a real Dask cluster: the same result, also when a worker is killed in the middle."""

import os
import pickle
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from brandhouse_flows import dask_folds
from brandhouse_flows.dask_folds import find_address, open_dask_scorer
from brandhouse_flows.fold_process import Parcel, ShippedCode
from brandhouse_flows.fold_worker import score_fold_apart
from brandhouse_flows.planning import plan_training
from brandhouse_flows.search import Attempt, Contest, TrainingRows
from brandhouse_shared.errors import BrandhouseError, DaskUnavailableError, RetryableError
from brandhouse_shared.names import ModelKey

pytestmark = pytest.mark.alone

VILLA = ModelKey("villa", "sold")
CASA = ModelKey("casa", "price")
SEARCHED = """
[models.price.candidates.small]
params = { n_estimators = 5 }

[models.price.candidates.searched]
params = { n_estimators = 20 }
space.n_estimators = { low = 5, high = 40, integer = true }

[models.price.search]
trials = 13
seconds = 600
"""


class Cluster:
    """A scheduler and its workers, as processes of this machine."""

    def __init__(self, logs: Path, *options: str) -> None:
        self.logs = logs
        self.port = free_port()
        self.options = options
        self.address = f"{'tls' if options else 'tcp'}://127.0.0.1:{self.port}"
        self.workers: list[subprocess.Popen[bytes]] = []
        self.scheduler = self._start("scheduler", "--host", self.address.rpartition(":")[0], "--port", str(self.port), "--no-dashboard")
        wait_until(lambda: is_open(self.port), "the scheduler listens")

    def add_worker(self) -> "subprocess.Popen[bytes]":
        self.workers.append(self._start("worker", self.address, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--death-timeout", "20"))
        return self.workers[-1]

    def _start(self, part: str, *arguments: str) -> "subprocess.Popen[bytes]":
        command = [str(Path(sys.executable).with_name("dask")), part, *arguments, *self.options]
        with (self.logs / f"{part}-{len(self.workers)}.log").open("wb") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, cwd=self.logs)

    def stop(self) -> None:
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(happened: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.05)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A scheduler with two workers."""
    started = Cluster(tmp_path)
    try:
        started.add_worker()
        started.add_worker()
        yield started
    finally:
        started.stop()


def fold_processes(worker: "subprocess.Popen[bytes]") -> list[int]:
    """Processes in which a worker fits folds."""
    path = Path(f"/proc/{worker.pid}/task")
    children = [int(pid) for task in path.glob("*/children") for pid in task.read_text().split()]
    return [pid for pid in children if b"fold_process" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def facts_of(workspace: Any, outcome: Any) -> dict[str, Any]:
    """What must not depend on where folds were fitted; the card beside the model says how long it took, which does."""
    record = workspace.ledger.find_version(outcome.version).record
    folder = workspace.store.find(record.key, record.artifact_digest)
    told = {
        name: getattr(record, name) for name in ("candidate_name", "params", "score", "score_low", "score_high", "fingerprint", "slices")
    }
    return told | {name: (folder / name).read_bytes() for name in ("model.onnx", "manifest.json", "sample.json")}


@pytest.mark.slow
def test_training_on_a_cluster_gives_the_same_version_though_a_worker_is_killed(
    make_workspace: Callable[[Path], Any], tmp_path: Path, cluster: Cluster
) -> None:
    alone, workspace = make_workspace(tmp_path / "alone"), make_workspace(tmp_path / "fanned")
    for house in (alone, workspace):
        house.append("brands/casa/brand.toml", SEARCHED)
    here = facts_of(alone, alone.train(CASA))
    orphans: list[int] = []

    def kill_a_worker_in_the_middle_of_a_fold() -> None:
        wait_until(lambda: all(fold_processes(worker) for worker in cluster.workers), "both workers fit folds", 60)
        victim = cluster.workers[0]
        orphans.extend(fold_processes(victim))
        for pid in orphans:  # the fold it has, or is given next, does not end
            os.kill(pid, signal.SIGSTOP)
        time.sleep(1)
        os.kill(victim.pid, signal.SIGKILL)
        for pid in orphans:
            os.kill(pid, signal.SIGCONT)

    killer = threading.Thread(target=kill_a_worker_in_the_middle_of_a_fold)
    killer.start()
    there = train_on(workspace, cluster.address)
    ended_after_kill = bool(orphans) and cluster.workers[0].poll() is not None
    killer.join()

    assert ended_after_kill, "the training waited for the fold of the worker that was killed"
    assert facts_of(workspace, there) == here, "same winner, params, scores, fingerprint and model"
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in orphans), "the killed worker's fold processes end", 10)


def train_on(workspace: Any, address: str, key: ModelKey = CASA) -> Any:
    workspace.settings = workspace.settings.model_copy(update={"dask_address": address})
    return workspace.train(key)


@pytest.mark.slow
def test_flow_under_prefect_fans_out_by_the_setting_alone(workspace: Any, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.testing.utilities import prefect_test_harness

    from brandhouse_flows.training import train_model

    workspace.append("brands/casa/brand.toml", SEARCHED)
    monkeypatch.setenv("BRANDHOUSE_DASK_ADDRESS", cluster.address)
    for name, value in workspace.environment.items():
        monkeypatch.setenv(name, value)
    with prefect_test_harness(server_startup_timeout=120):
        state = train_model(brand="casa", model="price", return_state=True)
    assert state.name == "Registered", state.message
    assert any(fold_processes(worker) for worker in cluster.workers), "folds were fitted on the cluster"


def plan_on(workspace: Any, key: ModelKey = CASA, **settings: Any) -> Any:
    return plan_training(workspace.settings.model_copy(update=settings), key, "a-run", "local")


def contest_of(plan: Any, code: Any = None) -> Contest:
    rows = TrainingRows(pd.DataFrame({"area": np.arange(30, dtype=np.float32)}), np.arange(30.0), None)
    fold = (np.arange(20), np.arange(20, 30))
    return Contest(code, plan.model, rows, [fold], str(plan.key))


LINE = """
from sklearn.linear_model import LinearRegression


def build_features(rows):
    return rows


def build_estimator(**params):
    return LinearRegression()
"""


@pytest.mark.slow
def test_folds_are_given_out_again_when_all_workers_that_held_the_rows_are_gone(workspace: Any, cluster: Cluster) -> None:
    (workspace.root / "brands/casa/src/brand_casa/price.py").write_text(LINE)
    plan = plan_on(workspace)
    with open_dask_scorer(plan, cluster.address, contest_of(plan)) as scorer:
        (first,) = scorer.score([Attempt("default", {})])
        for worker in cluster.workers:
            os.kill(worker.pid, signal.SIGKILL)
        cluster.add_worker()
        (second,) = scorer.score([Attempt("default", {})])
    assert [fold.score for fold in second] == [fold.score for fold in first] == [pytest.approx(0, abs=1e-3)]


def test_what_goes_wrong_on_a_worker_is_told_as_it_is_here(workspace: Any, cluster: Cluster) -> None:
    module = workspace.root / "brands/casa/src/brand_casa/price.py"
    failing = LINE.replace("return LinearRegression()", "return LinearRegression(**params)")
    dying = LINE.replace("return LinearRegression()", "import os; os.kill(os.getpid(), 9)")
    told = {}
    for name, text in (("failing", failing), ("dying", dying)):
        module.write_text(text)
        plan = plan_on(workspace)
        with open_dask_scorer(plan, cluster.address, contest_of(plan)) as scorer:
            try:
                told[name] = scorer.score([Attempt("default", {"fit_intercept": "perhaps"})])[0][0].refusal
            except BrandhouseError as error:
                told[name] = str(error)
    assert "casa/price: fitting LinearRegression raised InvalidParameterError" in told["failing"]
    assert re.search(r"casa/price: on the Dask cluster at tcp://127.*candidate 'default' .* killed by signal 9; .* memory", told["dying"])


def test_a_worker_of_another_environment_is_refused(workspace: Any) -> None:
    plan = plan_on(workspace)
    parcel = Parcel(ShippedCode("casa/price", "casa", "brand_casa.price", {}), plan.model, contest_of(plan).rows, [], "casa/price")
    other = replace(parcel, environment=parcel.environment | {"scikit-learn": "0.1"})
    with pytest.raises(BrandhouseError, match=r"another environment, scikit-learn [\d.]+ \(training: 0.1\).*requirements.lock"):
        score_fold_apart(pickle.dumps(other), "a-run", {"candidate": "default", "params": {}, "fold": 0})


def test_cluster_that_does_not_answer_is_a_passing_fault_that_says_what_to_do(workspace: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_folds, "CONNECT_SECONDS", 0.5)
    plan, address = plan_on(workspace), f"tcp://127.0.0.1:{free_port()}"
    said = rf"casa/price: the Dask cluster at {address} does not answer.* start its scheduler and workers .* unset BRANDHOUSE_DASK_ADDRESS"
    with pytest.raises(DaskUnavailableError, match=said) as caught, open_dask_scorer(plan, address, contest_of(plan)):
        raise AssertionError("there is no scheduler")
    assert isinstance(caught.value, RetryableError)


@pytest.mark.slow
def test_cluster_without_workers_and_one_that_goes_away_are_passing_faults(
    workspace: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask_folds, "WORKER_SECONDS", 0.5)
    empty, plan = Cluster(tmp_path), plan_on(workspace)
    try:
        with open_dask_scorer(plan, empty.address, contest_of(plan)) as scorer:
            with pytest.raises(DaskUnavailableError, match="has no worker"):
                scorer.score([Attempt("default", {})])
            empty.stop()
            with pytest.raises(DaskUnavailableError, match="casa/price: the Dask cluster at tcp://127"):
                scorer.score([Attempt("default", {})])
    finally:
        empty.stop()


def test_silo_brand_never_uses_the_others_cluster(workspace: Any) -> None:
    shared, own = "tcp://127.0.0.1:1", "tls://villa.example:2"
    workspace.edit("brands/villa/brand.toml", 'risk = "low"', 'risk = "low"\nisolation = "silo"')
    casa, villa = (plan_on(workspace, key, dask_address=shared) for key in (CASA, VILLA))
    assert find_address(casa.settings, casa.brand) == shared
    assert find_address(villa.settings, villa.brand) == "", "it trains in its own process"
    named = villa.settings.model_copy(update={"silo_dask_addresses": {"villa": own}})
    assert find_address(named, villa.brand) == own
    assert find_address(named, casa.brand) == shared, "and nobody uses its"


@pytest.mark.parametrize("address", ["tcp://10.0.0.5:8786", "tcp://dask.example:8786", "10.0.0.5:8786", "inproc://x", "ucx://127.0.0.1:1"])
def test_cluster_that_others_on_the_network_could_use_is_refused(workspace: Any, address: str) -> None:
    plan = plan_on(workspace)
    said = r"refused; allowed: tcp://127.0.0.1:PORT.* or tls://"
    with pytest.raises(BrandhouseError, match=said), open_dask_scorer(plan, address, contest_of(plan)):
        raise AssertionError("connected")


def test_tls_address_needs_certificates(workspace: Any, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("")
    for folder, said in ((None, "set BRANDHOUSE_DASK_TLS_DIR"), (tmp_path, r"lacks .*/cert.pem, .*/key.pem")):
        plan = plan_on(workspace, dask_tls_dir=folder)
        with pytest.raises(BrandhouseError, match=said), open_dask_scorer(plan, "tls://127.0.0.1:1", contest_of(plan)):
            raise AssertionError("connected")
