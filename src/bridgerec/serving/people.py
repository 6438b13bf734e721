"""Who asks, and what the person's history is: the release's, what came since, and what was sent."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

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


def history(entries: Sequence[tuple[int, int]], now: int | None) -> Histories:
    """One row for a model from (catalogue item, time), oldest first; no entry is newer than
    `now`, the moment of the question."""
    n = len(entries)
    items = np.fromiter((item for item, _ in entries), dtype=np.int32, count=n)
    indptr, weights = np.array([0, n]), np.ones(n, dtype=np.float32)
    if now is None:
        return Histories(indptr, items, weights)
    time = np.fromiter((time for _, time in entries), dtype=np.int64, count=n)
    return Histories(indptr, items, weights, np.minimum(time, now), np.array([now]))


@dataclass(frozen=True)
class People:
    """`stored` holds everybody's packaged history, row by user index."""

    stored: Histories
    user_index: dict[str, int]
    account_index: dict[tuple[str, str], int]
    names: Sequence[str] = field(repr=False)

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

    def packaged(self, row: int | None) -> list[tuple[int, int]]:
        """The release's history of a person, as (item, time), oldest first."""
        if row is None:
            return []
        stored = self.stored.batch(row, row + 1)
        time = stored.items * 0 if stored.timestamp is None else stored.timestamp
        return list(zip(stored.items.tolist(), time.tolist(), strict=True))

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
        entries: list[tuple[int, int]] = []
        if user_id is not None:
            row = self.row(user_domain, user_id)
            if not view.forgotten:
                entries = self.packaged(row)
            if (row is None or view.forgotten) and not view.events:
                notes.append("this user id is not known; only the history sent is used")
        index = shelf.index
        live = [(index.get(e.domain, NOTHING).get(e.item_id), e.timestamp) for e in view.events]
        entries += [(item, time) for item, time in live if item is not None]
        if now is not None:
            entries.sort(key=lambda entry: entry[1])  # stable: equal times stay in order
        known, usual = len(entries), now or 0
        for h in sent:
            item = index.get(h.domain, NOTHING).get(h.item_id)
            if item is not None:
                entries.append((item, h.timestamp or usual))
        unknown = known + len(sent) - len(entries)
        if unknown:
            notes.append(f"{unknown} history item(s) are not in the catalogue and were ignored")
        once = _newest(entries)
        return Past(
            np.array([item for item, _ in once], dtype=np.int64),
            self._for_models(shelf, once, now),
            tuple(notes),
        )

    def _for_models(
        self, shelf: Shelf, entries: list[tuple[int, int]], now: int | None
    ) -> Histories:
        n = len(shelf.catalogue)
        if len(shelf.added) and any(item >= n for item, _ in entries):
            entries = _newest(
                (i if i < n else shelf.added.stand_in(i), time) for i, time in entries
            )
        return history(entries, now)


def _newest(entries: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Each item once, at its newest place."""
    entries = list(entries)
    if len({item for item, _ in entries}) == len(entries):
        return entries
    found: dict[int, int] = {}
    for item, time in reversed(entries):
        found.setdefault(item, time)
    return [*found.items()][::-1]
