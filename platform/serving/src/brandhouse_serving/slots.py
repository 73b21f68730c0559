"""One version that a route may ask: loaded when it is first needed, tried again after a pause if that failed."""

import asyncio
import time

from brandhouse_serving.failures import VersionFailedError
from brandhouse_serving.loading import LoadedVersion, VersionLoader
from brandhouse_shared.brands import Brand
from brandhouse_shared.ledger.records import Version

RELOAD_SECONDS = 15.0
"""Pause before a version that could not be loaded is tried again; its file may have been restored."""


class Slot:
    """One version that may be asked; loaded when it is first needed."""

    def __init__(self, version: Version, loader: VersionLoader) -> None:
        self.version = version
        self.loaded: LoadedVersion | None = None
        self._loader = loader
        self._failure: VersionFailedError | None = None
        self._retry_at = 0.0
        self._lock = asyncio.Lock()

    async def load(self, brand: Brand, *, wait_for_silo: bool = False) -> LoadedVersion:
        """Return the loaded version; many callers at once load it once.

        Raises:
            VersionFailedError: If it cannot be loaded. It is tried again after a pause.
        """
        async with self._lock:
            if self.loaded is not None:
                return self.loaded
            if self._failure is not None and time.monotonic() < self._retry_at:
                raise self._failure
            try:
                self.loaded = await self._loader.load(self.version, brand, wait_for_silo=wait_for_silo)
            except VersionFailedError as failure:
                self._failure, self._retry_at = failure, time.monotonic() + RELOAD_SECONDS
                raise
            return self.loaded
