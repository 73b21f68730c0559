"""Which version answers for a model, now: follows the ledger and keeps what is needed to answer in memory.

The routing table is an immutable mapping that is replaced as a whole. A request takes its route once and keeps it, so
that a promotion changes nothing under a running request; a new version is loaded before the old one is let go.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from brandhouse_serving.brand_directory import BrandDirectory
from brandhouse_serving.failures import VersionFailedError
from brandhouse_serving.limits import TokenBucket
from brandhouse_serving.loading import VersionLoader
from brandhouse_serving.slots import Slot
from brandhouse_shared.brands import Brand
from brandhouse_shared.config import ModelConfig
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import Version
from brandhouse_shared.names import ModelKey, VersionKey

POLL_SECONDS = 0.25
"""How often the ledger is asked whether anything has happened: a promotion is followed well within a second."""

REREAD_SECONDS = 5.0
"""How often `brand.toml` files are looked at again, for limits and capabilities."""

STALE_SECONDS = 30.0
"""Without a look into the ledger for so long the process calls itself not ready; it goes on answering."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Route:
    """Everything that one request to one model needs.

    Attributes:
        previous: What answered before, if this gateway saw the change; it is still loaded.
        bucket: The rate limit, shared by all routes of the model over time; None without a limit.
    """

    key: ModelKey
    brand: Brand
    config: ModelConfig
    production: Slot
    previous: Slot | None
    bucket: TokenBucket | None


class Router:
    """The routing table and what keeps it true."""

    def __init__(self, ledger: Ledger, directory: BrandDirectory, loader: VersionLoader) -> None:
        self._ledger = ledger
        self._directory = directory
        self._loader = loader
        self._seq = -1
        self._wanted: dict[ModelKey, VersionKey] = {}
        self._slots: dict[ModelKey, tuple[Slot, Slot | None]] = {}
        self._buckets: dict[ModelKey, TokenBucket] = {}
        self._switching: dict[ModelKey, VersionKey] = {}
        self._switches: set[asyncio.Task[None]] = set()
        self._table: Mapping[ModelKey, Route] = MappingProxyType({})
        self._seen_at = 0.0
        self._is_warm = False

    @property
    def is_current(self) -> bool:
        """Whether the ledger was read a short while ago."""
        return time.monotonic() - self._seen_at < STALE_SECONDS

    @property
    def is_warm(self) -> bool:
        """Whether all versions that were in production at the start have been loaded, or tried."""
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
                    self._rebuild()
                    reread_at = time.monotonic() + REREAD_SECONDS
            except Exception as error:  # the ledger may be away for a while: what is loaded goes on answering
                logger.error("the ledger cannot be followed: %s: %s", type(error).__name__, str(error)[:300])

    async def refresh(self) -> None:
        """Look into the ledger once and take over what has changed."""
        seq = await asyncio.to_thread(self._ledger.last_seq)
        self._seen_at = time.monotonic()
        if seq == self._seq:
            return
        production = await asyncio.to_thread(self._ledger.production_versions)
        served = {key: version for key, version in production.items() if self._declared(key)}
        self._wanted = {key: version.key for key, version in served.items()}
        for key in self._slots.keys() - served.keys():
            del self._slots[key]
        for key, version in served.items():
            self._take_over(key, version)
        self._rebuild()
        self._seq = seq

    async def warm_up(self) -> None:
        """Load all versions in production and start the brands' own processes."""
        await asyncio.gather(*(self._warm_up(route) for route in self._table.values()))
        self._is_warm = True

    async def _warm_up(self, route: Route) -> None:
        try:
            await route.production.load(route.brand, wait_for_silo=True)
        except VersionFailedError as failure:
            logger.error("%s", failure)

    async def settle(self) -> None:
        """Return when all switches under way are done; for a clean stop and for tests."""
        await asyncio.gather(*self._switches)

    def _take_over(self, key: ModelKey, version: Version) -> None:
        present = self._slots.get(key)
        if present is None:
            self._slots[key] = (Slot(version, self._loader), None)
        elif present[0].version.key != version.key and self._switching.get(key) != version.key:
            self._switching[key] = version.key
            task = asyncio.create_task(self._switch(key, version, present))
            self._switches.add(task)
            task.add_done_callback(self._switches.discard)

    async def _switch(self, key: ModelKey, version: Version, present: tuple[Slot, Slot | None]) -> None:
        """Load a new version while the old one answers, then let requests go to the new one."""
        old, before = present
        brand = self._directory.find(key.brand)
        back = before is not None and before.version.key == version.key  # a rollback: it is still loaded
        slot = before if back and before is not None else Slot(version, self._loader)
        if brand is not None:
            try:
                await slot.load(brand, wait_for_silo=True)
            except VersionFailedError as failure:
                logger.error("%s", failure)  # the ledger says it is in production: the previous one answers, and says so
        if self._switching.get(key) == version.key:
            del self._switching[key]
        if self._wanted.get(key) == version.key:
            self._slots[key] = (slot, old if old.loaded is not None else before)
            self._rebuild()

    def _rebuild(self) -> None:
        routes = {}
        for key, (production, previous) in sorted(self._slots.items()):
            brand = self._directory.find(key.brand)
            if brand is not None and key.model in brand.config.models:
                config = brand.config.models[key.model]
                routes[key] = Route(key, brand, config, production, previous, self._bucket(key, config))
        self._table = MappingProxyType(routes)

    def _bucket(self, key: ModelKey, config: ModelConfig) -> TokenBucket | None:
        rate = config.serving.rate_per_second
        if rate is None:
            self._buckets.pop(key, None)
            return None
        present = self._buckets.get(key)
        if present is None or present.rate_per_second != rate:
            self._buckets[key] = TokenBucket(rate)
        return self._buckets[key]

    def _declared(self, key: ModelKey) -> bool:
        brand = self._directory.find(key.brand)
        return brand is not None and key.model in brand.config.models
