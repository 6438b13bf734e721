"""The release: its dossier, the evaluation that chose it, and whether it is ready."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from bridgerec.runtime import read_json
from bridgerec.serving.live import Live
from bridgerec.serving.problems import NotFound, answer, request_id
from bridgerec.serving.routes import MISSING


def router(live: Callable[[], Live]) -> APIRouter:
    """GET /release, /evaluation, /health."""
    routes = APIRouter(tags=["release"])

    @routes.get("/release")
    async def release(request: Request) -> Response:
        """The dossier: every hash from the rows to the release, and on to the Bento."""
        found = live().recommender
        hashes = {"bundle_sha256": found.hashes, "bento_sha256": found.bento_hash}
        return answer({**found.dossier, **hashes, "request_id": request_id(request)})

    @routes.get("/evaluation", responses=MISSING)
    async def evaluation(request: Request) -> Response:
        """The test results by which the release was chosen."""
        path: Path = live().recommender.folder / "evaluation.json"
        if not path.is_file():
            raise NotFound("this release was packaged without its evaluation")
        found: dict[str, Any] = read_json(path)
        return answer({**found, "request_id": request_id(request)})

    @routes.get("/health")
    async def health(request: Request) -> dict[str, str]:
        """Whether it is ready, and which release answers."""
        return ready(live(), request_id(request))

    return routes


def ready(live: Live, request_id: str) -> dict[str, str]:
    """What a service that answers says of its health."""
    return {"status": "ready", "release": live.recommender.release, "request_id": request_id}
