"""Asking the second release beside the main one, without making anybody wait."""

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

WAITING = 100  # calls; more are dropped and counted


class Shadow:
    """Makes one queued call at a time and hands what it returns to `shadowed`.

    Plain calls are made in a thread; those that are awaited in a task of the running event loop,
    whose locks and connections they may use.
    """

    def __init__(self, shadowed: Callable[[Any], None], waiting: int = WAITING) -> None:
        self.shadowed, self.most_waiting = shadowed, waiting
        self.answers = self.errors = self.dropped = 0
        self._queue: queue.Queue[Callable[[], Any]] = queue.Queue(waiting)
        self._thread: threading.Thread | None = None
        self._awaited: deque[Callable[[], Awaitable[Any]]] = deque()
        self._task: asyncio.Task[None] | None = None

    def put(self, call: Callable[[], Any]) -> None:
        """Queue a call; never waits."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()
        try:
            self._queue.put_nowait(call)
        except queue.Full:
            self.dropped += 1

    def put_async(self, call: Callable[[], Awaitable[Any]]) -> None:
        """Queue a call that is awaited; never waits."""
        if len(self._awaited) >= self.most_waiting:
            self.dropped += 1
            return
        self._awaited.append(call)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run_async())

    def _run(self) -> None:
        while True:
            call = self._queue.get()
            try:
                self.shadowed(call())
                self.answers += 1
            except Exception:  # nobody waits for this answer
                self.errors += 1

    async def _run_async(self) -> None:
        while self._awaited:
            try:
                self.shadowed(await self._awaited.popleft()())
                self.answers += 1
            except Exception:
                self.errors += 1
