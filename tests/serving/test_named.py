"""Asking a release by its id: the built Bento with keys, and another one on trial beside it."""

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from bridgerec.config import Workspace
from bridgerec.registry.bundle import find_bundle
from bridgerec.runtime import read_json, write_json
from bridgerec.serving.canary import Plan, write_plan
from bridgerec.serving.keys import add_key
from bridgerec.serving.launch import running
from bridgerec.serving.ranker import Recommender

pytestmark = pytest.mark.slow
WORKERS = 2
TRIES = 8  # each on a connection of its own, so that both workers are asked
HISTORY = [{"domain": "books", "item_id": f"B0000{n}"} for n in range(1, 5)]
ASKED = {"target": "films", "history": HISTORY, "k": 5}


def ready(answer: httpx.Response) -> bool:
    return answer.status_code == 200 and answer.json().get("state", "on") == "on"


class Service:
    """A running service whose live release draws orders by chance, and whose second one, on trial
    with nobody, answers by popularity alone."""

    def __init__(self, url: str, folder: Path, keys: dict[str, str], bentos: list[Path]) -> None:
        self.url, self.folder, self.keys = url, folder, keys
        self.control, self.traffic = folder / "canary.json", folder / "traffic"
        self.main, self.second = (read_json(find_bundle(b) / "manifest.json")["release"]
                                  for b in bentos)  # fmt: skip
        self.bundle = find_bundle(bentos[1])

    def ask(
        self, path: str, role: str = "admin", method: str = "POST", **body: Any
    ) -> httpx.Response:
        headers = {"X-Api-Key": self.keys[role]}
        sent = body if method == "POST" else None
        return httpx.request(method, f"{self.url}{path}", json=sent, headers=headers, timeout=60)

    def tried(self, path: str, status: int = 200, **body: Any) -> list[dict[str, Any]]:
        answers = [self.ask(path, **body) for _ in range(TRIES)]
        assert [a.status_code for a in answers] == [status] * TRIES, answers[0].text
        return [answer.json() for answer in answers]

    def counts(self) -> set[tuple[int, int, int]]:
        """What the workers counted of the trial."""
        found = [self.ask("/admin/canary", method="GET").json() for _ in range(TRIES)]
        return {(s["answered"], s["errors"], s["shadow_answers"]) for s in found}

    def settle(self, path: str, method: str = "POST", **body: Any) -> None:
        """Until every worker answers this: a worker that loads a release takes few connections, so
        that seconds without a refusal are needed to know that none is left."""
        limit, good = time.monotonic() + 120, 0
        while good < 6 * TRIES:
            good = good + 1 if ready(self.ask(path, method=method, **body)) else 0
            assert time.monotonic() < limit
            time.sleep(0.05)

    def logged(self) -> set[str]:
        lines = [
            x for f in self.traffic.glob("requests.*.jsonl") for x in f.read_text().split("\n")
        ]
        return {json.loads(line)["request_id"] for line in lines if line}


