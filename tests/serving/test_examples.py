"""The examples of docs/service.md, run as they stand against the built Bento."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bridgerec.config import Workspace
from bridgerec.serving.launch import running

pytestmark = pytest.mark.slow
PAGE = (Path(__file__).parents[2] / "docs" / "service.md").read_text()
EXAMPLES = [text for text in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) if "$URL" in text]


@pytest.fixture(scope="module")
def url(finished: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    state = str(tmp_path_factory.mktemp("state"))
    with running(finished.bento, state=state, timeout=180) as found:
        yield found


def answers(example: str, url: str) -> list[dict[str, Any]]:
    """What each command of an example printed."""
    done = subprocess.run(
        ["bash", "-euc", example], env={**os.environ, "URL": url}, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{example}\n{done.stdout}{done.stderr}"
    found, rest = [], done.stdout
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


@pytest.mark.skipif(shutil.which("curl") is None, reason="the examples use curl")
def test_an_event_makes_a_stranger_known(url: str) -> None:
    (example,) = [text for text in EXAMPLES if "order-1" in text]
    sent, after = answers(example, url)
    assert sent["accepted"] + sent["duplicates"] == 1
    assert after["route"] == "cold_start"
