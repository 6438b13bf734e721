"""Counters for Prometheus, by route template.

They replace BentoML's own, whose label is the raw path: `/users/ID` would put the ids of people
into the metrics, and every stray path would add a series that is never forgotten.
"""

import asyncio
import os
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil

BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)  # seconds
SOON = 0.1  # seconds after which other workers see how many requests run
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """Made when a worker starts: prometheus_client must be imported after BentoML has named the
    folder in which the workers share their counts."""

    def __init__(self) -> None:
        self._series: dict[tuple[str, str, int], Any] = {}  # as many as routes and statuses
        self._running = 0
        self._telling: asyncio.AbstractEventLoop | None = None  # which will, soon

    @cached_property
    def _made(self) -> tuple[Any, Any, Any]:
        import prometheus_client as prometheus

        return _instruments(prometheus)

    def prepare(self) -> None:
        """Import and register now, not during somebody's request; forget how many requests ran in
        workers that were killed."""
        _ = self._made
        from prometheus_client import multiprocess

        forget: Any = multiprocess.mark_process_dead
        folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
        for file in Path(folder).glob("gauge_live*_*.db") if folder else ():
            number = int(file.stem.rpartition("_")[2])
            if not psutil.pid_exists(number):
                forget(number)

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """One finished request."""
        method = method if method in METHODS else "other"  # any word is a method
        series = self._series.get((method, route, status))
        if series is None:
            series = self._made[0].labels(method, route, str(status))
            self._series[method, route, status] = series
        series.observe(seconds)

    def begun(self) -> None:
        """One more request is being answered."""
        self._running += 1
        self._tell_soon()

    def ended(self) -> None:
        """One less."""
        self._running -= 1
        self._tell_soon()

    def _tell_soon(self) -> None:
        # a shared number is written much slower than this one changes
        loop = asyncio.get_running_loop()
        if self._telling is not loop:
            self._telling = loop
            loop.call_later(SOON, self.tell)

    def tell(self) -> None:
        """Let other workers see how many requests run here."""
        self._telling = None
        self._made[1].set(self._running)

    def page(self) -> tuple[bytes, str]:
        """The counts of all workers in Prometheus' text format, and its media type."""
        import prometheus_client as prometheus
        from prometheus_client import multiprocess

        self.tell()
        collect: Any = multiprocess.MultiProcessCollector
        registry = prometheus.REGISTRY
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            registry = prometheus.CollectorRegistry()
            collect(registry)
        return prometheus.generate_latest(registry), prometheus.CONTENT_TYPE_LATEST


def rule_failed(rule: str) -> None:
    """Count an answer that was ranked without this rule, because it failed."""
    import prometheus_client as prometheus

    _instruments(prometheus)[2].labels(rule).inc()


_REGISTERED: list[tuple[Any, Any, Any]] = []  # a name may be registered once per process


def _instruments(prometheus: Any) -> tuple[Any, Any, Any]:
    if not _REGISTERED:
        duration = prometheus.Histogram(
            "bridgerec_request_seconds",
            "Duration of requests; its count is their number.",
            ("method", "route", "status"),
            buckets=BUCKETS,
        )
        running = prometheus.Gauge(
            "bridgerec_requests_running",
            "Requests that are being answered.",
            multiprocess_mode="livesum",
        )
        failures = prometheus.Counter(
            "bridgerec_rule_failures",
            "Answers that were ranked without a re-ranking rule, because it failed.",
            ("rule",),
        )
        _REGISTERED.append((duration, running, failures))
    return _REGISTERED[0]