@pytest.fixture(scope="module")
def service(finished: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("named")
    bentos = [Path(shutil.copytree(finished.bento, folder / name)) for name in ("one", "two")]
    for bento, changes in zip(bentos, ({}, {"release": "second"}), strict=True):
        path = find_bundle(bento) / "manifest.json"
        manifest = {**read_json(path), **changes}
        manifest["service"]["exploration"] = {"share": 1, "depth": 10, "sharpness": 0.5}
        if changes:
            routes = dict.fromkeys(manifest["champion"]["routes"], "popularity")
            manifest["champion"]["routes"] = routes
        write_json(path, manifest)
    keys = {r: add_key(folder / "keys.json", r, (r,), rate=10_000) for r in ("reader", "admin")}
    plan = Plan(bento=str(bentos[1]), weight=0)
    write_plan(folder / "canary.json", plan)
    given = {"keys": folder / "keys.json", "canary": folder / "canary.json"}
    with running(bentos[0], WORKERS, folder / "traffic", timeout=180, **given) as url:
        found = Service(url, folder, keys, bentos)
        found.settle("/admin/canary", "GET")
        yield found


def test_each_release_gives_its_own_answer(service: Service) -> None:
    alone = Recommender.open(service.bundle).recommend(ASKED)
    for answer in service.tried("/recommend", **ASKED, release="second"):
        assert (answer["release"], answer["candidate"]) == ("second", "popularity")
        assert answer["items"] == alone["items"]  # and so without chance
    live = service.tried("/recommend", **ASKED, release=service.main)
    assert {a["release"] for a in live} == {service.main}
    assert all("propensity" not in item for a in live for item in a["items"])
    assert all(a["items"] == live[0]["items"] != alone["items"] for a in live)
    for answer in service.tried("/recommend", **ASKED):
        assert answer["release"] == service.main
        assert all("propensity" in item for item in answer["items"])


def test_every_way_of_asking_takes_a_name(service: Service) -> None:
    for name in ("second", service.main):
        near = {"domain": "films", "item_id": "F00001", "release": name}
        assert {a["release"] for a in service.tried("/similar", **near)} == {name}
        words = {"text": "the sea", "target": "films", "release": name}
        service.settle("/search", **words)  # each release has an encoder of its own to load
        assert {a["release"] for a in service.tried("/search", **words)} == {name}
    asked = [{**ASKED, "release": name} for name in ("second", service.main, "absent")]
    for batch in service.tried("/recommend_batch", requests=[*asked, ASKED]):
        told = [answer.get("release", answer.get("error")) for answer in batch["answers"]]
        assert told == ["second", service.main, "not_found", service.main]
    status = service.ask("/admin/canary", method="GET").json()
    assert status["loaded"] == [service.main, "second"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/recommend", ASKED),
        ("/similar", {"domain": "films", "item_id": "F00001"}),
        ("/search", {"text": "the sea", "target": "films"}),
    ],
)
def test_others_may_not_choose_and_names_must_be_loaded(
    service: Service, path: str, body: dict[str, Any]
) -> None:
    service.settle(path, **body)
    assert service.ask(path, "reader", **body).status_code == 200
    for name in (service.main, "second", "absent"):  # so nobody learns what is on trial
        refused = service.ask(path, "reader", **body, release=name)
        assert (refused.status_code, refused.json()["error"]) == (403, "forbidden")
        assert "role admin" in refused.json()["message"]
    for missing in service.tried(path, 404, **body, release="absent"):
        assert missing["error"] == "not_found"
        assert f"loaded are ['{service.main}', 'second']" in missing["message"]
    assert service.ask(path, **body, release="").status_code == 422


def test_a_batch_refuses_each_name_on_its_own(service: Service) -> None:
    asked = [ASKED, {**ASKED, "release": "second"}]
    answers = service.ask("/recommend_batch", "reader", requests=asked).json()["answers"]
    assert answers[0]["release"] == service.main
    assert answers[1]["error"] == "forbidden"


@pytest.mark.parametrize("mode", ["canary", "shadow"])
def test_what_is_asked_by_name_counts_nowhere(service: Service, mode: str) -> None:
    plan = Plan(bento=str(service.bundle.parents[1]), weight=1, mode=mode, salt=mode)  # type: ignore[arg-type]
    write_plan(service.control, plan)
    service.settle("/admin/canary", "GET")
    before = service.counts()
    assert before == {(0, 0, 0)}
    named = []
    for name in (service.main, "second"):
        named += service.tried("/recommend", **ASKED, release=name)
    time.sleep(0.5)  # time for a shadow that should not be
    assert service.counts() == before
    usual = service.tried("/recommend", **ASKED)
    assert {answer["release"] for answer in usual} == {
        "second" if mode == "canary" else service.main
    }
    limit = time.monotonic() + 30
    while not {answer["request_id"] for answer in usual} <= service.logged():
        assert time.monotonic() < limit
        time.sleep(0.1)
    assert not {answer["request_id"] for answer in named} & service.logged()
    assert service.counts() != before


def test_after_the_trial_its_release_is_gone(service: Service) -> None:
    service.ask("/admin/canary", method="DELETE")
    for missing in service.tried("/recommend", 404, **ASKED, release="second"):
        assert f"loaded are ['{service.main}']" in missing["message"]
    service.tried("/recommend", **ASKED, release=service.main)
