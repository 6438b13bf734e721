"""The guard in the built Bento, over real connections."""

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import hypothesis
import pytest
import requests
import schemathesis
from schemathesis.generation import GenerationMode

from bridgerec.config import Workspace
from bridgerec.registry.bundle import find_bundle
from bridgerec.runtime import read_json, write_json
from bridgerec.serving.canary import Plan, Releases, write_plan
from bridgerec.serving.examples import ANSWERS
from bridgerec.serving.keys import add_key, revoke_key
from bridgerec.serving.launch import Settings, command, running
from bridgerec.serving.ranker import Recommender
from known_ids import Known

pytestmark = pytest.mark.slow

SECRET = "person-4711"
SHARE = 0.5  # of the sensible requests of a fuzz that must be answered, for each operation
ERROR = {"error", "message", "remedy", "request_id"}
FUZZ = hypothesis.settings(
    max_examples=50,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)
ASKED = {"target": "films", "user_id": SECRET, "k": 3}


class Service:
    """A running service with keys; `log` holds everything it printed."""

    def __init__(self, url: str, folder: Path, keys: dict[str, str]) -> None:
        self.url, self.keys = url, keys
        self.log, self.file = folder / "output.log", folder / "keys.json"

    def ask(self, method: str, path: str, role: str = "admin", **more: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.keys[role]}"} if role else {}
        return httpx.request(method, f"{self.url}{path}", headers=headers, timeout=30, **more)


