"""The encoded data that everything after `prepare` works on.

Items of all domains share one index 0..n_items-1 in which each domain is one contiguous
block, so that "the target's items" is a slice.  A person's past is a ragged row of item
indices, oldest first.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bridgerec.data.stored import read_stored
from bridgerec.runtime import read_json

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")
NOW = np.iinfo(np.int64).max  # a moment after everything that is known


@dataclass(frozen=True)
class Catalogue:
    """All items of all domains.

    `items` has the columns `domain, item_id, title, description, category, brand, image, price`;
    its row number is the item's index, and the rows of a domain are contiguous.  `image` is a path
    from the folder of the domain's table on; `price` is null where it is unknown.  Where a table
    tells it there is also `language`, null or "" where it is unknown.
    """

    items: pl.DataFrame

    def __len__(self) -> int:
        return self.items.height

    @classmethod
    def read(cls, path: Path) -> "Catalogue":
        return cls(read_stored(path))

    @cached_property
    def domains(self) -> tuple[str, ...]:
        return tuple(self.items["domain"].unique(maintain_order=True).to_list())

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """Where each domain's block begins; the last entry is the number of items."""
        lengths = [int((self.items["domain"] == d).sum()) for d in self.domains]
        return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)

    @cached_property
    def fingerprint(self) -> str:
        """Changes whenever an item comes, goes or moves."""
        names = self.items.select(pl.concat_str("domain", "item_id", separator="\1")).to_series()
        text = "\0".join(names.to_list())
        return hashlib.sha256(text.encode()).hexdigest()

    def block(self, domain: str) -> slice:
        """The index range of one domain's items."""
        i = self.domains.index(domain)
        return slice(int(self.offsets[i]), int(self.offsets[i + 1]))

    def domain_of(self, items: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        """The number of the domain (position in `domains`) of each item index."""
        return np.searchsorted(self.offsets, items, side="right") - 1


@dataclass(frozen=True)
class Histories:
    """A batch of histories: row i holds `items[indptr[i]:indptr[i + 1]]`, oldest first.

    Shapes: `indptr` (batch + 1,), `items`, `weights`, `timestamp` and `event_kind` (total length,),
    `asked` and `wanted` (batch,).  Times are seconds; None where the data have an order only.
    `asked` is the moment of the question; None: right after the newest entry.  `event_kind` says
    what happened to each item and `wanted` what is asked for, as places in the kinds' names
    (`Training.event_kinds`); -1 or None: unknown, and any.
    """

    indptr: NDArray[np.int64]
    items: NDArray[np.int32]
    weights: NDArray[np.float32]
    timestamp: NDArray[np.int64] | None = None
    asked: NDArray[np.int64] | None = None
    event_kind: NDArray[np.int8] | None = None
    wanted: NDArray[np.int8] | None = None

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]]) -> "Histories":
        """From plain lists of item indices (weights 1)."""
        indptr = np.concatenate([[0], np.cumsum([len(r) for r in rows])]).astype(np.int64)
        items = np.array([i for r in rows for i in r], dtype=np.int32)
        return cls(indptr, items, np.ones(len(items), dtype=np.float32))

    @classmethod
    def joined(cls, parts: "Sequence[Histories]") -> "Histories":
        """The rows of all parts, which must agree in what they know of time."""
        if len(parts) == 1:
            return parts[0]
        time = [p.timestamp for p in parts if p.timestamp is not None]
        asked = [p.asked for p in parts if p.asked is not None]
        if len(time) not in (0, len(parts)) or len(asked) not in (0, len(parts)):
            raise ValueError("histories with and without times cannot be joined")
        lengths = np.concatenate([p.lengths for p in parts])
        kind = [(p.event_kind, len(p.items)) for p in parts]
        wanted = [(p.wanted, len(p)) for p in parts]
        return cls(
            np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            np.concatenate([p.items for p in parts]),
            np.concatenate([p.weights for p in parts]),
            np.concatenate(time) if time else None,
            np.concatenate(asked) if asked else None,
            *(_filled(told) for told in (kind, wanted)),
        )

    @property
    def lengths(self) -> NDArray[np.int64]:
        return self.indptr[1:] - self.indptr[:-1]

    @property
    def rows(self) -> NDArray[np.int64]:
        """The row number of each entry, shape (total length,)."""
        return np.repeat(np.arange(len(self)), self.lengths)

    @property
    def age(self) -> NDArray[np.int64]:
        """How many entries of the same row are newer: 0 for the newest."""
        return np.repeat(self.indptr[1:], self.lengths) - 1 - np.arange(len(self.items))

    @property
    def strength(self) -> NDArray[np.float32]:
        """How much each entry tells, shape (total length,): its weight, damped above 1, so that
        a hundred views do not drown everything else."""
        return np.where(self.weights > 1, 1 + np.log(np.maximum(self.weights, 1)), self.weights)

    @property
    def moment(self) -> NDArray[np.int64]:
        """When each row is asked about, shape (batch,): `asked`, or the newest entry's time, or
        `NOW` where nothing is known."""
        if self.asked is not None:
            return self.asked
        moment = np.full(len(self), NOW)
        if self.timestamp is not None:
            filled = self.lengths > 0
            moment[filled] = self.timestamp[self.indptr[1:][filled] - 1]
        return moment

    def batch(self, start: int, stop: int) -> "Histories":
        """Rows start..stop-1."""
        return self.take(np.arange(start, min(stop, len(self))))

    def take(self, rows: NDArray[np.integer[Any]]) -> "Histories":
        """The given rows, in the given order."""
        # of these rows alone: they may be one of a million
        starts, ends = self.indptr[:-1][rows], self.indptr[1:][rows]
        lengths = ends - starts
        indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        source = np.arange(indptr[-1]) + np.repeat(starts - indptr[:-1], lengths)
        asked = None if self.asked is None else self.asked[rows]
        wanted = None if self.wanted is None else self.wanted[rows]
        return replace(self._at(indptr, source), asked=asked, wanted=wanted)

    def _at(self, indptr: NDArray[np.int64], entries: NDArray[Any]) -> "Histories":
        """Other entries, asked about as before."""
        time = None if self.timestamp is None else self.timestamp[entries]
        kind = None if self.event_kind is None else self.event_kind[entries]
        items, weights = self.items[entries], self.weights[entries]
        return Histories(indptr, items, weights, time, self.asked, kind, self.wanted)

    def where(self, keep: NDArray[np.bool_]) -> "Histories":
        """Only the entries with `keep` (total length,) true; rows may become empty."""
        kept = np.concatenate([[0], np.cumsum(keep)]).astype(np.int64)
        return self._at(kept[self.indptr], keep)

    def within(self, block: slice) -> "Histories":
        """Only the entries whose item lies in `block`."""
        return self.where((self.items >= block.start) & (self.items < block.stop))

    def outside(self, block: slice) -> "Histories":
        """Only the entries whose item lies outside `block`."""
        return self.where((self.items < block.start) | (self.items >= block.stop))

    def last(self, length: int) -> "Histories":
        """At most the `length` newest entries of each row."""
        return self.where(self.age < length)


