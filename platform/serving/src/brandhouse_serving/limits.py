"""How much one brand may ask of the gateway: requests a second."""

import math
import time
from collections.abc import Callable

MAX_BODY_BYTES = 2_000_000
"""Largest request body. 1,000 rows of 50 fields are about 1 MB."""

BODY_SECONDS = 10.0
"""How long a client may take to send a body."""


class TokenBucket:
    """At most `rate` requests a second, with one second's worth (at least one) at once after a pause."""

    def __init__(self, rate_per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate_per_second = rate_per_second
        self._capacity = max(1.0, rate_per_second)
        self._tokens = self._capacity
        self._clock = clock
        self._at = clock()

    def take(self) -> int:
        """Take one token. Return 0, or after how many whole seconds to come again."""
        now = self._clock()
        self._tokens = min(self._capacity, self._tokens + (now - self._at) * self.rate_per_second)
        self._at = now
        if self._tokens >= 1:
            self._tokens -= 1
            return 0
        return math.ceil((1 - self._tokens) / self.rate_per_second)
