"""The webhook, against a real HTTP server."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from bridgerec.monitoring.alerts import send


class Hook(HTTPServer):
    """Answers with the given codes, one after another, and keeps what it was sent."""

    def __init__(self) -> None:
        self.codes: list[int] = []
        self.got: list[dict[str, Any]] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.got.append(json.loads(body))
                self.send_response(hook.codes.pop(0))
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hooks/secret"


@pytest.fixture
def hook() -> Iterator[Hook]:
    server = Hook()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_server_that_recovers_gets_the_message(hook: Hook) -> None:
    hook.codes, waited = [503, 429, 204], []
    found = send(hook.url, {"text": "drift"}, waited.append)
    assert (found.delivered, found.attempts, found.error) == (True, 3, None)
    assert hook.got == [{"text": "drift"}] * 3
    assert waited == [1, 2]


def test_a_refusal_is_not_repeated(hook: Hook) -> None:
    hook.codes = [404]
    found = send(hook.url, {}, lambda _: None)
    assert (found.delivered, found.attempts, found.error) == (False, 1, "it answered 404")
    assert "secret" not in found.words


def test_a_server_that_stays_broken_or_away_is_reported(hook: Hook) -> None:
    hook.codes = [500] * 3
    assert send(hook.url, {}, lambda _: None).error == "it answered 500"
    found = send("http://127.0.0.1:1/x", {}, lambda _: None)
    assert (found.delivered, found.attempts, found.error) == (False, 3, "ConnectError")
    assert "NOT told" in found.words
