"""Who asks, and what the person's history is: the release's, what came since, and what was sent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bridgerec.data.dataset import Histories
from bridgerec.serving.schemas import HistoryItem
from bridgerec.serving.shelf import Shelf
from bridgerec.serving.state import View

NOTHING: dict[str, int] = {}


@dataclass(frozen=True)
class Past:
    """`items` are a person's global item indices, oldest first, each once at its newest place;
    `histories` the same as one row for a model, where catalogue items stand in for added ones."""

    items: NDArray[np.int64]
    histories: Histories
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.items)


class Met(NamedTuple):
    """What a person met, column by column: global item indices, the times, and the numbers of the
    kinds of events (-1: unknown)."""

    items: list[int]
    times: list[int]
    kinds: list[int]

    def at(self, places: Sequence[int]) -> "Met":
        """These entries, in this order."""
        return Met(*([column[i] for i in places] for column in self))

    def then(self, items: list[int | None], times: list[int], kinds: list[int]) -> "Met":
        """These entries, and others behind them; what is no item (None) is left out."""
        ours = [item for item in items if item is not None]
        if len(ours) < len(items):
            rows = [row for row, item in enumerate(items) if item is not None]
            times, kinds = [times[i] for i in rows], [kinds[i] for i in rows]
        return Met(self.items + ours, self.times + times, self.kinds + kinds)


def history(met: Met, now: int | None) -> Histories:
    """One row for a model from what was met in the catalogue, oldest first; nothing is newer than
    `now`, the moment of the question."""
    n = len(met.items)
    told = np.array(met.kinds, dtype=np.int8) if max(met.kinds, default=-1) >= 0 else None
    indptr, weights = np.array([0, n]), np.ones(n, dtype=np.float32)
    items = np.array(met.items, dtype=np.int32)
    if now is None:
        return Histories(indptr, items, weights, event_kind=told)
    time = np.minimum(np.array(met.times, dtype=np.int64), now)
    return Histories(indptr, items, weights, time, np.array([now]), event_kind=told)


@dataclass(frozen=True)
class People:
    """`stored` holds everybody's packaged history, row by user index; `kinds` the kinds of events
    in the order of their numbers, and what each weighs."""

    stored: Histories
    user_index: dict[str, int]
    account_index: dict[tuple[str, str], int]
    names: Sequence[str] = field(repr=False)
    kinds: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def kind_index(self) -> dict[str, int]:
        """The number of each kind of event."""
        return {name: number for number, name in enumerate(self.kinds)}

    @cached_property
    def sorted_names(self) -> list[str]:
        """Everybody's id, for looking beginnings up."""
        return sorted(self.names)

    @cached_property
    def clock(self) -> int | None:
        """The moment of every question: right after the newest entry the release knows of, so that
        an answer does not change by being asked later; None where the data have an order only."""
        time = self.stored.timestamp
        return None if time is None or not len(time) else int(time.max()) + 1

    def row(self, user_domain: str | None, user_id: str) -> int | None:
        """The person's row in `stored`; None: the release does not know the person."""
        account = (user_domain or "", user_id)
        return self.account_index.get(account, self.user_index.get(user_id))

    def person(self, user_domain: str | None, user_id: str) -> str:
        """By which id live events of a person are kept: accounts of one person share them."""
        row = self.row(user_domain, user_id)
        return user_id if row is None else self.names[row]

    def packaged(self, row: int | None) -> Met:
        """The release's history of a person, oldest first."""
        if row is None:
            return Met([], [], [])
        stored = self.stored
        own = slice(stored.indptr[row], stored.indptr[row + 1])
        items = stored.items[own].tolist()
        time, kind = stored.timestamp, stored.event_kind
        times = [0] * len(items) if time is None else time[own].tolist()
        kinds = [-1] * len(items) if kind is None else kind[own].tolist()
        return Met(items, times, kinds)

    def past(
        self,
        shelf: Shelf,
        view: View,
        sent: Sequence[HistoryItem],
        user_domain: str | None,
        user_id: str | None,
    ) -> Past:
        """What is known of a person, by one clock: nothing is newer than the release's newest
        entry, because models know of no later moment; the order of what is newer stays."""
        now, notes = self.clock, []
        met = Met([], [], [])
        if user_id is not None:
            row = self.row(user_domain, user_id)
            if not view.forgotten:
                met = self.packaged(row)
            if (row is None or view.forgotten) and not view.events:
                notes.append("this user id is not known; only the history sent is used")
        index, kinds = shelf.index, self.kind_index
        if view.events:
            met = met.then(
                [index.get(e.domain, NOTHING).get(e.item_id) for e in view.events],
                [e.timestamp for e in view.events],
                [kinds.get(e.kind, -1) for e in view.events],
            )
        known, usual = len(met.items), now or 0
        if now is not None and known:
            met = met.at(sorted(range(known), key=met.times.__getitem__))  # equal times stay
        met = met.then(
            [index.get(h["domain"], NOTHING).get(h["item_id"]) for h in sent],
            [h.get("timestamp") or usual for h in sent],
            [kinds.get(h.get("kind") or "", -1) for h in sent],
        )
        unknown = known + len(sent) - len(met.items)
        if unknown:
            notes.append(f"{unknown} history item(s) are not in the catalogue and were ignored")
        once = self._newest(met)
        return Past(
            np.array(once.items, dtype=np.int64),
            self._for_models(shelf, once, now),
            tuple(notes),
        )

    def _for_models(self, shelf: Shelf, met: Met, now: int | None) -> Histories:
        n = shelf.added.start
        if len(shelf.added) and max(met.items, default=0) >= n:
            items = [i if i < n else shelf.added.stand_in(i) for i in met.items]
            met = self._newest(met._replace(items=items))
        return history(met, now)

    def _newest(self, met: Met) -> Met:
        """Each item once, at its newest place, with its weightiest kind of event."""
        if len(set(met.items)) == len(met.items):
            return met
        weights = [*self.kinds.values(), -np.inf]  # -1 is the last: of unknown kind
        newest: dict[int, int] = {}  # item -> place
        kinds = list(met.kinds)
        for place in reversed(range(len(met.items))):
            kept = newest.setdefault(met.items[place], place)
            if weights[met.kinds[place]] > weights[kinds[kept]]:
                kinds[kept] = met.kinds[place]
        return met._replace(kinds=kinds).at(sorted(newest.values()))
