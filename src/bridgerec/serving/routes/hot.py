"""The paths that are asked most, without FastAPI's machinery: the body is read and checked in one
step by pydantic, and the answer is written by orjson.

`First` answers them before any layer between the guard and the application is asked; `routes` are
the same for an application that stands alone.  FastAPI's own routes of these paths stay behind:
they describe the paths in /openapi.json and answer other methods.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from bridgerec.errors import BridgeRecError
from bridgerec.serving.live import Live
from bridgerec.serving.problems import answer, refused, request_id
from bridgerec.serving.routes.about import ready
from bridgerec.serving.routes.events import EventsBody, taken
from bridgerec.serving.routes.named import may_name
from bridgerec.serving.schemas import RecommendRequest

Endpoint = Callable[[Request], Awaitable[Response]]


def endpoints(live: Callable[[], Live]) -> dict[tuple[str, str], Endpoint]:
    """POST /recommend, POST /events, GET /health."""
    sent: TypeAdapter[Any] = TypeAdapter(EventsBody)

    async def recommend(request: Request) -> Response:
        body = RecommendRequest.model_validate_json(await request.body())
        may_name(request, body.release)
        return answer(await live().recommend(body, request_id(request)))

    async def events(request: Request) -> Response:
        body = sent.validate_json(await request.body())
        return answer(await taken(live(), body, request_id(request)))

    async def health(request: Request) -> Response:
        return answer(ready(live(), request_id(request)))

    return {
        ("POST", "/recommend"): recommend,
        ("POST", "/events"): events,
        ("GET", "/health"): health,
    }


def routes(live: Callable[[], Live]) -> list[Route]:
    return [Route(path, ask, methods=[way]) for (way, path), ask in endpoints(live).items()]


class First:
    """Answers these paths itself, and passes all others on to `app`."""

    def __init__(self, app: ASGIApp, live: Callable[[], Live]) -> None:
        self.app, self._endpoints = app, endpoints(live)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = self._endpoints.get((scope["method"], scope["path"]))
        if endpoint is None:
            await self.app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            found = await endpoint(request)
        except (BridgeRecError, ValidationError) as error:
            found = refused(request, error)
        await found(scope, receive, send)
