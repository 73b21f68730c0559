"""Which version answers for a model, now: follows the ledger and keeps what is needed to answer in memory.

The routing table is an immutable mapping that is replaced as a whole. A request takes its route once and keeps it, so
that a promotion changes nothing under a running request; a new version is loaded before the old one is let go.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from brandhouse_serving.brand_directory import BrandDirectory
from brandhouse_serving.failures import VersionFailedError
from brandhouse_serving.limits import Gate, LimitBook, TokenBucket
from brandhouse_serving.loading import VersionLoader
from brandhouse_serving.residency import VERSION_BYTES
from brandhouse_serving.slots import Slot
from brandhouse_serving.stage_following import StageFollower
from brandhouse_serving.trial_routes import RouteTrial, TrialBook
from brandhouse_shared.brands import Brand
from brandhouse_shared.config import ModelConfig
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import Version
from brandhouse_shared.ledger.stages import Stage
from brandhouse_shared.names import ModelKey, VersionKey

POLL_SECONDS = 0.25
"""How often the ledger is asked whether anything has happened: a promotion is followed well within a second."""

REREAD_SECONDS = 5.0
"""How often `brand.toml` files are looked at again, for limits and capabilities."""

STALE_SECONDS = 30.0
"""Without a look into the ledger for so long the process calls itself not ready; it goes on answering."""

WARM_SECONDS = 10.0
"""So long after the start the process calls itself ready, whatever is still being loaded."""

WARMING = 4
"""Versions that are warmed up at once: brands' own processes take seconds to start, and requests need the cores too."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Route:
    """Everything that one request to one model needs.

    Attributes:
        previous: What answered before, if this gateway saw the change; it is still loaded.
        bucket: The rate limit, shared by all routes of the model over time; None without a limit.
        gate: The limit of requests at once; likewise.
        trial: Versions in canary and shadow; None if there are none, or none that was loaded.
    """

    key: ModelKey
    brand: Brand
    config: ModelConfig
    production: Slot
    previous: Slot | None
    bucket: TokenBucket | None
    trial: RouteTrial | None = None
    gate: Gate | None = None


