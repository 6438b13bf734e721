"""One worker's parts: the release, the store, the log, the encoder; what the routes work with."""

import asyncio
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bridgerec.runtime import read_json
from bridgerec.serving.batching import Batcher
from bridgerec.serving.canary import Releases
from bridgerec.serving.embedder import Embedder
from bridgerec.serving.problems import Unavailable
from bridgerec.serving.ranker import Question, Recommender, Wish
from bridgerec.serving.schemas import RecommendRequest, SearchRequest, targets_of
from bridgerec.serving.scoring import Score, answer
from bridgerec.serving.state import NewItem, Store, View
from bridgerec.serving.traffic import TrafficLog

NO_STORE = "Set BRIDGEREC_STATE to a folder or a redis:// address, or start with `bridgerec serve`."

UNREAD = "the words were not used"  # how the note begins


@dataclass(frozen=True)
class Given:
    """An answer, and what the traffic log is to say of it."""

    answer: dict[str, Any]
    k: int
    history: list[tuple[str, str]]


@dataclass
class Live:
    """A worker that began with one release; `store` and `log` are None where none is configured."""

    began: Recommender
    embedder: Embedder  # of that release
    store: Store | None = None
    log: TrafficLog | None = None
    score: Score = field(default_factory=Batcher)
    control: Path | None = None  # of a second release
    _taking: asyncio.Lock = field(default_factory=asyncio.Lock)
    _shelving: ThreadPoolExecutor = field(
        default_factory=partial(ThreadPoolExecutor, 1, "shelf"), repr=False
    )

    def __post_init__(self) -> None:
        # not by folder alone: another release may be packaged into the same one
        self._embedders = {_name(self.began): self.embedder}
        self.releases: Releases[Recommender] = Releases(
            self.began, self._open, self.control, shadowed=partial(self._log, shadow=True)
        )

    @property
    def recommender(self) -> Recommender:
        """The release that answers now.  Ask once per request: soon it may be another one."""
        return self.releases.main

    def asked(self, release: str | None) -> Recommender:
        """The release that is named, or the one that answers now.

        Raises:
            NotFound: this worker holds no such release.
            Unavailable: it may be the one that is being loaded.
        """
        return self.recommender if release is None else self.releases.named(release)

    def _open(self, folder: Path) -> Recommender:
        """A release to go over to or to try, ready to answer; in a thread.

        Raises:
            ArtifactError: a part is missing, was changed, or model and catalogue differ.
        """
        loaded = self.releases.loaded()
        release = read_json(folder / "manifest.json").get("release")
        for known in loaded:
            if known.release == release and known.folder.resolve() == folder.resolve():
                return known
        recommender = Recommender.open(folder)
        recommender.warm()
        recommender.quicken()
        kept = {_name(known) for known in loaded}
        self._embedders = {name: e for name, e in self._embedders.items() if name in kept}
        if any(embedder.started for embedder in self._embedders.values()):
            # words are in use here: they shall not have to wait for another encoder
            wait([self.embedder_of(recommender).start()])
        return recommender

    def embedder_of(self, recommender: Recommender) -> Embedder:
        """What embeds words for a release; releases of the same encoder and space share it."""
        found = self._embedders.get(_name(recommender))
        if found is None:
            found = Embedder(recommender.folder, self.embedder.patience)
            same = (e for e in self._embedders.values() if e.record and e.record == found.record)
            found = self._embedders[_name(recommender)] = next(same, found)
        return found

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
        if self._taking.locked():  # what is being taken in need not be read again
            async with self._taking:
                pass
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
        vectors = await self.embedder_of(recommender).vectors_of([item for _, item in known])
        # those that cannot be placed are not asked for again
        over = new if len(vectors) == len(known) else known[: len(vectors)]
        if not over:
            return
        placed = [(i, v) for (_, i), v in zip(known, vectors, strict=False) if v is not None]
        taking = partial(shelf.taking, [i for i, _ in placed], [v for _, v in placed], over[-1][0])
        recommender.shelf = await asyncio.get_running_loop().run_in_executor(self._shelving, taking)

    async def recommend(
        self, request: RecommendRequest, request_id: str, search: SearchRequest | None = None
    ) -> dict[str, Any]:
        """Answer one request with all that is known now, and log it; `search` is where it comes
        from, if somebody searched.  A release that is named answers for itself: by no other one's
        models, without chance, and logged nowhere, because such questions are nobody's traffic.

        Raises:
            NotFound: no such release is loaded.
            Unavailable: the words of a search cannot be read (yet).
            ConfigError: a target is unknown, or k or the history is too long.
        """
        if request.release is not None:
            named = self.asked(request.release)
            return (await self._answer(named, request, request_id, search, False)).answer
        words = search is not None or request.wish is not None

        async def ask(recommender: Recommender) -> Given:
            if words and recommender is not self.recommender:
                embedder = self.embedder_of(recommender)
                if not embedder.ready:  # nobody waits for the encoder of a trial
                    embedder.start()
                    recommender = self.recommender
            # who says what they want gets the best first
            return await self._sound(recommender, request, request_id, search, not words)

        async def shadow(recommender: Recommender) -> Given | None:
            if words:
                return None
            # as it would rank: estimates compare that with what chance has shown
            return await self._sound(recommender, request, request_id, None, False)

        given = await self.releases.ask_async(
            _who(self.recommender, request) or request_id, ask, shadow
        )
        self._log(given)
        return given.answer

    async def _sound(
        self,
        recommender: Recommender,
        request: RecommendRequest,
        request_id: str,
        search: SearchRequest | None,
        chance: bool,
    ) -> "Given":
        """An answer; of another release than the first one only by its own models."""
        given = await self._answer(recommender, request, request_id, search, chance)
        if recommender is not self.releases.began and "fallback" in given.answer["routes"].values():
            raise RuntimeError(f"release {recommender.release} fell back")
        return given

    async def _answer(
        self,
        recommender: Recommender,
        request: RecommendRequest,
        request_id: str,
        search: SearchRequest | None,
        chance: bool,
    ) -> "Given":
        recommender.check(request.target, request.k, request.history)
        wish, notes = await self._said(recommender, request, search)
        view = await self.look(recommender, _who(recommender, request))
        question = recommender.ask(request, view, request_id, wish, notes, chance)
        # now, while what it reads is in the processor's cache
        told = self._history(question) if self.log is not None else []
        found = await answer(recommender, question, self.score)
        return Given(found, request.k, told)

    async def _said(
        self, recommender: Recommender, request: RecommendRequest, search: SearchRequest | None
    ) -> tuple[Wish | None, tuple[str, ...]]:
        """What the person said, and notes on it.

        Raises:
            Unavailable: the words of a search cannot be read (yet).
        """
        text = request.wish if search is None else search.text
        if text is None:
            return None, ()
        try:
            strange = await self.embedder_of(recommender).unread(text)
            if strange is not None:  # its vector would be of unknown pieces, not of a meaning
                return None, (f"{UNREAD}: {strange}",)
            share = 0.5 if search is None else search.personal
            return await self.wish(recommender, text, request.target, share), ()
        except Unavailable as error:
            if search is not None:
                raise
            return None, (f"the wish was not used: {error}",)

    def _log(self, given: "Given | None", shadow: bool = False) -> None:
        if self.log is not None and given is not None:
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
        vectors = await self.embedder_of(recommender).vectors(
            [text] * len(targets), np.array(numbers)
        )
        return Wish(dict(zip(targets, vectors, strict=True)), personal)

    def _history(self, question: Question) -> list[tuple[str, str]]:
        """What an answer rested on, as (domain, item_id), for the traffic log."""
        domains, ids = question.shelf.domains, question.shelf.columns["item_id"]
        return [(domains[i], ids[i]) for i in question.past.items.tolist()]

    def close(self) -> None:
        """Write what waits, let go of files and threads."""
        parts: list[Any] = [self.store, self.log, *self._embedders.values(), self.score]
        for part in parts:
            close = getattr(part, "close", None)
            if close is not None:
                close()
        self._shelving.shutdown(wait=False)


def _who(recommender: Recommender, request: RecommendRequest) -> str | None:
    """The person who asks: all accounts of one have the same state and the same release."""
    if request.user_id is None:
        return None
    return recommender.people.person(request.user_domain, request.user_id)


def _name(recommender: Recommender) -> tuple[str, Path]:
    return recommender.release, recommender.folder
