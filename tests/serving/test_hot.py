"""The paths that are asked most, without a server: bodies in pieces, and HEAD."""

import asyncio
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.types import Message

from bridgerec.serving.routes.hot import routes, whole

GONE: Message = {"type": "http.disconnect"}


def part(body: bytes, more: bool) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


def read(*messages: Message) -> bytes:
    """The body that `messages` make; asking for more than them is an error."""
    left = iter(messages)

    async def receive() -> Message:
        return next(left)

    return asyncio.run(whole(receive))


@pytest.mark.parametrize(
    ("messages", "body"),
    [
        ([part(b"{}", False)], b"{}"),
        ([part(b'{"k', True), part(b"", True), part(b'": 5}', False)], b'{"k": 5}'),
        ([part(b"", False)], b""),
        ([{"type": "http.request"}], b""),
        ([part(b"{}", False), GONE], b"{}"),  # who leaves after the body is somebody else's matter
    ],
    ids=["one piece", "several pieces", "empty", "nothing said", "left afterwards"],
)
def test_a_body_is_read_to_its_end(messages: list[Message], body: bytes) -> None:
    assert read(*messages) == body


@pytest.mark.parametrize("before", [[], [part(b'{"target": ', True)]], ids=["at once", "midway"])
def test_nobody_waits_for_the_answer_to_half_a_body(before: list[Message]) -> None:
    with pytest.raises(ClientDisconnect):
        read(*before, GONE)


def test_head_tells_of_health_what_get_tells() -> None:
    live: Any = SimpleNamespace(recommender=SimpleNamespace(release="r1"))
    transport = httpx.ASGITransport(Starlette(routes=routes(lambda: live)))

    async def ask() -> tuple[httpx.Response, httpx.Response, httpx.Response]:
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            head, get = await client.head("/health"), await client.get("/health")
            return head, get, await client.head("/recommend")

    head, get, other = asyncio.run(ask())
    assert (head.status_code, get.status_code) == (200, 200)
    assert get.json()["release"] == "r1"
    assert head.headers == get.headers  # the server leaves the body out: see test_service
    assert head.content == b""
    assert other.status_code == 405
