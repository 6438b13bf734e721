"""The built Bento with two workers and its live state in Redis, over HTTP."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from bridgerec.config import Workspace
from bridgerec.serving.launch import running
from redis_server import redis_server

pytestmark = pytest.mark.slow
PERSON = {"user_id": "somebody-new"}
ROUNDS = 12  # requests on new connections, which go to either worker


def post(url: str, path: str, **body: Any) -> dict[str, Any]:
    answer = httpx.post(f"{url}{path}", json=body, timeout=30)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def shown(url: str, **body: Any) -> list[str]:
    found = post(url, "/recommend", target="films", k=20, **body)
    return [item["item_id"] for item in found["items"]]


def workers(traffic: Path) -> int:
    """How many processes answered something."""
    return len([*traffic.glob("requests.*.jsonl")])


def test_what_people_did_is_in_redis_for_every_worker_and_after_a_restart(
    finished: Workspace, tmp_path: Path
) -> None:
    kept, traffic = tmp_path / "redis", tmp_path / "traffic"
    kept.mkdir()
    with (
        redis_server(kept) as address,
        running(finished.bento, 2, traffic, timeout=180, state=address) as url,
    ):
        before = shown(url, **PERSON)
        event = {**PERSON, "domain": "films", "item_id": before[0], "event_id": "order-1"}
        assert post(url, "/events", **event)["accepted"] == 1
        after = shown(url, **PERSON)
        assert before[0] not in after
        for _ in range(ROUNDS):
            assert shown(url, **PERSON) == after
            assert post(url, "/events", **event)["duplicates"] == 1
            told = httpx.get(f"{url}/users/somebody-new").json()
            assert [e["item_id"] for e in told["events"]] == before[:1]
        assert workers(traffic) == 2
        feedback = {"request_id": "r-1", "clicked": [{"domain": "films", "item_id": after[0]}]}
        assert post(url, "/feedback", **feedback)["accepted"] == 1
        post(url, "/events", user_id="gone", domain="films", item_id=before[1])
        assert httpx.delete(f"{url}/users/gone").status_code == 200
    with (
        redis_server(kept) as address,
        running(finished.bento, 1, timeout=180, state=address) as url,
    ):
        assert shown(url, **PERSON) == after
        assert post(url, "/events", **event)["duplicates"] == 1
        assert post(url, "/feedback", **feedback)["accepted"] == 0
        assert httpx.get(f"{url}/users/gone").json()["known"] is False
    with running(finished.bento, 1, timeout=180, state=str(tmp_path / "other")) as url:
        assert shown(url, **PERSON) == before  # it was Redis that kept it
