"""The built Bento with chance in its lists: what is answered, logged and learnt from it."""

import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from bridgerec.config import Workspace
from bridgerec.data.dataset import Catalogue
from bridgerec.data.simulate import true_preferences
from bridgerec.monitoring.feedback import Clicks
from bridgerec.monitoring.feedback_log import Feedback, impressions_and_clicks
from bridgerec.monitoring.offpolicy import Estimate
from bridgerec.monitoring.quality import judge_quality, shadow_items
from bridgerec.monitoring.traffic import Traffic, read_traffic
from bridgerec.registry.bundle import find_bundle
from bridgerec.runtime import read_json, write_json
from bridgerec.serving.canary import Plan, write_plan
from bridgerec.serving.launch import running

pytestmark = pytest.mark.slow
K, DEPTH, REQUESTS = 5, 10, 1000
Served = tuple[str, Path]


def release(finished: Workspace, folder: Path, name: str, **service: Any) -> Path:
    """The same Bento as another release, with other options of `service`."""
    bento = Path(shutil.copytree(finished.bento, folder / name))
    path = find_bundle(bento) / "manifest.json"
    manifest = read_json(path)
    manifest["service"].update(service)
    write_json(path, {**manifest, "release": name})
    return bento


@pytest.fixture(scope="module")
def served(finished: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One release explores; in its shadow is another one with the same model, without chance."""
    root = tmp_path_factory.mktemp("explored")
    exploration = {"share": 1, "depth": DEPTH, "sharpness": 0.5}
    main = release(finished, root, "explores", exploration=exploration)
    other = release(finished, root, "certain")
    write_plan(root / "canary.json", Plan(bento=str(other), weight=1, mode="shadow"))
    traffic = root / "traffic"
    with running(main, canary=root / "canary.json", traffic=traffic, timeout=180) as url:
        limit = time.monotonic() + 120
        while httpx.get(f"{url}/admin/canary").json()["state"] != "on":
            assert time.monotonic() < limit
            time.sleep(0.2)
        yield url, traffic


def ask(url: str, number: int, **body: Any) -> dict[str, Any]:
    """One answer, to a request with an id of its own, so that it repeats."""
    asked = {"target": "films", "k": K, **body}
    headers = {"X-Request-Id": f"r-{number}"}
    answer = httpx.post(f"{url}/recommend", json=asked, headers=headers, timeout=60)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_chance_is_told_and_keeps_all_else(served: Served) -> None:
    url, moved = served[0], 0
    plain = httpx.post(f"{url}/search", json={"target": "films", "k": K, "text": "海"}, timeout=60)
    assert all("propensity" not in item for item in plain.json().get("items", []))
    allowed = {"filters": {"price_max": 15}, "diversity": 0.5, "explain": True}
    for number in range(30):
        found = ask(url, number, target=["films", "books"], user_id="u00003", **allowed)
        assert found == ask(url, number, target=["films", "books"], user_id="u00003", **allowed)
        assert [item["rank"] for item in found["items"]] == list(range(1, K + 1))
        for item in found["items"]:
            assert 0 < item["propensity"] < 1
            assert item["price"] <= 15
            chance = [m for m in item["explanation"]["moved"] if m["rule"] == "Chance"]
            assert all(m["to"] == item["rank"] and m["from"] <= DEPTH for m in chance)
            moved += len(chance)
    assert moved > 30
    order = [[i["item_id"] for i in ask(url, n, user_id="u00003")["items"]] for n in range(8)]
    assert len({tuple(ids) for ids in order}) > 1


@pytest.mark.long
def test_estimates_from_the_log_hold_the_simulators_truth(
    served: Served, finished: Workspace
) -> None:
    url, folder = served
    users, films, likes = true_preferences(finished.root, "films")
    row, column = ({name: i for i, name in enumerate(names)} for names in (users, films))
    # a click is likelier the more the person likes the film, and the higher it stands
    appeal = np.minimum(0.9, 25 * likes)
    looked = 1 / np.sqrt(np.arange(1, K + 1))
    rng = np.random.default_rng(5)
    known = httpx.get(f"{url}/users", params={"limit": 1000}).json()["users"]
    known = [user for user in known if user in row]
    asked = {f"r-{10_000 + n}": known[int(rng.integers(len(known)))] for n in range(REQUESTS)}
    with httpx.Client(base_url=url, timeout=60) as client:
        for request_id, user in asked.items():
            body = {"target": "films", "k": K, "user_id": user}
            answer = client.post("/recommend", json=body, headers={"X-Request-Id": request_id})
            assert answer.status_code == 200, answer.text
    traffic = settled(folder, REQUESTS)
    shadows = [line for line in traffic.shadows if line["request_id"] in asked]
    both = {line["request_id"] for line in shadows}
    own = [line for line in traffic.requests if line["request_id"] in both]
    assert len(own) == len(shadows) >= 0.9 * REQUESTS  # a busy machine's shadow drops some
    assert all(len(line["propensities"]) == len(line["items"]) == K for line in own)
    assert all("propensities" not in line for line in shadows)

    def worth(line: dict[str, Any]) -> float:
        """The true clicks per impression of an answer."""
        items = [column[item] for item in line["items"]]
        return float((appeal[row[asked[line["request_id"]]], items] * looked).mean())

    truth, log = np.mean([worth(x) for x in shadows]), np.mean([worth(x) for x in own])
    catalogue = Catalogue.read(finished.prepared / "items.parquet").items
    index = {pair: i for i, pair in enumerate(catalogue.select("domain", "item_id").iter_rows())}
    traffic = replace(traffic, requests=own, shadows=shadows)
    impressions, _, names = impressions_and_clicks(traffic, Feedback([], 0, 0), index)
    ids = catalogue["item_id"].to_list()
    people = np.array([row[asked[name]] for name in names])[impressions.request]
    items = np.array([column[ids[i]] for i in impressions.item])
    clicked = rng.random(len(items)) < appeal[people, items] * looked[impressions.position - 1]
    clicks = Clicks(
        impressions.request[clicked], impressions.item[clicked], impressions.time[clicked] + 1
    )
    shadow = shadow_items(traffic, impressions, names, index)
    now = float(impressions.time.max()) + 10_000
    estimate = judge_quality(impressions, clicks, 1, now, shadow).shadow["certain"]
    assert estimate.warnings == ()
    assert estimate.doubly_robust is not None
    for found in (estimate.ips, estimate.snips, estimate.doubly_robust):
        assert deviations(found, truth) < 4
    assert truth > log  # it is not the log's own rate that was found
    # with other probabilities than those that are logged the truth would be missed
    wrong = replace(impressions, propensity=np.minimum(2 * impressions.propensity, 1))
    missed = judge_quality(wrong, clicks, 1, now, shadow).shadow["certain"]
    assert deviations(missed.ips, truth) > 4


def deviations(found: Estimate, truth: float) -> float:
    """How many standard errors an estimate is away from the truth."""
    return abs(found.value - truth) / ((found.high - found.low) / (2 * 1.96))


def settled(folder: Path, count: int) -> Traffic:
    """The log, once the shadow has answered too."""
    limit, before = time.monotonic() + 120, 0
    while True:
        traffic = read_traffic(folder)
        found = sum(line["request_id"].startswith("r-1") for line in traffic.shadows)
        if found >= count or (found == before > 0.9 * count):
            return traffic
        assert time.monotonic() < limit
        before = found
        time.sleep(1)
