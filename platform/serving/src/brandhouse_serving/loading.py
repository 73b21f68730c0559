"""From a version's record to something that answers: verify the bytes, read the manifest, choose the runtime."""

import asyncio
import logging
from dataclasses import dataclass, replace
from pathlib import Path

from brandhouse_serving.failures import VersionFailedError
from brandhouse_serving.prediction_log import LogRule, build_log_rule
from brandhouse_serving.runtimes import ConstantRuntime, FailedRuntime, InProcessRuntime, Runtime, SiloRuntime
from brandhouse_serving.silo_pool import SiloPool
from brandhouse_shared import artifacts
from brandhouse_shared.artifacts import MANIFEST_FILE, ArtifactStore, Manifest
from brandhouse_shared.brands import Brand
from brandhouse_shared.config import Isolation
from brandhouse_shared.contracts import Contract
from brandhouse_shared.errors import ArtifactCorruptError
from brandhouse_shared.ledger.records import Version
from brandhouse_shared.names import VersionKey

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoadedVersion:
    """One version, ready to answer.

    Attributes:
        contract: The input schema it was trained with; what requests to it are checked against.
        rule: What of its predictions may be kept.
    """

    key: VersionKey
    manifest: Manifest
    contract: Contract
    runtime: Runtime
    rule: LogRule

    def as_baseline(self) -> "LoadedVersion":
        """The same version, answering its constant."""
        return replace(self, runtime=ConstantRuntime(self.manifest))


class VersionLoader:
    """Loads versions out of the artifact store."""

    def __init__(self, store: ArtifactStore, silos: SiloPool) -> None:
        self._store = store
        self._silos = silos

    async def load(self, version: Version, brand: Brand, *, wait_for_silo: bool) -> LoadedVersion:
        """Return the version ready to answer, or ready to say why it cannot.

        Args:
            version: What to load.
            brand: Its brand, as declared now.
            wait_for_silo: Whether to return only when the brand's own process has loaded it too.

        Raises:
            VersionFailedError: If its bytes are missing or altered, so that nothing of it can be believed.
        """
        folder = await asyncio.to_thread(self._find, version)
        manifest = await asyncio.to_thread(_read_manifest, folder, version)
        runtime = await self._runtime(version, manifest, folder, brand, wait_for_silo)
        rule = build_log_rule(brand.config.capabilities, manifest.inputs)
        return LoadedVersion(version.key, manifest, manifest.contract, runtime, rule)

    def _find(self, version: Version) -> Path:
        try:
            return self._store.find(version.record.key, version.record.artifact_digest)
        except ArtifactCorruptError as error:
            raise VersionFailedError(version.key, "artifact missing or altered", str(error)) from error

    async def _runtime(self, version: Version, manifest: Manifest, folder: Path, brand: Brand, wait_for_silo: bool) -> Runtime:
        if manifest.runtime is artifacts.Runtime.PYTHON or brand.config.isolation is Isolation.SILO:
            return await self._silo_runtime(version, wait_for_silo)
        return await asyncio.to_thread(_in_process_runtime, folder, manifest, version)

    async def _silo_runtime(self, version: Version, wait: bool) -> Runtime:
        key, digest = version.record.key, version.record.artifact_digest
        self._silos.start(key.brand)
        if wait:
            try:
                await self._silos.load(key, digest)
            except VersionFailedError as error:
                logger.error("%s", error)  # it is asked again with each request, and another version answers
        return SiloRuntime(self._silos, key, digest)


def _read_manifest(folder: Path, version: Version) -> Manifest:
    manifest = Manifest.model_validate_json((folder / MANIFEST_FILE).read_bytes())
    if manifest.key != version.record.key:
        raise VersionFailedError(version.key, "artifact missing or altered", f"its manifest names {manifest.key}")
    return manifest


def _in_process_runtime(folder: Path, manifest: Manifest, version: Version) -> Runtime:
    from brandhouse_shared.answering import load_predictor

    try:
        return InProcessRuntime(load_predictor(folder, manifest), str(version.key))
    except Exception as error:  # a graph may fail to load in any way; the next version answers
        logger.error("%s could not be loaded: %s: %s", version.key, type(error).__name__, str(error)[:500])
        return FailedRuntime(str(version.key), "could not be loaded")
