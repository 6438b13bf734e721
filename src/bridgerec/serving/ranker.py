"""From a request to a ranked list, in numpy.

An answer takes three steps, so that scoring can wait, be batched or fail on its own:
`ask` (who, which history, which route), `jobs` for the models, `finish` (filters, rules, merging,
explanations).  `recommend` does all three.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bridgerec.data.dataset import Catalogue, Histories
from bridgerec.errors import ConfigError
from bridgerec.models.base import Candidate, check_catalogue
from bridgerec.models.scores import standardised
from bridgerec.registry.bundle import check_bundle
from bridgerec.runtime import file_hash, read_json
from bridgerec.serving.batching import Job, Wanted, answer_all
from bridgerec.serving.chance import RULE, Chance
from bridgerec.serving.columns import first_met
from bridgerec.serving.explain import by_wish
from bridgerec.serving.finishing import Finishing, told_failures
from bridgerec.serving.limit import Limit
from bridgerec.serving.people import Met, Past, People, history
from bridgerec.serving.pictures import Pictures
from bridgerec.serving.problems import new_id
from bridgerec.serving.ranked import Ranked
from bridgerec.serving.schemas import RecommendRequest, Route, targets_of
from bridgerec.serving.shelf import Shelf
from bridgerec.serving.state import View
from bridgerec.serving.topk import Best, top_k
from bridgerec.serving.towers import ServedTowers, load_served

Floats = NDArray[np.float32]
NOTHING = View()
BASELINE: Route = "unknown"  # whose model answers where another one cannot


@dataclass(frozen=True)
class Part:
    """One target of a question: `histories` (one row) is what `model` is asked with."""

    target: str
    route: Route
    name: str
    model: Candidate
    histories: Histories


@dataclass(frozen=True)
class Wish:
    """Words mixed in: `vectors` by target, (size,); `personal` is the share of the taste."""

    vectors: Mapping[str, Floats]
    personal: float


@dataclass(frozen=True)
class Question:
    """A request with everything that an answer to it needs, except scores."""

    request: RecommendRequest
    request_id: str
    shelf: Shelf  # as it was when the question came
    past: Past
    parts: tuple[Part, ...]
    wish: Wish | None = None
    notes: tuple[str, ...] = ()
    chance: bool = False  # whether `service.exploration` may change the order


@dataclass
class Recommender:
    """A loaded bundle, and the items that were added since: `shelf` is another one then."""

    release: str
    dossier: dict[str, Any]
    service: dict[str, Any]
    models: dict[Route, Candidate]  # who answers on which route
    names: dict[Route, str]
    people: People
    shelf: Shelf
    folder: Path = field(default_factory=Path)
    hashes: Mapping[str, str] = field(default_factory=dict)  # of its parts, checked when opened
    bento_hash: str | None = None  # of the whole Bento, once `quicken` has read it
    finishing: Finishing = field(init=False)
    chance: Chance | None = field(init=False)
    limit: Limit = field(init=False)  # of asking models

    def __post_init__(self) -> None:
        self.chance = Chance.of(self.service.get("exploration"))
        self.limit = Limit(self.service["model_seconds"])
        self.finishing = Finishing(self.shelf, self.service)

    @classmethod
    def open(cls, folder: Path) -> "Recommender":
        """Load a bundle after checking all its hashes.

        Raises:
            ArtifactError: a part is missing, was changed, or model and catalogue differ.
        """
        from safetensors.numpy import load_file

        manifest = check_bundle(folder)
        catalogue = Catalogue.read(folder / "catalogue.parquet")
        names: dict[Route, str] = manifest["champion"]["routes"]
        loaded = {name: load_served(folder / "models" / name) for name in set(names.values())}
        for model in loaded.values():
            check_catalogue(model, catalogue)
        users = pl.read_parquet(folder / "users.parquet")["user_id"].to_list()
        accounts = pl.read_parquet(folder / "accounts.parquet")
        people = People(
            stored=Histories(**load_file(folder / "histories.safetensors")),
            user_index={user: i for i, user in enumerate(users)},
            account_index={(d, a): user for d, a, user in accounts.iter_rows()},
            names=users,
            kinds=manifest.get("event_kinds", {}),
        )
        born = first_met(people.stored, len(catalogue))
        pictures = Pictures(folder / "pictures.zip", manifest["release"])
        shelf = Shelf(catalogue, folder / "vectors.safetensors", born, pictures)
        return cls(
            release=manifest["release"],
            dossier=read_json(folder / "dossier.json"),
            service=manifest["service"],
            models={route: loaded[name] for route, name in names.items()},
            names=names,
            people=people,
            shelf=shelf,
            folder=folder,
            hashes=manifest["sha256"],
        )

    def warm(self) -> None:
        """Ask every model once, so that no request waits for what they load on first use."""
        asked = history(Met([0], [0], [-1]), self.people.clock)
        for model in set(self.models.values()):
            for target in self.shelf.catalogue.domains:
                model.score(asked, target)

    def quicken(self) -> None:
        """Make copies by which models find lists faster, after `warm`, and hash the Bento; takes a
        second or two, in which questions are answered all the same, and equally."""
        bento = self.folder.parent.parent  # see `find_bundle`
        if (bento / "bento.yaml").is_file():
            self.bento_hash = file_hash(bento)
        for model in set(self.models.values()):
            if isinstance(model, ServedTowers):
                model.quicken()

    def recommend(
        self, request: RecommendRequest | dict[str, Any], view: View = NOTHING
    ) -> dict[str, Any]:
        """Answer one request; `view` is what live state knows of the person.

        Raises:
            ConfigError: a target is unknown, or k or the history is too long.
        """
        if isinstance(request, dict):
            request = RecommendRequest.model_validate(request)
        question = self.ask(request, view)
        return self.finish(question, self.score(question))

    def ask(
        self,
        request: RecommendRequest,
        view: View = NOTHING,
        request_id: str | None = None,
        wish: Wish | None = None,
        notes: tuple[str, ...] = (),
        chance: bool = False,
    ) -> Question:
        """Find the person, the history and the route to each target.

        Raises:
            ConfigError: a target or kind is unknown, or k or the history is too long.
        """
        self.check(request.target, request.k, request.history)
        wanted = self._kind(request.kind)
        shelf = self.shelf
        past = self.people.past(shelf, view, request.history, request.user_domain, request.user_id)
        asked, longest = past.histories, self.service["max_history"]
        if len(asked.items) > longest:
            asked = asked.last(longest)
        if wanted is not None:
            asked = replace(asked, wanted=np.array([wanted], dtype=np.int8))
        met, parts = past.items.tolist(), []
        for target in targets_of(request.target):
            route: Route = "unknown"
            if met:
                route = "warm" if shelf.places(target, met) else "cold_start"
            parts.append(Part(target, route, self.names[route], self.models[route], asked))
        own = past.notes
        if request.diversity and not self.finishing.varies:
            own += ("no rule of this release makes lists varied; `diversity` is ignored",)
        if wanted is not None:
            deaf = dict.fromkeys(p.name for p in parts if not p.model.tells_kinds)
            own += tuple(
                f"{n} does not tell kinds of events apart; `kind` is ignored" for n in deaf
            )
        request_id = request_id or new_id()
        return Question(request, request_id, shelf, past, tuple(parts), wish, own + notes, chance)

    def _kind(self, kind: str | None) -> int | None:
        """The number of a kind of event.

        Raises:
            ConfigError: the release knows no such kind.
        """
        known = self.people.kind_index
        if kind is not None and kind not in known:
            kinds = f"the kinds are {list(known)}" if known else "its tables have no kinds"
            raise ConfigError(f"unknown kind of event {kind!r}; {kinds}")
        return None if kind is None else known[kind]

    def jobs(self, question: Question) -> list[Job]:
        """What the models are asked: short lists where nothing that follows needs all scores."""
        found = []
        for part in question.parts:
            wanted = self._wanted(question, part) if len(question.parts) == 1 else None
            found.append(Job(part.model, part.histories, part.target, wanted))
        return found

    def _wanted(self, question: Question, part: Part) -> Wanted | None:
        request = question.request
        if question.wish is not None or request.allow or request.filters.given:
            return None
        hidden = np.array(self._hidden(question, part), dtype=np.int64)
        k = self.finishing.wanted(self._length(question), request.diversity)
        return Wanted(k, hidden, question.shelf.added.borrowed(part.target))

    def _hidden(self, question: Question, part: Part) -> list[int]:
        """Places of what may not be shown."""
        shelf, request = question.shelf, question.request
        own = shelf.index[part.target]
        hidden = [own[i] for i in request.exclude if i in own]
        if request.exclude_seen:
            hidden += question.past.items.tolist()
        return shelf.places(part.target, hidden)

    def score(self, question: Question) -> dict[str, Floats | Best]:
        """Each target's scores, or short list, by its model, in this thread.

        Raises:
            Exception: what a model raised.
        """
        found: dict[str, Floats | Best] = {}
        for part, answer in zip(question.parts, answer_all(self.jobs(question)), strict=True):
            if isinstance(answer, Exception):
                raise answer
            found[part.target] = answer
        return found

    def fallen_back(self, question: Question, why: str) -> Question:
        """The same question, to be answered by the baseline."""
        parts = tuple(
            replace(p, route="fallback", name=self.names[BASELINE], model=self.models[BASELINE])
            for p in question.parts
        )
        note = f"{why}; the baseline {self.names[BASELINE]} answered"
        return replace(question, parts=parts, notes=(*question.notes, note))

    def finish(self, question: Question, scores: Mapping[str, Floats | Best]) -> dict[str, Any]:
        """The answer from each target's scores of its catalogue items, (items of the target,), or
        from its short list."""
        request, parts, notes = question.request, question.parts, [*question.notes]
        meant = [self._meant(question, part) for part in parts]
        lists = [
            self._rank(question, part, scores[part.target], words, len(parts) > 1)
            for part, words in zip(parts, meant, strict=True)
        ]
        notes += told_failures(question.request_id, lists)
        order = merge(lists, self._length(question))
        if len(order) < request.k:
            notes.append(f"only {len(order)} items are left after exclusions")
        order, chances, drawn = self._drawn(question, lists, order)
        items: list[Any] = [None] * len(order[: request.k])
        for number, (part, ranked, words) in enumerate(zip(parts, lists, meant, strict=True)):
            ranks = [rank for rank, (n, _) in enumerate(order[: request.k]) if n == number]
            if not ranks:
                continue
            which = [order[rank][1] for rank in ranks]
            chosen = Ranked(ranked.items[which], ranked.scores[which], ranked.moved + drawn)
            told: list[Any] = [None] * len(which)
            if request.explain:
                told = self._explained(question, part, chosen, words)
            shown = question.shelf.show(chosen.items.tolist())
            for rank, item, score, why in zip(
                ranks, shown, chosen.scores.tolist(), told, strict=True
            ):
                item["rank"], item["score"], item["explanation"] = rank + 1, score, why
                if chances is not None:
                    item["propensity"] = chances[rank]
                items[rank] = item
        return {
            "release": self.release,
            "request_id": question.request_id,
            "target": [p.target for p in parts],
            "route": parts[0].route,
            "routes": {p.target: p.route for p in parts},
            "candidate": "+".join(dict.fromkeys(p.name for p in parts)),
            "items": items,
            "notes": notes,
        }

    def _chance(self, question: Question) -> Chance | None:
        """What draws the order, if anything does."""
        return self.chance if question.chance else None

    def _length(self, question: Question) -> int:
        """How long lists have to be before chance and the request's k."""
        chance, k = self._chance(question), question.request.k
        return k if chance is None else max(k, chance.depth)

    def _drawn(
        self, question: Question, lists: Sequence[Ranked], order: list[tuple[int, int]]
    ) -> tuple[list[tuple[int, int]], list[float] | None, tuple[dict[str, Any], ...]]:
        """The order after chance, the probability of each choice at its place (None: there was no
        chance), and what it moved, as `Ranked.moved`."""
        chance = self._chance(question)
        if chance is None:
            return order, None, ()
        items = np.array([lists[n].items[i] for n, i in order], dtype=np.int64)
        ranks, propensity = chance.draw(question.request_id, items)
        moved = tuple(
            {"item": int(items[rank]), "rule": RULE, "from": rank + 1, "to": place + 1}
            for place, rank in enumerate(ranks.tolist())
            if rank != place
        )
        return [order[rank] for rank in ranks.tolist()], propensity.tolist(), moved

    def _rank(
        self,
        question: Question,
        part: Part,
        scores: Floats | Best,
        words: tuple[float, Floats] | None,
        comparable: bool,
    ) -> Ranked:
        """The best items of one target after wish (`words`, as `_meant` tells), filters and rules;
        `comparable` scores are in standard deviations."""
        request, shelf = question.request, question.shelf
        if isinstance(scores, Best):
            items = shelf.items_at(part.target, scores.places)
            return self._in_order(question, Ranked(items, scores.scores))
        choices, added = shelf.choices(part.target), shelf.added.borrowed(part.target)
        worth: Floats = scores
        if added is not None:
            worth = np.concatenate([worth, added.scores(worth)])
        if words is not None:
            share, meaning = words
            worth = share * standardised(worth[None])[0] + (1 - share) * meaning
        if comparable:
            worth = standardised(worth[None])[0]
        open_ = shelf.fits(choices, request.filters)
        own = shelf.index[part.target]
        if request.allow:
            allowed = np.zeros(len(choices), dtype=bool)
            allowed[shelf.places(part.target, [own[i] for i in request.allow if i in own])] = True
            open_ &= allowed
        open_[self._hidden(question, part)] = False
        best = top_k(worth, open_, self.finishing.wanted(self._length(question), request.diversity))
        ranked = Ranked(choices[best], worth[best].astype(np.float32))
        return self._in_order(question, ranked)

    def _meant(self, question: Question, part: Part) -> tuple[float, Floats] | None:
        """The share of the taste beside a wish, and how near each of the target's items is to the
        words, with mean 0 and deviation 1; None without a wish."""
        wish = question.wish
        if wish is None:
            return None
        share = wish.personal if part.route in ("warm", "cold_start") else 0.0
        near = question.shelf.cosines(wish.vectors[part.target], part.target)
        return share, standardised(near[None])[0]

    def _explained(
        self, question: Question, part: Part, chosen: Ranked, words: tuple[float, Floats] | None
    ) -> list[dict[str, Any]]:
        told = self.finishing.explain(
            question.shelf, part.model, part.histories, part.target, chosen, question.past
        )
        if words is None:
            return told
        share, meaning = words
        places = question.shelf.places(part.target, chosen.items.tolist())
        fits = meaning[places].tolist()
        return [by_wish(why, share, fit) for why, fit in zip(told, fits, strict=True)]

    def _in_order(self, question: Question, ranked: Ranked) -> Ranked:
        k, diversity = self._length(question), question.request.diversity
        return self.finishing.rerank(question.shelf, ranked, question.past, k, diversity)

    def check(self, target: str | list[str], k: int, history: Sequence[Any] = ()) -> None:
        """
        Raises:
            ConfigError: a target is unknown, or k or the history is too long.
        """
        for domain in targets_of(target):
            if domain not in self.shelf.index:
                raise ConfigError(
                    f"unknown target {domain!r}; the domains are {list(self.shelf.index)}"
                )
        if k > self.service["k_max"]:
            raise ConfigError(f"k = {k} is above the limit of {self.service['k_max']}")
        if len(history) > self.service["max_history"]:
            raise ConfigError(
                f"the history has {len(history)} items; send the newest "
                f"{self.service['max_history']}"
            )


def merge(lists: Sequence[Ranked], k: int) -> list[tuple[int, int]]:
    """The k best places of several lists as (list, place); each list keeps its own order, and a
    place counts as much as the lowest score up to it."""
    if len(lists) == 1:
        return [(0, i) for i in range(min(k, len(lists[0].items)))]
    found = []
    for number, ranked in enumerate(lists):
        worth = np.minimum.accumulate(ranked.scores)
        found += [(-float(w), number, i) for i, w in enumerate(worth[: len(ranked.items)])]
    return [(number, i) for _, number, i in sorted(found)[:k]]
