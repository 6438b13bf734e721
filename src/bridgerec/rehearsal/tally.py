"""What became of the requests of a rehearsal."""

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, TypeGuard

import httpx
import numpy as np

KEPT = 5  # failures that are quoted


def worked(answer: httpx.Response | Exception) -> TypeGuard[httpx.Response]:
    """Whether there is an answer, with status 200."""
    return isinstance(answer, httpx.Response) and answer.status_code == 200


@dataclass
class Tally:
    """What became of every request.  A failure is no answer at all, or any status but 200.

    A request that is tried again counts again; `given_up` are those whose last try failed.
    """

    sent: Counter[str] = field(default_factory=Counter)  # by path
    status: Counter[str] = field(default_factory=Counter)
    releases: Counter[str] = field(default_factory=Counter)
    fallbacks: int = 0
    seconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    failed_at: list[tuple[float, float]] = field(default_factory=list)  # began, ended; monotonic
    given_up: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def count(self, path: str, seconds: float, answer: httpx.Response | Exception) -> None:
        """Count one request."""
        with self._lock:
            self.sent[path] += 1
            self.seconds.append(seconds)
            before = len(self.failures)
            if isinstance(answer, Exception):
                self.status[type(answer).__name__] += 1
                self.failures.append(f"{path}: {type(answer).__name__} {answer}")
            else:
                self.status[str(answer.status_code)] += 1
                if answer.status_code != 200:
                    self.failures.append(f"{path}: {answer.status_code} {answer.text[:300]}")
                elif path == "/recommend":
                    found = answer.json()
                    self.releases[found["release"]] += 1
                    self.fallbacks += found["route"] == "fallback"
            if len(self.failures) > before:
                now = time.monotonic()
                self.failed_at.append((now - seconds, now))

    def give_up(self) -> None:
        """A request failed for the last time."""
        with self._lock:
            self.given_up += 1

    def summary(self) -> dict[str, Any]:
        """The numbers; times in milliseconds."""
        times = 1000 * np.array(self.seconds or [0.0])
        return {
            "requests": sum(self.sent.values()),
            "by_path": dict(sorted(self.sent.items())),
            "by_status": dict(sorted(self.status.items())),
            "by_release": dict(self.releases),
            "failures": len(self.failures),
            "first_failures": self.failures[:KEPT],
            "given_up": self.given_up,
            "fallbacks": self.fallbacks,
            "p50_milliseconds": round(float(np.quantile(times, 0.5)), 1),
            "p99_milliseconds": round(float(np.quantile(times, 0.99)), 1),
        }
