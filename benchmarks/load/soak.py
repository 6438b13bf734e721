"""Hours in minutes: all kinds of requests at once while workers are killed."""

import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import httpx
import numpy as np
import psutil

from bridgerec.data.dataset import Catalogue
from load.server import Server, ours, started

CLIENTS = 8
EVERY = 60.0  # seconds between kills


@dataclass
class Record:
    """What the clients saw: `accepted` items by user, who was `forgotten`, which items were
    `added`, counts by path and outcome."""

    accepted: dict[str, set[str]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


def soak(folder: Path, catalogue: Catalogue, minutes: float) -> None:
    """Print what became of every accepted event, of every answer, and of the memory.

    Raises:
        RuntimeError: an accepted event is lost, an answer is wrong, or memory grows.
    """
    places = {"BRIDGEREC_STATE": str(folder / "state"), "BRIDGEREC_WORKERS": "2"}
    places["BRIDGEREC_TRAFFIC"] = str(folder / "traffic")
    record, end = Record(), time.monotonic() + 60 * minutes
    with started(ours(folder), folder, "/readyz", **places) as server:
        with ThreadPoolExecutor(CLIENTS) as pool:
            for number in range(CLIENTS):
                pool.submit(client, caller(server.url), catalogue, number, end, record)
            kills, memory = watch(server, end)
        with caller(server.url) as http:
            lost = check(http, record)
    total = sum(map(len, record.accepted.values()))
    print(f"{minutes:g} minutes, {kills} workers killed: {dict(record.counts)}")
    print(f"{total} accepted events, {lost} lost; wrong answers: {len(record.wrong)}")
    print(f"{len(record.forgotten)} people forgotten, {len(record.added)} items added")
    if lost or record.wrong:
        raise RuntimeError(f"{lost} accepted events are lost; {record.wrong[:3]}")
    third = len(memory) // 3
    if third:
        first, last = median(memory[third : 2 * third]), median(memory[-third:])
        print(f"memory of the larger worker in the last two thirds: {first:.0f}, {last:.0f} MiB")
        if last > 1.1 * first:
            raise RuntimeError(f"memory grew from {first:.0f} to {last:.0f} MiB")


def watch(server: Server, end: float) -> tuple[int, list[int]]:
    """Kill a worker every minute; print memory now and then.  Returns how often it killed, and the
    MiB of the larger of two workers, from look to look."""
    kills, next_kill, next_look = 0, time.monotonic() + EVERY / 2, 0.0
    memory: list[int] = []
    while time.monotonic() < end:
        if time.monotonic() > next_look:
            own = [p.memory_full_info().uss >> 20 for p in loaded(server)]
            print(f"  MiB of the workers' own: {own}", flush=True)
            if len(own) > 1:  # what two share counts as the own of one that is alone
                memory.append(max(own))
            next_look = time.monotonic() + 20
        if time.monotonic() > next_kill and end - time.monotonic() > 20:
            found = loaded(server)
            if len(found) > 1:  # the other one is up again
                found[kills % 2].send_signal(signal.SIGKILL)
                kills, next_kill = kills + 1, time.monotonic() + EVERY
        time.sleep(0.5)
    return kills, memory


def loaded(server: Server) -> list[psutil.Process]:
    """The workers, oldest first."""
    found = []
    for process in server.process.children(recursive=True):
        try:
            if process.memory_info().rss > 200 * 2**20:
                found.append(process)
        except psutil.NoSuchProcess:
            pass
    return sorted(found, key=lambda p: p.create_time())


def caller(url: str) -> httpx.Client:
    """A client that connects anew for each request, so that it meets both workers."""
    return httpx.Client(
        base_url=url, timeout=30, trust_env=False, limits=httpx.Limits(max_keepalive_connections=0)
    )


def client(
    http: httpx.Client, catalogue: Catalogue, number: int, end: float, record: Record
) -> None:
    """One event, then an answer that has to know of it, and now and then another question."""
    rng = np.random.default_rng(number)
    ids = catalogue.items["item_id"][catalogue.block("shop")].to_list()
    turn = 0
    while time.monotonic() < end:
        turn += 1
        user, item = f"S{number}-{turn // 10}", ids[int(rng.integers(len(ids)))]
        event = {"event_id": f"{number}-{turn}", "user_id": user, "domain": "shop", "item_id": item}
        if send(http, "/events", event, record) is not None:
            with record.lock:
                record.accepted.setdefault(user, set()).add(item)
        asked = {"target": "shop", "user_id": user, "k": 10}
        found = send(http, "/recommend", asked, record)
        if found is not None:
            shown = [entry["item_id"] for entry in found["items"]]  # type: ignore[attr-defined]
            known = record.accepted.get(user, set())
            late = found["route"] == "fallback"  # the model's time was over: counted, not wrong
            if late:
                with record.lock:
                    record.counts["/recommend 200 by the baseline"] += 1
            warm = found["route"] == "warm" or late or not known
            if len(set(shown)) != 10 or known & set(shown) or not warm:
                record.wrong.append(f"{user}: {found['route']}, {shown}")
        if turn % 7 == 0:
            send(http, "/similar", {"domain": "shop", "item_id": item, "target": "video"}, record)
            batch = {"requests": [asked, {"target": "video", "user_id": user}]}
            send(http, "/recommend_batch", batch, record)
            if found is not None:
                react(http, str(found["request_id"]), shown, record)
        if turn % 11 == 0:
            forgetting(http, f"F{number}-{turn}", item, record)
        if turn % 13 == 0:
            words = {"text": f"item of group {turn % 50}", "target": "video", "user_id": user}
            send(http, "/search", words, record)
        if turn % 29 == 0:
            adding(http, f"N{number}-{turn}", record)


def react(http: httpx.Client, request_id: str, shown: list[str], record: Record) -> None:
    """What was shown, and a click on the first; telling it again changes nothing."""
    told = [{"domain": "shop", "item_id": i, "position": n} for n, i in enumerate(shown, 1)]
    clicked = [{"domain": "shop", "item_id": shown[0]}]
    body = {"request_id": request_id, "shown": told, "clicked": clicked}
    if send(http, "/feedback", body, record) is not None:
        again = send(http, "/feedback", body, record)
        if again is not None and again["accepted"] != 0:
            record.wrong.append(f"feedback on {request_id} was taken twice")


def forgetting(http: httpx.Client, user: str, item: str, record: Record) -> None:
    """Somebody comes, is forgotten, and must be unknown to whoever is asked."""
    event = {"event_id": "only", "user_id": user, "domain": "shop", "item_id": item}
    if send(http, "/events", event, record) is None:
        return
    if send(http, f"/users/{user}", None, record, "DELETE") is None:
        return  # its worker was killed: nobody knows whether it was done
    known = send(http, f"/users/{user}", None, record, "GET")
    found = send(http, "/recommend", {"target": "shop", "user_id": user}, record)
    if (known and (known["known"] or known["stored"])) or (found and found["route"] == "warm"):
        record.wrong.append(f"{user} was forgotten and is known")
    with record.lock:
        record.forgotten.append(user)


def adding(http: httpx.Client, item: str, record: Record) -> None:
    """A new item must be found by its title, by its id, and among those like it."""
    new = {"domain": "video", "item_id": item, "title": f"Lamp number {item}"}
    if send(http, "/items", new, record) is None:
        return
    found = send(http, f"/items?domain=video&query={item.lower()}", None, record, "GET")
    if found is not None and item not in [entry["item_id"] for entry in found["items"]]:  # type: ignore[attr-defined]
        record.wrong.append(f"{item} was added and is not found")
    asked = {"target": "video", "k": 1, "allow": [item]}
    found = send(http, "/recommend", asked, record)
    if found is not None and [entry["item_id"] for entry in found["items"]] != [item]:  # type: ignore[attr-defined]
        record.wrong.append(f"{item} was added and cannot be recommended")
    with record.lock:
        record.added.append(item)


def send(
    http: httpx.Client, path: str, body: object, record: Record, method: str = "POST"
) -> dict[str, object] | None:
    """The answer; None where there is none, because its worker was killed or refused it.  An event
    without an answer is sent again, as its sender would: its id makes that harmless."""
    name = "/".join(path.partition("?")[0].split("/")[:2])  # without ids
    name = name if method == "POST" else f"{method} {name}"
    for _ in range(20 if path == "/events" else 1):
        try:
            answer = http.request(method, path, json=body)
        except httpx.HTTPError as error:
            kind = f"{name} {type(error).__name__}"
        else:
            if answer.status_code == 200:
                with record.lock:
                    record.counts[f"{name} 200"] += 1
                found: dict[str, object] = answer.json()
                return found
            kind = f"{name} {answer.status_code}"
        with record.lock:
            record.counts[kind] += 1
        time.sleep(0.1)
    return None


def check(http: httpx.Client, record: Record) -> int:
    """How many accepted events, and added items, the service does not know of."""
    lost = 0
    for user, items in record.accepted.items():
        answer = http.get(f"/users/{user}").json()
        lost += len(items - {event["item_id"] for event in answer["events"]})
    for user in record.forgotten:
        if http.get(f"/users/{user}").json()["known"]:
            record.wrong.append(f"{user} was forgotten and is known at the end")
    for item in record.added:
        lost += http.get(f"/items/{item}").status_code != 200
    return lost
