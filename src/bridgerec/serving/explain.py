"""Explanations that are true: what each history item adds to the score of what is recommended.

Scores are compared after standardising them over the target's items (mean 0, deviation 1), so a
contribution of 0.5 means: without that history item the recommended one would stand half a
deviation lower among the others.  Where the score is a sum over the history (EASE, item-kNN,
sequential rules) contributions are its exact terms, and add up to the standardised score; for every
other model they are measured by leaving the history items out, one by one.
`serving.faithfulness` tests the claim.
"""

from collections import Counter
from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridgerec.data.dataset import Histories
from bridgerec.models.base import Candidate
from bridgerec.models.scores import standardised
from bridgerec.serving.columns import DIVIDER, Columns
from bridgerec.serving.ranked import Ranked
from bridgerec.serving.words import Words

Floats = NDArray[np.float32]
MOST = 50  # history entries that are looked at
LEAST = 1e-3  # deviations: what adds less is not named
# a new item's score is a weighted mean of the scores of these catalogue items
StandIns = Mapping[int, tuple[NDArray[np.int64], Floats]]


def attribute(
    model: Candidate, histories: Histories, target: str, items: NDArray[np.int64], most: int = MOST
) -> Floats:
    """What each entry of one history adds to the standardised scores of `items` (global indices).

    Shape (len(items), history length).  Entries older than the newest `most` are not looked at and
    get 0.

    Raises:
        ValueError: there is not exactly one history.
    """
    if len(histories) != 1:
        raise ValueError(f"one history at a time can be explained, not {len(histories)}")
    block, length = model.block(target), len(histories.items)
    found = np.zeros((len(items), length), dtype=np.float32)
    if length == 0:
        return found
    if histories.timestamp is not None:  # the question stays when its newest entry goes
        histories = replace(histories, asked=histories.moment)
    recent = histories.last(most)
    first = length - len(recent.items)
    terms = model.contributions(recent, target, np.r_[block])
    if terms is None:
        kept = range(first, length)
        scores = standardised(model.score(without(histories, kept), target))
        found[:, first:] = (scores[:1] - scores[1:])[:, items - block.start].T
        return found
    spread = model.score(histories, target)[0].std()
    if spread > 1e-12:
        found[:, first:] = (terms[items - block.start] - terms.mean(axis=0)) / spread
    return found


def without(histories: Histories, entries: Any) -> Histories:
    """The one history whole, and then without each of the `entries` (places in it)."""
    length = len(histories.items)
    kept = np.ones((len(entries) + 1, length), dtype=bool)
    kept[np.arange(len(entries)) + 1, list(entries)] = False
    return histories.take(np.zeros(len(kept), dtype=np.int64)).where(kept.ravel())


def by_wish(why: dict[str, Any], share: float, meaning: float) -> dict[str, Any]:
    """An explanation where the score is `share` of the taste and the rest a wish, to which the item
    fits by `meaning` deviations: contributions are to that mixture."""
    because = [{**b, "contribution": round(share * b["contribution"], 4)} for b in why["because"]]
    kept = [b for b in because if b["contribution"] > LEAST]
    words = why["shared"] if kept else []
    return {**why, "because": kept, "shared": words, "wish": round((1 - share) * meaning, 4)}


class Explainer:
    """Names at most `named` history items and `words` shared words per recommended item."""

    def __init__(self, columns: Columns, named: int = 3, words: int = 3) -> None:
        self.columns, self.named, self.words = columns, named, words

    def over(self, columns: Columns) -> "Explainer":
        """The same over columns to which some items were added; how rare words and levels are, is
        counted once."""
        _ = self._words, self._levels
        found = copy(self)
        found.columns = columns
        return found

    def __call__(
        self,
        model: Candidate,
        histories: Histories,
        target: str,
        ranked: Ranked,
        stand_ins: StandIns | None = None,
        meant: Mapping[int, int] | None = None,
    ) -> list[dict[str, Any]]:
        """One explanation per item of `ranked`, all of them in `target`:
        `{"because": [...], "shared": [...], "moved": [...], "wish": None}`.

        `because` holds what lifted the item, strongest first, and is empty where nothing of the
        history did.  `stand_ins` are needed for the items that the model does not know; where a
        catalogue item stands in for such an item in the history, `meant` names that item.
        """
        meant = meant or {}
        added = self._added(model, histories, target, ranked.items, stand_ins or {})
        answers = []
        for item, row in zip(ranked.items.tolist(), added, strict=True):
            lifting = [i for i in np.argsort(-row, kind="stable") if row[i] > LEAST]
            # that somebody met an item before is true, but no reason to tell
            known = [(i, int(histories.items[i])) for i in lifting]
            named = [(i, meant.get(o, o)) for i, o in known if meant.get(o, o) != item]
            others = [o for _, o in named[: self.named]]
            because = [
                {**self.columns.shown(other), "contribution": round(float(row[i]), 4)}
                for i, other in named[: self.named]
            ]
            moved = [
                {key: move[key] for key in ("rule", "from", "to")}
                for move in ranked.moved
                if move["item"] == item
            ]
            shared = self.shared(item, others)
            answers.append({"because": because, "shared": shared, "moved": moved, "wish": None})
        return answers

    def _added(
        self,
        model: Candidate,
        histories: Histories,
        target: str,
        items: NDArray[np.int64],
        stand_ins: StandIns,
    ) -> Floats:
        """`attribute` for items of which some have stand-ins, (len(items), history length)."""
        parts = [stand_ins.get(i, (np.array([i]), np.ones(1))) for i in items.tolist()]
        if not parts:
            return np.zeros((0, len(histories.items)), dtype=np.float32)
        asked, place = np.unique(np.concatenate([p[0] for p in parts]), return_inverse=True)
        weights = np.zeros((len(items), len(asked)), dtype=np.float32)
        rows = np.repeat(np.arange(len(items)), [len(p[0]) for p in parts])
        np.add.at(weights, (rows, place), np.concatenate([p[1] for p in parts]))
        return np.asarray(weights @ attribute(model, histories, target, asked))

    def shared(self, item: int, others: list[int]) -> list[str]:
        """What the item has in common with one of the others: levels of the category path, the
        brand, and the rarest words of title and description."""
        c, found = self.columns, []
        theirs = {level for o in others for level in _path(c.category[o].casefold())}
        half = self._levels[c.domain[item], ""] / 2
        for level in _path(c.category[item]):
            name = level.casefold()
            if name in theirs and self._levels[c.domain[item], name] <= half:
                found.append(level)
        if c.brand[item] and any(c.brand[item].casefold() == c.brand[o].casefold() for o in others):
            found.append(c.brand[item])
        said = " ".join(found).casefold()
        words = self._words.shared(self._text(item), map(self._text, others), 2 * self.words)
        return found + [word for word in words if word not in said][: self.words]

    def _text(self, item: int) -> str:
        return f"{self.columns.title[item]} \n {self.columns.description[item]}"

    @cached_property
    def _words(self) -> Words:
        return Words(map(self._text, range(len(self.columns))))

    @cached_property
    def _levels(self) -> Counter[tuple[str, str]]:
        """Items per domain and level of the category path; level "" counts all items."""
        count: Counter[tuple[str, str]] = Counter()
        for domain, category in zip(self.columns.domain, self.columns.category, strict=True):
            count[domain, ""] += 1
            count.update({(domain, level) for level in _path(category.casefold())})
        return count


def _path(category: str) -> list[str]:
    return [level for level in DIVIDER.split(category.strip()) if level]
