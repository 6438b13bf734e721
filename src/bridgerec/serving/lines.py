"""Lines of logs, from many requests to a thread that writes them.

The thread wakes some times a second, not once per line: each time it wakes, it takes the
interpreter's lock from the event loop.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

T = TypeVar("T")
EVERY = 0.05  # seconds that the thread sleeps after it has written


class Lines(Generic[T]):
    """`put` never waits; `write` gets what has come, in order, in a thread that is started by the
    first entry (the process may fork before).  What `write` cannot write is dropped: a full disk is
    no reason to stop answering."""

    def __init__(self, write: Callable[[list[T]], None]) -> None:
        self._write = write
        self._waiting: deque[T] = deque()
        self._come, self._ended = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()  # of the thread's making, and of writing

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def put(self, entry: T) -> None:
        self._waiting.append(entry)
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, daemon=True)
                    self._thread.start()
        if not self._come.is_set():
            self._come.set()

    def flush(self, seconds: float = 2) -> None:
        """Write what waits now, and wait at most `seconds` for what is being written."""
        if self._lock.acquire(timeout=seconds):
            try:
                self._out()
            finally:
                self._lock.release()

    def close(self) -> None:
        """Write what waits and end."""
        self._ended.set()
        self._come.set()
        self.flush()

    def _run(self) -> None:
        while not self._ended.is_set():
            self._come.wait()
            self._come.clear()
            with self._lock:
                self._out()
            time.sleep(EVERY)

    def _out(self) -> None:
        found = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if found:
            with suppress(OSError, ValueError):
                self._write(found)
