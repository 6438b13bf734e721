"""A time limit that many tasks have alike, by one timer.

`asyncio.timeout` makes and cancels a timer for every request.  Where all have the same limit, who
began first is over first: a queue and the timer of its head do.
"""

import asyncio
from collections import deque
from types import TracebackType


class Limit:
    """`with limit() as mine:` in a task, as `async with asyncio.timeout(seconds)`: what awaits
    something after `seconds` is cancelled, and the block raises TimeoutError.  For one event loop,
    and for another one when that has ended."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._running: deque[Limited] = deque()  # by the time they are over
        self._loop: asyncio.AbstractEventLoop | None = None  # whose timer it is
        self._timer: asyncio.TimerHandle | None = None

    def __call__(self) -> "Limited":
        return Limited(self)

    def begin(self, one: "Limited", loop: asyncio.AbstractEventLoop) -> None:
        if loop is not self._loop:  # the timer of one that has ended never comes
            self._running.clear()
            self._loop, self._timer = loop, None
        one.over = loop.time() + self.seconds
        self._running.append(one)
        if self._timer is None:
            self._timer = loop.call_at(one.over, self._look)

    def ended(self) -> None:
        """One has ended: the oldest ones that have are not needed any more."""
        running = self._running
        while running and running[0].task is None:
            running.popleft()

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer, now = None, loop.time()
        while self._running and (self._running[0].task is None or self._running[0].over <= now):
            self._running.popleft().expire()
        if self._running:
            self._timer = loop.call_at(self._running[0].over, self._look)


class Limited:
    """A block that is running; `expired` tells whether its time was over."""

    __slots__ = ("_cancelling", "_limit", "expired", "over", "task")

    def __init__(self, limit: Limit) -> None:
        self._limit, self.expired, self.over = limit, False, 0.0
        self.task: asyncio.Task[object] | None = None

    def expire(self) -> None:
        if self.task is not None:
            self.expired = True
            self.task.cancel()

    def __enter__(self) -> "Limited":
        """
        Raises:
            RuntimeError: this is no task.
        """
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a time limit needs a task that it can cancel")
        self.task, self._cancelling = task, task.cancelling()
        self._limit.begin(self, task.get_loop())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        task, self.task = self.task, None
        self._limit.ended()
        if task is None or not self.expired:
            return
        # somebody else may have cancelled the task, too: then that is what happened
        if task.uncancel() <= self._cancelling and isinstance(error, asyncio.CancelledError):
            raise TimeoutError from error
