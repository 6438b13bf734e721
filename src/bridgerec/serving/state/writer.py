"""Group commit: whoever writes while a commit is under way shares the next one.

A commit costs a wait for the disk (or the network) whatever it holds, so waiting writers are
collected and written together: one writer alone waits for one commit, a thousand share a few.
"""

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

Operation = TypeVar("Operation")
Waiting = tuple[asyncio.AbstractEventLoop, "asyncio.Future[Any]"]
AT_ONCE = 512  # operations of one commit


class GroupWriter(Generic[Operation]):
    """`commit` writes operations from a thread of its own and gives their results, in order; when
    it raises, all of them fail with that error."""

    def __init__(self, commit: Callable[[list[Operation]], list[Any]], name: str) -> None:
        self._commit = commit
        self._queue: SimpleQueue[tuple[Operation, Waiting] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    async def write(self, operation: Operation) -> Any:
        """The operation's result, once it is committed."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Any] = loop.create_future()
        self._queue.put((operation, (loop, done)))
        return await done

    def close(self) -> None:
        """Write what is waiting and end."""
        self._queue.put(None)
        self._thread.join(timeout=10)

    def _work(self) -> None:
        end = False
        while not end:
            batch: list[tuple[Operation, Waiting]] = []
            entry = self._queue.get()  # waits for the first, takes what else is there
            while entry is not None:
                batch.append(entry)
                if len(batch) == AT_ONCE or self._queue.empty():
                    break
                entry = self._queue.get()
            end = entry is None
            if batch:
                self._write(batch)

    def _write(self, batch: list[tuple[Operation, Waiting]]) -> None:
        results: list[Any] = []
        failed: Exception | None = None
        try:
            results = self._commit([operation for operation, _ in batch])
        except Exception as error:
            failed = error
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = {}
        for place, (_, (loop, done)) in enumerate(batch):
            by_loop.setdefault(loop, []).append((done, failed or results[place]))
        for loop, told in by_loop.items():
            if not loop.is_closed():
                loop.call_soon_threadsafe(_tell, told)


def _tell(told: list[tuple["asyncio.Future[Any]", Any]]) -> None:
    for done, result in told:
        if done.cancelled():
            continue
        if isinstance(result, Exception):
            done.set_exception(result)
        else:
            done.set_result(result)
