"""Paths: which role may ask for them, and by which name they are logged.

The name is a template: an id that is part of a path must reach neither log nor metrics.
"""

import re

from starlette.types import Scope

HEALTH = frozenset({"/health", "/healthz", "/livez", "/readyz"})
METRICS = "/metrics"
READER, WRITER, ADMIN = frozenset({"reader"}), frozenset({"writer"}), frozenset({"admin"})
ANYBODY: frozenset[str] = frozenset()

_STATIC = re.compile(
    r"/|/(console/)?[\w.-]+\.(html|js|mjs|css|svg|png|ico|woff2|webmanifest)"
    r"|/pictures/\d+\.\w+"
)
_NEEDED = {  # (method, path) -> roles, one of which is enough; HEAD counts as GET
    **{("POST", p): READER for p in ("/recommend", "/recommend_batch", "/similar", "/search")},
    **{("POST", p): WRITER for p in ("/events", "/feedback", "/items")},
    **{
        ("GET", p): READER
        for p in ("/items", "/items/{item_id}", "/users", "/release", "/evaluation")
    },
    **{("GET", p): READER for p in ("/openapi.json", METRICS)},
}
_EXACT = frozenset(path for _, path in _NEEDED) | HEALTH | {"/admin/canary"}
_WITH_ID = {"items": "/items/{item_id}", "users": "/users/{user_id}"}


def is_static(path: str) -> bool:
    """Whether this is a file of the console, or a picture of the catalogue."""
    return _STATIC.fullmatch(path) is not None


def template(path: str) -> str:
    """The path's name in log and metrics: one of a small, fixed set."""
    if path in _EXACT:
        return path
    if is_static(path):
        return "/{file}" if path != "/" else path
    first, _, rest = path[1:].partition("/")
    return _WITH_ID.get(first, "other") if rest else "other"


def needed(method: str, path: str) -> frozenset[str]:
    """Roles, one of which is needed (`admin` may do everything); empty: no key is needed.

    What is not listed, such as a path that a later version adds, is for admins alone.
    """
    method = "GET" if method == "HEAD" else method
    if path in HEALTH or (method == "GET" and is_static(path)):
        return ANYBODY
    name = template(path)
    return _NEEDED.get((method, name), ADMIN) | ADMIN


def route(scope: Scope) -> str:
    """The template of a request."""
    return template(scope["path"])
