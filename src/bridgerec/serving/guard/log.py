"""One JSON line per request to stderr: how it went, never who was asked about or what was sent."""

import sys
import time
from typing import Any, BinaryIO

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bridgerec.serving.guard.answers import state
from bridgerec.serving.guard.metrics import Metrics
from bridgerec.serving.guard.paths import HEALTH, METRICS, route
from bridgerec.serving.lines import Lines
from bridgerec.serving.problems import frames

WAITING = 10_000  # lines; a reader that is slower than this loses lines, not requests


class RequestLog:
    """Writes lines from a thread of its own, so that a blocked stderr does not block answers."""

    def __init__(self, stream: BinaryIO | None = None) -> None:
        self._stream = stream
        self._lines: Lines[bytes] = Lines(self._out)
        self.lost = 0

    def write(self, line: dict[str, Any]) -> None:
        """Queue one line; never waits."""
        if len(self._lines) >= WAITING:
            self.lost += 1
            return
        if self.lost:
            line, self.lost = {**line, "lines_lost": self.lost}, 0
        self._lines.put(orjson.dumps(line) + b"\n")

    def failure(self, request_id: str, error: Exception) -> None:
        """A defect: its type and where, not its message, which may hold what was sent."""
        line = {"time": round(time.time(), 3), "request_id": request_id}
        self.write({**line, "failure": type(error).__name__, "where": frames(error)})

    def flush(self, seconds: float = 2) -> None:
        """Wait until everything queued is written, at most `seconds`."""
        self._lines.flush(seconds)

    def _out(self, lines: list[bytes]) -> None:
        stream = self._stream or sys.stderr.buffer
        stream.write(b"".join(lines))
        stream.flush()


class Observed:
    """Logs and counts every request except the probes of monitoring."""

    def __init__(self, app: ASGIApp, log: RequestLog, metrics: Metrics) -> None:
        self.app, self.log, self.metrics = app, log, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] in HEALTH or scope["path"] == METRICS:
            await self.app(scope, receive, send)
            return
        begun, status = time.perf_counter(), 499  # the client left before it was answered

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self.metrics.begun()
        try:
            await self.app(scope, receive, watched)
        except Exception:
            status = 500
            raise
        finally:
            seconds, about, name = time.perf_counter() - begun, state(scope), route(scope)
            self.metrics.ended()
            self.metrics.count(scope["method"], name, status, seconds)
            line = {
                "time": round(time.time(), 3),
                "request_id": about["request_id"],
                "method": scope["method"],
                "route": name,
                "status": status,
                "ms": round(1000 * seconds, 2),
                "key": about["key"].name if "key" in about else None,
            }
            if about.get("refusal"):
                line["error"] = about["refusal"]
            self.log.write(line)
