"""A running service goes from release to release while it is asked."""

import os
import shutil
import signal
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from bridgerec.config import Workspace
from bridgerec.data.dataset import Catalogue
from bridgerec.pipeline.stages import run_stage
from bridgerec.registry.bundle import find_bundle
from bridgerec.registry.current import promote, rollback
from bridgerec.registry.store import Release, Store
from bridgerec.runtime import read_json
from bridgerec.serving.canary import Plan, move_file, read_plan, write_plan
from bridgerec.serving.launch import running
from bridgerec.serving.switch import follow, settle

ALLOWED = {"allowed": True, "reasons": []}


def test_a_start_drops_a_move_but_not_a_trial(tmp_path: Path) -> None:
    control, one, two = tmp_path / "canary.json", tmp_path / "one", tmp_path / "two"
    move = move_file(control)
    settle(control, one)
    for bento in (one, two):  # the move is over, or it is not what is served now
        write_plan(control, Plan(bento=str(two), weight=0.1))
        follow(control, bento)
        assert read_plan(move).weight == 1
        assert not control.exists()  # a trial ends with it
        settle(control, one)
        assert not move.exists()
    write_plan(control, Plan(bento=str(two), weight=0.1))
    settle(control, one)
    assert control.exists()
    settle(control, two)
    assert not control.exists()


WORDS = {"target": "films", "k": 3}
PATHS: list[tuple[str, str, dict[str, Any] | None]] = [
    ("POST", "/recommend", {"target": "films", "k": 3}),
    ("POST", "/recommend", {**WORDS, "wish": "a quiet story"}),
    ("POST", "/search", {**WORDS, "text": "the sea"}),
    ("POST", "/similar", {"domain": "films", "item_id": "F00001", "k": 3}),
    ("GET", "/release", None),
    ("GET", "/health", None),
    ("POST", "/items", {"domain": "films", "item_id": "new", "title": "A lighthouse in winter"}),
    ("GET", "/users/u00001", None),
]


class Asker:
    """Asks one thing without a pause and counts who answered, and what failed."""

    def __init__(self, url: str, method: str, path: str, body: dict[str, Any] | None) -> None:
        self.url, self.asked = url, (method, path, body)
        self.releases, self.failures = Counter[str](), list[str]()
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._ask)

    def _ask(self) -> None:
        method, path, body = self.asked
        with httpx.Client(base_url=self.url, timeout=60) as client:
            while not self.over.is_set():
                try:
                    answer = client.request(method, path, json=body)
                    found = answer.json()
                    if answer.status_code == 200 and len(found.get("items", "abc")) == 3:
                        self.releases[found.get("release", "")] += 1
                    else:
                        self.failures.append(answer.text)
                except httpx.HTTPError as error:
                    self.failures.append(repr(error))
                time.sleep(0.02)


def wait_for(askers: list[Asker], release: str) -> None:
    """Until this release answers whatever tells its release, and no other one any more."""
    limit = time.monotonic() + 120
    while time.monotonic() < limit:
        before = [asker.releases.copy() for asker in askers]
        time.sleep(1)
        now = [(a.releases - b).keys() for a, b in zip(askers, before, strict=True)]
        if all(seen in ({release}, {""}) for seen in now):
            return
    told = [(a.asked[1], a.releases, a.failures[:1]) for a in askers]
    raise AssertionError(f"{release} never answered everything: {told}")


@pytest.fixture
def two(finished: Workspace, tmp_path: Path) -> tuple[Workspace, Release, Release]:
    """A workspace with two releases whose vectors are of different spaces, the first one live."""
    ignored = shutil.ignore_patterns("cache", "tmp")
    place = Workspace.open(shutil.copytree(finished.root, tmp_path / "copy", ignore=ignored))
    store = Store.of(place)
    first = store.keep(place, ALLOWED)
    params = yaml.safe_load((place.root / "params.yaml").read_text())
    params["service"]["k_max"] = 150
    params["embed"]["whitening"] = "zca"
    (place.root / "params.yaml").write_text(yaml.safe_dump(params))
    place = Workspace.open(place.root)
    for stage in ("embed", "package"):
        run_stage(place, stage, None, lambda _: None)
    second = store.keep(place, ALLOWED)
    promote(store, first)
    return place, first, second


