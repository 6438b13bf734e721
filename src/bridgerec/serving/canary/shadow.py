"""Asking the second release beside the main one, without making anybody wait."""

import queue
import threading
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

WAITING = 100  # requests; more are dropped and counted


class Recommends(Protocol):
    def recommend(self, request: Any, /) -> dict[str, Any]: ...


R = TypeVar("R", bound=Recommends)


class Shadow(Generic[R]):
    """One thread that answers queued requests and hands the answers to `shadowed`."""

    def __init__(
        self, shadowed: Callable[[dict[str, Any], Any, R], None], waiting: int = WAITING
    ) -> None:
        self.shadowed = shadowed
        self.answers = self.errors = self.dropped = 0
        self._queue: queue.Queue[tuple[R, Any]] = queue.Queue(waiting)
        self._thread: threading.Thread | None = None

    def put(self, release: R, request: Any) -> None:
        """Queue a request; never waits."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()
        try:
            self._queue.put_nowait((release, request))
        except queue.Full:
            self.dropped += 1

    def _run(self) -> None:
        while True:
            release, request = self._queue.get()
            try:
                self.shadowed(release.recommend(request), request, release)
                self.answers += 1
            except Exception:  # nobody waits for this answer
                self.errors += 1
            finally:
                self._queue.task_done()
