"""The paths that are asked most, without FastAPI's machinery: the body is read and checked in one
step by pydantic, and the answer is written by orjson.

FastAPI's own routes of the same paths stay behind these: they describe the paths in /openapi.json
and answer other methods.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from pydantic import TypeAdapter
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bridgerec.serving.live import Live
from bridgerec.serving.problems import answer, request_id
from bridgerec.serving.routes.events import EventsBody, taken
from bridgerec.serving.schemas import RecommendRequest

Endpoint = Callable[[Request], Awaitable[Response]]


def routes(live: Callable[[], Live]) -> list[Route]:
    """POST /recommend, POST /events, GET /health."""
    sent: TypeAdapter[Any] = TypeAdapter(EventsBody)

    async def recommend(request: Request) -> Response:
        body = RecommendRequest.model_validate_json(await request.body())
        return answer(await live().recommend(body, request_id(request)))

    async def events(request: Request) -> Response:
        body = sent.validate_json(await request.body())
        return answer(await taken(live(), body, request_id(request)))

    async def health(request: Request) -> Response:
        return answer({"status": "ready", "release": live().recommender.release})

    return [
        Route("/recommend", recommend, methods=["POST"]),
        Route("/events", events, methods=["POST"]),
        Route("/health", health, methods=["GET"]),
    ]
