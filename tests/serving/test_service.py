"""The built Bento over HTTP, from a folder that knows nothing of the project."""

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

from bridgerec.config import Workspace
from bridgerec.data.dataset import Catalogue
from bridgerec.data.images import image_files
from bridgerec.errors import ArtifactError
from bridgerec.registry.bundle import check_bundle, find_bundle
from bridgerec.runtime import file_hash, read_json
from bridgerec.serving.launch import running
from bridgerec.serving.ranker import Recommender

pytestmark = pytest.mark.slow
BOOK = {"domain": "books", "item_id": "B00001"}


@pytest.fixture(scope="module")
def traffic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("traffic")


@pytest.fixture(scope="module")
def elsewhere(finished: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    bento = tmp_path_factory.mktemp("elsewhere") / "bento"
    return Path(shutil.copytree(finished.bento, bento))


@pytest.fixture(scope="module")
def url(elsewhere: Path, traffic: Path) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        with running(elsewhere, traffic=traffic, timeout=180) as found:
            yield found


def test_a_bento_that_is_served_stays_as_it_is(
    url: str, elsewhere: Path, finished: Workspace
) -> None:
    ask(url, user_id="nobody")
    assert file_hash(elsewhere) == file_hash(finished.bento)


def ask(url: str, **request: Any) -> dict[str, Any]:
    answer = httpx.post(f"{url}/recommend", json={"target": "films", **request})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def person(finished: Workspace, inside: bool) -> tuple[str, set[str]]:
    """A person with (or without) films in the history, and those films."""
    catalogue = Catalogue.read(finished.prepared / "items.parquet")
    rows = pl.read_parquet(finished.prepared / "interactions.parquet")
    users = pl.read_parquet(finished.prepared / "users.parquet")["user_id"]
    block = catalogue.block("films")
    films = pl.col("item").is_between(block.start, block.stop - 1)
    counts = rows.group_by("user").agg(films.sum().alias("n")).sort("user")
    user = counts.filter(pl.col("n") >= 3 if inside else pl.col("n") == 0)["user"][0]
    own = rows.filter((pl.col("user") == user) & films)["item"].to_list()
    return users[user], {catalogue.items["item_id"][i] for i in own}


def test_routes_and_exclusions(url: str, finished: Workspace) -> None:
    warm, seen = person(finished, inside=True)
    first = ask(url, user_id=warm, k=20)
    assert first["route"] == "warm"
    shown = [item["item_id"] for item in first["items"]]
    assert len(set(shown)) == 20
    assert not seen & set(shown)
    assert [i["score"] for i in first["items"]] == sorted(
        (i["score"] for i in first["items"]), reverse=True
    )
    assert all(item["title"] for item in first["items"])
    without = ask(url, user_id=warm, k=20, exclude=shown[:5])
    assert [item["item_id"] for item in without["items"]][:15] == shown[5:]
    again = ask(url, user_id=warm, k=160, exclude_seen=False)
    assert seen <= {item["item_id"] for item in again["items"]}

    cold, _ = person(finished, inside=False)
    assert ask(url, user_id=cold)["route"] == "cold_start"
    unknown = ask(url, user_id="nobody")
    assert unknown["route"] == "unknown"
    assert unknown["candidate"] == "popularity"
    assert "not known" in unknown["notes"][0]
    assert len(unknown["items"]) == 10


def test_a_history_sent_gives_the_answer_of_the_same_history_stored(
    url: str, finished: Workspace
) -> None:
    user, _ = person(finished, inside=True)
    catalogue = Catalogue.read(finished.prepared / "items.parquet").items
    users = pl.read_parquet(finished.prepared / "users.parquet")["user_id"].to_list()
    rows = pl.read_parquet(finished.prepared / "interactions.parquet")
    own = rows.filter(pl.col("user") == users.index(user)).select("item", "timestamp").rows()
    history = [
        {"domain": catalogue["domain"][i], "item_id": catalogue["item_id"][i], "timestamp": time}
        for i, time in own
    ]
    stored, sent = ask(url, user_id=user), ask(url, history=history)
    assert [i["item_id"] for i in stored["items"]] == [i["item_id"] for i in sent["items"]]
    books = [h for h in history if h["domain"] != "films"]
    if books:
        assert ask(url, history=books)["route"] == "cold_start"
    stray = ask(url, history=[{"domain": "films", "item_id": "no-such"}])
    assert "not in the catalogue" in stray["notes"][0]


def test_pictures_are_shown(url: str, finished: Workspace) -> None:
    catalogue = Catalogue.read(finished.prepared / "items.parquet")
    files = image_files(finished, catalogue)
    block = catalogue.block("films")
    films = [i for i in range(block.start, block.stop) if files[i]]
    bare = [i for i in range(block.start, block.stop) if not files[i]]
    assert films
    assert bare
    own = catalogue.items["item_id"]
    shown = httpx.get(f"{url}/items/{own[films[0]]}", params={"domain": "films"}).json()
    picture = httpx.get(f"{url}{shown['image']}")
    assert picture.headers["content-type"] == "image/png"
    file = files[films[0]]
    assert file is not None
    assert picture.content == file.read_bytes()
    without = httpx.get(f"{url}/items/{own[bare[0]]}", params={"domain": "films"}).json()
    assert not without["image"]
    assert httpx.get(f"{url}/pictures/{bare[0]}.png").status_code == 404
    assert httpx.get(f"{url}/pictures/..%2Fmanifest.json").status_code == 404


def test_an_account_of_a_domain_finds_its_person(finished: Workspace) -> None:
    known = Recommender.open(find_bundle(finished.bento))
    person_id, index = next(iter(known.people.user_index.items()))
    accounts = replace(known.people, account_index={("books", "my-account"): index})
    mapped = replace(known, people=accounts)
    asked = {"target": "films", "user_id": "my-account"}
    direct = known.recommend({"target": "films", "user_id": person_id})
    assert mapped.recommend({**asked, "user_domain": "books"})["items"] == direct["items"]
    assert mapped.recommend({**asked, "user_domain": "films"})["route"] == "unknown"


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        ({"target": "nowhere"}, 422, "unknown target"),
        ({"target": "films", "k": 0}, 422, "k"),
        ({"target": "films", "k": 100_000}, 422, "limit"),
        ({"target": "films", "kk": 5}, 422, "kk"),
        ({}, 422, "target"),
        ({"target": "films", "k": "5"}, 422, "k: "),
        ({"target": "films", "user_id": "u" * 501}, 422, "user_id: "),
        ({"target": "films", "exclude": ["x"] * 10_001}, 422, "exclude: "),
        ({"target": "films", "allow": ["x"] * 10_001}, 422, "allow: "),
        ({"target": "films", "filters": {"categories": ["x"] * 201}}, 422, "filters.categories: "),
        ({"target": "films", "filters": {"brands": ["x"] * 201}}, 422, "filters.brands: "),
        ({"target": ["films"] * 51}, 422, "target: "),
        ({"target": "films", "history": [BOOK] * 501}, 422, "the history has 501 items"),
        ({"target": "films", "exclude": ["x" * 2_000_000]}, 413, "too long"),
    ],
)
def test_bad_input_is_told_what_and_how(
    url: str, body: dict[str, Any], status: int, word: str
) -> None:
    answer = httpx.post(f"{url}/recommend", json=body)
    assert answer.status_code == status
    found = answer.json()
    assert found.keys() == {"error", "message", "remedy", "request_id"}
    assert word in found["message"]


