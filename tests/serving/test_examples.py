"""The examples of docs/service.md, run as they stand against the built Bento."""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from bridgerec.config import Workspace
from bridgerec.serving.launch import running

pytestmark = pytest.mark.slow
PAGE = (Path(__file__).parents[2] / "docs" / "service.md").read_text()
SHOWN = [text for text in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) if "$URL" in text]
EXAMPLES = [text for text in SHOWN if "/metrics" not in text]  # which is no JSON


@pytest.fixture(scope="module")
def url(finished: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    state = str(tmp_path_factory.mktemp("state"))
    with running(finished.bento, state=state, timeout=180) as found:
        yield found


def printed(example: str, url: str) -> str:
    done = subprocess.run(
        ["bash", "-euc", example], env={**os.environ, "URL": url}, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{example}\n{done.stdout}{done.stderr}"
    return done.stdout


def answers(example: str, url: str) -> list[dict[str, Any]]:
    """What each command of an example printed."""
    found, rest = [], printed(example, url)
    while rest:
        value, end = json.JSONDecoder().raw_decode(rest)
        found.append(value)
        rest = rest[end:].lstrip()
    assert len(found) == example.count("curl ")
    return found


@pytest.mark.skipif(shutil.which("curl") is None, reason="the examples use curl")
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: text.splitlines()[0].lstrip("# "))
def test_the_example_works(url: str, example: str) -> None:
    for answer in answers(example, url):
        assert "error" not in answer
        for items in [answer.get("items"), *(a["items"] for a in answer.get("answers", []))]:
            assert items is None or (items and all(item["title"] for item in items))


def fields(value: Any, long: frozenset[str] = frozenset()) -> Any:
    """The names of the fields of an answer, without their values; those in `long` are cut."""
    if isinstance(value, list):
        return [fields(value[0], long)] if value else []
    if not isinstance(value, dict):
        return None
    return {name: None if name in long else fields(inner, long) for name, inner in value.items()}


def test_the_examples_of_the_description_are_answered_as_they_tell(url: str) -> None:
    """Bodies in the order of the description; what is added and sent there is there later."""
    described = httpx.get(f"{url}/openapi.json").json()
    schemas, told = described["components"]["schemas"], 0
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            if (
                path.startswith("/admin")
                or "text/plain" in operation["responses"]["200"]["content"]
            ):
                continue  # a trial needs a second release
            given = {p["name"]: p["example"] for p in operation.get("parameters", [])}
            place = path.format(**given)
            query = {p["name"]: p["example"] for p in operation.get("parameters", [])
                     if p["in"] == "query"}  # fmt: skip
            bodies: list[Any] = [None]
            if "requestBody" in operation:
                schema = operation["requestBody"]["content"]["application/json"]["schema"]
                names = [s["$ref"].rpartition("/")[2] for s in schema.get("oneOf", [schema])]
                bodies = [example for name in names for example in schemas[name]["examples"]]
            content = operation["responses"]["200"]["content"]["application/json"]
            for body in bodies:
                limit = time.monotonic() + 120
                while (
                    answer := httpx.request(
                        method, f"{url}{place}", params=query, json=body, timeout=60
                    )
                ).status_code == 503:  # the encoder is being loaded
                    assert time.monotonic() < limit
                    time.sleep(1)
                assert answer.status_code == 200, (place, body, answer.text)
                if place in ("/release", "/evaluation"):  # the example is a part
                    assert content["example"].keys() <= answer.json().keys()
                    continue
                free = frozenset({"explanation", "routes", "notes", "events", "answers"})
                assert fields(answer.json(), free) == fields(content["example"], free), place
                told += 1
    assert told >= 15


@pytest.mark.skipif(shutil.which("curl") is None, reason="the examples use curl")
def test_an_event_makes_a_stranger_known(url: str) -> None:
    (example,) = [text for text in EXAMPLES if "order-1" in text]
    sent, after = answers(example, url)
    assert sent["accepted"] + sent["duplicates"] == 1
    assert after["route"] == "cold_start"


@pytest.mark.skipif(shutil.which("curl") is None, reason="the examples use curl")
def test_the_counters_are_printed(url: str) -> None:
    (example,) = [text for text in SHOWN if text not in EXAMPLES]
    ask = {"target": "films", "k": 1}
    assert httpx.post(f"{url}/recommend", json=ask, timeout=30).status_code == 200
    lines = printed(example, url).splitlines()
    name = 'bridgerec_request_seconds_count{method="POST",route="/recommend",status="200"}'
    assert any(line.startswith(name) for line in lines)
    assert any(line.startswith("bridgerec_requests_running ") for line in lines)


@pytest.mark.skipif(shutil.which("curl") is None, reason="the examples use curl")
def test_an_example_gets_what_it_allows_and_does_not_exclude(url: str) -> None:
    (example,) = [text for text in EXAMPLES if '"allow"' in text]
    (answer,) = answers(example, url)
    assert {item["item_id"] for item in answer["items"]} == {"F00001", "F00003"}


@pytest.mark.skipif(shutil.which("curl") is None, reason="the examples use curl")
def test_several_events_are_counted_together(url: str) -> None:
    (example,) = [text for text in EXAMPLES if "order-2" in text]
    (sent,) = answers(example, url)
    assert sent["accepted"] + sent["duplicates"] == 2
    assert sent["unknown_items"] == 0
