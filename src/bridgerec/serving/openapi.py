"""The description at /openapi.json: what FastAPI finds, what the guard adds, and examples."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from bridgerec.serving import examples
from bridgerec.serving.guard.paths import needed
from bridgerec.serving.schemas import Problem

REFUSALS = {
    "401": "No valid key.",
    "403": "The key's role does not allow it.",
    "413": "The body is too large.",
    "415": "The body is no JSON.",
    "429": "The key asks too often; see Retry-After.",
    "503": "A part of the service cannot answer now, or too many are waiting.",
    "504": "It took too long.",
}
WITH_BODY = ("413", "415")
SECURITY: list[dict[str, list[str]]] = [{}, {"bearer": []}, {"header": []}]  # {}: an open service
SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "header": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
}
TEXT = {
    "/livez": ("Whether the process lives", "text/plain", ""),
    "/readyz": ("Whether it answers: not while it loads or drains", "text/plain", ""),
    "/metrics": (
        "Counters of all workers for Prometheus",
        "text/plain",
        'bridgerec_request_seconds_count{method="POST",route="/recommend",status="200"} 412.0\n',
    ),
}


def describe(app: FastAPI) -> None:
    """Make `app.openapi` tell all this."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            found = get_openapi(title=app.title, version=app.version, routes=app.routes)
            app.openapi_schema = _completed(found)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _completed(found: dict[str, Any]) -> dict[str, Any]:
    schemas = found["components"]["schemas"]
    schemas["Problem"] = {**Problem.model_json_schema(), "examples": [examples.PROBLEM]}
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    found["components"]["securitySchemes"] = SCHEMES
    found["security"] = SECURITY
    for path, methods in found["paths"].items():
        for method, operation in methods.items():
            _complete(method, path, operation)
    for path, (summary, media, example) in TEXT.items():
        content = {media: {"schema": {"type": "string"}, "example": example}}
        found["paths"][path] = {
            "get": {
                "summary": summary,
                "tags": ["release"],
                "responses": {"200": {"description": summary, "content": content}},
            }
        }
    return found


def _complete(method: str, path: str, operation: dict[str, Any]) -> None:
    problem = {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    answers = operation["responses"]
    for status, what in REFUSALS.items():
        if status not in WITH_BODY or "requestBody" in operation:
            answers.setdefault(status, {"description": what})
    for status, answer in answers.items():
        if not status.startswith("2"):
            answer["content"] = problem
        elif "application/json" in answer.get("content", {}):
            answer["content"]["application/json"]["example"] = examples.ANSWERS[method, path]
    for parameter in operation.get("parameters", []):
        name, known = parameter["name"], examples.PARAMETERS
        parameter["example"] = known[name] if name in known else known[f"{path} {name}"]
    roles = sorted(needed(method.upper(), path))
    said = f"Needs a key with the role {' or '.join(roles)}." if roles else "Needs no key."
    operation["description"] = " ".join(filter(None, (operation.get("description"), said)))
