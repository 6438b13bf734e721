"""The paths that are asked most, without FastAPI's machinery: the body is read and checked in one
step by pydantic, and the answer is written by orjson.

`First` answers them before any layer between the guard and the application is asked; `routes` are
the same for an application that stands alone.  FastAPI's own routes of these paths stay behind:
they describe the paths in /openapi.json and answer other methods.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from pydantic import TypeAdapter, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from bridgerec.errors import BridgeRecError
from bridgerec.serving.guard.answers import json_headers
from bridgerec.serving.live import Live
from bridgerec.serving.problems import id_of, refused, written
from bridgerec.serving.routes.about import ready
from bridgerec.serving.routes.events import EventsBody, taken
from bridgerec.serving.routes.named import may_name
from bridgerec.serving.schemas import RecommendRequest

Endpoint = Callable[[Scope, Receive], Awaitable[bytes]]


def endpoints(live: Callable[[], Live]) -> dict[tuple[str, str], Endpoint]:
    """POST /recommend, POST /events, GET /health."""
    sent: TypeAdapter[Any] = TypeAdapter(EventsBody)

    async def recommend(scope: Scope, receive: Receive) -> bytes:
        body = RecommendRequest.model_validate_json(await whole(receive))
        if body.release is not None:
            may_name(Request(scope), body.release)
        return written(await live().recommend(body, id_of(scope)))

    async def events(scope: Scope, receive: Receive) -> bytes:
        body = sent.validate_json(await whole(receive))
        return written(await taken(live(), body, id_of(scope)))

    async def health(scope: Scope, receive: Receive) -> bytes:
        return written(ready(live(), id_of(scope)))

    return {
        ("POST", "/recommend"): recommend,
        ("POST", "/events"): events,
        ("GET", "/health"): health,
    }


async def whole(receive: Receive) -> bytes:
    """A request's body; the guard gives it in one piece.

    Raises:
        ClientDisconnect: nobody waits for an answer.
    """
    parts, more = [], True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return parts[0] if len(parts) == 1 else b"".join(parts)


class Answering:
    """One endpoint as an application."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await self._endpoint(scope, receive)
        except (BridgeRecError, ValidationError) as error:
            await refused(Request(scope), error)(scope, receive, send)
        else:
            headers = json_headers(body)
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": body})


def routes(live: Callable[[], Live]) -> list[Route]:
    found = endpoints(live)
    return [Route(path, Answering(ask), methods=[way]) for (way, path), ask in found.items()]


class First:
    """Answers these paths itself, and passes all others on to `app`."""

    def __init__(self, app: ASGIApp, live: Callable[[], Live]) -> None:
        self.app = app
        self._own = {path: Answering(ask) for path, ask in endpoints(live).items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._own.get((scope["method"], scope["path"]), self.app)(scope, receive, send)