@pytest.fixture(scope="module")
def service(finished: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("guarded")
    file = folder / "keys.json"
    keys = {r: add_key(file, f"the-{r}", (r,), rate=10_000) for r in ("reader", "writer", "admin")}
    given = {"keys": file, "canary": folder / "canary.json", "traffic": folder / "traffic"}
    log = folder / "output.log"
    with running(finished.bento, workers=2, timeout=180, log=log, **given) as url:
        yield Service(url, folder, keys)


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_nothing_that_is_sent_breaks_the_service(
    service: Service, finished: Workspace, mode: GenerationMode
) -> None:
    key = {"Authorization": f"Bearer {service.keys['admin']}"}
    schema = schemathesis.openapi.from_url(f"{service.url}/openapi.json", headers=key)
    operations = [result.ok() for result in schema.get_all_operations()]
    assert {(o.method.lower(), o.path) for o in operations} > ANSWERS.keys()  # and the probes
    if mode.is_positive:
        Known(service.url, key, str(finished.bento)).install(schema)
    wait_for_the_encoder(service)
    session, statuses = requests.Session(), defaultdict[str, Counter[int]](Counter)
    session.headers.update(key)
    for operation in operations:
        given = (operation.body, operation.query, operation.path_parameters)
        if mode.is_negative and not any(len(part) for part in given):
            continue  # nothing that could be wrong

        @hypothesis.settings(FUZZ)
        @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
        def send(case: Any) -> None:
            answer = case.call(session=session, timeout=30)
            statuses[operation.label][answer.status_code] += 1  # noqa: B023
            assert answer.status_code < 500, f"{case.as_curl_command()}: {answer.text}"
            if answer.status_code >= 400:
                assert answer.json().keys() == ERROR

        send()
    assert service.ask("DELETE", "/admin/canary").status_code == 200
    if mode.is_negative:
        assert sum(counts[422] for counts in statuses.values()) > 0
        return
    assert len(statuses) == len(operations)
    for name, counts in statuses.items():  # most of what was sent got as far as an answer
        fine = sum(n for status, n in counts.items() if status < 300)
        assert fine >= SHARE * counts.total(), f"{name}: {dict(counts)}"


def wait_for_the_encoder(service: Service) -> None:
    """Until both workers read words."""
    asked, limit, fine = {"text": "x", "target": "films"}, time.monotonic() + 120, 0
    while fine < 12:
        fine = fine + 1 if service.ask("POST", "/search", json=asked).status_code == 200 else 0
        assert time.monotonic() < limit
        time.sleep(0.05 if fine else 0.5)


def test_keys_in_every_worker(service: Service) -> None:
    for _ in range(10):  # new connections, so both workers
        assert service.ask("POST", "/recommend", "", json=ASKED).status_code == 401
        assert service.ask("POST", "/recommend", "writer", json=ASKED).status_code == 403
        assert service.ask("POST", "/recommend", "reader", json=ASKED).status_code == 200
    assert service.ask("GET", "/openapi.json", "").status_code == 401
    for path in ("/readyz", "/livez", "/health"):
        assert service.ask("GET", path, "").status_code == 200
    short = add_key(service.file, "short", ("reader",))
    service.keys["short"] = short
    with httpx.Client(headers={"X-Api-Key": short}) as kept:
        assert kept.post(f"{service.url}/recommend", json=ASKED).status_code == 200
        revoke_key(service.file, "short")
        assert kept.post(f"{service.url}/recommend", json=ASKED).status_code == 401
    assert {service.ask("GET", "/release", "short").status_code for _ in range(10)} == {401}


def test_a_key_that_asks_too_often_is_told_to_wait(service: Service) -> None:
    slow = add_key(service.file, "slow", ("reader",), rate=0.01)  # a token a worker in 200 s
    with httpx.Client(base_url=service.url, headers={"X-Api-Key": slow}) as kept:
        assert kept.post("/recommend", json=ASKED).status_code == 200
        refused = kept.post("/recommend", json=ASKED)  # the same worker, its token is gone
    told(refused, 429, "rate_limited")
    assert 1 <= int(refused.headers["retry-after"]) <= 200
    service.keys["slow"] = slow
    codes = [service.ask("GET", "/release", "slow").status_code for _ in range(10)]
    assert codes.count(200) <= 1  # of the other worker
    assert set(codes) <= {200, 429}
    assert service.ask("POST", "/recommend", "reader", json=ASKED).status_code == 200


def test_no_person_is_named_in_what_the_service_prints_or_counts(service: Service) -> None:
    given = "trace-1.a"
    headers = {"X-Api-Key": service.keys["reader"], "X-Request-Id": given}
    answer = httpx.post(f"{service.url}/recommend", json=ASKED, headers=headers)
    assert answer.headers["x-request-id"] == given
    for path in (f"/users/{SECRET}", f"/users/{SECRET}/x", f"/{SECRET}", f"/items?query={SECRET}"):
        service.ask("GET", path)
    service.ask("POST", "/recommend", json={**ASKED, "target": SECRET})
    service.ask("POST", "/recommend", json={**ASKED, SECRET: 1})
    limit = time.monotonic() + 10
    while given not in service.log.read_text():
        assert time.monotonic() < limit
        time.sleep(0.05)
    printed = service.log.read_text()
    assert SECRET not in printed
    assert not any(key in printed for key in service.keys.values())
    lines = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    (line,) = [x for x in lines if x["request_id"] == given]
    assert (line["route"], line["status"], line["key"]) == ("/recommend", 200, "the-reader")
    for _ in range(4):
        counted = service.ask("GET", "/metrics").text
        assert 'route="/users/{user_id}"' in counted  # of both workers together
        assert SECRET not in counted
        assert "bentoml_" not in counted  # nor what other services of this machine count


def test_a_trial_over_http(service: Service, finished: Workspace, tmp_path: Path) -> None:
    bento = second_release(finished, tmp_path)
    main = service.ask("GET", "/health").json()["release"]
    assert service.ask("POST", "/admin/canary", "writer", json={}).status_code == 403
    begun = service.ask("POST", "/admin/canary", json={"bento": str(bento), "weight": 0.5})
    assert begun.status_code in (200, 202), begun.text

    def who(person: str) -> str:
        asked = {"target": "films", "user_id": person}
        answer = service.ask("POST", "/recommend", json=asked)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["release"])

    people = [f"person-{n}" for n in range(12)]
    limit = time.monotonic() + 60
    while {who(p) for p in people for _ in range(2)} != {main, "second"}:
        assert time.monotonic() < limit
        time.sleep(0.2)

    def chosen() -> list[set[str]]:  # new connections, so both workers
        return [{who(p) for _ in range(4)} for p in people]

    while any(len(found) > 1 for found in chosen()):  # until the second worker has loaded it too
        assert time.monotonic() < limit
    assert chosen() == chosen()
    shadow = {"bento": str(bento), "weight": 1, "mode": "shadow"}
    assert service.ask("POST", "/admin/canary", json=shadow).json()["state"] == "on"
    while {who(p) for p in people} != {main}:
        assert time.monotonic() < limit
    assert service.ask("DELETE", "/admin/canary").json()["state"] == "none"
    folder = service.file.parent / "traffic"
    while True:
        files = [f.read_text().splitlines() for f in folder.glob("requests.*.jsonl")]
        lines = [json.loads(line) for rows in files for line in rows]
        shadows = [x for x in lines if x.get("shadow")]
        if len(shadows) >= 2:
            break
        assert time.monotonic() < limit
        time.sleep(0.1)
    assert {x["release"] for x in shadows} == {"second"}


