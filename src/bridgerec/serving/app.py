"""The HTTP interface, as an ASGI application that BentoML mounts."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse

from bridgerec import __version__
from bridgerec.errors import BridgeRecError
from bridgerec.serving.guard import BodyLimit
from bridgerec.serving.ranker import Recommender
from bridgerec.serving.schemas import RecommendRequest, RecommendResponse
from bridgerec.serving.traffic import TrafficLog


def problem(status: int, error: str, message: str, remedy: str) -> JSONResponse:
    """Every error has the same shape."""
    return JSONResponse({"error": error, "message": message, "remedy": remedy}, status)


def make_app(
    recommender: Callable[[], Recommender], limit: int, log: Callable[[], TrafficLog | None]
) -> FastAPI:
    """The application; `recommender` and `log` are asked at each request, because workers load
    them after the application exists."""
    app = FastAPI(title="BridgeRec", version=__version__, openapi_url="/openapi.json")
    app.add_middleware(BodyLimit, limit=limit)

    @app.exception_handler(BridgeRecError)
    async def refused(_: Request, error: BridgeRecError) -> JSONResponse:
        return problem(422, "refused", str(error), "Correct the request; see /openapi.json.")

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        wrong = [
            f"{'.'.join(map(str, e['loc'][1:])) or 'body'}: {e['msg']}" for e in error.errors()
        ]
        return problem(422, "invalid", "; ".join(wrong), "See /openapi.json for the fields.")

    @app.post("/recommend", response_model=RecommendResponse)
    async def recommend(request: RecommendRequest) -> Any:
        found = recommender()
        answer = found.recommend(request)
        traffic = log()
        if traffic is not None:
            traffic.add(answer, request.k, found.known_history(request))
        return JSONResponse(answer)

    @app.get("/release")
    async def release() -> JSONResponse:
        return JSONResponse(recommender().dossier)

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ready", "release": recommender().release}

    @app.get("/", include_in_schema=False)
    async def root() -> RedirectResponse:
        return RedirectResponse("/release")

    return app
