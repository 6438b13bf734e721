"""What was met shortly before a moment: popularity that fades with half-lives.

The popularity of an item at moment t is the sum over its earlier training rows, each worth
2^(-age / half-life) (exponential forgetting, Koychev 2000; Ding & Li, CIKM 2005).  Only rows
*before* t count, so that a question never knows what came after it.  Moments are rounded down to
the ends of at most `MAX_PERIODS` periods that hold about equally many rows.
"""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from bridgerec.data.dataset import Training
from bridgerec.models.base import Arrays
from bridgerec.models.sparse import pack, unpack

Floats = NDArray[np.float32]
MAX_PERIODS = 1024
MAX_ENTRIES = 2**26  # of one table (periods, items)
DAY = 86_400.0
EPSILON = np.float32(0.1)  # what an item that nobody met lately is worth
# tables by what they are computed from: models that learned from the same rows share theirs, or
# evaluating many at once would take gigabytes
_SHARED: WeakValueDictionary[str, Floats] = WeakValueDictionary()


class Trends:
    """Popularity of all items at any moment, for several half-lives in days (inf: all-time).

    `edges` (periods + 1,) are the ends of the periods; `counts` holds one sparse matrix per
    half-life, (periods, items): what each period adds, faded to the period's end.
    """

    def __init__(
        self, half_lives: Sequence[float], edges: NDArray[np.int64], counts: list[Any]
    ) -> None:
        self.half_lives, self.edges, self.counts = tuple(half_lives), edges, counts
        self._tables: list[Floats] | None = None
        self._columns: list[Any] | None = None
        self._newest: dict[int, Floats] = {}

    @classmethod
    def fit(cls, training: Training, half_lives: Sequence[float]) -> "Trends":
        """Without timestamps every half-life is all-time popularity."""
        rows, n_items = training.histories, len(training.catalogue)
        time = rows.timestamp
        if time is None:
            time = np.zeros(len(rows.items), dtype=np.int64)
        periods = max(1, min(MAX_PERIODS, MAX_ENTRIES // n_items))
        places = np.linspace(0, len(time) - 1, periods + 1).astype(np.int64)
        edges = np.unique(np.append(np.sort(time)[places], time.max() + 1))
        number = np.searchsorted(edges, time, side="right") - 1
        counts = []
        for half_life in half_lives:
            left = np.exp2(-(edges[number + 1] - time) / (half_life * DAY))
            values = (rows.strength * left).astype(np.float32)
            counts.append(
                sparse.csr_matrix((values, (number, rows.items)), shape=(len(edges) - 1, n_items))
            )
        return cls(half_lives, edges, counts)

    def at(self, moment: NDArray[np.int64]) -> NDArray[np.int64]:
        """The row of `tables` for each moment: the last edge before or at it."""
        found: NDArray[np.int64] = np.searchsorted(self.edges, moment, side="right") - 1
        return np.maximum(found, 0)

    @property
    def tables(self) -> list[Floats]:
        """Per half-life log(popularity + EPSILON) at every edge, shape (periods + 1, items).

        Made on first use, for training and for questions about many moments.
        """
        if self._tables is None:
            self._tables = [self._table(k) for k in range(len(self.half_lives))]
        return self._tables

    def _table(self, k: int) -> Floats:
        added = self.counts[k]
        parts = (self.edges, added.indptr, added.indices, added.data)
        key = f"{self.half_lives[k]} {added.shape} {_digest(parts)}"
        found = _SHARED.get(key)
        if found is None:
            found = _SHARED[key] = self._compute(k)
        return found

    def _compute(self, k: int) -> Floats:
        added = self.counts[k]
        fade = np.exp2(-np.diff(self.edges) / (self.half_lives[k] * DAY)).astype(np.float32)
        table = np.zeros((added.shape[0] + 1, added.shape[1]), dtype=np.float32)
        for i in range(added.shape[0]):
            np.multiply(table[i], fade[i], out=table[i + 1])
            part = slice(added.indptr[i], added.indptr[i + 1])
            table[i + 1, added.indices[part]] += added.data[part]
        table += EPSILON
        return np.log(table, out=table)

    def of_block(self, k: int, moment: NDArray[np.int64], block: slice) -> Floats:
        """log(popularity + EPSILON) of a block of items at each moment, (n, items)."""
        if self._tables is None and (moment >= self.edges[-1]).all():  # as a service asks
            now = self.newest(k)[block]
            return np.broadcast_to(now, (len(moment), len(now)))
        return self.tables[k][self.at(moment), block]

    def of_items(
        self, k: int, moment: NDArray[np.int64], items: NDArray[np.integer[Any]]
    ) -> Floats:
        """log(popularity + EPSILON) of some items (n, number) at each moment (n,)."""
        if self._tables is None and (moment >= self.edges[-1]).all():  # as a service asks
            return self.newest(k)[items]
        return self.tables[k][self.at(moment)[:, None], items]

    def newest(self, k: int) -> Floats:
        """log(popularity + EPSILON) of all items from the last edge on, (items,)."""
        if k not in self._newest:
            n = self.counts[k].shape[1]
            self._newest[k] = self.of_entries(k, self.edges[-1:].repeat(n), np.arange(n))
        return self._newest[k]

    def lift(self, weights: Floats, moment: NDArray[np.int64], block: slice) -> Floats:
        """The half-lives' `of_block`, each by its weight (half-lives,), summed: (n, items), or
        (1, items) where all moments are one."""
        if len(moment) and (moment == moment[0]).all():
            moment = moment[:1]
        found = np.zeros((len(moment), block.stop - block.start), dtype=np.float32)
        for k, weight in enumerate(weights):
            found += weight * self.of_block(k, moment, block)
        return found

    def of_entries(
        self, k: int, moment: NDArray[np.int64], items: NDArray[np.integer[Any]]
    ) -> Floats:
        """log(popularity + EPSILON) of single items, each at its moment, (n,); needs no table."""
        row = self.at(moment)
        if self._columns is None:
            self._columns = [added.tocsc() for added in self.counts]
        added = self._columns[k]
        times = added.indptr[items + 1] - added.indptr[items]
        entry = np.repeat(np.arange(len(items)), times)
        place = np.arange(times.sum()) - np.repeat(np.cumsum(times) - times, times)
        place += np.repeat(added.indptr[items], times)
        before = added.indices[place] < row[entry]
        entry, place = entry[before], place[before]
        age = self.edges[row[entry]] - self.edges[added.indices[place] + 1]
        values = added.data[place] * np.exp2(-age / (self.half_lives[k] * DAY))
        found = np.bincount(entry, values, len(items)) + EPSILON
        return np.log(found).astype(np.float32)

    def arrays(self) -> Arrays:
        found: Arrays = {"edges": self.edges, "half_lives": np.array(self.half_lives)}
        for k, added in enumerate(self.counts):
            found |= pack(f"counts.{k}", added)
        return found

    @classmethod
    def of(cls, arrays: Arrays) -> "Trends":
        half_lives = arrays["half_lives"].tolist()
        counts = [unpack(f"counts.{k}", arrays) for k in range(len(half_lives))]
        return cls(half_lives, arrays["edges"], counts)


def _digest(parts: Sequence[NDArray[Any]]) -> str:
    found = blake2b(digest_size=16)
    for part in parts:
        found.update(part.tobytes())
    return found.hexdigest()
