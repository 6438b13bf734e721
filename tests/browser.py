"""A real browser for the tests of the console, and a gate that asks for a key."""

import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@contextmanager
def started() -> Iterator[Any]:
    """A headless Chromium; skips the tests where there is none."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="the console's tests need `pip install playwright`"
    )
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip("the console's tests need Chromium or Chrome on the PATH")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


class Console:
    """One page and all that it asked for.

    `close` fails when something was logged as an error, or when a request left the host; `expected`
    are parts of addresses whose refusal by the service belongs to the test; `key` is the one that
    was given in this tab before.
    """

    def __init__(
        self,
        browser: Any,
        url: str,
        expected: tuple[str, ...] = (),
        key: str | None = None,
        **options: Any,
    ):
        self.url, self.expected = url, expected
        self.headers = {} if key is None else {"x-api-key": key}
        self.context = browser.new_context(locale="en-GB", **options)
        if key is not None:
            self.context.add_init_script(f"sessionStorage.setItem('bridgerec.key', '{key}')")
        self.page = self.context.new_page()
        self.page.set_default_timeout(20_000)
        self.troubles: list[str] = []
        self.asked: list[Any] = []
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request))

    def _heard(self, message: Any) -> None:
        where = message.location.get("url", "")
        if message.type == "error" and not any(part in where for part in self.expected):
            self.troubles.append(f"{message.text} ({where})")

    def open(self, view: str = "recommend") -> Any:
        self.page.goto(f"{self.url}/#{view}")
        self.page.locator("h1:visible").wait_for()
        if view == "recommend":
            self.page.locator("#items li").first.wait_for()
        return self.page

    def close(self) -> None:
        self.context.close()
        assert not self.troubles
        foreign = [r.url for r in self.asked if not r.url.startswith((self.url, "data:"))]
        assert not foreign

    def questions(self) -> list[tuple[str, dict[str, Any]]]:
        """The path and body of each question that the page asked."""
        return [
            (r.url.removeprefix(self.url), r.post_data_json)
            for r in self.asked
            if r.method == "POST" and r.url.endswith(("/recommend", "/search"))
        ]

    def settled(self) -> dict[str, Any]:
        """Waits until the page shows the answer to its last question; that answer, asked for
        once more without the page."""
        page, before = self.page, None
        for _ in range(100):
            page.wait_for_timeout(150)
            now = (len(self.questions()), page.locator("#items[aria-busy]").count())
            if now == before and now[1] == 0:
                break
            before = now
        path, body = self.questions()[-1]
        found = httpx.post(f"{self.url}{path}", json=body, headers=self.headers, timeout=30)
        assert found.status_code == 200, found.text
        answer: dict[str, Any] = found.json()
        assert self.shown() == [f"{i['domain']}/{i['item_id']}" for i in answer["items"]]
        return answer

    def shown(self) -> list[str]:
        """The recommended items as domain/id, best first."""
        items: list[str] = self.page.eval_on_selector_all(
            "#items li[data-item]", "found => found.map(e => e.dataset.item)"
        )
        return items

    def history(self) -> list[str]:
        titles: list[str] = self.page.locator("#history .title").all_inner_texts()
        return titles


@contextmanager
def gate(url: str, key: str) -> Iterator[str]:
    """A server that passes requests with the right `x-api-key` (and the page itself) on."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

    async def passed(request: Request) -> Response:
        path = request.url.path
        page = path == "/" or path.startswith("/console/")
        if not page and request.headers.get("x-api-key") != key:
            refusal = {"error": "unauthorized", "message": "no", "remedy": "", "request_id": "1"}
            return JSONResponse(refusal, 401)
        async with httpx.AsyncClient() as client:
            found = await client.request(
                request.method,
                f"{url}{path}",
                params=request.query_params,
                content=await request.body(),
                headers={"content-type": request.headers.get("content-type", "")},
            )
        kept = {n: found.headers[n] for n in ("content-type",) if n in found.headers}
        return Response(found.content, found.status_code, kept)

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    app = Starlette(routes=[Route("/{path:path}", passed, methods=["GET", "POST", "DELETE"])])
    server = uvicorn.Server(uvicorn.Config(app, "127.0.0.1", port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(10)
