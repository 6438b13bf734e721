"""Real HTTP: simulated people ask the service, click, and report what they did.

Every response is counted.  The frozen release, a second service on the same live state, is asked
the same questions at the same moments; its answers are compared and shown to nobody.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import httpx

from bridgerec.errors import BridgeRecError
from bridgerec.rehearsal.quality import K, Seen, preference_ndcg
from bridgerec.rehearsal.tally import Tally, worked
from bridgerec.rehearsal.visit import Society

SIDE_BY_SIDE = 4  # people who are on the way at once
PATIENCE = 60.0  # seconds
AGAIN = 0.5  # seconds between two tries


class Street:
    """People on the way to the service at `url`, and to the `frozen` one.

    A request that fails is tried again for `patience` seconds (0: never).
    """

    def __init__(
        self, url: str, frozen: str, society: Society, target: str, patience: float = 0
    ) -> None:
        self.url, self.frozen, self.target, self.patience = url, frozen, target, patience
        self.society, self.tally = society, Tally()
        self.accepted: set[tuple[str, str]] = set()  # (person, event_id)

    def add_items(self, new: dict[str, list[dict[str, Any]]]) -> int:
        """POST every new item; how many.

        Raises:
            BridgeRecError: one was refused.
        """

        async def send() -> int:
            async with self._client(self.url) as client:
                for domain, rows in new.items():
                    for row in rows:
                        fields = ("item_id", "title", "description", "category", "brand", "price")
                        item = {"domain": domain, **{name: row[name] for name in fields}}
                        answer = await self._ask(client, "/items", item)
                        if answer is None:
                            raise BridgeRecError(f"/items was refused: {self.tally.failures[-1]}")
            return sum(map(len, new.values()))

        return asyncio.run(send())

    def day(self, day: int, count: int, on_visit: Callable[[], None] = lambda: None) -> list[Seen]:
        """One day's visits; `on_visit` is called after each."""

        async def go() -> list[Seen]:
            turn = asyncio.Semaphore(SIDE_BY_SIDE)
            async with self._client(self.url) as client, self._client(self.frozen) as other:

                async def one(person: int) -> Seen | None:
                    async with turn:
                        seen = await self._visit(client, other, person, day)
                        on_visit()
                        return seen

                visits = [one(person) for person in self.society.visitors(day, count)]
                return [seen for seen in await asyncio.gather(*visits) if seen is not None]

        return asyncio.run(go())

    async def _visit(
        self, client: httpx.AsyncClient, other: httpx.AsyncClient, person: int, day: int
    ) -> Seen | None:
        society, target = self.society, self.target
        question = {"target": target, "user_id": society.truth.people[person], "k": K}
        answer = await self._ask(client, "/recommend", question)
        if answer is None:
            return None
        shown = [item["item_id"] for item in answer["items"]]
        others = await self._beside(other, question)
        wanted, number = society.open_preference(person, target), society.number[target]
        clicked = society.clicks(person, day, target, shown)
        seen = Seen(
            day=day,
            person=person,
            maintained=preference_ndcg(wanted, [number[i] for i in shown]),
            frozen=preference_ndcg(wanted, [number[i] for i in others]),
            maintained_clicks=float(society.chances(person, target, shown).sum()),
            frozen_clicks=float(society.chances(person, target, others).sum()),
            clicks=len(clicked),
        )
        looked = [
            {"domain": target, "item_id": item, "position": place}
            for place, item in enumerate(shown, start=1)
        ]
        hits = [{"domain": target, "item_id": item} for item in clicked]
        about = {"request_id": answer["request_id"], "shown": looked, "clicked": hits}
        await self._ask(client, "/feedback", about)
        events = society.events(person, day, target, clicked)
        if events and await self._ask(client, "/events", {"events": events}) is not None:
            self.accepted |= {(event["user_id"], event["event_id"]) for event in events}
        return seen

    async def _beside(self, other: httpx.AsyncClient, question: dict[str, Any]) -> list[str]:
        """The frozen release's list.

        Raises:
            BridgeRecError: it does not answer, so that there is nothing to compare with.
        """
        try:
            answer = (await other.post("/recommend", json=question)).raise_for_status()
        except httpx.HTTPError as error:
            raise BridgeRecError(f"the frozen release does not answer: {error!r}") from error
        return [item["item_id"] for item in answer.json()["items"]]

    async def _ask(
        self, client: httpx.AsyncClient, path: str, body: dict[str, Any]
    ) -> dict[str, Any] | None:
        """The answer; None: the request failed, which is counted."""
        limit = time.monotonic() + self.patience
        while True:
            began = time.perf_counter()
            answer: httpx.Response | Exception
            try:
                answer = await client.post(path, json=body)
            except httpx.HTTPError as error:
                answer = error
            self.tally.count(path, time.perf_counter() - began, answer)
            if worked(answer):
                return dict(answer.json())
            if time.monotonic() >= limit:
                self.tally.give_up()
                return None
            await asyncio.sleep(AGAIN)

    @staticmethod
    def _client(url: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=url, timeout=PATIENCE)


def warm_up(url: str, target: str, seconds: float = 300) -> None:
    """Wait until the service's text encoder is loaded too: until then it puts off new items.

    Raises:
        BridgeRecError: it was not loaded in time.
    """
    limit = time.monotonic() + seconds
    while True:
        answer = httpx.post(f"{url}/search", json={"text": "warm", "target": target},
                            timeout=PATIENCE)  # fmt: skip
        if answer.status_code == 200:
            return
        if answer.status_code != 503 or time.monotonic() > limit:
            raise BridgeRecError(f"{url}/search: {answer.status_code} {answer.text[:300]}")
        time.sleep(1)


class Load:
    """People who go on asking in the background while the block runs, `rate` questions a second;
    `on_release` hears of every release that answers for the first time."""

    def __init__(
        self,
        street: Street,
        people: Sequence[str],
        rate: float,
        on_release: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.street, self.people, self.rate = street, people, rate
        self.on_release, self.tally = on_release, Tally()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(n,), daemon=True)
                         for n in range(2)]  # fmt: skip

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(PATIENCE)

    def answered_by(self, release: str) -> int:
        """How many answers came from a release."""
        return self.tally.releases[release]

    def _ask(self, number: int) -> None:
        tally, street, limit = self.tally, self.street, 0.0
        with httpx.Client(base_url=street.url, timeout=PATIENCE) as client:
            while not self._over.is_set():
                began = time.perf_counter()
                question = {"target": street.target, "k": K,
                            "user_id": self.people[number % len(self.people)]}  # fmt: skip
                answer: httpx.Response | Exception
                try:
                    answer = client.post("/recommend", json=question)
                except httpx.HTTPError as error:
                    answer = error
                spent = time.perf_counter() - began
                known = set(tally.releases)
                tally.count("/recommend", spent, answer)
                for release in set(tally.releases) - known:
                    self.on_release(release)
                if not worked(answer):
                    limit = limit or time.monotonic() + street.patience
                    if time.monotonic() < limit:
                        self._over.wait(AGAIN)
                        continue
                    tally.give_up()
                number, limit = number + 2, 0.0
                self._over.wait(max(0.0, 2 / self.rate - spent))
