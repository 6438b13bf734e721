"""How far long loops are.

Loops that are open inside each other are shown together, by the view that fits where the output
goes: bars on a terminal, a line now and then in a log file, lines for a program that asks for them.
"""

from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import ExitStack, contextmanager
from typing import Protocol, TypeVar

from bridgerec.progress.loop import Loop, View
from bridgerec.progress.views import PROGRESS, Reached, choose, read_line

__all__ = ["PROGRESS", "Reached", "bar", "current", "reaching", "read_line", "show_by", "track"]
Item = TypeVar("Item", covariant=True)
_view: View | None = None  # of the loops that are open


class Countable(Sized, Iterable[Item], Protocol[Item]):
    """What can be counted before it is gone through."""


def current() -> View | None:
    """What shows this process's open loops; None while there is none."""
    return _view


def show_by(view: View | None) -> None:
    """Let `view` show the loops from now on."""
    global _view
    _view = view


@contextmanager
def bar(
    label: str, total: int, unit: str = "", shown: bool = True, inner: bool = False, done: int = 0
) -> Iterator[Callable[[int], None]]:
    """Gives `advance(n)`, to be called after every n steps of `total`, `done` of which were made
    before.

    With `unit` the bar tells the speed.  `shown=False`: nothing at all; `inner=True`: only inside
    of another loop that is shown, so that who uses a model as a library sees nothing.
    """
    outermost = _view is None
    if not (shown and total) or (inner and outermost):
        yield lambda _: None
        return
    loop, view = Loop(label, total, unit, done), _view or choose()

    def advance(steps: int) -> None:
        loop.advance(steps)
        view.moved(loop)

    show_by(view)
    view.open(loop)
    try:
        yield advance
    finally:
        view.close(loop)
        if outermost:
            show_by(None)


def track(
    items: Countable[Item], label: str, shown: bool = True, inner: bool = False
) -> Iterator[Item]:
    """The items, one after the other, behind a bar."""
    with bar(label, len(items), shown=shown, inner=inner) as advance:
        for item in items:
            yield item
            advance(1)


@contextmanager
def reaching(label: str, unit: str = "") -> Iterator[Callable[[int, int], None]]:
    """Gives `reach(done, total)`, for a loop that knows its length when it runs; what the first
    call tells as done was done before."""
    reached = 0
    advance: Callable[[int], None] | None = None

    def reach(done: int, total: int) -> None:
        nonlocal advance, reached
        if advance is None:
            advance = shown.enter_context(bar(label, total, unit, done=done))
        else:
            advance(done - reached)
        reached = done

    with ExitStack() as shown:
        yield reach