def test_release_health_and_traffic(url: str, traffic: Path, finished: Workspace) -> None:
    release = httpx.get(f"{url}/release").json()
    assert release["champion"]["candidate"] in finished.params.competitors
    assert (
        release["bundle_sha256"]
        == read_json(find_bundle(finished.bento) / "manifest.json")["sha256"]
    )
    answered = httpx.get(f"{url}/health", headers={"x-request-id": "h-1"})
    assert answered.json() == {
        "status": "ready", "release": release["release"], "request_id": "h-1"
    }  # fmt: skip
    limit = time.monotonic() + 60
    while (whole := httpx.get(f"{url}/release").json()["bento_sha256"]) is None:
        assert time.monotonic() < limit
        time.sleep(0.2)
    assert whole == file_hash(finished.bento)
    answer = ask(url, user_id="somebody-secret", k=3)
    limit, own, lines = time.monotonic() + 30, [], []
    while not own and time.monotonic() < limit:  # it is written after the answer
        lines = [json.loads(x) for f in traffic.glob("*.jsonl") for x in f.open() if x[-1] == "\n"]
        own = [x for x in lines if x["request_id"] == answer["request_id"]]
    (line,) = own
    assert line["items"] == [item["item_id"] for item in answer["items"]]
    assert "somebody-secret" not in json.dumps(lines)


def test_head_of_health_is_answered_without_a_body(url: str) -> None:
    """As it comes over the wire: clients throw away what a server sends after such a head."""
    address = httpx.URL(url)
    with socket.create_connection((address.host, address.port or 80), timeout=30) as line:
        line.sendall(b"HEAD /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(partial(line.recv, 65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert body == b""


@pytest.mark.parametrize("part", ["catalogue.parquet", "models/popularity/model.safetensors"])
def test_a_changed_bundle_never_becomes_ready(
    finished: Workspace, tmp_path: Path, part: str
) -> None:
    bento = Path(shutil.copytree(finished.bento, tmp_path / "bento"))
    path = find_bundle(bento) / part
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match="changed since it was packaged"):
        check_bundle(find_bundle(bento))
    with pytest.raises(ArtifactError, match="service"), running(bento, timeout=8):
        pass


def test_recommend_without_a_server(finished: Workspace) -> None:
    user, _ = person(finished, inside=True)
    command = [sys.executable, "-m", "bridgerec.cli", "recommend", "films", "--user", user]
    done = subprocess.run(
        [*command, "--k", "3", "-C", str(finished.root)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "route: warm" in done.stdout
