"""What stands between the network and the application: pure ASGI layers, one module each.

From outside: request id, headers, shape of errors (`envelope`); log and metrics (`log`); refusal
while stopping (`drain`); keys and roles (`auth`); rate (`rate`); time (`timeout`); size and kind
of the body (`body`); how many at once (`concurrency`).

BentoML puts layers of its own before these; they would double the cost of a small answer and keep
a timer of each request for seconds.  So once the service has started, the guard comes first.
"""

from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bridgerec.serving.guard.auth import Authenticated
from bridgerec.serving.guard.body import BodyLimit
from bridgerec.serving.guard.concurrency import Bounded
from bridgerec.serving.guard.drain import Drain
from bridgerec.serving.guard.envelope import Envelope
from bridgerec.serving.guard.log import Observed, RequestLog
from bridgerec.serving.guard.metrics import Metrics
from bridgerec.serving.guard.paths import HEALTH, METRICS
from bridgerec.serving.guard.rate import RateLimited
from bridgerec.serving.guard.settings import GuardSettings
from bridgerec.serving.guard.timeout import Timeout
from bridgerec.serving.keys import KeyRing

__all__ = ["BodyLimit", "Drain", "GuardSettings", "Guarded", "RequestLog", "guard"]


def guard(
    app: ASGIApp,
    settings: GuardSettings,
    log: RequestLog | None = None,
    first: Callable[[ASGIApp], ASGIApp] | None = None,
) -> "Guarded":
    """The application behind all layers; also a middleware factory for `add_asgi_middleware`.
    `first(app)` answers some paths itself: right behind the guard, before the layers of `app`."""
    return Guarded(app, settings, log or RequestLog(), first(app) if first else app)


class Guarded:
    """A guarded application.  Health checks pass all limits; `/metrics` is answered here."""

    def __init__(
        self, app: ASGIApp, settings: GuardSettings, log: RequestLog, inner: ASGIApp
    ) -> None:
        self.log, self.metrics = log, Metrics()
        self._raw, self._inner = app, inner
        limited: ASGIApp = Bounded(inner, settings.concurrency, settings.queue)
        limited = Timeout(BodyLimit(limited, settings.max_body_bytes), settings.timeout_seconds)
        self._limited = RateLimited(
            limited, settings.rate_per_second, settings.burst, settings.workers
        )
        ring = KeyRing(settings.keys) if settings.keys else None
        known = Authenticated(self._inside, ring, settings.open_to_all)
        # what is being answered ends by its own time limit
        self.drain = Drain(known, settings.timeout_seconds + 1)
        self._outside = Envelope(Observed(self.drain, log, self.metrics), log)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._raw(scope, receive, self._at_startup(scope.get("app"), send))
        else:
            await self._outside(scope, receive, send)

    async def _inside(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == METRICS:
            content, media = self.metrics.page()
            await Response(content, media_type=media)(scope, receive, send)
        elif scope["path"] in HEALTH:
            await self._inner(scope, receive, send)
        else:
            await self._limited(scope, receive, send)

    def _at_startup(self, outside: Any, send: Send) -> Send:
        async def watched(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                self.metrics.prepare()
                self.drain.install()
                if isinstance(outside, Starlette):  # the application that this is a layer of
                    outside.middleware_stack = self
            elif message["type"] == "lifespan.shutdown.complete":
                self.metrics.tell()
                self.log.flush()
            await send(message)

        return watched
