"""What answering is made of, put together once a process: the gateway and the one-off `local` share it."""

import asyncio
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from brandhouse_serving import prediction_ids
from brandhouse_serving.brand_directory import BrandDirectory
from brandhouse_serving.check_series import CheckSeries
from brandhouse_serving.explanations import Explainer
from brandhouse_serving.failures import UnavailableError
from brandhouse_serving.keys import KeyRing
from brandhouse_serving.loading import VersionLoader
from brandhouse_serving.metrics import Metrics, ModelSeries, VersionSeries
from brandhouse_serving.prediction_log import Answer, JournaledPredictionLog, PredictionLog
from brandhouse_serving.replies import Answerer, Reply
from brandhouse_serving.residency import Residency
from brandhouse_serving.router import Route, Router
from brandhouse_serving.silo_pool import SiloPool
from brandhouse_serving.trial_answering import TrialAnswerer
from brandhouse_serving.trial_keeping import TrialKeeper
from brandhouse_serving.worker_place import ALONE, WorkerPlace
from brandhouse_shared.artifacts import load_artifact_store
from brandhouse_shared.errors import UnknownModelError
from brandhouse_shared.ledger import open_ledger
from brandhouse_shared.names import ModelKey, VersionKey
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
    residency: Residency
    trials: TrialAnswerer
    trial_keeper: TrialKeeper
    checks: CheckSeries
    explainer: Explainer
    home: Path
    brands: list[str] | None
    _version_series: dict[VersionKey, VersionSeries] = field(default_factory=dict)
    _model_series: dict[ModelKey, ModelSeries] = field(default_factory=dict)

    def series_of(self, key: ModelKey) -> ModelSeries:
        """What is counted of a model that has a route."""
        series = self._model_series.get(key)
        if series is None:
            series = self._model_series[key] = self.metrics.of_model(key)
        return series

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

    def make_ids(self, reply: Reply, count: int) -> tuple[list[str], int]:
        """Return one prediction id a row, and the time in them: milliseconds since 1970."""
        now_ms = time.time_ns() // 1_000_000
        return prediction_ids.make_many(reply.loaded.key, now_ms, count), now_ms

    def record(
        self, reply: Reply, rows: Sequence[Any], ids: Sequence[str], now_ms: int, started: float, rows_json: bytes | None = None
    ) -> None:
        """Write an answer down and count it.

        Args:
            reply: What was answered.
            rows: The request's objects.
            ids: One a row.
            now_ms: The time in the ids.
            started: `time.perf_counter()` when the request was complete.
            rows_json: The request's objects as JSON on one line, if they came so.
        """
        version = reply.loaded.key
        seconds = time.perf_counter() - started
        rule = reply.loaded.rule
        outputs = reply.predictions, reply.probabilities
        self.log.append(Answer(version, ids, rows, *outputs, now_ms, seconds * 1000, reply.served_by, rule, rows_json))
        series = self._version_series.get(version)
        if series is None:
            series = self._version_series[version] = self.metrics.of(version)
        series.count(len(rows), seconds)
        if reply.reason:
            self.metrics.count_fallback(version.brand, version.model, version.number, reply.served_by)

    async def close(self) -> None:
        """Write what is left to be written and end the brands' processes. No request may be left."""
        await self.trials.close()
        await self.trial_keeper.keep()
        await asyncio.gather(asyncio.to_thread(self.log.close), asyncio.to_thread(self.silos.stop), self.answerer.settle())


def build_parts(settings: Settings, brands: Collection[str] | None, place: WorkerPlace = ALONE) -> Parts:
    """Put the parts together for the named brands; None: all that have a folder.

    Args:
        settings: Where this process runs.
        brands: Names of the brands to serve; None: all that have a folder.
        place: This process's place among the gateway's processes.

    Raises:
        UnknownBrandError: If a named brand does not exist.
        LedgerVersionError: If the ledger is of another release.
    """
    directory = BrandDirectory(settings.brands_dir, brands)
    directory.check()
    ledger = open_ledger(settings.ledger_url.get_secret_value())
    silos = SiloPool(settings.home, settings.silo_memory_mib, place.folder, is_supervised=place.count > 1)
    metrics = Metrics(place.folder, place.number)
    residency = Residency(settings.model_memory_mib << 20, counts=metrics)
    loader = VersionLoader(load_artifact_store(settings), silos, residency)
    answerer = Answerer(ledger, loader)
    router = Router(ledger, directory, loader, place.count)
    return Parts(
        router=router,
        answerer=answerer,
        keys=KeyRing(ledger),
        directory=directory,
        log=JournaledPredictionLog(settings.home),
        metrics=metrics,
        silos=silos,
        residency=residency,
        trials=TrialAnswerer(answerer),
        trial_keeper=TrialKeeper(settings.home, ledger, router.trials, metrics),
        checks=CheckSeries(ledger),
        explainer=Explainer(answerer.readers),
        home=settings.home,
        brands=None if brands is None else sorted(brands),
    )
