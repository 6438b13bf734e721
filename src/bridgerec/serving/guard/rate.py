"""So many requests per second and key, by token buckets.

Exact within a process.  Several workers do not talk about it: each grants its share, so a client
with one connection, which always meets the same worker, gets that share alone.
"""

import math
import time
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from bridgerec.serving.guard.answers import refuse, state

ROUNDING = 1e-6  # of a token: sums of small steps are not exact


class Bucket:
    """Holds up to `burst` tokens and gains `rate` of them per second."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], float]) -> None:
        self.rate, self.burst, self.clock = rate, burst, clock
        self.tokens, self.time = burst, clock()

    def take(self) -> float:
        """Take a token and return 0; or the seconds until there will be one."""
        now = self.clock()
        self.tokens = min(self.burst, self.tokens + (now - self.time) * self.rate)
        self.time = now
        if self.tokens > 1 - ROUNDING:
            self.tokens -= 1
            return 0.0
        return (1 - self.tokens) / self.rate


class RateLimited:
    """Answers 429 to a key that asks too often.  An open service has no keys and no limit."""

    def __init__(
        self,
        app: ASGIApp,
        rate: float,
        burst: int,
        workers: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.app, self.rate, self.burst, self.workers, self.clock = app, rate, burst, workers, clock
        self._buckets: dict[str, Bucket] = {}  # as many as there are keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        key = state(scope).get("key")
        if key is not None and key.id:
            total = key.rate or self.rate
            bucket = self._buckets.get(key.id)
            if bucket is None or bucket.rate != total / self.workers:
                burst = max(1.0, self.burst * total / self.rate / self.workers)
                bucket = Bucket(total / self.workers, burst, self.clock)
                self._buckets[key.id] = bucket
            wait = bucket.take()
            if wait:
                after = [(b"retry-after", str(math.ceil(wait)).encode())]
                what = f"this key may ask {total:g} times per second"
                remedy = "Wait as long as Retry-After says; put several requests into one batch."
                await refuse(scope, send, 429, "rate_limited", what, remedy, after)
                return
        await self.app(scope, receive, send)
