"""One brand's own process: a BentoML service on a private unix socket that runs the brand's Python.

`python -m brandhouse_serving.silo --brand X --socket PATH --home HOME --memory-mib N --parent PID`. Started and
supervised by the gateway (`silo_pool`), gone when the gateway is gone. It reads this brand's artifacts and nothing
else: no ledger, no keys, no other brand's secret is in its environment.
"""

import argparse
import asyncio
import ctypes
import logging
import os
import resource
import signal
import socket
import sys
import threading
import traceback
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import datetime
from pathlib import Path
from typing import Any

from brandhouse_serving.model_store import BentoArtifactStore
from brandhouse_shared.artifacts import MANIFEST_FILE, Manifest
from brandhouse_shared.config import FieldType
from brandhouse_shared.errors import ArtifactCorruptError
from brandhouse_shared.names import ModelKey

KEPT_VERSIONS = 2
"""Loaded versions a model: the one in production and the one before, which answers if the new one cannot."""

PR_SET_PDEATHSIG = 1

logger = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
AsgiApp = Callable[[Scope, Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]]


def main(arguments: list[str] | None = None) -> None:
    """Run the service of one brand until SIGTERM or the gateway's end."""
    options = _parse(arguments)
    _die_with(options.parent)
    _limit_memory(options.memory_mib)
    import uvicorn

    app = only_json(build_service(SiloModels(options.brand, options.home)).to_asgi())
    listener = _listen(options.socket)
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=3)
    asyncio.run(uvicorn.Server(config).serve(sockets=[listener]))


class SiloModels:
    """The loaded versions of one brand."""

    def __init__(self, brand: str, home: Path) -> None:
        self._brand = brand
        self._store = BentoArtifactStore(home)
        self._loaded: dict[str, OrderedDict[str, tuple[Any, Manifest]]] = {}
        self._lock = threading.Lock()

    def load(self, model: str, digest: str) -> tuple[Any, Manifest]:
        """Return the predictor of one version and its manifest, loading it first if need be; the oldest unused one is dropped.

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
        predictor, manifest = self.load(model, digest)
        scores: list[Any] = predictor.predict(decode_columns(columns, manifest.inputs)).tolist()
        return scores

    def _read(self, key: ModelKey, digest: str) -> tuple[Any, Manifest]:
        from brandhouse_shared.answering import load_predictor

        folder = self._store.find(key, digest)
        manifest = Manifest.model_validate_json((folder / MANIFEST_FILE).read_bytes())
        if manifest.key != key:
            raise ArtifactCorruptError(key, f"its manifest names {manifest.key}")
        return load_predictor(folder, manifest), manifest


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
            return _answer(lambda: {"scores": models.scores(model, digest, columns)})

        @bentoml.api(route="/load")  # type: ignore[untyped-decorator]
        def load(self, model: str, digest: str) -> dict[str, Any]:
            """Load a version before it is needed."""
            return _answer(lambda: {"loaded": bool(models.load(model, digest))})

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


def _die_with(parent: int) -> None:
    """Ask the kernel to end this process when the gateway ends, however it ends."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the kernel was asked
        sys.exit(1)


def _limit_memory(mib: int) -> None:
    """Limit what this process may write to; what it maps read-only (libraries, models) does not count."""
    resource.setrlimit(resource.RLIMIT_DATA, (mib << 20, mib << 20))


def _listen(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(before)
    listener.listen(1024)
    return listener


if __name__ == "__main__":
    main()
