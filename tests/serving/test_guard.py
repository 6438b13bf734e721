"""Each layer of the guard before a small application."""

import asyncio
import io
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import prometheus_client
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from bridgerec.serving.guard import Guarded, GuardSettings, RequestLog, guard
from bridgerec.serving.guard.metrics import SOON
from bridgerec.serving.guard.paths import needed, template
from bridgerec.serving.guard.rate import Bucket
from bridgerec.serving.keys import add_key, revoke_key

SECRET = "person-4711"
ERROR = {"error", "message", "remedy", "request_id"}


async def recommend(request: Request) -> Response:
    content = await request.json() if await request.body() else {}
    if "sleep" in content:
        await asyncio.sleep(content["sleep"])
    if "raise" in content:
        raise KeyError(SECRET)
    if "own_timeout" in content:
        raise TimeoutError
    return JSONResponse({"request_id": request.state.request_id, "got": content})


async def user(request: Request) -> Response:
    return JSONResponse({"user": request.path_params["user"], "key": request.state.key.name})


async def plain(_: Request) -> Response:
    return PlainTextResponse("ok")


async def cut(_: Request) -> Response:
    async def parts() -> Any:
        yield b"begun"
        await asyncio.sleep(5)

    return StreamingResponse(parts())


APP = Starlette(
    routes=[
        Route("/recommend", recommend, methods=["POST"]),
        Route("/similar", cut, methods=["POST"]),
        Route("/events", plain, methods=["POST"]),
        Route("/users/{user}", user),
        Route("/", plain),
        Route("/app.js", plain),
        Route("/livez", plain),
        Route("/readyz", plain),
    ]
)


def guarded(log: io.BytesIO | None = None, **settings: Any) -> Guarded:
    return guard(APP, GuardSettings(**settings), RequestLog(log or io.BytesIO()))


def client(app: Guarded, address: str = "127.0.0.1", **options: Any) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, client=(address, 1))
    return httpx.AsyncClient(transport=transport, base_url="http://service", **options)


def ask(app: Guarded, method: str, path: str, address: str = "127.0.0.1", **more: Any) -> Any:
    async def once() -> httpx.Response:
        async with client(app, address) as found:
            return await found.request(method, path, **more)

    return asyncio.run(once())


@contextmanager
def served(app: Any) -> Iterator[str]:
    """The application behind a real uvicorn, in a thread."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, lifespan="on")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        limit = time.monotonic() + 20
        while not server.started:
            assert time.monotonic() < limit
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)


def refusal(answer: httpx.Response, status: int, error: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    assert found.keys() == ERROR
    assert found["error"] == error
    assert found["request_id"] == answer.headers["x-request-id"]
    assert answer.headers["content-length"] == str(len(answer.content))
    return found


def test_request_ids_and_headers() -> None:
    app = guarded()
    own = ask(app, "POST", "/recommend", headers={"X-Request-Id": "order-7.b_1"})
    assert own.json()["request_id"] == own.headers["x-request-id"] == "order-7.b_1"
    made = {ask(app, "POST", "/recommend").headers["x-request-id"] for _ in range(3)}
    assert len(made) == 3
    for insane in ("a b", "x" * 65, '"><script>', "\u00e9"):
        headers = {"X-Request-Id": insane.encode()}
        assert ask(app, "GET", "/", headers=headers).headers["x-request-id"] != insane
    page = ask(app, "GET", "/").headers
    assert page["x-content-type-options"] == "nosniff"
    assert page["referrer-policy"] == "no-referrer"
    policy = page["content-security-policy"]
    assert "default-src 'none'; script-src 'self';" in policy
    assert "unsafe" not in policy
    assert "cache-control" not in page
    assert own.headers["cache-control"] == "no-store"


def test_a_forked_worker_makes_other_request_ids() -> None:
    code = """
import os
from bridgerec.serving.problems import new_id
new_id()
read, write = os.pipe()
if not os.fork():
    os.write(write, new_id().encode())
    os._exit(0)
print(new_id(), os.read(read, 99).decode())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    one, other = done.stdout.split()
    assert len(one) == len(other) == 16
    assert one != other