def second_release(finished: Workspace, folder: Path) -> Path:
    """The same Bento under another name."""
    bento = Path(shutil.copytree(finished.bento, folder / "second"))
    manifest = find_bundle(bento) / "manifest.json"
    write_json(manifest, {**read_json(manifest), "release": "second"})
    return bento


def started(bento: Path, log: Path) -> tuple[subprocess.Popen[bytes], int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with log.open("ab") as output:
        process = subprocess.Popen(
            command(bento, port, "127.0.0.1"),
            env=Settings().environment(log.parent / "home"),
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    limit = time.monotonic() + 90
    while True:
        assert time.monotonic() < limit
        assert process.poll() is None, log.read_text()
        try:
            if httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=2).status_code == 200:
                return process, port
        except httpx.HTTPError:
            time.sleep(0.2)


def test_a_stopping_service_answers_what_it_began(finished: Workspace, tmp_path: Path) -> None:
    bento = Path(shutil.copytree(finished.bento, tmp_path / "bento"))
    manifest = find_bundle(bento) / "manifest.json"
    content = read_json(manifest)
    content["service"]["timeout_seconds"] = 30
    write_json(manifest, content)
    process, port = started(bento, tmp_path / "log")
    try:
        body = json.dumps(ASKED).encode()
        head = (
            b"POST /recommend HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body)
        )
        idle = httpx.Client(base_url=f"http://127.0.0.1:{port}")
        assert idle.get("/readyz").status_code == 200  # its connection stays open
        with socket.create_connection(("127.0.0.1", port), timeout=30) as begun:
            begun.sendall(head + body[:10])
            time.sleep(0.5)
            process.send_signal(signal.SIGTERM)
            limit = time.monotonic() + 15
            while (new := httpx.get(f"http://127.0.0.1:{port}/readyz")).status_code == 200:
                assert time.monotonic() < limit
                time.sleep(0.05)
            for refused in (new, idle.post("/recommend", json=ASKED)):
                assert refused.status_code == 503
                assert refused.headers["connection"] == "close"
                assert refused.json().keys() == ERROR
                assert refused.json()["error"] == "draining"
            assert httpx.get(f"http://127.0.0.1:{port}/livez").status_code == 200
            assert process.poll() is None
            begun.sendall(body[10:])
            answer = b""
            while part := begun.recv(65536):
                answer += part
        head_, _, sent = answer.partition(b"\r\n\r\n")
        assert head_.startswith(b"HTTP/1.1 200 ")
        assert len(json.loads(sent)["items"]) == 3
        process.wait(timeout=20)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/livez")


def test_a_full_service_sends_away_and_a_stuck_one_gives_up(
    finished: Workspace, tmp_path: Path
) -> None:
    """Whoever holds the lock of the state keeps an event, and the one place there is, waiting."""
    bento = Path(shutil.copytree(finished.bento, tmp_path / "bento"))
    manifest = find_bundle(bento) / "manifest.json"
    content = read_json(manifest)
    content["service"]["timeout_seconds"] = 5
    content["service"]["guard"] = {"concurrency": 1, "queue": 0}
    write_json(manifest, content)
    state = tmp_path / "state"
    event = {"user_id": SECRET, "domain": "films", "item_id": "x"}
    with (
        running(bento, timeout=180, state=str(state)) as url,
        (state / "state.lock").open("rb") as lock,
        ThreadPoolExecutor(1) as pool,
    ):

        def keep() -> httpx.Response:
            while (kept := send(url, "/events", event)).status_code == 503:
                pass  # the place was taken by the question below
            return kept

        fcntl.flock(lock, fcntl.LOCK_EX)
        limit, waiting = time.monotonic() + 5, pool.submit(keep)
        while (full := send(url, "/recommend", ASKED)).status_code == 200:
            assert time.monotonic() < limit  # until the event has come
        fcntl.flock(lock, fcntl.LOCK_UN)
        assert waiting.result().status_code == 200
        told(full, 503, "overloaded")
        assert full.headers["retry-after"] == "1"
        assert send(url, "/recommend", ASKED).status_code == 200

        fcntl.flock(lock, fcntl.LOCK_EX)
        told(send(url, "/events", event), 504, "timeout")
        assert send(url, "/recommend", ASKED).status_code == 200  # the place is free again
        fcntl.flock(lock, fcntl.LOCK_UN)


def send(url: str, path: str, body: dict[str, Any]) -> httpx.Response:
    return httpx.post(f"{url}{path}", json=body, timeout=30)


def told(answer: httpx.Response, status: int, error: str) -> None:
    """It is a refusal of the one shape."""
    assert answer.status_code == status, answer.text
    assert answer.json().keys() == ERROR
    assert answer.json()["error"] == error
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


def test_a_second_real_release_answers_its_share(finished: Workspace, tmp_path: Path) -> None:
    bento = second_release(finished, tmp_path)
    control = tmp_path / "canary.json"
    main = Recommender.open(find_bundle(finished.bento))
    releases: Releases[Recommender] = Releases(main, Recommender.open, control)
    write_plan(control, Plan(bento=str(bento), weight=0.5, salt="s"))
    releases.follower.look(now=True)
    assert releases.follower.wait(60)
    who = {}
    for person in main.people.sorted_names[:60]:
        asked = {"target": "films", "user_id": person}
        answer = releases.ask(person, lambda r, asked=asked: r.recommend(asked))
        who[person] = answer["release"]
        expected = main.recommend(asked)["items"]
        assert [ranked(item) for item in answer["items"]] == [ranked(item) for item in expected]
    assert {*who.values()} == {main.release, "second"}
    damaged = find_bundle(bento) / "catalogue.parquet"
    damaged.write_bytes(damaged.read_bytes()[:-10])
    write_plan(control, Plan(bento=str(bento), weight=0.5, salt="t"))
    releases.follower.look(now=True)
    assert releases.follower.wait(60)
    assert "changed since it was packaged" in releases.status()["reason"]
    assert releases.choose("anybody") is main


def ranked(item: dict[str, Any]) -> tuple[str, float]:
    return item["item_id"], item["score"]


def test_many_at_once_are_all_answered_or_told_to_wait(service: Service) -> None:
    codes: list[int] = []

    def client() -> None:
        for _ in range(5):
            codes.append(service.ask("POST", "/recommend", "reader", json=ASKED).status_code)

    threads = [threading.Thread(target=client) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(codes) == 100
    assert set(codes) <= {200, 503}
    assert codes.count(200) >= 90
