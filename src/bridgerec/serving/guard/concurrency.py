"""Only so many requests are worked on at once, only so many wait, the rest are sent away."""

import asyncio

from starlette.types import ASGIApp, Receive, Scope, Send

from bridgerec.serving.guard.answers import refuse


class Bounded:
    """Answers 503 at once when the queue is full: under overload most are then answered in time
    and some not at all, instead of all too late."""

    def __init__(self, app: ASGIApp, running: int, waiting: int) -> None:
        self.app, self.most_waiting = app, waiting
        self.waiting = 0
        self._free = asyncio.Semaphore(running)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._free.locked() and self.waiting >= self.most_waiting:
            after = [(b"retry-after", b"1")]
            what = "too many requests are waiting"
            await refuse(scope, send, 503, "overloaded", what, "Try again in a second.", after)
            return
        self.waiting += 1
        try:
            await self._free.acquire()
        finally:
            self.waiting -= 1
        try:
            await self.app(scope, receive, send)
        finally:
            self._free.release()
