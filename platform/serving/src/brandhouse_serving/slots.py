"""One version that a route may ask: loaded when it is first needed, tried again after a pause if that failed."""

import asyncio
import time

from brandhouse_serving.failures import VersionFailedError
from brandhouse_serving.loading import LoadedVersion, VersionLoader, placement_of
from brandhouse_shared.brands import Brand
from brandhouse_shared.ledger.records import Version

RELOAD_SECONDS = 15.0
"""Pause before a version that could not be loaded is tried again; its file may have been restored."""


class Slot:
    """One version that may be asked; loaded when it is needed, and unloaded when others need the memory more.

    Attributes:
        used: When it was last asked, in the residency's own time.
        is_standby: Whether it is kept in case that another version fails, and so the first to be unloaded.
        has_loaded: Whether it was loaded once: it can be asked, even if it would have to be loaded again.
    """

    def __init__(self, version: Version, loader: VersionLoader) -> None:
        self.version = version
        self.used = 0
        self.is_standby = False
        self.has_loaded = False
        self._loaded: LoadedVersion | None = None
        self._loader = loader
        self._residency = loader.residency
        self._failure: VersionFailedError | None = None
        self._retry_at = 0.0
        self._lock: asyncio.Lock | None = None

    @property
    def loaded(self) -> LoadedVersion | None:
        """The loaded version, to be asked now; None if it must be loaded first. Who holds it may use it for as long as needed."""
        self.used = self._residency.epoch
        return self._loaded

    @property
    def memory_bytes(self) -> int:
        """What it takes in memory now; 0 if it is not loaded. No use of it."""
        return 0 if self._loaded is None else self._loaded.memory_bytes

    def unload(self) -> None:
        """Forget what is loaded; it is freed when the last request that uses it has answered."""
        self._loaded = None

    async def load(self, brand: Brand, *, wait_for_silo: bool = False) -> LoadedVersion:
        """Return the loaded version; many callers at once load it once.

        Raises:
            VersionFailedError: If it cannot be loaded. It is tried again after a pause.
        """
        if self._lock is None:
            self._lock = asyncio.Lock()
        async with self._lock:
            if self._loaded is not None:
                return self._loaded
            if self._failure is not None and time.monotonic() < self._retry_at:
                raise self._failure
            return await self._load(brand, wait_for_silo)

    async def isolate(self, brand: Brand) -> None:
        """Load it anew if the brand declares another isolation or memory now; the present one answers until that is done.

        Raises:
            VersionFailedError: If it cannot be loaded; the present one goes on answering.
        """
        if self._loaded is None or self._loaded.placement == placement_of(brand) or self._lock is None:
            return
        async with self._lock:
            await self._load(brand, wait_for_silo=True)

    async def _load(self, brand: Brand, wait_for_silo: bool) -> LoadedVersion:
        try:
            loaded = self._loaded = await self._loader.load(self.version, brand, wait_for_silo=wait_for_silo)
        except VersionFailedError as failure:
            self._failure, self._retry_at = failure, time.monotonic() + RELOAD_SECONDS
            if self._residency.counts is not None:
                self._residency.counts.count_load_failure(self.version.key)
            raise
        self._failure = None
        self.has_loaded = True
        self._residency.admit(self)
        return loaded