def test_every_error_has_one_shape() -> None:
    log = io.BytesIO()
    app = guarded(log)
    refusal(ask(app, "GET", "/nowhere"), 404, "not_found")
    wrong = ask(app, "GET", "/recommend")
    refusal(wrong, 405, "method_not_allowed")
    assert wrong.headers["allow"] == "POST"
    broken = refusal(ask(app, "POST", "/recommend", json={"raise": 1}), 500, "internal")
    assert SECRET not in json.dumps(broken)
    refusal(ask(app, "POST", "/recommend", json={"own_timeout": 1}), 500, "internal")
    assert ask(app, "HEAD", "/nowhere").content == b""
    app.log.flush()
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    (failure,) = [x for x in lines if x.get("failure") == "KeyError"]
    assert failure["request_id"] == broken["request_id"]
    assert any("test_guard.py" in where for where in failure["where"])


def test_bodies_are_json_and_bounded() -> None:
    app = guarded(max_body_bytes=100)
    long = json.dumps({"x": "y" * 100}).encode()
    refusal(ask(app, "POST", "/recommend", content=long), 413, "too_large")

    async def pieces() -> Any:  # nothing announces its length
        for at in range(0, len(long), 10):
            yield long[at : at + 10]

    refusal(ask(app, "POST", "/recommend", content=pieces()), 413, "too_large")
    form = ask(app, "POST", "/recommend", content=b"{}", headers={"content-type": "text/plain"})
    refusal(form, 415, "not_json")
    refusal(ask(app, "POST", "/recommend", content=b"{}"), 415, "not_json")
    for kind in ("application/json", "application/json; charset=utf-8", "application/x+json"):
        sent = ask(app, "POST", "/recommend", content=b'{"a":1}', headers={"content-type": kind})
        assert sent.json()["got"] == {"a": 1}
    assert ask(app, "POST", "/recommend").status_code == 200  # no body, no kind