def ready(url: str) -> None:
    """Until the encoder is loaded."""
    limit = time.monotonic() + 120
    while httpx.post(f"{url}/search", json={**WORDS, "text": "x"}, timeout=60).status_code != 200:
        assert time.monotonic() < limit
        time.sleep(0.5)


def likest(url: str, item: str) -> tuple[str, str]:
    """Which release finds which film almost equal to an item."""
    near = {"domain": "films", "item_id": item, "k": 1}
    answer = httpx.post(f"{url}/similar", json=near, timeout=60).json()
    (found,) = answer["items"]
    assert found["score"] > 0.99
    return answer["release"], found["item_id"]


def worker(traffic: Path) -> int:
    """The process that wrote to the traffic log last."""
    newest = max(traffic.glob("requests.*.jsonl"), key=lambda path: path.stat().st_mtime_ns)
    return int(newest.name.split(".")[1])


@pytest.mark.slow
def test_everything_goes_over_and_no_request_is_dropped(
    two: tuple[Workspace, Release, Release],
) -> None:
    place, first, second = two
    store, control, traffic = Store.of(place), place.canary, place.root / "asked"
    assert first.id != second.id
    records = [read_json(find_bundle(r.bento) / "encoder.json") for r in (first, second)]
    assert records[0]["space"] != records[1]["space"]
    films = Catalogue.read(place.prepared / "items.parquet").items.filter(domain="films")
    words = {c: films[c][0] for c in ("title", "description", "category", "brand") if films[c][0]}
    with running(first.bento, canary=control, traffic=traffic, timeout=180) as url:
        ready(url)
        twin = {"domain": "films", "item_id": "twin", **words}
        assert httpx.post(f"{url}/items", json=twin, timeout=60).status_code == 200
        assert likest(url, "twin") == (first.id, films["item_id"][0])
        askers = [Asker(url, *path) for path in PATHS]
        for asker in askers:
            asker.thread.start()
        try:
            wait_for(askers, first.id)
            promote(store, second)
            follow(control, second.bento)
            wait_for(askers, second.id)
            status = httpx.get(f"{url}/admin/canary").json()
            assert (status["main"], status["move"], status["state"]) == (second.id, "on", "none")
            # the trial of another one ends with the release that is live, not with the first one
            asked = {"bento": str(first.bento), "weight": 1}
            assert httpx.post(f"{url}/admin/canary", json=asked).json()["state"] == "on"
            wait_for(askers[:1], first.id)
            assert httpx.get(f"{url}/release").json()["release"] == second.id
            assert httpx.delete(f"{url}/admin/canary").json()["state"] == "none"
            wait_for(askers, second.id)
            rollback(store)
            follow(control, first.bento)
            wait_for(askers, first.id)
            follow(control, second.bento)
            wait_for(askers, second.id)
        finally:
            for asker in askers:
                asker.over.set()
                asker.thread.join()
        assert [asker.failures for asker in askers] == [[]] * len(askers)
        # what was added before has a vector of the new release's space
        assert likest(url, "twin") == (second.id, films["item_id"][0])
        found = httpx.post(f"{url}/recommend", json={"target": "films", "k": 150}, timeout=60)
        assert "new" in [item["item_id"] for item in found.json()["items"]]
        assert httpx.post(f"{url}/recommend", json={"target": "films", "k": 151}).status_code == 422

        # a worker that dies comes back with the release that is live, from its first answer on
        old = worker(traffic)
        os.kill(old, signal.SIGKILL)
        limit, answers = time.monotonic() + 120, list[str]()
        while len(answers) < 20 and time.monotonic() < limit:
            try:
                answers.append(httpx.get(f"{url}/health", timeout=5).json().get("release"))
            except httpx.HTTPError:
                time.sleep(0.2)
        assert answers == [second.id] * 20
