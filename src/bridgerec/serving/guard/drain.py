"""Leaving without dropping anybody: what is being answered is finished, what comes new is not."""

import asyncio
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from bridgerec.serving.guard.answers import refuse

LIVENESS = frozenset({"/livez", "/healthz"})
STEP = 0.02  # seconds


class Drain:
    """Counts requests; from a SIGTERM (or SIGINT) on it answers 503 with `Connection: close`, and
    lets the server stop when the last one is answered or after `seconds`."""

    def __init__(self, app: ASGIApp, seconds: float) -> None:
        self.app, self.seconds = app, seconds
        self.running = 0
        self.draining = False
        self._first: int | None = None
        self._stop: dict[int, Callable[[int, FrameType | None], Any]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.draining and scope["path"] not in LIVENESS:
            headers = [(b"connection", b"close"), (b"retry-after", b"1")]
            await refuse(scope, send, 503, "draining", *DRAINING, headers)
            return
        self.running += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.running -= 1

    def install(self) -> None:
        """Stand before the server's own signal handlers; call it in its running event loop."""
        if threading.current_thread() is not threading.main_thread():
            return  # only the main thread gets signals
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            before = signal.getsignal(number)
            if not callable(before):
                continue
            self._stop[number] = before
            signal.signal(number, lambda n, frame: self._signalled(n, frame, loop))

    def _signalled(
        self, number: int, frame: FrameType | None, loop: asyncio.AbstractEventLoop
    ) -> None:
        if not self.draining:
            self.draining, self._first = True, number
            with suppress(RuntimeError):  # the loop may be gone
                loop.call_soon_threadsafe(self._begin, number)
        elif number == signal.SIGINT == self._first:  # Ctrl-C twice: at once
            self._stop[number](number, frame)

    def _begin(self, number: int) -> None:
        task = asyncio.get_running_loop().create_task(self._finish(number))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _finish(self, number: int) -> None:
        limit = asyncio.get_running_loop().time() + self.seconds
        while self.running and asyncio.get_running_loop().time() < limit:
            await asyncio.sleep(STEP)
        self._stop[number](number, None)


DRAINING = ("the service is stopping", "Send the request to another instance, or again later.")
