"""The console: a page and its scripts, styles and icon, read once when the service starts."""

import hashlib
from importlib.resources import files

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

MEDIA = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
PAGE = "index.html"


def router() -> APIRouter:
    """GET / (the page) and /console/{name} (what it needs)."""
    routes = APIRouter(include_in_schema=False)
    folder = files("bridgerec.serving") / "console"
    content = {f.name: f.read_bytes() for f in folder.iterdir() if _ending(f.name) in MEDIA}
    tags = {name: f'"{hashlib.sha256(body).hexdigest()[:20]}"' for name, body in content.items()}

    def found(request: Request, name: str) -> Response:
        if name not in content:
            raise HTTPException(404, f"the console has no file {name!r}")
        headers = {
            # asked for again each time, sent again only when it changed with the release
            "Cache-Control": "no-cache",
            "ETag": tags[name],
        }
        if tags[name] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(content[name], headers=headers, media_type=MEDIA[_ending(name)])

    @routes.api_route("/", methods=["GET", "HEAD"])
    async def page(request: Request) -> Response:
        return found(request, PAGE)

    @routes.api_route("/console/{name}", methods=["GET", "HEAD"])
    async def part(request: Request, name: str) -> Response:
        return found(request, name)

    return routes


def _ending(name: str) -> str:
    return name.rpartition(".")[2]
