"""Loops of one process that another one shows."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from multiprocessing.synchronize import Lock
from threading import Thread

from bridgerec.progress import current
from bridgerec.progress.loop import Loop


@dataclass(frozen=True)
class PassedOn:
    """The view (`show_by`) of a process that was started by the one that shows its loops."""

    way: Connection
    one_at_a_time: Lock

    def open(self, loop: Loop) -> None:
        self._tell("open", loop)

    def moved(self, loop: Loop) -> None:
        self._tell("moved", loop)

    def close(self, loop: Loop) -> None:
        self._tell("close", loop)

    def _tell(self, what: str, loop: Loop) -> None:
        with self.one_at_a_time:
            self.way.send((what, loop))


@contextmanager
def passed_on(context: BaseContext) -> Iterator[PassedOn]:
    """Gives the view for processes that are started inside; when it ends, they must have."""
    here, there = context.Pipe(duplex=False)

    def show() -> None:
        while True:
            try:
                what, loop = here.recv()
            except (EOFError, OSError):  # OSError: of a process that was killed while it told
                return
            if (view := current()) is not None:
                getattr(view, what)(loop)

    shower = Thread(target=show, daemon=True)
    shower.start()
    try:
        yield PassedOn(there, context.Lock())
    finally:
        there.close()
        shower.join()