def _filled(parts: list[tuple[NDArray[np.int8] | None, int]]) -> NDArray[np.int8] | None:
    """Kinds of several parts, given with their lengths; -1 where a part knows of none."""
    if all(kinds is None for kinds, _ in parts):
        return None
    return np.concatenate([np.full(n, -1, np.int8) if k is None else k for k, n in parts])


def group_rows(
    user: NDArray[np.integer[Any]],
    item: NDArray[np.int32],
    weight: NDArray[np.float32],
    timestamp: NDArray[np.int64] | None = None,
    event_kind: NDArray[np.int8] | None = None,
) -> tuple[NDArray[np.int64], Histories]:
    """Ragged rows from entries that are sorted by user; returns (users, histories)."""
    users, start = np.unique(user, return_index=True)
    indptr = np.append(start, len(user)).astype(np.int64)
    return users.astype(np.int64), Histories(indptr, item, weight, timestamp, event_kind=event_kind)


@dataclass(frozen=True)
class Cases:
    """What one part of a split asks of one target: predict `relevant` from `histories`.

    `users` (n,) are user indices; `histories` and `relevant` have n rows; the items of
    `relevant` are global indices inside the target's block.
    """

    target: str
    users: NDArray[np.int64]
    histories: Histories
    relevant: Histories

    def __len__(self) -> int:
        return len(self.users)

    def take(self, rows: NDArray[np.integer[Any]]) -> "Cases":
        """The given rows, in the given order."""
        histories, relevant = self.histories.take(rows), self.relevant.take(rows)
        return Cases(self.target, self.users[rows], histories, relevant)

    def sample(self, most: int, seed: int) -> "Cases":
        """A seeded draw of `most` cases, in their order; all where there are no more."""
        if len(self) <= most:
            return self
        drawn = np.random.default_rng(seed).permutation(len(self))[:most]
        return self.take(np.sort(drawn))


