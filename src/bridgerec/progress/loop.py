"""A loop that is being gone through, and what shows it."""

import os
import time
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from typing import Protocol

_numbers = count()


@dataclass
class Loop:
    """`done` of `total` steps, `first` of which were made before it began.

    `key` is its own among the loops of all processes; `begun` and `moved` are moments of the
    machine's monotonic clock.
    """

    label: str
    total: int
    unit: str = ""
    first: int = 0
    key: tuple[int, int] = field(default_factory=lambda: (os.getpid(), next(_numbers)))
    begun: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.done, self.moved = self.first, self.begun

    def advance(self, steps: int) -> None:
        self.done += steps
        self.moved = time.monotonic()

    @property
    def speed(self) -> float | None:
        """Steps in a second; None before the first one."""
        made, seconds = self.done - self.first, self.moved - self.begun
        return made / seconds if made and seconds else None

    @property
    def left(self) -> float | None:
        """The seconds that it will still take; None before the first step."""
        if self.speed is None:
            return None
        return max((self.total - self.done) / self.speed - (time.monotonic() - self.moved), 0.0)

    @property
    def told(self) -> str:
        """Speed and time left in words; empty where nothing is known of them."""
        speed = f"{self.speed:,.0f} {self.unit}/s" if self.unit and self.speed else ""
        left = "" if self.left is None else f"{timedelta(seconds=round(self.left))} left"
        return ", ".join(filter(None, (speed, left)))


class View(Protocol):
    """Shows the open loops; the outermost one is opened first and closed last."""

    def open(self, loop: Loop) -> None: ...
    def moved(self, loop: Loop) -> None: ...
    def close(self, loop: Loop) -> None: ...
