"""One brand's own process: a BentoML service on a private unix socket that runs the brand's Python.

`python -m brandhouse_serving.silo --brand X --socket PATH --home HOME --memory-mib N --parent PID`. Started and
supervised by the gateway (`silo_supervisor`), gone when the gateway is gone. It reads this brand's artifacts and nothing
else: no ledger, no keys, no other brand's secret is in its environment.
"""

import argparse
import asyncio
import ctypes
import json
import logging
import os
import resource
import signal
import socket
import threading
import traceback
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from brandhouse_serving.model_store import BentoArtifactStore
from brandhouse_serving.parent_death import end_with
from brandhouse_shared.artifacts import MANIFEST_FILE, SAMPLE_FILE, Manifest
from brandhouse_shared.config import FieldType
from brandhouse_shared.errors import ArtifactCorruptError
from brandhouse_shared.names import ModelKey

KEPT_VERSIONS = 2
"""Loaded versions a model: the one in production and the one before, which answers if the new one cannot."""

MIN_SAMPLE_ROWS = 5
"""With fewer rows to try, nothing is said about a version, and it is asked one request at a time."""

PR_SET_NO_NEW_PRIVS = 38
MAX_PROCESSES = 4096
"""Processes and threads of the user, this one's included: a fork bomb ends there."""
MAX_OPEN_FILES = 1024

logger = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
AsgiApp = Callable[[Scope, Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]]


def main(arguments: list[str] | None = None) -> None:
    """Run the service of one brand until SIGTERM or the gateway's end."""
    options = _parse(arguments)
    end_with(options.parent, signal.SIGKILL)
    _limit(options.memory_mib)
    import uvicorn

    app = only_json(build_service(SiloModels(options.brand, options.home)).to_asgi())
    listener = _listen(options.socket)
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=3)
    asyncio.run(uvicorn.Server(config).serve(sockets=[listener]))


@dataclass(frozen=True, slots=True)
class SiloVersion:
    """One loaded version.

    Attributes:
        is_batchable: Whether it was seen to answer rows together exactly as alone.
    """

    predictor: Any
    manifest: Manifest
    is_batchable: bool


class SiloModels:
    """The loaded versions of one brand."""

    def __init__(self, brand: str, home: Path) -> None:
        self._brand = brand
        self._store = BentoArtifactStore(home)
        self._loaded: dict[str, OrderedDict[str, SiloVersion]] = {}
        self._lock = threading.Lock()

    def load(self, model: str, digest: str) -> SiloVersion:
        """Return one version, loading it first if need be; the oldest unused one is dropped.

        Raises:
            BrandhouseError: If the artifact is altered, or the brand's code fails.
        """
        with self._lock:
            versions = self._loaded.setdefault(model, OrderedDict())
            if digest not in versions:
                versions[digest] = self._read(ModelKey(self._brand, model), digest)
            versions.move_to_end(digest)
            while len(versions) > KEPT_VERSIONS:
                versions.popitem(last=False)
            return versions[digest]

    def scores(self, model: str, digest: str, columns: dict[str, list[Any]]) -> list[Any]:
        """Return the scores of all rows; `columns` as decoded from JSON."""
        version = self.load(model, digest)
        scores: list[Any] = version.predictor.predict(decode_columns(columns, version.manifest.inputs)).tolist()
        return scores

    def _read(self, key: ModelKey, digest: str) -> SiloVersion:
        from brandhouse_shared.answering import load_predictor

        folder = self._store.find(key, digest)
        manifest = Manifest.model_validate_json((folder / MANIFEST_FILE).read_bytes())
        if manifest.key != key:
            raise ArtifactCorruptError(key, f"its manifest names {manifest.key}")
        predictor = load_predictor(folder, manifest)
        return SiloVersion(predictor, manifest, answers_together_as_alone(predictor, manifest, folder))


def answers_together_as_alone(predictor: Any, manifest: Manifest, folder: Path) -> bool:
    """Whether the version answers its own sample rows together, and many together, bit for bit as each alone.

    Trees, forests, boosting and naive Bayes do. Linear models often do not: the sum of a row's products is rounded in another
    order when rows are many, which changes the last digit. Features that look at other rows do not, by far.
    """
    file = folder / SAMPLE_FILE
    if not file.is_file():
        return False
    rows = [sample["instance"] for sample in json.loads(file.read_bytes())]
    if len(rows) < MIN_SAMPLE_ROWS:
        return False
    try:
        alone = [_bytes_of(predictor, manifest, [row]) for row in rows]
        return _bytes_of(predictor, manifest, rows) == b"".join(alone) and _bytes_of(predictor, manifest, rows[::-1] * 4) == b"".join(
            alone[::-1] * 4
        )
    except Exception as error:  # brand code may raise anything; then each request shall see that for itself
        logger.warning("%s could not answer its own sample: %s", manifest.key, describe_failure(error))
        return False


