"""Pictures of the catalogue, as answers name them."""

from collections.abc import Callable

from fastapi import APIRouter
from starlette.responses import Response

from bridgerec.serving.live import Live
from bridgerec.serving.problems import NotFound


def router(live: Callable[[], Live]) -> APIRouter:
    """GET /pictures/{name}."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/pictures/{name}")
    async def picture(name: str, release: str | None = None) -> Response:
        known = live()
        if release is None:
            release = known.recommender.release
        own = [r for r in known.releases.loaded() if r.release == release]
        found = own[0].shelf.pictures.read(name) if own else None
        if found is None:
            raise NotFound(f"there is no picture {name!r}")
        content, media = found
        return Response(content, media_type=media, headers={"Cache-Control": "max-age=3600"})

    return routes
