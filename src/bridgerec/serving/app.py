"""The HTTP interface, as an ASGI application that BentoML mounts."""

from collections.abc import Callable

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from bridgerec import __version__
from bridgerec.serving import problems
from bridgerec.serving.canary import canary_routes
from bridgerec.serving.live import Live
from bridgerec.serving.openapi import describe
from bridgerec.serving.routes import (
    about,
    console,
    events,
    hot,
    items,
    pictures,
    recommend,
    users,
)


def make_app(live: Callable[[], Live]) -> FastAPI:
    """The application; `live` is asked at each request, because workers load it after the
    application exists."""
    app = FastAPI(title="BridgeRec", version=__version__, openapi_url="/openapi.json")
    problems.install(app)
    for module in (recommend, events, users, items, pictures, about):
        app.include_router(module.router(live))
    app.include_router(canary_routes(lambda: live().releases))
    app.include_router(console.router())
    describe(app)
    app.router.routes[:0] = hot.routes(live)  # before FastAPI's own
    app.mount("/", nothing, name="nothing")
    return app


async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """Every other path, so that BentoML does not answer it in another shape.

    Raises:
        HTTPException: 404.
    """
    raise HTTPException(404, f"there is no path {scope['path']}")
