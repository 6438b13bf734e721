"""What shows open loops: bars on a terminal, now and then a line in a log file, or lines for a
program that reads a stage's output."""

import os
import re
import sys
import time
from dataclasses import dataclass
from typing import Any

from bridgerec.progress.loop import Loop, View

PROGRESS = "BRIDGEREC_PROGRESS"  # set (by the training flow): lines for a program
LINE = re.compile(r"^@progress (\d+)/(\d+) (.+)$")
LINE_EVERY = 1.0  # seconds between two of a loop
NOTE_EVERY = 10.0  # seconds between two in a log file


def choose() -> View:
    """The view that fits where this process's output goes."""
    if os.environ.get(PROGRESS):
        return Lines()
    terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    return Bars() if terminal else Notes()


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
    """What a line of `Lines` tells; None when it is an ordinary one."""
    found = LINE.match(line)
    return Reached(found[3], int(found[1]), int(found[2])) if found else None


class Lines:
    """`@progress DONE/TOTAL LABEL` on stdout."""

    def __init__(self) -> None:
        self.told: dict[Any, float] = {}

    def open(self, loop: Loop) -> None:
        self.told[loop.key] = -LINE_EVERY

    def moved(self, loop: Loop) -> None:
        if loop.moved - self.told[loop.key] >= LINE_EVERY or loop.done >= loop.total:
            self.told[loop.key] = loop.moved
            print(f"@progress {loop.done}/{loop.total} {loop.label}", flush=True)

    def close(self, loop: Loop) -> None:
        self.told.pop(loop.key, None)


class Notes:
    """All open loops in one line on stderr, the first after ten seconds."""

    def __init__(self) -> None:
        self.loops: dict[Any, Loop] = {}
        self.told = time.monotonic()

    def open(self, loop: Loop) -> None:
        self.loops[loop.key] = loop

    def moved(self, loop: Loop) -> None:
        self.loops[loop.key] = loop  # another process sends a new one each time
        if loop.moved - self.told >= NOTE_EVERY:
            self.told = loop.moved
            words = "; ".join(map(_words, self.loops.values()))
            print(f"  {words}", file=sys.stderr, flush=True)

    def close(self, loop: Loop) -> None:
        self.loops.pop(loop.key, None)


def _words(loop: Loop) -> str:
    told = f" ({loop.told})" if loop.told else ""
    return f"{loop.label} {loop.done:,}/{loop.total:,}{told}"


class Bars:
    """A bar for each open loop on stderr's terminal, where the outermost one's stays.

    What is printed meanwhile comes above them.
    """

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self.progress = Progress(
            TextColumn("  {task.description}", markup=False),
            BarColumn(30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[loop].told}", markup=False),
            console=Console(stderr=True),
            redirect_stdout=sys.stdout.isatty(),  # else it goes to a file, and stays apart
        )
        self.tasks: dict[Any, Any] = {}

    def open(self, loop: Loop) -> None:
        inside = "  " if self.tasks else ""
        self.tasks[loop.key] = self.progress.add_task(
            inside + loop.label, total=loop.total, completed=loop.done, loop=loop
        )
        self.progress.start()

    def moved(self, loop: Loop) -> None:
        self.progress.update(self.tasks[loop.key], completed=loop.done, loop=loop)

    def close(self, loop: Loop) -> None:
        if loop.key == next(iter(self.tasks)):
            self.progress.stop()
        else:
            self.progress.remove_task(self.tasks.pop(loop.key))
