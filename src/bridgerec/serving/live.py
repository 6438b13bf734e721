"""One worker's parts: the release, the store, the log, the encoder; what the routes work with."""

import asyncio
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bridgerec.serving.batching import Batcher
from bridgerec.serving.canary import Releases
from bridgerec.serving.embedder import Embedder
from bridgerec.serving.problems import Unavailable
from bridgerec.serving.ranker import Question, Recommender, Wish
from bridgerec.serving.schemas import RecommendRequest, targets_of
from bridgerec.serving.scoring import Score, answer
from bridgerec.serving.state import NewItem, Store, View
from bridgerec.serving.traffic import TrafficLog

NO_STORE = "Set BRIDGEREC_STATE to a folder or a redis:// address, or start with `bridgerec serve`."


@dataclass(frozen=True)
class Given:
    """An answer, and what the traffic log is to say of it."""

    answer: dict[str, Any]
    k: int
    history: list[list[str]]


def _opened(folder: Path) -> Recommender:
    recommender = Recommender.open(folder)
    recommender.warm()
    recommender.quicken()
    return recommender


@dataclass
class Live:
    """A worker; `store` and `log` are None where none is configured."""

    recommender: Recommender
    embedder: Embedder
    store: Store | None = None
    log: TrafficLog | None = None
    score: Score = field(default_factory=Batcher)
    control: Path | None = None  # of a second release
    _taking: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        self.releases: Releases[Recommender] = Releases(
            self.recommender, _opened, self.control, shadowed=partial(self._log, shadow=True)
        )

    def kept(self) -> Store:
        """The store.

        Raises:
            Unavailable: there is none.
        """
        if self.store is None:
            raise Unavailable("this service was started without a place for live state", NO_STORE)
        return self.store

    async def look(self, recommender: Recommender, person: str | None) -> View:
        """A person's live state; new items are taken in on the way."""
        if self.store is None:
            return View()
        limit = recommender.service["max_history"]
        view = await self.store.look(person, limit, recommender.shelf.seen)
        if view.items:
            async with self._taking:
                await self._take(recommender, view.items)
        return view

    async def _take(self, recommender: Recommender, items: tuple[tuple[int, NewItem], ...]) -> None:
        shelf = recommender.shelf
        new = [(number, item) for number, item in items if number > shelf.seen]
        known = [row for row in new if row[1].domain in shelf.index]
        usable, vectors = await self.embedder.vectors_of([item for _, item in known])
        kept = [row for row, good in zip(known, usable, strict=True) if good]
        shelf.take(kept, vectors)
        # those that cannot be placed are not asked for again
        shelf.seen = max([shelf.seen, *(number for number, _ in new)])

    async def recommend(
        self, request: RecommendRequest, request_id: str, wish: Wish | None = None
    ) -> dict[str, Any]:
        """Answer one request with all that is known now, and log it.  Wishes go to the release
        itself: their vectors are of its encoder's space."""
        if wish is not None or request.wish is not None:
            given = await self._answer(self.recommender, request, request_id, wish)
        else:
            given = await self.releases.ask_async(
                request.user_id or request_id, lambda r: self._trial(r, request, request_id)
            )
        self._log(given)
        return given.answer

    async def _trial(
        self, recommender: Recommender, request: RecommendRequest, request_id: str
    ) -> "Given":
        given = await self._answer(recommender, request, request_id, None)
        if recommender is not self.recommender and "fallback" in given.answer["routes"].values():
            raise RuntimeError("the second release fell back")
        return given

    async def _answer(
        self,
        recommender: Recommender,
        request: RecommendRequest,
        request_id: str,
        wish: Wish | None,
    ) -> "Given":
        recommender.check(request.target, request.k, request.history)
        person = None
        if request.user_id is not None:
            person = recommender.people.person(request.user_domain, request.user_id)
        view = await self.look(recommender, person)
        question = recommender.ask(request, view, request_id)
        notes = question.notes
        if wish is None and request.wish is not None:
            try:
                wish = await self.wish(recommender, request.wish, request.target, 0.5)
            except Unavailable as error:
                notes = (*notes, f"the wish was not used: {error}")
        question = replace(question, wish=wish, notes=notes)
        limit = recommender.service["model_seconds"]
        found, asked = await answer(recommender, question, self.score, limit)
        return Given(found, request.k, self._history(recommender, asked))

    def _log(self, given: "Given", shadow: bool = False) -> None:
        if self.log is not None:
            self.log.add(given.answer, given.k, given.history, shadow)

    async def wish(
        self, recommender: Recommender, text: str, target: str | list[str], personal: float
    ) -> Wish:
        """Words as vectors of each target's space.

        Raises:
            Unavailable: the encoder cannot be loaded (yet).
        """
        targets = targets_of(target)
        numbers = [recommender.shelf.catalogue.domains.index(t) for t in targets]
        vectors = await self.embedder.vectors([text] * len(targets), np.array(numbers))
        return Wish(dict(zip(targets, vectors, strict=True)), personal)

    def _history(self, recommender: Recommender, question: Question) -> list[list[str]]:
        """What an answer rested on, as [domain, item_id], for the traffic log."""
        shelf = recommender.shelf
        ids = shelf.columns["item_id"]
        return [[shelf.domains[i], ids[i]] for i in question.past.items.tolist()]

    def close(self) -> None:
        """Write what waits, let go of files and threads."""
        parts: list[Any] = [self.store, self.log, self.embedder, self.score]
        for part in parts:
            close = getattr(part, "close", None)
            if close is not None:
                close()
