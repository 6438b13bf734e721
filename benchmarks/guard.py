"""What a request costs on its way through the guard, layer by layer, and what rules and chance add.

    python benchmarks/guard.py [--requests 3000] [--bento DIR]

The layers are put around an application that does nothing, one after the other from the inside,
and asked in this process: no network.  `--bento` (the demo's `artifacts/bento`) also measures
the answers of its release: as it is, with a request's `diversity`, and with `service.exploration`.
Prints Markdown: processor microseconds per request, the median of seven runs whose variants take
turns, and what each adds to the one before it.
"""

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from bridgerec.registry.bundle import find_bundle
from bridgerec.serving.guard.auth import Authenticated
from bridgerec.serving.guard.body import BodyLimit
from bridgerec.serving.guard.concurrency import Bounded
from bridgerec.serving.guard.drain import Drain
from bridgerec.serving.guard.envelope import Envelope
from bridgerec.serving.guard.log import Observed, RequestLog
from bridgerec.serving.guard.metrics import Metrics
from bridgerec.serving.guard.rate import RateLimited
from bridgerec.serving.guard.timeout import Timeout
from bridgerec.serving.keys import Key, KeyRing, add_key
from bridgerec.serving.ranker import Recommender
from bridgerec.serving.schemas import RecommendRequest
from serving import machine
from stages import table

BODY = b'{"target": "films", "user_id": "u00042", "k": 10}'
RUNS = 7
KEYS = 100


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    """Reads the body and answers."""
    await receive()
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"{}"})


def layers(folder: Path) -> tuple[list[tuple[str, Any]], str, Key]:
    """The stack as it grows outwards, and a key that it accepts, as text and as it is known."""
    keys = [add_key(folder / "keys.json", f"key-{n}", ("reader",)) for n in range(KEYS)]
    ring = KeyRing(folder / "keys.json")
    known = ring.find(keys[-1])
    assert known is not None
    log = RequestLog((folder / "log").open("wb"))
    app: Any = nothing
    found = [("nothing", app)]

    def put(name: str, layer: Callable[..., Any], *options: Any) -> None:
        nonlocal app
        app = layer(app, *options)
        found.append((name, app))

    put("how many at once", Bounded, 64, 256)
    put("the body's size and kind", BodyLimit, 1_000_000)
    put("time", Timeout, 5.0)
    put("rate of a key", RateLimited, 1e9, 10**9)
    put(f"keys and roles ({KEYS} keys)", Authenticated, ring, False)
    put("drain", Drain, 6.0)
    put("log and metrics", Observed, log, Metrics())
    put("request id, headers, errors", Envelope, log)
    return found, keys[-1], known


async def ask(app: Any, key: str, known: Key, count: int) -> float:
    """Processor microseconds per request."""
    sent = {"type": "http.request", "body": BODY, "more_body": False}

    async def receive() -> Any:
        return sent

    async def send(message: Any) -> None: ...

    headers = [
        (b"host", b"127.0.0.1:3000"), (b"content-type", b"application/json"),
        (b"content-length", str(len(BODY)).encode()), (b"authorization", f"Bearer {key}".encode()),
    ]  # fmt: skip
    scope = {
        "type": "http", "method": "POST", "path": "/recommend", "query_string": b"",
        "client": ("127.0.0.1", 1), "headers": headers,
    }  # fmt: skip
    start = time.process_time()
    for _ in range(count):
        # the inner layers read what the outer ones leave
        own = {**scope, "state": {"request_id": "r", "key": known}}
        await app(own, receive, send)
    return 1e6 * (time.process_time() - start) / count


def rows(names: list[str], runs: list[list[float]]) -> list[list[str]]:
    medians = np.median(np.array(runs), axis=0)
    added = np.diff(medians, prepend=medians[:1])
    return [
        [name, f"{value:.1f}", f"{more:+.1f}" if place else ""]
        for place, (name, value, more) in enumerate(zip(names, medians, added, strict=True))
    ]


def guarded(count: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        stack, key, known = layers(Path(name))

        async def run() -> list[list[float]]:
            return [[await ask(app, key, known, count) for _, app in stack] for _ in range(RUNS)]

        print(table(["with", "µs CPU", "more"], rows([n for n, _ in stack], asyncio.run(run()))))


def release(bento: Path, count: int) -> None:
    plain = Recommender.open(find_bundle(bento))
    options = {"share": 1.0, "depth": 20, "sharpness": 2.0}
    chance = replace(plain, service={**plain.service, "exploration": options})
    people = plain.people.names[:count]
    variants: list[tuple[str, Recommender, dict[str, Any]]] = [
        ("as it is", plain, {}),
        ("exploration of 20 ranks", chance, {}),
        ("diversity 0.5: MMR on 200 items", plain, {"diversity": 0.5}),
        ("reasons of 10 items", plain, {"explain": True}),
    ]

    def one(recommender: Recommender, more: dict[str, Any]) -> float:
        """Microseconds per answer without those of the models."""
        spent = 0.0
        for number, person in enumerate(people):
            request = RecommendRequest(target="films", user_id=person, **more)
            question = recommender.ask(request, request_id=f"r{number}")
            question = replace(question, chance=True)
            scores = recommender.score(question)
            start = time.process_time()
            recommender.finish(question, scores)
            spent += time.process_time() - start
        return 1e6 * spent / len(people)

    runs = [[one(recommender, more) for _, recommender, more in variants] for _ in range(RUNS)]
    medians = np.median(np.array(runs), axis=0)
    lines = [
        [name, f"{m:.0f}", f"{m - medians[0]:+.0f}" if place else ""]
        for place, ((name, _, _), m) in enumerate(zip(variants, medians, strict=True))
    ]
    print(table(["after the models' scores", "µs CPU", "more than as it is"], lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=3000)
    parser.add_argument("--bento", type=Path)
    chosen = parser.parse_args()
    print(machine(), end="\n\n", flush=True)
    guarded(chosen.requests)
    if chosen.bento is not None:
        release(chosen.bento, max(20, chosen.requests // 30))


if __name__ == "__main__":
    main()
