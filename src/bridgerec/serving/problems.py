"""Every error has the same shape: what, where, remedy, and the request it belongs to."""

import os
import random
import traceback
from collections.abc import Iterable
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Scope

from bridgerec.errors import BridgeRecError
from bridgerec.serving.state import StateError

FRAMES = 6  # of a traceback
OURS = "Value error, "  # pydantic's own words before those of our checks
BRANCHES = ("str", "constrained-str")
FIELDS = "See /openapi.json for the fields."
LOOK_IT_UP = "Correct the id; GET /items?query= finds items by their title."


class NotFound(BridgeRecError):
    """What a request names does not exist; `remedy` is what to do."""

    def __init__(self, message: str, remedy: str = LOOK_IT_UP) -> None:
        super().__init__(message)
        self.remedy = remedy


class Forbidden(BridgeRecError):
    """The key's role does not allow what a request asks for."""


class Unavailable(BridgeRecError):
    """A part of the service cannot answer; the message says why, `remedy` what to do."""

    def __init__(self, message: str, remedy: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.remedy, self.retry_after = remedy, retry_after


def written(content: Any) -> bytes:
    """JSON; halves of surrogate pairs, which are no text, become question marks."""
    try:
        return orjson.dumps(content)
    except TypeError:
        return orjson.dumps(_plain(content))


def answer(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON response."""
    return Response(written(content), status, headers, media_type="application/json")


def _plain(content: Any) -> Any:
    if isinstance(content, str):
        return content.encode("utf-8", "replace").decode()
    if isinstance(content, dict):
        return {_plain(k): _plain(v) for k, v in content.items()}
    return [_plain(v) for v in content] if isinstance(content, list) else content


def request_id(request: Request) -> str:
    """The id that came with the request (see the middleware), or a new one."""
    return id_of(request.scope)


def id_of(scope: Scope) -> str:
    known = scope.get("state", {}).get("request_id")
    return known if isinstance(known, str) else new_id()


def frames(error: BaseException) -> list[str]:
    """Where an error came from, for logs: without its message, which may hold what was sent."""
    found = traceback.extract_tb(error.__traceback__)[-FRAMES:]
    return [f"{f.filename}:{f.lineno} {f.name}" for f in found]


_ids = random.Random()  # no secret, so no system call for each
os.register_at_fork(after_in_child=_ids.seed)


def new_id() -> str:
    """An id for a request that came without one."""
    return f"{_ids.getrandbits(64):016x}"


def described(error: BridgeRecError) -> tuple[int, str, str]:
    """Status, short name and remedy of an error."""
    if isinstance(error, NotFound):
        return 404, "not_found", error.remedy
    if isinstance(error, Forbidden):
        return 403, "forbidden", "Use another key."
    if isinstance(error, Unavailable):
        return 503, "unavailable", error.remedy
    if isinstance(error, StateError):
        return 503, "state", "Repair the store, or set BRIDGEREC_STATE; then send it again."
    return 422, "refused", "Correct the request; see /openapi.json."


def problem(request: Request, status: int, error: str, message: str, remedy: str) -> Response:
    content = {
        "error": error, "message": message, "remedy": remedy, "request_id": request_id(request)
    }  # fmt: skip
    return answer(content, status)


def _invalid(request: Request, errors: Iterable[tuple[tuple[int | str, ...], str]]) -> Response:
    wrong = [f"{_place(place)}: {said.removeprefix(OURS)}" for place, said in errors]
    return problem(request, 422, "invalid", "; ".join(wrong), FIELDS)


def _place(loc: tuple[int | str, ...]) -> str:
    """Where in a request something is wrong, without pydantic's names of a union's branches."""
    parts = [str(part) for part in loc if part not in BRANCHES and "[" not in str(part)]
    return ".".join(parts) or "body"


def refused(request: Request, error: BridgeRecError | ValidationError) -> Response:
    """The answer to what the service does not accept, or cannot do now."""
    if isinstance(error, ValidationError):
        return _invalid(request, [(e["loc"], e["msg"]) for e in error.errors()])
    status, name, remedy = described(error)
    found = problem(request, status, name, str(error), remedy)
    if isinstance(error, Unavailable) and error.retry_after is not None:
        found.headers["Retry-After"] = str(error.retry_after)
    return found


def install(app: FastAPI) -> None:
    """Make every error of the application look like this."""

    @app.exception_handler(BridgeRecError)
    @app.exception_handler(ValidationError)
    async def unfit(request: Request, error: BridgeRecError | ValidationError) -> Response:
        return refused(request, error)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return _invalid(request, [(e["loc"][1:], e["msg"]) for e in error.errors()])

    @app.exception_handler(HTTPException)
    async def routing(request: Request, error: HTTPException) -> Response:
        name = {404: "not_found", 405: "method"}.get(error.status_code, "refused")
        found = problem(
            request, error.status_code, name, str(error.detail), "See /openapi.json for the paths."
        )
        found.headers.update(error.headers or {})
        return found

    @app.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> Response:
        remedy = "Look at the service's log; it names this error."
        return problem(request, 500, "internal", f"a defect: {type(error).__name__}", remedy)