class Router:
    """The routing table and what keeps it true."""

    def __init__(self, ledger: Ledger, directory: BrandDirectory, loader: VersionLoader, processes: int = 1) -> None:
        """`processes` share the limits of each model evenly."""
        self._stages = StageFollower(ledger)
        self._directory = directory
        self._loader = loader
        self._undeclared: set[ModelKey] = set()
        self._wanted: dict[ModelKey, VersionKey] = {}
        self._slots: dict[ModelKey, tuple[Slot, Slot | None]] = {}
        self._production: dict[ModelKey, Version] = {}
        self._on_trial: dict[ModelKey, list[tuple[Version, Slot]]] = {}
        self._limits = LimitBook(processes)
        self._switching: dict[ModelKey, VersionKey] = {}
        self._switches: set[asyncio.Task[None]] = set()
        self._table: Mapping[ModelKey, Route] = MappingProxyType({})
        self._seen_at = 0.0
        self._warming = asyncio.Semaphore(WARMING)
        self._is_warm = False
        self.trials = TrialBook()

    @property
    def is_current(self) -> bool:
        """Whether the ledger was read a short while ago."""
        return time.monotonic() - self._seen_at < STALE_SECONDS

    @property
    def seq(self) -> int:
        """Of the newest stage event that was taken over; -1: none was looked for yet."""
        return self._stages.seq

    @property
    def is_warm(self) -> bool:
        """Whether the versions that were in production at the start have been loaded, or tried, as far as memory and time went."""
        return self._is_warm

    @property
    def table(self) -> Mapping[ModelKey, Route]:
        """The routes as they are now."""
        return self._table

    async def follow(self, also: Callable[[], None] | None = None) -> None:
        """Follow the ledger until cancelled. `also` is called with each look, in a thread."""
        reread_at = time.monotonic() + REREAD_SECONDS
        while True:
            await asyncio.sleep(POLL_SECONDS)
            try:
                if also is not None:
                    await asyncio.to_thread(also)
                await self.refresh()
                if time.monotonic() >= reread_at:
                    await self._reread()
                    reread_at = time.monotonic() + REREAD_SECONDS
            except Exception as error:  # the ledger may be away for a while: what is loaded goes on answering
                logger.error("the ledger cannot be followed: %s: %s", type(error).__name__, str(error)[:300])

    async def _reread(self) -> None:
        """Take over what has changed in `brand.toml` files. The files are looked at in a thread: there may be a thousand."""
        brands = {key.brand for key in self._slots}
        if await asyncio.to_thread(self._directory.reread, brands):
            self._rebuild()
            for route in self._table.values():
                self._in_background(self._isolate(route))
        self._load_trials()  # a version that could not be loaded before may have been restored

    async def _isolate(self, route: Route) -> None:
        """Load a model's versions anew if its brand has another isolation now; the present ones answer meanwhile."""
        for slot in filter(None, (route.production, route.previous, *(slot for _, slot in self._on_trial.get(route.key, ())))):
            try:
                await slot.isolate(route.brand)
            except VersionFailedError as failure:
                logger.error("%s: its isolation could not be changed: %s", route.key, failure)

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._switches.add(task)
        task.add_done_callback(self._switches.discard)

    async def refresh(self, *, with_trials: bool = True) -> None:
        """Look into the ledger once and take over what has changed; `with_trials`: versions in canary and shadow, too."""
        changes = await asyncio.to_thread(self._stages.read)
        self._seen_at = time.monotonic()
        if changes is None:
            return
        await asyncio.to_thread(self._directory.reread, {version.key.brand for version in changes.versions})
        changed = {*self._stages.take_over(changes), *self._undeclared}
        for key in changed:
            self._take_over(key, self._stages.production.get(key))
        self._take_over_trials(self._stages.trials if with_trials else [])
        self._rebuild(changed)
        self._stages.settle(changes)

    async def prepare(self) -> None:
        """Import what answering needs, so that no request waits for it."""
        await self._loader.prepare()

    async def warm_up(self) -> None:
        """Load versions in production and start the brands' own processes, the newest versions first, until memory is used up.

        The process calls itself warm when that is done, and at the latest after `WARM_SECONDS`: what is not loaded by then is
        loaded by the first request to it.
        """
        routes = sorted(self._table.values(), key=lambda route: route.production.version.record.created_at, reverse=True)
        work = asyncio.gather(*(self._warm_up(route) for route in routes))
        try:
            await asyncio.wait_for(asyncio.shield(work), WARM_SECONDS)
        except TimeoutError:
            self._is_warm = True
            await work
        self._is_warm = True

    async def _warm_up(self, route: Route) -> None:
        async with self._warming:
            if not self._loader.residency.has_room_for(VERSION_BYTES):
                return
            try:
                await route.production.load(route.brand, wait_for_silo=True)
            except VersionFailedError as failure:
                logger.error("%s", failure)

    async def settle(self) -> None:
        """Return when all switches under way are done; for a clean stop and for tests."""
        await asyncio.gather(*self._switches)

    def _take_over(self, key: ModelKey, version: Version | None) -> None:
        """Take over which version of a model is in production; None: none is."""
        is_declared = self._declared(key)
        if version is None or not is_declared:
            for known in (self._slots, self._wanted, self._production):
                known.pop(key, None)
            # The declaration may come after the version: it is looked for again when something happens.
            (self._undeclared.discard if version is None else self._undeclared.add)(key)
            return
        self._undeclared.discard(key)
        self._wanted[key], self._production[key] = version.key, version
        present = self._slots.get(key)
        if present is None:
            self._slots[key] = (self._trial_slot(version) or Slot(version, self._loader), None)
        elif present[0].version.key != version.key and self._switching.get(key) != version.key:
            self._switching[key] = version.key
            self._in_background(self._switch(key, version, present, self._trial_slot(version)))

    def _trial_slot(self, version: Version) -> Slot | None:
        """The slot of a version that is on trial, or was until now."""
        return next((slot for other, slot in self._on_trial.get(version.key.model_key, ()) if other.key == version.key), None)

    def _take_over_trials(self, versions: Sequence[Version]) -> None:
        """Take over which versions are in canary and shadow; they are asked from when they are loaded."""
        slots = {other.key: slot for pairs in self._on_trial.values() for other, slot in pairs}
        found: dict[ModelKey, list[tuple[Version, Slot]]] = {}
        for version in versions:
            key = version.key.model_key
            is_without_share = version.stage is Stage.CANARY and version.share is None  # of a release that did not know shares
            if key in self._production and not is_without_share:
                found.setdefault(key, []).append((version, slots.get(version.key) or Slot(version, self._loader)))
        self._on_trial = found
        self.trials.end_all_but(found.keys())
        self._load_trials()

    def _load_trials(self) -> None:
        for pairs in self._on_trial.values():
            for version, slot in pairs:
                if not slot.has_loaded:
                    self._in_background(self._load_trial(version.key, slot))

    async def _load_trial(self, version: VersionKey, slot: Slot) -> None:
        brand = self._directory.known(version.brand)
        if brand is None:
            return
        try:
            await slot.load(brand, wait_for_silo=True)
        except VersionFailedError as failure:
            if self.trials.note_load(version, failure.reason):
                logger.error("%s is on trial and cannot be loaded: %s", version, failure)
            return
        self.trials.note_load(version, "")
        self._rebuild([version.model_key])

    async def _switch(self, key: ModelKey, version: Version, present: tuple[Slot, Slot | None], tried: Slot | None) -> None:
        """Load a new version while the old one answers, then let requests go to the new one."""
        old, before = present
        brand = self._directory.known(key.brand)
        back = before is not None and before.version.key == version.key  # a rollback: it is still loaded
        slot = before if back and before is not None else tried or Slot(version, self._loader)
        if brand is not None:
            try:
                await slot.load(brand, wait_for_silo=True)
            except VersionFailedError as failure:
                logger.error("%s", failure)  # the ledger says it is in production: the previous one answers, and says so
        if self._switching.get(key) == version.key:
            del self._switching[key]
        if self._wanted.get(key) == version.key:
            previous = old if old.has_loaded else before
            self._slots[key] = (slot, previous)
            slot.is_standby = False
            if previous is not None:
                previous.is_standby = True
            self._rebuild([key])

    def _rebuild(self, keys: Collection[ModelKey] | None = None) -> None:
        """Make the table anew, with new routes of these models, None: of all. A route that stays as it is stays the same object."""
        table = dict(self._table)
        for key in self._slots.keys() | table.keys() if keys is None else keys:
            route = self._route(key, *self._slots[key]) if key in self._slots else None
            if route is None:
                table.pop(key, None)
            else:
                table[key] = route
        self._table = MappingProxyType(table)

    def _route(self, key: ModelKey, production: Slot, previous: Slot | None) -> Route | None:
        brand = self._directory.known(key.brand)
        if brand is None or key.model not in brand.config.models:
            return None
        present = self._table.get(key)
        config = brand.config.models[key.model]
        trial = self._trial(key, production, config)
        is_same = present is not None and present.brand is brand and present.production is production
        if present is not None and is_same and present.previous is previous and present.trial == trial:
            return present
        return Route(
            key,
            brand,
            config,
            production,
            previous,
            self._limits.bucket(key, config.serving),
            trial,
            self._limits.gate(key, config.serving),
        )

    def _trial(self, key: ModelKey, production: Slot, config: ModelConfig) -> RouteTrial | None:
        pairs = self._on_trial.get(key)
        if pairs is None:
            return None
        version = self._production[key]
        if version.key != production.version.key:  # the switch to the next one is under way: what is on trial stays until then
            present = self._table.get(key)
            return present.trial if present is not None else None
        return self.trials.join(pairs, version, config)

    def _declared(self, key: ModelKey) -> bool:
        brand = self._directory.known(key.brand)
        return brand is not None and key.model in brand.config.models
