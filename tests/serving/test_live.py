"""Live state over HTTP: the built Bento with two workers and a store that they share."""

import asyncio
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl
import pytest

from bridgerec.config import Workspace
from bridgerec.data.dataset import Catalogue
from bridgerec.data.vectors import read_vectors
from bridgerec.serving.launch import running
from bridgerec.serving.schemas import RecommendResponse, SearchResponse, SimilarResponse
from bridgerec.serving.state import open_store

pytestmark = pytest.mark.slow
EVENT = {"user_id": "u", "domain": "films", "item_id": "i"}
UPSIDE_DOWN = {"price_min": 2, "price_max": 1}
Address = tuple[str, Path, Path]  # URL, state folder, traffic folder


@pytest.fixture(scope="module")
def served(finished: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    root = tmp_path_factory.mktemp("live")
    state, traffic = root / "state", root / "traffic"
    with running(finished.bento, 2, traffic, timeout=180, state=str(state)) as url:
        warm = time.monotonic() + 120  # both workers load the encoder when they are first asked
        for _ in range(8):
            while post(url, "/search", text="x", target="films", check=False).status_code == 503:
                assert time.monotonic() < warm
                time.sleep(0.5)
        yield url, state, traffic


@pytest.fixture(scope="module")
def url(served: Address) -> str:
    return served[0]


def post(url: str, path: str, check: bool = True, **body: Any) -> httpx.Response:
    """One request on a connection of its own, so that any worker may take it."""
    answer = httpx.post(f"{url}{path}", json=body, timeout=30)
    assert not check or answer.status_code == 200, answer.text
    return answer


def get(url: str, path: str, **query: Any) -> Any:
    answer = httpx.get(f"{url}{path}", params=query, timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.json()


def shown(answer: httpx.Response) -> list[str]:
    return [item["item_id"] for item in answer.json()["items"]]


def workers(served: Address) -> list[int]:
    """The processes that answered something."""
    return sorted(int(p.name.split(".")[1]) for p in served[2].glob("requests.*.jsonl"))


def test_an_event_changes_the_next_answer_of_every_worker(served: Address) -> None:
    url = served[0]
    films = shown(post(url, "/recommend", target="films", k=100))
    seen: list[str] = []
    for item in films[:40]:
        done = post(url, "/events", user_id="newcomer", domain="films", item_id=item).json()
        assert (done["accepted"], done["duplicates"], done["unknown_items"]) == (1, 0, 0)
        seen.append(item)
        answer = post(url, "/recommend", target="films", user_id="newcomer", k=100)
        assert answer.json()["route"] == "warm"
        assert not set(seen) & set(shown(answer))
    assert len(workers(served)) == 2  # and both of them were asked


def test_the_answer_is_that_of_the_same_history_sent(url: str) -> None:
    history = [{"domain": "books", "item_id": i["item_id"]} for i in
               get(url, "/items", domain="books", limit=5)["items"]]  # fmt: skip
    events = [{**h, "user_id": "reader", "timestamp": 1000 + n} for n, h in enumerate(history)]
    assert post(url, "/events", events=events).json()["accepted"] == 5
    live = post(url, "/recommend", target="films", user_id="reader")
    assert live.json()["route"] == "cold_start"
    times = [{**h, "timestamp": 1000 + n} for n, h in enumerate(history)]
    sent = post(url, "/recommend", target="films", history=times)
    assert live.json()["items"] == sent.json()["items"]
    RecommendResponse.model_validate(live.json())


def test_events_are_idempotent(url: str) -> None:
    event = {"user_id": "again", "domain": "films", "item_id": "no-such", "timestamp": 5}
    first = post(url, "/events", **event).json()
    assert (first["accepted"], first["unknown_items"]) == (1, 1)
    assert post(url, "/events", **event).json()["duplicates"] == 1
    assert post(url, "/events", **event, kind="like").json()["accepted"] == 1
    for _ in range(2):
        post(url, "/events", **event, event_id="mine", value=1.5)
    assert get(url, "/users/again")["stored"] == 3
    answer = post(url, "/recommend", target="films", user_id="again").json()
    assert answer["route"] == "unknown"


def test_forgetting_takes_the_releases_own_history_too(url: str, finished: Workspace) -> None:
    users = pl.read_parquet(finished.prepared / "users.parquet")["user_id"].to_list()
    name = users[-1]
    before = get(url, f"/users/{name}")
    assert before["known"]
    assert {e["source"] for e in before["events"]} == {"release"}
    post(url, "/events", user_id=name, domain="films", item_id="no-such")
    assert get(url, "/users", query=name)["users"] == [name]
    gone = httpx.delete(f"{url}/users/{name}").json()
    assert gone == {"user_id": name, "forgotten": True, "request_id": gone["request_id"]}
    for _ in range(10):
        after = get(url, f"/users/{name}")
        nothing = {"user_id": name, "known": False, "events": [], "stored": 0}
        assert after == {**nothing, "request_id": after["request_id"]}
        answer = post(url, "/recommend", target="films", user_id=name).json()
        assert answer["route"] == "unknown"
    assert get(url, "/users", query=name)["users"] == []
    item = get(url, "/items", domain="films", limit=1)["items"][0]["item_id"]
    post(url, "/events", user_id=name, domain="films", item_id=item)  # comes again
    assert [e["item_id"] for e in get(url, f"/users/{name}")["events"]] == [item]


def test_people_are_listed_by_their_beginning(url: str, finished: Workspace) -> None:
    users = pl.read_parquet(finished.prepared / "users.parquet")["user_id"].to_list()
    post(url, "/events", user_id=f"{users[0]}-live", domain="films", item_id="x")
    found = get(url, "/users", query=users[0], limit=5)["users"]
    assert users[0] in found
    assert f"{users[0]}-live" in found
    assert all(name.startswith(users[0]) for name in found)
    everybody = get(url, "/users", limit=1000)["users"]
    assert set(users) - set(everybody) <= {users[-1]}  # whom a test before has forgotten
    assert everybody == sorted(everybody)
    assert get(url, "/users", limit=7)["users"] == everybody[:7]


def test_a_new_item_is_recommended_by_every_worker(served: Address, finished: Workspace) -> None:
    url = served[0]
    catalogue = Catalogue.read(finished.prepared / "items.parquet").items
    best = shown(post(url, "/recommend", target="films", k=1))[0]
    twin = catalogue.filter(pl.col("item_id") == best).row(0, named=True)
    words = {c: twin[c] for c in ("title", "description", "category", "brand") if twin[c]}
    item = {"domain": "films", "item_id": "twin/of ü", **words, "price": 7.5}
    assert post(url, "/items", **item).json()["item_id"] == "twin/of ü"
    for _ in range(10):
        answer = post(url, "/recommend", target="films", k=160).json()
        (place,) = [i for i in answer["items"] if i["item_id"] == "twin/of ü"]
        assert place["rank"] < 80  # like its twin, of which it is one of ten neighbours
        assert place["price"] == 7.5
        similar = post(url, "/similar", domain="films", item_id=best, k=1).json()
        assert similar["items"][0]["item_id"] == "twin/of ü"
        assert similar["items"][0]["score"] > 0.99
        SimilarResponse.model_validate(similar)
    known = get(url, "/items/twin%2Fof%20%C3%BC", domain="films")
    assert known["title"] == twin["title"]
    cheap = post(url, "/recommend", target="films", k=160, filters={"price_max": 8})
    films = catalogue.filter((pl.col("domain") == "films") & (pl.col("price") <= 8))
    assert 0 < films.height < 160
    assert set(shown(cheap)) == {"twin/of ü", *films["item_id"]}
    post(url, "/events", user_id="fan", domain="films", item_id="twin/of ü")
    answer = post(url, "/recommend", target="films", user_id="fan", k=160)
    assert answer.json()["route"] == "warm"
    assert "twin/of ü" not in shown(answer)
    post(url, "/items", **{**item, "title": "Another title", "price": None})
    for _ in range(6):
        again = get(url, "/items", domain="films", query="another TITLE")["items"]
        assert [(i["item_id"], i["price"]) for i in again] == [("twin/of ü", None)]


def test_search_finds_by_words_in_any_domain(url: str, finished: Workspace) -> None:
    catalogue = Catalogue.read(finished.prepared / "items.parquet").items
    rng = np.random.default_rng(0)
    films = catalogue.filter(pl.col("domain") == "films")
    for row in rng.choice(films.height, 8, replace=False).tolist():
        title = films["title"][row]
        found = post(url, "/search", text=title, target="films", k=5).json()
        assert title in [i["title"] for i in found["items"]]
        assert title[:20] in found["understood"]
        SearchResponse.model_validate(found)
    both = post(url, "/search", text=title, target=["films", "books"], k=30).json()
    assert {i["domain"] for i in both["items"]} == {"films", "books"}


def test_taste_and_words_are_mixed_by_their_share(url: str, finished: Workspace) -> None:
    rows = pl.read_parquet(finished.prepared / "interactions.parquet")
    users = pl.read_parquet(finished.prepared / "users.parquet")["user_id"].to_list()
    name = users[rows["user"][0]]
    ask = {"target": "films", "user_id": name, "k": 20}
    taste = shown(post(url, "/recommend", **ask))
    words = "a documentary about whales and the sea"
    assert shown(post(url, "/search", text=words, **ask, personal=1)) == taste
    alone = shown(post(url, "/search", text=words, target="films", k=20, personal=0))
    mixed = shown(post(url, "/search", text=words, **ask, personal=0.5))
    assert mixed not in (taste, alone)
    assert set(taste) & set(mixed)
    assert set(alone) & set(mixed)
    assert shown(post(url, "/recommend", **ask, wish=words)) == mixed


def test_similar_is_the_cosine_of_item_vectors(url: str, finished: Workspace) -> None:
    catalogue = Catalogue.read(finished.prepared / "items.parquet")
    vectors = read_vectors(finished, len(catalogue))
    block = catalogue.block("books")
    cosine = vectors[block] @ vectors[catalogue.block("films").start + 3]
    expected = np.sort(cosine)[::-1][:10]
    item = catalogue.items["item_id"][catalogue.block("films").start + 3]
    found = post(url, "/similar", domain="films", item_id=item, target="books").json()["items"]
    np.testing.assert_allclose([i["score"] for i in found], expected, atol=2e-3)
    ids = catalogue.items["item_id"][block.start : block.stop].to_list()
    assert [cosine[ids.index(i["item_id"])] for i in found] == pytest.approx(expected, abs=2e-3)


def test_filters_and_lists(url: str, finished: Workspace) -> None:
    films = Catalogue.read(finished.prepared / "items.parquet").items
    category = films.filter(pl.col("domain") == "films")["category"][0]
    prefix = category[:4].upper()
    found = post(url, "/recommend", target="films", k=200, filters={"categories": [prefix]}).json()
    expected = films.filter(
        (pl.col("domain") == "films")
        & pl.col("category").str.to_uppercase().str.starts_with(prefix)
    )
    ids = {i["item_id"] for i in found["items"]}
    assert set(expected["item_id"]) <= ids
    assert all(i["category"].upper().startswith(prefix) for i in found["items"])
    some = films.filter(pl.col("domain") == "films")["item_id"].to_list()[:5]
    allowed = post(url, "/recommend", target="films", allow=[*some, "no-such"], exclude=some[:2])
    assert set(shown(allowed)) == set(some[2:])
    assert "only 3 items" in allowed.json()["notes"][-1]
    films = films.filter(pl.col("domain") == "films")
    brand = post(url, "/recommend", target="films", k=1).json()["items"][0]["brand"]
    made = films.filter(pl.col("brand") == brand)
    assert 0 < made.height < films.height
    of_it = post(url, "/recommend", target="films", k=200, filters={"brands": [brand]})
    assert {i["brand"] for i in of_it.json()["items"]} == {brand}
    assert set(made["item_id"]) <= set(shown(of_it))  # and what a test has added
    none = post(url, "/recommend", target="films", filters={"brands": ["no such brand"]})
    assert shown(none) == []


def test_several_targets_are_merged(url: str, finished: Workspace) -> None:
    users = pl.read_parquet(finished.prepared / "users.parquet")["user_id"].to_list()
    ask = {"user_id": users[5], "k": 30}
    both = post(url, "/recommend", target=["films", "books"], **ask).json()
    assert both["target"] == ["films", "books"]
    assert both["routes"].keys() == {"films", "books"}
    assert [i["rank"] for i in both["items"]] == list(range(1, 31))
    scores = [i["score"] for i in both["items"]]
    assert scores == sorted(scores, reverse=True)
    for domain in ("films", "books"):
        own = [i["item_id"] for i in both["items"] if i["domain"] == domain]
        assert own == shown(post(url, "/recommend", target=domain, **ask))[: len(own)]
        assert own


def test_a_batch_answers_each_and_tells_which_it_cannot(url: str) -> None:
    asked = [{"target": "films", "k": 3}, {"target": "nowhere"}, {"target": "books", "k": 2}]
    answers = post(url, "/recommend_batch", requests=asked).json()["answers"]
    assert [len(a.get("items", [])) for a in answers] == [3, 0, 2]
    assert answers[1].keys() == {"error", "message", "remedy", "request_id"}
    assert len({a["request_id"] for a in answers}) == 3
    assert [i["item_id"] for i in answers[0]["items"]] == shown(
        post(url, "/recommend", target="films", k=3)
    )
    many = post(url, "/recommend_batch", check=False, requests=[{"target": "films"}] * 101)
    assert many.status_code == 422
    assert "100" in many.json()["message"]


def test_feedback_reaches_the_log_once(served: Address) -> None:
    url = served[0]
    answer = post(url, "/recommend", target="films", k=2).json()
    body = {
        "request_id": answer["request_id"],
        "shown": [{"domain": "films", "item_id": i["item_id"], "position": i["rank"]}
                  for i in answer["items"]],
        "clicked": [{"domain": "films", "item_id": answer["items"][0]["item_id"]}],
    }  # fmt: skip
    assert post(url, "/feedback", **body).json()["accepted"] == 3
    assert post(url, "/feedback", **body).json()["accepted"] == 0
    limit = time.monotonic() + 5
    while True:
        lines = "".join(p.read_text() for p in served[2].glob("feedback.*.jsonl"))
        if lines.count(answer["request_id"]) == 3:
            break
        assert time.monotonic() < limit, lines
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/similar", {"domain": "films", "item_id": "no-such"}, 404),
        ("POST", "/similar", {"domain": "nowhere", "item_id": "x"}, 404),
        ("POST", "/similar", {"domain": "films", "item_id": "x", "k": 10**6}, 404),
        ("POST", "/search", {"text": "x", "target": "nowhere"}, 422),
        ("POST", "/search", {"text": "  ", "target": "films"}, 422),
        ("POST", "/search", {"text": "x", "target": "films", "k": 10**6}, 422),
        ("POST", "/search", {"text": "x", "target": "films", "personal": 2}, 422),
        ("POST", "/recommend", {"target": []}, 422),
        ("POST", "/recommend", {"target": "films", "user_id": "\ud800"}, 422),
        ("POST", "/recommend", {"target": "\udfff"}, 422),
        ("POST", "/recommend", {"target": "films", "x\ud800": 1}, 422),
        ("POST", "/recommend", {"target": "films", "filters": UPSIDE_DOWN}, 422),
        ("POST", "/events", {"user_id": "u", "domain": "films"}, 422),
        ("POST", "/events", {"events": []}, 422),
        ("POST", "/events", {"events": [{"user_id": "u"}]}, 422),
        ("POST", "/events", {**EVENT, "value": "x"}, 422),
        ("POST", "/events", {**EVENT, "timestamp": 9**15}, 422),
        ("POST", "/events", ["no", "object"], 422),
        ("POST", "/feedback", {"request_id": "x"}, 422),
        ("POST", "/items", {"domain": "nowhere", "item_id": "x", "title": "y"}, 422),
        ("POST", "/items", {"domain": "films", "item_id": "x", "title": " "}, 422),
        ("POST", "/items", {"domain": "films", "item_id": "x", "title": "y", "price": -1}, 422),
        ("GET", "/items/no-such", None, 404),
        ("GET", "/items/no-such?domain=nowhere", None, 404),
        ("GET", "/items?domain=nowhere", None, 404),
        ("GET", "/items?limit=0", None, 422),
        ("GET", "/users?limit=100000", None, 422),
        ("GET", "/nothing-here", None, 404),
        ("GET", "/recommend", None, 404),
        ("PUT", "/events", {}, 404),
    ],
)  # fmt: skip
def test_what_cannot_be_answered_is_told(
    url: str, method: str, path: str, body: Any, status: int
) -> None:
    content = None if body is None else json.dumps(body)
    headers = {"Content-Type": "application/json"}
    answer = httpx.request(method, f"{url}{path}", content=content, headers=headers)
    assert answer.status_code == status, answer.text
    assert answer.json().keys() == {"error", "message", "remedy", "request_id"}
    assert all(answer.json().values())


