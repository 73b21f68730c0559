"""What answering is made of, put together once a process: the gateway and the one-off `local` share it."""

import asyncio
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from brandhouse_serving import prediction_ids
from brandhouse_serving.brand_directory import BrandDirectory
from brandhouse_serving.keys import KeyRing
from brandhouse_serving.loading import VersionLoader
from brandhouse_serving.metrics import Metrics
from brandhouse_serving.prediction_log import Answer, JsonLinesPredictionLog, PredictionLog
from brandhouse_serving.replies import PRODUCTION, Answerer, Reply, UnavailableError
from brandhouse_serving.router import Route, Router
from brandhouse_serving.silo_pool import SiloPool
from brandhouse_shared.artifacts import load_artifact_store
from brandhouse_shared.errors import UnknownModelError
from brandhouse_shared.ledger import open_ledger
from brandhouse_shared.names import ModelKey
from brandhouse_shared.settings import Settings


@dataclass(frozen=True)
class Parts:
    """The parts of one serving process."""

    router: Router
    answerer: Answerer
    keys: KeyRing
    directory: BrandDirectory
    log: PredictionLog
    metrics: Metrics
    silos: SiloPool

    def find_route(self, key: ModelKey) -> Route:
        """Return the model's route.

        Raises:
            UnavailableError: If the model is declared and has no version in production.
            UnknownModelError: If its brand declares no such model.
        """
        route = self.router.table.get(key)
        if route is not None:
            return route
        brand = self.directory.find(key.brand)
        models = [] if brand is None else list(brand.config.models)
        if key.model in models:
            raise UnavailableError(key, "no version is in production")
        raise UnknownModelError(key.brand, key.model, models)

    def record(self, reply: Reply, rows: Sequence[Any], started: float) -> dict[str, Any]:
        """Write an answer down, count it, and return it as the API's document.

        Args:
            reply: What was answered.
            rows: The request's objects.
            started: `time.perf_counter()` when the request was complete.
        """
        version = reply.loaded.key
        now_ms = time.time_ns() // 1_000_000
        ids = prediction_ids.make_many(version, now_ms, len(rows))
        document: dict[str, Any] = {"model": str(version), "predictions": reply.predictions, "prediction_ids": ids}
        if reply.probabilities is not None:
            names = [str(label) for label in reply.loaded.manifest.classes]
            document["probabilities"] = [dict(zip(names, shares, strict=True)) for shares in reply.probabilities]
        seconds = time.perf_counter() - started
        rule = reply.loaded.rule
        self.log.append(Answer(version, ids, rows, reply.predictions, reply.probabilities, now_ms, seconds * 1000, reply.served_by, rule))
        self.metrics.count_answer(version.brand, version.model, version.number, len(rows), seconds)
        if reply.served_by != PRODUCTION:
            self.metrics.count_fallback(version.brand, version.model, version.number, reply.served_by)
        return document

    async def close(self) -> None:
        """Write what is left to be written and end the brands' processes. No request may be left."""
        await asyncio.gather(asyncio.to_thread(self.log.close), asyncio.to_thread(self.silos.stop), self.answerer.settle())


def build_parts(settings: Settings, brands: Collection[str] | None) -> Parts:
    """Put the parts together for the named brands; None: all that have a folder.

    Raises:
        UnknownBrandError: If a named brand does not exist.
        LedgerVersionError: If the ledger is of another release.
    """
    directory = BrandDirectory(settings.brands_dir, brands)
    directory.check()
    ledger = open_ledger(settings.ledger_url.get_secret_value())
    silos = SiloPool(settings.home, settings.silo_memory_mib)
    loader = VersionLoader(load_artifact_store(settings), silos)
    return Parts(
        router=Router(ledger, directory, loader),
        answerer=Answerer(ledger, loader),
        keys=KeyRing(ledger),
        directory=directory,
        log=JsonLinesPredictionLog(settings.home),
        metrics=Metrics(),
        silos=silos,
    )
