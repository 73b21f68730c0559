"""The warm parent, which has imported everything and forks a process per flow run, and what such a process does.

The parent has one thread and no secrets. It reads one request a line from its socket and answers with a process id.
Started by `warm_parent`; run as `python -m brandhouse_flows.warm_child FD [lean]`.
"""

import atexit
import contextlib
import fcntl
import gc
import importlib
import json
import os
import select
import shutil
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn

from brandhouse_flows.processes import ProcessIdentity, hide_from_siblings
from brandhouse_flows.run_records import FinalState, RunRecord, RunRecords
from brandhouse_shared.artifacts import preload_artifact_store
from brandhouse_shared.settings import load_settings

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.schemas.objects import FlowRun
    from prefect.flows import Flow

ENGINE = (
    "prefect.flow_engine",
    "prefect.task_engine",
    "prefect.deployments",
    "prefect.artifacts",
    "prefect.tasks",
    "prefect.concurrency.services",
    "prefect.utilities.visualization",
    "brandhouse_flows.connection",
    "brandhouse_flows.recording",
)
PRELOADED = (
    *ENGINE,
    "pandas",
    "sklearn.calibration",
    "sklearn.compose",
    "sklearn.ensemble",
    "sklearn.feature_extraction.text",
    "sklearn.impute",
    "sklearn.inspection",
    "sklearn.linear_model",
    "sklearn.model_selection",
    "sklearn.pipeline",
    "sklearn.preprocessing",
    "skl2onnx",
    "optuna",
    "matplotlib.backends.backend_agg",
    "matplotlib.pyplot",
    "PIL.PngImagePlugin",
    "sqlalchemy.dialects.sqlite",
    "brandhouse_shared.ledger.ledger",
    "skops.io",
    "brandhouse_flows.training",
    "brandhouse_flows.ingesting",
    "brandhouse_flows.scoring",
)
"""Imported once for all runs. onnxruntime is not among them: it starts a thread on import, which a fork would lose."""

LONGEST_WAIT_SECONDS = 5.0
"""Between two tries of a run's process to reach a server that is away."""

CLIENT_RETRIES = 720
"""With the wait above: a run outlasts a server that is away for about an hour."""

RETRYABLE_FAILURE = "RetryableFailure"
"""Name of the state of a run that failed for a passing reason; its type is FAILED."""


@dataclass(frozen=True, slots=True)
class ForkRequest:
    """One flow run to execute."""

    flow_run_id: str
    home: str
    environment: dict[str, str]
    """The whole environment of the run."""

    @classmethod
    def parse(cls, line: bytes) -> "ForkRequest":
        """Read what `as_line` wrote."""
        return cls(**json.loads(line))

    def as_line(self) -> bytes:
        """One line of JSON."""
        return json.dumps(asdict(self)).encode() + b"\n"


def main(descriptor: int, preloaded: Iterable[str]) -> int:
    """Warm up, say so, then fork until the worker closes the socket and the last run has ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    hide_from_siblings()
    children: dict[int, ForkRequest] = {}
    with socket.socket(fileno=descriptor) as worker, worker.makefile("rb") as lines, _child_signals() as wake_up:
        _preload(preloaded)
        try:
            worker.sendall(json.dumps({"threads": _thread_count()}).encode() + b"\n")
        except BrokenPipeError:  # the worker has gone meanwhile
            return 0
        while request := _next_request(worker, lines, wake_up, children):
            pid = os.fork()
            if pid == 0:
                break
            children[pid] = request
            worker.sendall(json.dumps({"pid": pid}).encode() + b"\n")
        else:
            return 0
    # Only the forked process comes here, with the parent's files closed.
    return _leave(_exit_code(request))


def _preload(names: Iterable[str]) -> None:
    imports: dict[str, Callable[[], Any]] = {name: partial(importlib.import_module, name) for name in names}
    if names is PRELOADED:
        imports["the artifact store"] = lambda: preload_artifact_store(load_settings())
    for name, load in imports.items():
        try:
            load()
        except Exception as error:  # an entry point: a run that needs the module will fail and say so, the others need not
            sys.stderr.write(f"not preloaded: {name}: {type(error).__name__}: {error}\n")
    _prepare_prefect()
    gc.collect()
    gc.freeze()  # a collection in a child would otherwise touch, and so copy, every shared page


def _prepare_prefect() -> None:
    """What is the same for all runs and takes half a second: settings and logging."""
    from prefect.context import SettingsContext
    from prefect.logging.configuration import setup_logging

    from brandhouse_flows.connection import outlast_outages

    outlast_outages(LONGEST_WAIT_SECONDS)
    SettingsContext(**_settings()).__enter__()  # for the life of this process and its forks
    setup_logging()


def _settings() -> dict[str, Any]:
    """Prefect's settings from the environment, with ours on top."""
    from prefect.context import get_settings_context
    from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, PREFECT_FLOWS_HEARTBEAT_FREQUENCY
    from prefect.settings.models.root import Settings

    # Leaving the heartbeat's thread takes up to a second at the end of every run; our reaper watches the process itself.
    ours: dict[Any, Any] = {PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None, PREFECT_CLIENT_MAX_RETRIES: CLIENT_RETRIES}
    return {"profile": get_settings_context().profile, "settings": Settings().copy_with_update(updates=ours)}


def _exit_code(request: ForkRequest) -> int:
    try:
        return execute(request)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except BaseException:  # the process's end; the record says what became of the run
        traceback.print_exc()
        return 1


