"""A built Bento is tried over HTTP before it may become live."""

import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl

from bridgerec.errors import ArtifactError
from bridgerec.registry.bundle import find_bundle
from bridgerec.registry.verdict import Trial
from bridgerec.serving.launch import running

WARM_UP = 5  # requests that are not timed
READY = 180  # seconds until it must be ready; training may keep the machine busy


def try_bento(bento: Path, targets: list[str], requests: int = 60) -> Trial:
    """Serve a Bento and ask for every target, as an unknown person and as known ones.

    Answers are timed one after the other, as a client on this machine sees them.

    Raises:
        ArtifactError: it does not start, or an answer is not what it should be.
    """
    bundle = find_bundle(bento)
    known = pl.read_parquet(bundle / "users.parquet", n_rows=requests)["user_id"].to_list()
    people: list[str | None] = [None, *known]
    seconds = []
    with running(bento, timeout=READY) as url, httpx.Client(base_url=url, timeout=30) as client:
        release = str(client.get("/health").json()["release"])
        for number in range(WARM_UP + requests):
            target = targets[number % len(targets)]
            # the first round of targets is asked by somebody unknown
            person = None if number < len(targets) else people[number % len(people)]
            began = time.perf_counter()
            answer = client.post("/recommend", json=_request(target, person))
            seconds.append(time.perf_counter() - began)
            _check(bento, release, target, answer)
    times = 1000 * np.array(seconds[WARM_UP:])
    return Trial(
        release=release,
        requests=len(seconds),
        p50_milliseconds=round(float(np.quantile(times, 0.5)), 2),
        p95_milliseconds=round(float(np.quantile(times, 0.95)), 2),
        bento_megabytes=round(
            sum(p.stat().st_size for p in bento.rglob("*") if p.is_file()) / 1e6, 2
        ),
    )


def _request(target: str, person: str | None) -> dict[str, Any]:
    asked: dict[str, Any] = {"target": target, "k": 5}
    return asked if person is None else {**asked, "user_id": person}


def _check(bento: Path, release: str, target: str, answer: httpx.Response) -> None:
    found = answer.json() if answer.status_code == 200 else {}
    items = [item["item_id"] for item in found.get("items", [])]
    fine = (
        bool(items)
        and len(set(items)) == len(items)
        and found["release"] == release
        and all(np.isfinite(item["score"]) for item in found["items"])
    )
    if not fine:
        raise ArtifactError(
            f"{bento} gives no sound recommendations for {target}: {answer.status_code} "
            f"{answer.text[:500]}. Build it again with the package stage."
        )