def test_unknown_people_and_strange_ids_are_no_errors(url: str) -> None:
    assert get(url, "/users/nobody at all")["known"] is False
    assert httpx.delete(f"{url}/users/nobody-2").status_code == 200
    odd = "a/b?ü \U0001f600\x00'\";--"
    post(url, "/events", user_id=odd, domain="no-domain", item_id=odd)
    quoted = "".join(f"%{byte:02X}" for byte in odd.encode())
    assert get(url, f"/users/{quoted}")["stored"] == 1


def test_the_release_tells_of_its_evaluation(url: str, finished: Workspace) -> None:
    found = get(url, "/evaluation")
    assert set(finished.params.competitors) <= set(found["test"]["temporal"]["films"])
    openapi = get(url, "/openapi.json")
    assert {"/recommend", "/events", "/items", "/users", "/search"} <= openapi["paths"].keys()


def test_a_killed_worker_loses_no_accepted_event(served: Address) -> None:
    url, state, _ = served
    accepted: list[str] = []
    stop = threading.Event()

    def send(thread: int) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            item = f"{thread}-{number}"
            event = {"user_id": "witness", "domain": "films", "item_id": item, "event_id": item}
            try:
                answer = httpx.post(f"{url}/events", json=event, timeout=5)
            except httpx.HTTPError:
                continue  # not accepted as far as the sender knows
            if answer.status_code == 200:
                accepted.append(item)

    with ThreadPoolExecutor(8) as pool:
        senders = [pool.submit(send, n) for n in range(8)]
        for victim in workers(served)[:2]:
            count = len(accepted)
            while len(accepted) < count + 100:
                time.sleep(0.01)
            os.kill(victim, signal.SIGKILL)
        stop.set()
        for sender in senders:
            sender.result()
    store = open_store(str(state))
    kept = {e.item_id for e in asyncio.run(store.look("witness", 10**6, 0)).events}
    store.close()
    assert len(accepted) >= 200
    assert set(accepted) <= kept
