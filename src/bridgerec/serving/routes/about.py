"""The release: its dossier, the evaluation that chose it, and whether it is ready."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from bridgerec.runtime import read_json
from bridgerec.serving.live import Live
from bridgerec.serving.problems import NotFound, answer
from bridgerec.serving.routes import MISSING


def router(live: Callable[[], Live]) -> APIRouter:
    """GET /release, /evaluation, /health."""
    routes = APIRouter(tags=["release"])

    @routes.get("/release")
    async def release() -> Response:
        """The dossier: every hash from the rows to the release."""
        return answer(live().recommender.dossier)

    @routes.get("/evaluation", responses=MISSING)
    async def evaluation() -> Response:
        """The test results by which the release was chosen."""
        path: Path = live().recommender.folder / "evaluation.json"
        if not path.is_file():
            raise NotFound("this release was packaged without its evaluation")
        found: Any = read_json(path)
        return answer(found)

    @routes.get("/health")
    async def health() -> dict[str, str]:
        """Whether it is ready, and which release answers."""
        return {"status": "ready", "release": live().recommender.release}

    return routes
