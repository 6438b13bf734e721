"""A running service goes from release to release while it is asked."""

import shutil
import threading
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest
import yaml

from bridgerec.config import Workspace
from bridgerec.pipeline.stages import run_stage
from bridgerec.registry.current import promote, rollback
from bridgerec.registry.store import Release, Store
from bridgerec.serving.canary import Plan, read_plan, write_plan
from bridgerec.serving.launch import running
from bridgerec.serving.switch import follow, settle

ALLOWED = {"allowed": True, "reasons": []}


def test_a_start_drops_a_move_but_not_a_trial(tmp_path: Path) -> None:
    control, one, two = tmp_path / "canary.json", tmp_path / "one", tmp_path / "two"
    settle(control, one)
    for bento in (one, two):  # the move is over, or it is not what is served now
        follow(control, bento)
        assert read_plan(control).weight == 1
        settle(control, one)
        assert not control.exists()
    write_plan(control, Plan(bento=str(two), weight=0.1))
    settle(control, one)
    assert control.exists()
    settle(control, two)
    assert not control.exists()


class Asker:
    """Asks without a pause and counts who answered, and what failed."""

    def __init__(self, url: str) -> None:
        self.url, self.releases, self.failures = url, Counter[str](), list[str]()
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._ask)

    def _ask(self) -> None:
        with httpx.Client(timeout=60) as client:
            while not self.over.is_set():
                try:
                    answer = client.post(f"{self.url}/recommend", json={"target": "films", "k": 3})
                    if answer.status_code == 200 and len(answer.json()["items"]) == 3:
                        self.releases[answer.json()["release"]] += 1
                    else:
                        self.failures.append(answer.text)
                except httpx.HTTPError as error:
                    self.failures.append(repr(error))

    def wait_for(self, release: str) -> None:
        """Until this release answers, and no other one any more."""
        limit = time.monotonic() + 120
        while self.over.is_set() is False and time.monotonic() < limit:
            before = self.releases.copy()
            time.sleep(1)
            if (self.releases - before).keys() == {release}:
                return
        raise AssertionError(f"{release} never answered: {self.releases}, {self.failures[:3]}")


@pytest.fixture
def two(finished: Workspace, tmp_path: Path) -> tuple[Workspace, Release, Release]:
    """A workspace with two releases, the first one live."""
    ignored = shutil.ignore_patterns("cache", "tmp")
    place = Workspace.open(shutil.copytree(finished.root, tmp_path / "copy", ignore=ignored))
    store = Store.of(place)
    first = store.keep(place, ALLOWED)
    params = yaml.safe_load((place.root / "params.yaml").read_text())
    params["service"]["k_max"] = 150
    (place.root / "params.yaml").write_text(yaml.safe_dump(params))
    run_stage(place, "package", None, lambda _: None)
    second = store.keep(place, ALLOWED)
    promote(store, first)
    return place, first, second


@pytest.mark.slow
def test_promotion_and_rollback_drop_no_request(two: tuple[Workspace, Release, Release]) -> None:
    place, first, second = two
    store, control = Store.of(place), place.canary
    assert first.id != second.id
    with running(first.bento, canary=control, timeout=180) as url:
        asker = Asker(url)
        asker.thread.start()
        try:
            asker.wait_for(first.id)
            promote(store, second)
            follow(control, second.bento)
            asker.wait_for(second.id)
            rollback(store)
            follow(control, first.bento)
            asker.wait_for(first.id)
        finally:
            asker.over.set()
            asker.thread.join()
    assert asker.failures == []
    assert asker.releases.keys() == {first.id, second.id}