def test_an_announced_length_is_refused_before_the_body_comes() -> None:
    with served(guarded(max_body_bytes=100)) as url:
        port = int(url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(
                b"POST /recommend HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b"Content-Length: 101\r\n\r\n"
            )
            assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


def test_time_is_bounded() -> None:
    with served(guarded(timeout_seconds=0.3)) as url:
        begun = time.monotonic()
        late = httpx.post(f"{url}/recommend", json={"sleep": 10})
        refusal(late, 504, "timeout")
        assert 0.3 <= time.monotonic() - begun < 3
        assert httpx.post(f"{url}/recommend", json={"sleep": 0.01}).status_code == 200
        with pytest.raises(httpx.RemoteProtocolError):  # begun: cut off, not mended
            httpx.post(f"{url}/similar", json={})
        port = int(url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=5) as slow:
            slow.sendall(
                b"POST /recommend HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b"Content-Length: 50\r\n\r\n{"
            )
            assert slow.recv(100).startswith(b"HTTP/1.1 504 ")


def test_a_defect_before_the_answer_is_told_and_no_timeout() -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise TimeoutError

    app = guard(broken, GuardSettings(), RequestLog(io.BytesIO()))
    refusal(ask(app, "POST", "/recommend"), 500, "internal")

    async def silent_error(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 404, "headers": []})
        raise ValueError

    app = guard(silent_error, GuardSettings(), RequestLog(io.BytesIO()))
    refusal(ask(app, "POST", "/recommend"), 500, "internal")


def test_a_stopping_service_takes_nothing_new_and_lives() -> None:
    app = guarded()
    app.drain.draining = True
    for path in ("/recommend", "/readyz", "/users/u1"):
        answer = ask(app, "GET", path)
        refusal(answer, 503, "draining")
        assert answer.headers["connection"] == "close"
    assert ask(app, "GET", "/livez").status_code == 200


def test_a_full_queue_sends_away_at_once() -> None:
    app = guarded(concurrency=2, queue=1)

    async def crowd() -> list[httpx.Response]:
        async with client(app) as found:
            asked = [found.post("/recommend", json={"sleep": 0.2}) for _ in range(6)]
            crowded = await asyncio.gather(*asked)
            assert (await found.get("/readyz")).status_code == 200
            return [*crowded, await found.post("/recommend")]

    *crowded, after = asyncio.run(crowd())
    assert [x.status_code for x in crowded].count(200) == 3
    away = [x for x in crowded if x.status_code != 200]
    for answer in away:
        refusal(answer, 503, "overloaded")
        assert int(answer.headers["retry-after"]) >= 1
    assert after.status_code == 200


def test_a_bucket_grants_its_rate_exactly() -> None:
    now = 0.0
    bucket = Bucket(10, 5, lambda: now)
    granted = 0
    for step in range(3001):  # 30 seconds, asked 100 times a second
        now = step / 100
        granted += not bucket.take()
    assert granted == 5 + 300
    now += 60
    assert sum(not bucket.take() for _ in range(20)) == 5  # no more than the burst
    assert bucket.take() == pytest.approx(0.1)


def test_each_key_has_its_rate(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    slow, fast = (add_key(path, n, ("reader",), r) for n, r in (("slow", None), ("fast", 1000)))
    app = guarded(keys=path, rate_per_second=4, burst=4, workers=2)
    codes = [
        ask(app, "POST", "/recommend", headers={"X-Api-Key": slow}).status_code for _ in range(4)
    ]
    assert codes == [200, 200, 429, 429]  # a worker's half of the burst
    answer = ask(app, "POST", "/recommend", headers={"X-Api-Key": slow})
    assert "4 times" in refusal(answer, 429, "rate_limited")["message"]
    assert answer.headers["retry-after"] == "1"
    for _ in range(10):
        headers = {"Authorization": f"Bearer {fast}"}
        assert ask(app, "POST", "/recommend", headers=headers).status_code == 200


def test_keys_open_what_their_role_may(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    reader, writer, admin = (add_key(path, r, (r,)) for r in ("reader", "writer", "admin"))
    app = guarded(keys=path)

    def code(method: str, target: str, key: str | None) -> int:
        headers = {"Authorization": f"bearer {key}"} if key else {}
        return int(ask(app, method, target, headers=headers).status_code)

    assert [code("POST", "/recommend", k) for k in (reader, writer, admin)] == [200, 403, 200]
    assert [code("POST", "/events", k) for k in (reader, writer, admin)] == [403, 200, 200]
    assert [code("GET", "/users/u1", k) for k in (reader, writer, admin)] == [403, 403, 200]
    assert [code("GET", p, None) for p in ("/", "/app.js", "/livez", "/readyz")] == [200] * 4
    assert code("POST", "/", None) == 401
    nobody = ask(app, "POST", "/recommend")
    refusal(nobody, 401, "unauthorized")
    assert nobody.headers["www-authenticate"] == "Bearer"
    changed = reader[:-1] + ("a" if reader[-1] != "a" else "b")
    for wrong in (changed, reader + "x", "br_", "x", reader.split("_")[1], "br_\u00ff_\u00e9"):
        headers = {"X-Api-Key": wrong.encode("latin-1")}
        refusal(ask(app, "POST", "/recommend", headers=headers), 401, "unauthorized")
    revoke_key(path, "reader")
    assert code("POST", "/recommend", reader) == 401
    late = add_key(path, "late", ("reader", "writer"))
    assert code("POST", "/recommend", late) == code("POST", "/events", late) == 200


@pytest.mark.parametrize("damage", ["{", '{"keys": [{}]}', "[]", None])
def test_lost_keys_let_nobody_in(tmp_path: Path, damage: str | None) -> None:
    path = tmp_path / "keys.json"
    headers = {"X-Api-Key": add_key(path, "a", ("admin",))}
    app = guarded(keys=path)
    assert ask(app, "POST", "/recommend", headers=headers).status_code == 200
    kept = path.read_bytes()
    if damage is None:
        path.unlink()
    else:
        path.write_text(damage)
    for _ in range(2):
        found = refusal(ask(app, "POST", "/recommend", headers=headers), 503, "keys_unreadable")
        assert str(tmp_path) not in json.dumps(found)
    assert ask(app, "GET", "/livez").status_code == 200
    path.write_bytes(kept)
    path.chmod(0o600)
    assert ask(app, "POST", "/recommend", headers=headers).status_code == 200


def test_a_service_without_keys_answers_its_own_machine() -> None:
    refusal(ask(guarded(), "POST", "/recommend", "172.17.0.1"), 403, "local_only")
    refusal(ask(guarded(), "GET", "/", "172.17.0.1"), 403, "local_only")
    for address in ("127.0.0.1", "::1"):
        assert ask(guarded(), "POST", "/recommend", address).status_code == 200
    assert ask(guarded(open_to_all=True), "POST", "/recommend", "172.17.0.1").status_code == 200


def test_paths_that_nobody_listed_are_for_admins() -> None:
    assert needed("POST", "/recommend") == {"reader", "admin"}
    assert needed("HEAD", "/items/a") == {"reader", "admin"}
    assert needed("POST", "/items") == {"writer", "admin"}
    assert needed("GET", "/users") == {"reader", "admin"}
    for method, path in [
        ("GET", "/users/u1"),
        ("GET", "/users/u1.js"),
        ("DELETE", "/users/u1"),
        ("POST", "/admin/canary"),
        ("GET", "/later"),
        ("PUT", "/recommend"),
        ("GET", "//recommend"),
        ("GET", "/users/"),
        ("GET", "/users//"),
        ("get", "/users"),
        ("GET", "/console/../users"),
    ]:
        assert needed(method, path) == {"admin"}, path
    assert template("/users/u1/x") == "/users/{user_id}"
    assert template("/items/F%2F1") == "/items/{item_id}"


def test_the_log_tells_how_it_went_and_not_about_whom(tmp_path: Path) -> None:
    log = io.BytesIO()
    path = tmp_path / "keys.json"
    key = add_key(path, "shop", ("admin",))
    app = guarded(log, keys=path)
    headers = {"X-Api-Key": key, "X-Request-Id": "r1"}
    body = {"user_id": SECRET, "history": [{"domain": "books", "item_id": "secret-book"}]}
    assert ask(app, "POST", "/recommend", json=body, headers=headers).status_code == 200
    assert SECRET in ask(app, "GET", f"/users/{SECRET}", headers=headers).text
    ask(app, "GET", f"/users/{SECRET}/more?user_domain={SECRET}", headers=headers)
    ask(app, "GET", f"/{SECRET}", headers=headers)
    ask(app, "POST", "/recommend", json={"raise": SECRET}, headers=headers)
    ask(app, "GET", f"/users/{SECRET}")
    ask(app, "GET", "/readyz")
    app.log.flush()
    text = log.getvalue().decode()
    assert SECRET not in text
    assert "secret-book" not in text
    assert key not in text
    assert SECRET not in app.metrics.page()[0].decode()
    lines = [json.loads(line) for line in text.splitlines()]
    assert [(x["route"], x["status"]) for x in lines if "route" in x] == [
        ("/recommend", 200),
        ("/users/{user_id}", 200),
        ("/users/{user_id}", 404),
        ("other", 404),
        ("/recommend", 500),
        ("/users/{user_id}", 401),
    ]
    first, last = lines[0], lines[-1]
    assert first.keys() == {"time", "request_id", "method", "route", "status", "ms", "key"}
    assert (first["request_id"], first["method"], first["key"]) == ("r1", "POST", "shop")
    assert abs(first["time"] - time.time()) < 60
    assert 0 <= first["ms"] < 10_000
    assert (last["key"], last["error"]) == (None, "unauthorized")


def test_a_log_that_nobody_reads_holds_up_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridgerec.serving.guard.log.WAITING", 3)
    gate = threading.Event()

    class Stuck(io.BytesIO):
        def write(self, line: Any) -> int:
            gate.wait()
            return super().write(line)

    stream = Stuck()
    log = RequestLog(stream)
    for number in range(20):
        log.write({"n": number})
    gate.set()
    log.flush()
    log.write({"n": "last"})
    log.flush()
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert len(lines) + lines[-1]["lines_lost"] == 21
    assert lines[-1]["n"] == "last"


def test_metrics_count_by_route(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    key = add_key(path, "prometheus", ("reader",))
    app = guarded(keys=path)
    assert ask(app, "GET", "/metrics").status_code == 401

    def count() -> float:
        page = ask(app, "GET", "/metrics", headers={"X-Api-Key": key}).text
        label = '{method="POST",route="/recommend",status="200"}'
        found = [
            x for x in page.splitlines() if x.startswith(f"bridgerec_request_seconds_count{label}")
        ]
        return float(found[0].split()[-1]) if found else 0.0

    before = count()
    for _ in range(3):
        ask(app, "POST", "/recommend", headers={"X-Api-Key": key})
    assert count() == before + 3
    ask(app, "BREW", "/recommend", headers={"X-Api-Key": key})
    assert "BREW" not in ask(app, "GET", "/metrics", headers={"X-Api-Key": key}).text


def test_metrics_tell_how_many_requests_run() -> None:
    app = guarded()
    name = "bridgerec_requests_running"

    async def story() -> tuple[list[str], float | None]:
        async with client(app) as found:
            asked = [found.post("/recommend", json={"sleep": 0.4}) for _ in range(3)]
            tasks = [asyncio.create_task(one) for one in asked]
            await asyncio.sleep(0.2)
            pages = [(await found.get("/metrics")).text]
            await asyncio.gather(*tasks)
            pages.append((await found.get("/metrics")).text)
            await found.post("/recommend", json={})
            await asyncio.sleep(2 * SOON)  # other workers read what nobody asked this one for
        lines = [x for page in pages for x in page.splitlines() if x.startswith(f"{name} ")]
        return lines, prometheus_client.REGISTRY.get_sample_value(name)

    assert asyncio.run(story()) == ([f"{name} 3.0", f"{name} 0.0"], 0)


def test_settings_come_from_the_release_and_the_environment() -> None:
    service = {"name": "x", "timeout_seconds": 2, "guard": {"queue": 7, "burst": 9}}
    environment = {"BRIDGEREC_KEYS": "/k", "BRIDGEREC_WORKERS": "3", "BRIDGEREC_OPEN": "1"}
    found = GuardSettings.of(service, environment)
    assert (found.timeout_seconds, found.queue, found.burst, found.workers) == (2, 7, 9, 3)
    assert (found.keys, found.open_to_all) == (Path("/k"), True)
    assert GuardSettings.of({}, {}) == GuardSettings()


def test_a_worker_that_was_killed_runs_no_requests(tmp_path: Path) -> None:
    """Its last number is in the folder that workers share; the next one forgets it."""
    folder = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path), **os.environ}
    begin = "import asyncio, os; from bridgerec.serving.guard.metrics import Metrics, SOON\n"
    killed = f"""{begin}
async def work():
    metrics = Metrics()
    metrics.prepare()
    metrics.begun()
    await asyncio.sleep(2 * SOON)
    print(metrics.page()[0].decode(), flush=True)
    os.kill(os.getpid(), 9)
asyncio.run(work())
"""
    later = f"{begin}metrics = Metrics(); metrics.prepare(); print(metrics.page()[0].decode())"
    said = [
        subprocess.run(
            [sys.executable, "-c", code], env=folder, capture_output=True, text=True
        ).stdout
        for code in (killed, later)
    ]
    assert "bridgerec_requests_running 1.0" in said[0]
    assert "bridgerec_requests_running 0.0" in said[1]


def test_the_last_number_of_running_requests_is_told_at_the_end() -> None:
    app, name = guarded(), "bridgerec_requests_running"
    told: list[float | None] = []

    async def receive() -> dict[str, str]:
        if not told:
            told.append(None)
            return {"type": "lifespan.startup"}
        app.metrics.begun()
        await asyncio.sleep(2 * SOON)
        told.append(prometheus_client.REGISTRY.get_sample_value(name))
        app.metrics.ended()
        return {"type": "lifespan.shutdown"}

    async def send(message: Any) -> None: ...

    asyncio.run(app({"type": "lifespan"}, receive, send))
    assert [*told, prometheus_client.REGISTRY.get_sample_value(name)] == [None, 1, 0]