def _leave(code: int) -> NoReturn:
    """End the process: send what logs and events are left, but do not take the interpreter apart.

    Taking apart what the parent imported costs more than a second of computing and copies every page that was shared.
    """
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads, and lets Prefect's services send what they hold
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _thread_count() -> int:
    return sum(1 for _ in Path("/proc/self/task").iterdir())


@contextlib.contextmanager
def _child_signals() -> Iterator[int]:
    """Yield a descriptor that becomes readable when a child ends."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    previous = signal.set_wakeup_fd(writer)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    try:
        yield reader
    finally:
        signal.set_wakeup_fd(previous)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.close(reader)
        os.close(writer)


def _next_request(worker: socket.socket, lines: IO[bytes], wake_up: int, children: dict[int, ForkRequest]) -> ForkRequest | None:
    """Wait for a request, burying ended children meanwhile. None: the worker has gone and no child is left."""
    sources: list[Any] = [worker, wake_up]
    while True:
        ready, _, _ = select.select(sources, [], [])
        if wake_up in ready:
            os.read(wake_up, 4096)
            _bury(children)
        if worker in ready:
            line = lines.readline()
            if line:
                return ForkRequest.parse(line)
            sources.remove(worker)
        if worker not in sources and not children:
            return None


def _bury(children: dict[int, ForkRequest]) -> None:
    for pid in list(children):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            request = children.pop(pid)
            code = os.waitstatus_to_exitcode(status)
            if code != 0:
                note = f"signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"exit code {code}"
                RunRecords(Path(request.home)).note_exit(request.flow_run_id, note)


def execute(request: ForkRequest) -> int:
    """Execute one flow run in this process; the exit code is for people, the run's record is what counts."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    hide_from_siblings()
    records = RunRecords(Path(request.home))
    records.folder.mkdir(parents=True, exist_ok=True)
    with records.lock_file(request.flow_run_id).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.stderr.write(f"flow run {request.flow_run_id} is already being executed on this machine; not started again\n")
            return 1
        records.write(RunRecord(request.flow_run_id, ProcessIdentity.of(os.getpid()), time.time()))
        has_own_settings = _prefect_variables(request.environment) != _prefect_variables(os.environ)
        _use_environment(request.environment)
        with _fresh_folder(records.work_dir(request.flow_run_id)):
            return _run(request.flow_run_id, records, has_own_settings)


def _prefect_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Prefect's settings, without what it tells each run about itself."""
    return {name: value for name, value in environment.items() if name.startswith("PREFECT_") and not name.startswith("PREFECT__")}


def _use_environment(environment: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()  # the forks of one parent would all draw the same numbers


@contextlib.contextmanager
def _fresh_folder(folder: Path) -> Iterator[None]:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    os.chdir(folder)
    sys.path.insert(0, str(folder))  # deployments by path put their code here
    try:
        yield
    finally:
        os.chdir("/")
        shutil.rmtree(folder, ignore_errors=True)


def _run(flow_run_id: str, records: RunRecords, has_own_settings: bool) -> int:
    from prefect.context import SettingsContext

    with contextlib.ExitStack() as stack:
        if has_own_settings:
            stack.enter_context(SettingsContext(**_settings()))
        return _run_in_prefect(flow_run_id, records)


def _run_in_prefect(flow_run_id: str, records: RunRecords) -> int:
    from uuid import UUID

    from prefect.engine import handle_engine_signals
    from prefect.exceptions import TerminationSignal
    from prefect.flow_engine import load_flow_run

    identity = UUID(flow_run_id)
    with handle_engine_signals(identity):
        flow_run = load_flow_run(identity)
        if flow_run.state is None or flow_run.state.is_final() or flow_run.state.is_cancelling():
            return 0  # settled while this process was started; executing it now could be a second time
        flow = _load(flow_run, records)
        if flow is None:
            return 1
        try:
            _execute_recorded(flow, flow_run, records, identity)
        except TerminationSignal:  # the engine has set and recorded the state
            return 128 + signal.SIGTERM
    return 0


def _load(flow_run: "FlowRun", records: RunRecords) -> "Flow[..., Any] | None":
    """Load the flow. One that cannot be loaded failed for good: the next attempt would meet the same code."""
    from prefect.flow_engine import load_flow
    from prefect.logging.loggers import flow_run_logger

    try:
        return load_flow(flow_run)
    except Exception as error:  # the flow's module may raise anything
        message = f"the flow cannot be loaded: {type(error).__name__}: {str(error)[:500]}"
        flow_run_logger(flow_run=flow_run).error(message, exc_info=True)
        records.change(flow_run.id, final=FinalState("FAILED", "Failed", message))
        return None


def _execute_recorded(flow: "Flow[..., Any]", flow_run: "FlowRun", records: RunRecords, identity: "UUID") -> None:
    import prefect.flow_engine as flow_engine
    from prefect.engine import _drive_run_flow_result

    from brandhouse_flows.recording import recorded_engines

    # Watching whether somebody suspends the run from outside costs a connection and up to half a second a run.
    flow_engine.observe_flow_run_suspension = _observe_nothing  # type: ignore[attr-defined, assignment]
    flow_engine.FlowRunEngine, flow_engine.AsyncFlowRunEngine = recorded_engines(records, identity)  # type: ignore[misc]
    _drive_run_flow_result(flow, flow_engine.run_flow(flow, flow_run=flow_run))


def _observe_nothing(*_: Any) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext()


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), ENGINE if sys.argv[2:] == ["lean"] else PRELOADED))
