"""The HTTP interface, as an ASGI application that BentoML mounts."""

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import RedirectResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bridgerec import __version__
from bridgerec.serving import problems
from bridgerec.serving.live import Live
from bridgerec.serving.routes import about, events, hot, items, recommend, users


class BodyLimit:
    """Answers 413 to a body that is announced or turns out to be too long."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self.app, self.limit = app, limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if len(body) > self.limit:
                answer = JSONResponse(
                    {
                        "error": "too_large",
                        "message": "the body is too long",
                        "remedy": f"Send at most {self.limit} bytes.",
                        "request_id": "",
                    },
                    413,
                )
                await answer(scope, receive, send)
                return
            if message["type"] == "http.disconnect" or not message.get("more_body"):
                break
        sent = False

        async def replay() -> Message:
            nonlocal sent
            if sent:
                return await receive()
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app(scope, replay, send)


def make_app(live: Callable[[], Live], limit: int) -> FastAPI:
    """The application; `live` is asked at each request, because workers load it after the
    application exists.  Bodies of more than `limit` bytes are refused."""
    app = FastAPI(title="BridgeRec", version=__version__, openapi_url="/openapi.json")
    app.add_middleware(BodyLimit, limit=limit)
    problems.install(app)
    for module in (recommend, events, users, items, about):
        app.include_router(module.router(live))
    app.router.routes[:0] = hot.routes(live)  # before FastAPI's own
    console = Path(str(files("bridgerec.serving"))) / "console"
    if (console / "index.html").is_file():
        app.mount("/", StaticFiles(directory=console, html=True), name="console")
    else:

        @app.get("/", include_in_schema=False)
        async def root() -> RedirectResponse:
            return RedirectResponse("/release")

        app.mount("/", nothing, name="nothing")
    return app


async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """Every other path, so that BentoML does not answer it in another shape.

    Raises:
        HTTPException: 404.
    """
    raise HTTPException(404, f"there is no path {scope['path']}")
