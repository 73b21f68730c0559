"""From a version's record to something that answers: verify the bytes, read the manifest, choose the runtime."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ParamSpec, TypeVar

from brandhouse_serving.answer_threads import AnswerThreads
from brandhouse_serving.failures import VersionFailedError
from brandhouse_serving.prediction_log import LogRule, build_log_rule
from brandhouse_serving.residency import SILO_VERSION_BYTES, Residency, compiled_bytes
from brandhouse_serving.runtimes import ConstantRuntime, FailedRuntime, InProcessRuntime, Runtime, SiloRuntime
from brandhouse_serving.silo_pool import SiloPool
from brandhouse_shared import artifacts
from brandhouse_shared.artifacts import MANIFEST_FILE, ONNX_FILE, ArtifactStore, Manifest
from brandhouse_shared.brands import Brand
from brandhouse_shared.config import Isolation
from brandhouse_shared.contracts import Contract
from brandhouse_shared.errors import ArtifactCorruptError
from brandhouse_shared.ledger.records import Version
from brandhouse_shared.names import VersionKey

LOAD_THREADS = 2
"""Versions that are loaded at once. A thread pool of their own: loading a thousand must not keep answers from a thread."""

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger(__name__)


Placement = tuple[Isolation, int | None]


def placement_of(brand: Brand) -> Placement:
    """Where the brand's versions answer, as it is declared now: isolation, and MiB of its own process."""
    return brand.config.isolation, brand.config.silo_memory_mib


@dataclass(frozen=True, slots=True)
class LoadedVersion:
    """One version, ready to answer.

    Attributes:
        contract: The input schema it was trained with; what requests to it are checked against.
        rule: What of its predictions may be kept.
        placement: Isolation and memory of a process of its own, as its brand had declared them when it was loaded.
        memory_bytes: What it is taken to need in this process.
        folder: Its files, checked when it was loaded; None if it has none.
        name: The version as answers name it.
        class_names: The classes as answers name them, in the order of the probabilities.
    """

    key: VersionKey
    manifest: Manifest
    contract: Contract
    runtime: Runtime
    rule: LogRule
    placement: Placement = (Isolation.POOL, None)
    memory_bytes: int = SILO_VERSION_BYTES
    folder: Path | None = None
    name: str = field(init=False)
    class_names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", str(self.key))
        object.__setattr__(self, "class_names", tuple(map(str, self.manifest.classes)))

    def as_baseline(self) -> "LoadedVersion":
        """The same version, answering its constant."""
        return replace(self, runtime=ConstantRuntime(self.manifest))


class VersionLoader:
    """Loads versions out of the artifact store."""

    def __init__(self, store: ArtifactStore, silos: SiloPool, residency: Residency) -> None:
        self.residency = residency
        self._store = store
        self._silos = silos
        self._answer_threads = AnswerThreads()
        self._threads = ThreadPoolExecutor(LOAD_THREADS, thread_name_prefix="load")

    async def load(self, version: Version, brand: Brand, *, wait_for_silo: bool) -> LoadedVersion:
        """Return the version ready to answer, or ready to say why it cannot.

        Args:
            version: What to load.
            brand: Its brand, as declared now.
            wait_for_silo: Whether to return only when the brand's own process has loaded it too.

        Raises:
            VersionFailedError: If its bytes are missing or altered, so that nothing of it can be believed.
        """
        is_silo = brand.config.isolation is Isolation.SILO
        folder = await self._in_thread(self._find, version)
        manifest, runtime, size = await self._in_thread(self._read, folder, version, is_silo)
        if runtime is None:
            runtime = await self._silo_runtime(version, brand, wait_for_silo)
        rule = build_log_rule(brand.config.capabilities, manifest.inputs)
        return LoadedVersion(version.key, manifest, manifest.contract, runtime, rule, placement_of(brand), size, folder)

    async def prepare(self) -> None:
        """Import what compiled versions need, so that the first request does not wait for it."""
        await self._in_thread(_import_engine)

    async def _in_thread(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: work(*args, **kwargs))

    def _read(self, folder: Path, version: Version, is_silo: bool) -> tuple[Manifest, Runtime | None, int]:
        """Manifest, runtime (None: the brand's own process) and size in memory."""
        manifest = _read_manifest(folder, version)
        if is_silo or manifest.runtime is artifacts.Runtime.PYTHON:
            return manifest, None, SILO_VERSION_BYTES
        return manifest, _in_process_runtime(folder, manifest, version, self._answer_threads), memory_bytes_of(folder, manifest)

    def _find(self, version: Version) -> Path:
        try:
            return self._store.find(version.record.key, version.record.artifact_digest)
        except ArtifactCorruptError as error:
            raise VersionFailedError(version.key, "artifact missing or altered", str(error)) from error

    async def _silo_runtime(self, version: Version, brand: Brand, wait: bool) -> Runtime:
        key, digest = version.record.key, version.record.artifact_digest
        self._silos.start(key.brand, brand.config.silo_memory_mib)
        if wait:
            try:
                await self._silos.load(key, digest)
            except VersionFailedError as error:
                logger.error("%s", error)  # it is asked again with each request, and another version answers
        return SiloRuntime(self._silos, key, digest)


def memory_bytes_of(folder: Path, manifest: Manifest) -> int:
    """Estimate what a version that needs no process of its own takes in memory."""
    if manifest.runtime is artifacts.Runtime.CONSTANT:
        return SILO_VERSION_BYTES
    return compiled_bytes((folder / ONNX_FILE).stat().st_size)


def _import_engine() -> None:
    import onnxruntime  # noqa: F401


def _read_manifest(folder: Path, version: Version) -> Manifest:
    manifest = Manifest.model_validate_json((folder / MANIFEST_FILE).read_bytes())
    if manifest.key != version.record.key:
        raise VersionFailedError(version.key, "artifact missing or altered", f"its manifest names {manifest.key}")
    return manifest


def _in_process_runtime(folder: Path, manifest: Manifest, version: Version, threads: AnswerThreads) -> Runtime:
    from brandhouse_shared.answering import load_predictor

    try:
        return InProcessRuntime(load_predictor(folder, manifest), version.key, threads)
    except Exception as error:  # a graph may fail to load in any way; the next version answers
        logger.error("%s could not be loaded: %s: %s", version.key, type(error).__name__, str(error)[:500])
        return FailedRuntime(str(version.key), "could not be loaded")