@dataclass(frozen=True)
class Split:
    """One protocol's assignment of interactions to train, validation and test.

    The arrays run over interactions sorted by user and then by time.  `part` is 0, 1, 2 in
    the order of `PARTS`; `fit` marks the training rows that pass the k-core filter, the only
    ones that models see.
    """

    name: str
    targets: tuple[str, ...]
    catalogue: Catalogue
    user: NDArray[np.int32]
    item: NDArray[np.int32]
    timestamp: NDArray[np.int64] | None
    weight: NDArray[np.float32]
    part: NDArray[np.int8]
    fit: NDArray[np.bool_]
    info: dict[str, Any]
    event_kind: NDArray[np.int8] | None = None

    @property
    def event_kinds(self) -> tuple[str, ...]:
        """The names of the kinds of events; empty where the tables tell none."""
        return tuple(self.info.get("event_kinds", ()))

    @classmethod
    def read(cls, prepared: Path, name: str, catalogue: Catalogue) -> "Split":
        """Load `prepared/splits/NAME.parquet` with its entry of `prepared/splits.json`."""
        split = read_stored(prepared / "splits" / f"{name}.parquet")
        info = read_json(prepared / "splits.json")[name]
        needed = pl.exclude("weight", "event_kind")
        rows = read_stored(prepared / "interactions.parquet", needed)
        if "row" in split.columns:
            rows = rows[split["row"]]
        return cls(
            name=name,
            targets=tuple(info["targets"]),
            catalogue=catalogue,
            user=rows["user"].to_numpy(),
            item=rows["item"].to_numpy(),
            timestamp=rows["timestamp"].to_numpy() if "timestamp" in rows.columns else None,
            weight=split["weight"].to_numpy(),
            part=split["part"].to_numpy(),
            fit=split["fit"].to_numpy(),
            info=info,
            event_kind=split["event_kind"].to_numpy() if "event_kind" in split.columns else None,
        )

    def _rows(self, chosen: NDArray[np.bool_]) -> tuple[NDArray[np.int64], Histories]:
        time = None if self.timestamp is None else self.timestamp[chosen]
        kind = None if self.event_kind is None else self.event_kind[chosen]
        return group_rows(self.user[chosen], self.item[chosen], self.weight[chosen], time, kind)

    def training(self) -> "Training":
        """What models may learn from: the training rows that pass the k-core filter."""
        return Training(self.catalogue, *self._rows(self.fit), event_kinds=self.event_kinds)

    def known(self, part: Part | None = None) -> "Training":
        """What a service has logged by the moment at which `part` begins (None: all of it): the
        training rows that pass the k-core filter and all rows of the parts before."""
        end = len(PARTS) if part is None else PARTS.index(part)
        chosen = self.fit | ((self.part > 0) & (self.part < end))
        return Training(self.catalogue, *self._rows(chosen), event_kinds=self.event_kinds)

    def cases(self, part: Part, target: str) -> Cases:
        """People with rows of `part` in `target`, their past before that part, and those rows.

        Where the part begins at one moment for everybody, the question is asked then.
        """
        number = PARTS.index(part)
        block = self.catalogue.block(target)
        inside = (self.item >= block.start) & (self.item < block.stop)
        users, relevant = self._rows(inside & (self.part == number))
        past_users, past = self._rows((self.part < number) & np.isin(self.user, users))
        lengths = np.zeros(len(users), dtype=np.int64)
        lengths[np.searchsorted(users, past_users)] = past.lengths
        indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        cuts = self.info.get("cuts")
        asked = None if cuts is None else np.full(len(users), cuts[number - 1], dtype=np.int64)
        return Cases(target, users, replace(past, indptr=indptr, asked=asked), relevant)


@dataclass(frozen=True)
class Images:
    """What items look like: `vectors` (n_items, size) are whitened and of unit length, or zeros
    where `present` (n_items,) is false."""

    vectors: NDArray[np.float32]
    present: NDArray[np.bool_]


@dataclass(frozen=True)
class Training:
    """The rows a model is fitted on: `histories` has one row per training user, all domains
    merged, oldest first; `event_kinds` are the names of the kinds of events in them; `device` is
    where models that torch trains learn (cpu, cuda)."""

    catalogue: Catalogue
    users: NDArray[np.int64]
    histories: Histories
    vectors: NDArray[np.float32] | None = None  # (n_items, size), whitened, unit length
    images: Images | None = None
    event_kinds: tuple[str, ...] = ()
    device: str = "cpu"

    @property
    def seen(self) -> NDArray[np.bool_]:
        """Which items have at least one training row, shape (n_items,)."""
        return np.bincount(self.histories.items, minlength=len(self.catalogue)) > 0
