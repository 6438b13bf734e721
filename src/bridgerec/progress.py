"""How far a long loop is: a bar on a terminal, or lines for whoever reads a stage's output."""

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

PROGRESS = "BRIDGEREC_PROGRESS"  # set (by the training flow): lines instead of bars
EVERY = 1.0  # seconds between two lines
LINE = re.compile(r"^@progress (\d+)/(\d+) (.+)$")
Item = TypeVar("Item", covariant=True)


class Countable(Sized, Iterable[Item], Protocol[Item]):
    """What can be counted before it is gone through."""


@dataclass(frozen=True)
class Reached:
    """How far the loop `label` is."""

    label: str
    done: int
    total: int

    @property
    def percent(self) -> float:
        return 100.0 * self.done / max(self.total, 1)


def read_line(line: str) -> Reached | None:
    """What a line tells; None when it is an ordinary one."""
    found = LINE.match(line)
    return Reached(found[3], int(found[1]), int(found[2])) if found else None


@contextmanager
def bar(
    label: str,
    total: int,
    unit: str = "",
    shown: bool = True,
    terminal: bool = True,
    done: int = 0,
) -> Iterator[Callable[[int], None]]:
    """Gives `advance(n)`, to be called after every n steps of `total`, `done` of which were made
    before.

    With `unit` the bar tells the speed.  `shown=False`: nothing at all; `terminal=False`: lines
    alone, for a loop that a terminal hears of otherwise.
    """
    if not (shown and total):
        yield lambda _: None
    elif os.environ.get(PROGRESS):
        yield _Lines(label, total, done).advance
    elif terminal:
        with _rich(label, total, unit, done) as advance:
            yield advance
    else:
        yield lambda _: None


def track(
    items: Countable[Item], label: str, shown: bool = True, terminal: bool = True
) -> Iterator[Item]:
    """The items, one after the other, behind a bar."""
    with bar(label, len(items), shown=shown, terminal=terminal) as advance:
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


class _Lines:
    def __init__(self, label: str, total: int, done: int) -> None:
        self.label, self.total, self.done, self.told = label, total, done, -EVERY

    def advance(self, steps: int) -> None:
        self.done += steps
        now = time.monotonic()
        if now - self.told >= EVERY or self.done >= self.total:
            self.told = now
            print(f"@progress {self.done}/{self.total} {self.label}", flush=True)


@contextmanager
def _rich(label: str, total: int, unit: str, done: int) -> Iterator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Left

    columns: list[Any] = [TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn()]
    if unit:
        columns.append(TextColumn("{task.fields[rate]} " + unit + "/s"))
    with Progress(*columns, Left(), console=Console(stderr=True)) as shown:
        task = shown.add_task(label, total=total, completed=done, rate="–")

        def advance(steps: int) -> None:
            speed = shown.tasks[task].speed
            shown.update(task, advance=steps, rate=f"{speed:,.0f}" if speed else "–")

        yield advance
