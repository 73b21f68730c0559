"""How much one brand may ask of the gateway: requests a second, requests at once, bytes a request."""

import math
import time
from collections.abc import Callable

from brandhouse_shared.config import DEFAULT_MAX_BODY_BYTES, Serving
from brandhouse_shared.names import ModelKey

MAX_BODY_BYTES = DEFAULT_MAX_BODY_BYTES
"""Largest request body where no brand's own limit applies."""

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


class Gate:
    """At most so many requests of one model at once: read, and not yet answered."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.running = 0

    @property
    def is_full(self) -> bool:
        """Whether another request would be refused."""
        return self.running >= self.most

    def enter(self) -> bool:
        """Take a place, to be given back by `leave`. False if there is none."""
        if self.running >= self.most:
            return False
        self.running += 1
        return True

    def leave(self) -> None:
        """Give a place back."""
        self.running -= 1


class LimitBook:
    """The limits of all models in one of the gateway's processes; each process keeps its share by itself."""

    def __init__(self, processes: int = 1) -> None:
        self._processes = processes
        self._buckets: dict[ModelKey, TokenBucket] = {}
        self._gates: dict[ModelKey, Gate] = {}

    def bucket(self, key: ModelKey, declared: Serving) -> TokenBucket | None:
        """The model's rate limit, the same object while the limit stays the same; None without a limit."""
        if declared.rate_per_second is None:
            self._buckets.pop(key, None)
            return None
        share = declared.rate_per_second / self._processes
        present = self._buckets.get(key)
        if present is None or present.rate_per_second != share:
            present = self._buckets[key] = TokenBucket(share)
        return present

    def gate(self, key: ModelKey, declared: Serving) -> Gate | None:
        """The model's limit of requests at once, the same object always; None without a limit."""
        if declared.concurrency is None:
            self._gates.pop(key, None)
            return None
        share = math.ceil(declared.concurrency / self._processes)
        present = self._gates.get(key)
        if present is None:
            present = self._gates[key] = Gate(share)
        present.most = share  # who is in stays in
        return present
