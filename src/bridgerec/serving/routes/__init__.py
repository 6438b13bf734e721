"""The paths of the service, one module per subject; each has `router(live)`."""

from typing import Any

from bridgerec.serving.schemas import Problem

PROBLEMS: dict[int | str, dict[str, Any]] = {
    422: {"model": Problem, "description": "The request is not what the service accepts."},
    503: {"model": Problem, "description": "A part of the service cannot answer now."},
}
MISSING: dict[int | str, dict[str, Any]] = {
    404: {"model": Problem, "description": "There is no such thing."}
}
