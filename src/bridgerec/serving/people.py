"""Who asks, and what the person's history is: the release's, what came since, and what was sent."""

from collections.abc import Iterable, Mapping, Sequence
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


class Entry(NamedTuple):
    """An item of a history, when it was met, and the number of the kind of event, or -1."""

    item: int
    time: int
    kind: int = -1


def history(entries: Sequence[Entry], now: int | None) -> Histories:
    """One row for a model from entries of the catalogue, oldest first; none is newer than `now`,
    the moment of the question."""
    n = len(entries)
    items, times, kinds = zip(*entries, strict=True) if n else ((), (), ())
    told = np.array(kinds, dtype=np.int8) if max(kinds, default=-1) >= 0 else None
    indptr, weights = np.array([0, n]), np.ones(n, dtype=np.float32)
    met = np.array(items, dtype=np.int32)
    if now is None:
        return Histories(indptr, met, weights, event_kind=told)
    time = np.minimum(np.array(times, dtype=np.int64), now)
    return Histories(indptr, met, weights, time, np.array([now]), event_kind=told)


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

    def packaged(self, row: int | None) -> list[Entry]:
        """The release's history of a person, oldest first."""
        if row is None:
            return []
        stored = self.stored.batch(row, row + 1)
        time = stored.items * 0 if stored.timestamp is None else stored.timestamp
        kind = stored.items * 0 - 1 if stored.event_kind is None else stored.event_kind
        columns = (column.tolist() for column in (stored.items, time, kind))
        return [Entry(*told) for told in zip(*columns, strict=True)]

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
        entries: list[Entry] = []
        if user_id is not None:
            row = self.row(user_domain, user_id)
            if not view.forgotten:
                entries = self.packaged(row)
            if (row is None or view.forgotten) and not view.events:
                notes.append("this user id is not known; only the history sent is used")
        index = shelf.index
        for e in view.events:
            item = index.get(e.domain, NOTHING).get(e.item_id)
            if item is not None:
                entries.append(Entry(item, e.timestamp, self.kind_index.get(e.kind, -1)))
        if now is not None:
            entries.sort(key=lambda entry: entry.time)  # stable: equal times stay in order
        known, usual, kinds = len(entries), now or 0, self.kind_index
        for h in sent:
            item = index.get(h.domain, NOTHING).get(h.item_id)
            if item is not None:
                kind = -1 if h.kind is None else kinds.get(h.kind, -1)
                entries.append(Entry(item, h.timestamp or usual, kind))
        unknown = known + len(sent) - len(entries)
        if unknown:
            notes.append(f"{unknown} history item(s) are not in the catalogue and were ignored")
        once = self._newest(entries)
        return Past(
            np.array([entry.item for entry in once], dtype=np.int64),
            self._for_models(shelf, once, now),
            tuple(notes),
        )

    def _for_models(self, shelf: Shelf, entries: list[Entry], now: int | None) -> Histories:
        n = shelf.added.start
        if len(shelf.added) and any(entry.item >= n for entry in entries):
            entries = self._newest(
                e if e.item < n else e._replace(item=shelf.added.stand_in(e.item)) for e in entries
            )
        return history(entries, now)

    def _newest(self, entries: Iterable[Entry]) -> list[Entry]:
        """Each item once, at its newest place, with its weightiest kind of event."""
        entries = list(entries)
        if len({entry.item for entry in entries}) == len(entries):
            return entries
        weights = [*self.kinds.values(), -np.inf]  # -1 is the last: of unknown kind
        found: dict[int, Entry] = {}
        for entry in reversed(entries):
            kept = found.setdefault(entry.item, entry)
            if weights[entry.kind] > weights[kept.kind]:
                found[entry.item] = kept._replace(kind=entry.kind)
        return [*found.values()][::-1]