def _bytes_of(predictor: Any, manifest: Manifest, rows: list[Any]) -> bytes:
    answer: bytes = predictor.predict(manifest.contract.parse_rows(rows)).tobytes()
    return answer


def build_service(models: SiloModels) -> Any:
    """Build the BentoML service around one brand's models."""
    os.environ.setdefault("BENTOML_DO_NOT_TRACK", "true")
    import bentoml

    @bentoml.service(name="brandhouse_silo", traffic={"timeout": 300}, logging={"access": {"enabled": False}}, metrics={"enabled": False})
    class BrandSilo:
        """Answers for the python versions of one brand."""

        @bentoml.api(route="/predict")  # type: ignore[untyped-decorator]
        def predict(self, model: str, digest: str, columns: dict[str, list[Any]]) -> dict[str, Any]:
            """Return `scores`, or `error` with its class and place."""
            return _answer(lambda: {"scores": models.scores(model, digest, columns), "batchable": models.load(model, digest).is_batchable})

        @bentoml.api(route="/load")  # type: ignore[untyped-decorator]
        def load(self, model: str, digest: str) -> dict[str, Any]:
            """Load a version before it is needed."""
            return _answer(lambda: {"batchable": models.load(model, digest).is_batchable})

    return BrandSilo


def _answer(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return work()
    except Exception as error:  # brand code may raise anything; the gateway answers with another version
        place = describe_failure(error)
        logger.warning("a version could not answer: %s", place)
        return {"error": place}


def describe_failure(error: BaseException) -> str:
    """Class and place of an error and of what caused it, without its text, which may repeat a row's values."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{type(error).__name__} at {frames[-1].filename}:{frames[-1].lineno}" if frames else type(error).__name__
    return place if error.__cause__ is None else f"{place}, from {describe_failure(error.__cause__)}"


def only_json(app: Any) -> AsgiApp:
    """Let JSON bodies through and nothing else: BentoML would also accept its pickle content type from inner callers."""

    async def guarded(scope: Scope, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
        types = [value for name, value in scope.get("headers", ()) if name == b"content-type"]
        if scope["type"] == "http" and scope["method"] == "POST" and types != [b"application/json"]:
            await send({"type": "http.response.start", "status": 415, "headers": [(b"content-type", b"application/json")]})
            await send({"type": "http.response.body", "body": b'{"error":"only application/json is read"}'})
            return
        await app(scope, receive, send)

    return guarded


def decode_columns(columns: dict[str, list[Any]], inputs: Any) -> dict[str, list[Any]]:
    """Undo what JSON does to canonical columns: null is NaN in a number, and a date is a text."""
    decoded: dict[str, list[Any]] = {}
    for name, field in inputs.items():
        values = columns[name]
        if field.is_numeric:
            values = [float("nan") if value is None else float(value) for value in values]
        elif field.type is FieldType.DATE:
            values = [None if value is None else datetime.fromisoformat(value) for value in values]
        decoded[name] = values
    return decoded


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="brandhouse_serving.silo", description=__doc__)
    parser.add_argument("--brand", required=True)
    parser.add_argument("--socket", required=True, type=Path)
    parser.add_argument("--home", required=True, type=Path)
    parser.add_argument("--memory-mib", required=True, type=int)
    parser.add_argument("--parent", required=True, type=int, help="process id of the gateway")
    return parser.parse_args(arguments)


def _limit(memory_mib: int) -> None:
    """Limit what this process may do. What it maps read-only (libraries, models) does not count as memory."""
    os.umask(0o077)
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    limits = {
        resource.RLIMIT_DATA: memory_mib << 20,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: MAX_OPEN_FILES,
        resource.RLIMIT_NPROC: MAX_PROCESSES,
    }
    for kind, most in limits.items():
        allowed = resource.getrlimit(kind)[1]
        value = most if allowed == resource.RLIM_INFINITY else min(most, allowed)
        resource.setrlimit(kind, (value, value))


def _listen(path: Path) -> socket.socket:
    """Listen at `path`, in the place of a process that listened there before: it is replaced in one step."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(str(draft))
    finally:
        os.umask(before)
    listener.listen(1024)
    draft.rename(path)
    return listener


if __name__ == "__main__":
    main()
