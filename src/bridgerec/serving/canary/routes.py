"""`/admin/canary`: begin, watch and end the trial of a second release."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from bridgerec.errors import ConfigError
from bridgerec.registry.bundle import find_bundle
from bridgerec.serving.canary.plan import Plan, held, write_plan
from bridgerec.serving.canary.releases import Releases
from bridgerec.serving.problems import request_id

State = Literal["none", "loading", "on", "off", "refused"]
PATIENCE = 3.0  # seconds; a release that takes longer to load is reported as loading


class CanaryRequest(BaseModel):
    """Which release to try, for how large a share of people, and how."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [{"bento": "artifacts/bento", "weight": 0.05}]},
    )

    bento: str = Field(
        min_length=1, max_length=4096, description="The Bento's folder, on the server."
    )
    weight: float = Field(ge=0, le=1, allow_inf_nan=False)
    mode: Literal["canary", "shadow"] = "canary"


class CanaryStatus(BaseModel):
    """`state`: none, loading, on, off (switched off after errors) or refused, with the `reason`;
    the counts are those of the worker that answers.  `move` tells the same of going over to
    another main release; `loaded` are the releases that a request may name."""

    state: State
    reason: str | None
    plan: dict[str, Any] | None
    main: str
    move: State
    move_reason: str | None
    second: str | None
    loaded: list[str]
    answered: int
    errors: int
    shadow_answers: int
    shadow_errors: int
    shadow_dropped: int
    request_id: str


def canary_routes(releases: Callable[[], Releases[Any]]) -> APIRouter:
    """The endpoints; `releases` is asked at each request.  A plan that cannot work is refused
    with ConfigError or ArtifactError, and nothing changes."""
    router = APIRouter(tags=["admin"])

    @router.get("/admin/canary", response_model=CanaryStatus)
    async def status(request: Request) -> dict[str, Any]:
        """The second release and how it goes."""
        return told(request, releases())

    @router.post("/admin/canary", response_model=CanaryStatus)
    async def begin(request: Request, body: CanaryRequest) -> Any:
        """Try a second release, or change its share; a plan that cannot work is refused."""
        found = releases()
        control = _control(found)
        folder = _folder(body.bento)
        find_bundle(folder)
        given = {**body.model_dump(), "bento": str(folder), "release": held(folder)}
        before = found.follower.look(now=True).plan
        if before is not None and (before.bento, before.release) == (str(folder), given["release"]):
            given["salt"] = before.salt  # the same people go on; their share may grow
        write_plan(control, Plan.model_validate(given))
        found.follower.look(now=True)
        over = await asyncio.to_thread(found.follower.wait, PATIENCE)
        answer = told(request, found)
        if answer["state"] == "refused":
            restore(found, before)
            raise ConfigError(answer["reason"] or "the release cannot be loaded")
        return JSONResponse(answer, 200 if over else 202)

    @router.delete("/admin/canary", response_model=CanaryStatus)
    async def end(request: Request) -> dict[str, Any]:
        """Roll back at once."""
        found = releases()
        _control(found).unlink(missing_ok=True)
        return told(request, found)

    return router


def told(request: Request, releases: Releases[Any]) -> dict[str, Any]:
    """How the second release goes, with the id of the request."""
    return {**releases.status(), "request_id": request_id(request)}


def restore(releases: Releases[Any], before: Plan | None) -> None:
    """Go back to the plan before one that was refused."""
    control = _control(releases)
    if before is None:
        control.unlink(missing_ok=True)
    else:
        write_plan(control, before)
    releases.follower.look(now=True)


def _control(releases: Releases[Any]) -> Path:
    control = releases.follower.control
    if control is None:
        raise ConfigError(
            "this service has no control file for a second release; start it with "
            "BRIDGEREC_CANARY=FILE."
        )
    return control


def _folder(text: str) -> Path:
    try:
        return Path(text).resolve()
    except (OSError, ValueError) as error:  # a NUL, a loop of links
        raise ConfigError(f"bento: {text!r} is no path.") from error
