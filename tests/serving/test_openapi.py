"""The description of the service: nothing without an example, and no example that is wrong."""

from collections.abc import Iterator
from typing import Any

import pytest

from bridgerec.serving import schemas
from bridgerec.serving.app import make_app
from bridgerec.serving.canary.routes import CanaryRequest, CanaryStatus
from bridgerec.serving.examples import ANSWERS, PROBLEM

METHODS = ("get", "post", "delete")


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    return make_app(lambda: pytest.fail("nobody is asked")).openapi()


def operations(described: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def bodies(described: dict[str, Any], operation: dict[str, Any]) -> list[str]:
    """The names of the schemas that an operation's body may have."""
    if "requestBody" not in operation:
        return []
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    return [one["$ref"].rpartition("/")[2] for one in schema.get("oneOf", [schema])]


def model(name: str) -> Any:
    known = {"CanaryRequest": CanaryRequest, "CanaryStatus": CanaryStatus}
    return known.get(name) or getattr(schemas, name)


def test_every_path_is_there(described: dict[str, Any]) -> None:
    found = {(method, path) for method, path, _ in operations(described)}
    probes = {("get", path) for path in ("/livez", "/readyz", "/metrics")}
    assert found == ANSWERS.keys() | probes


def test_everything_has_an_example_that_is_valid(described: dict[str, Any]) -> None:
    for method, path, operation in operations(described):
        assert operation["summary"], path
        for name in bodies(described, operation):
            examples = described["components"]["schemas"][name]["examples"]
            assert examples, path
            for example in examples:
                model(name).model_validate(example)
        for parameter in operation.get("parameters", []):
            assert parameter["example"], (path, parameter["name"])
        ((media, content),) = operation["responses"]["200"]["content"].items()
        assert "example" in content, path
        if media == "application/json" and "$ref" in content["schema"]:
            name = content["schema"]["$ref"].rpartition("/")[2]
            model(name).model_validate(content["example"])
            assert content["example"].keys() >= set(
                described["components"]["schemas"][name]["required"]
            )
        assert method in METHODS


def test_every_error_has_the_one_shape(described: dict[str, Any]) -> None:
    schemas.Problem.model_validate(PROBLEM)
    shape = {"schema": {"$ref": "#/components/schemas/Problem"}}
    for _, path, operation in operations(described):
        for status, answer in operation["responses"].items():
            if not status.startswith("2"):
                assert answer["content"] == {"application/json": shape}, (path, status)
    assert "HTTPValidationError" not in described["components"]["schemas"]
    assert described["components"]["securitySchemes"].keys() == {"bearer", "header"}
    assert "admin or writer" in described["paths"]["/events"]["post"]["description"]
    assert "Needs no key" in described["paths"]["/health"]["get"]["description"]


def test_every_answer_carries_the_id_of_its_request() -> None:
    for operation, answer in ANSWERS.items():  # test_examples compares them with real answers
        assert answer["request_id"], operation
