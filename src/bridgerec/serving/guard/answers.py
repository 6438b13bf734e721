"""Errors, all of one shape: what, why, what to do, and the id to ask about."""

from collections.abc import Iterable
from typing import Any

import orjson
from starlette.types import Scope, Send

Header = tuple[bytes, bytes]

SHAPE = ("error", "message", "remedy")
DEFAULTS = {  # of answers that other code made in shapes of its own
    400: ("bad_request", "the request cannot be read", "See /openapi.json for what is expected."),
    404: ("not_found", "there is nothing at this path", "See /openapi.json for the paths."),
    405: ("method_not_allowed", "this path has other methods", "See /openapi.json for them."),
    422: ("invalid", "the request is not valid", "See /openapi.json for the fields."),
    500: ("internal", "an unforeseen error, logged under the request id", "Report the request id."),
    503: ("unavailable", "the service is not ready", "Try again in a second."),
    504: ("timeout", "the answer took too long", "Try again, or ask for less at once."),
}


def state(scope: Scope) -> dict[str, Any]:
    """What the layers of the guard tell each other and the handlers (`request.state`)."""
    found: dict[str, Any] = scope.setdefault("state", {})
    return found


async def refuse(
    scope: Scope,
    send: Send,
    status: int,
    error: str,
    message: str,
    remedy: str,
    headers: Iterable[Header] = (),
) -> None:
    """Answer with an error instead of asking the application."""
    content = {"error": error, "message": message, "remedy": remedy}
    body = orjson.dumps({**content, "request_id": state(scope).get("request_id")})
    if scope.get("method") == "HEAD":
        body = b""
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [*json_headers(body), *headers],
        }
    )
    await send({"type": "http.response.body", "body": body})


def json_headers(body: bytes) -> list[Header]:
    return [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]


def reshaped(status: int, body: bytes, request_id: str) -> tuple[bytes, str]:
    """An error's body in the common shape, and its code."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        found = None
    found = found if isinstance(found, dict) else {}
    if not all(isinstance(found.get(key), str) for key in SHAPE):
        kind = DEFAULTS.get(status) or DEFAULTS[500 if status >= 500 else 400]
        detail = found.get("detail", found.get("error"))
        found = dict(zip(SHAPE, kind, strict=True))
        if isinstance(detail, str) and status not in (404, 405, 500):
            found["message"] = detail
    found["request_id"] = request_id
    return orjson.dumps(found), found["error"]
