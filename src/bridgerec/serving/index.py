"""The best items of models whose score is a dot product, without a number per item in Python.

score = query · vector + weights · extras, where the extras of an item are what speaks for it
whoever asks (popularity, a trend).  Four ways lead to a short list:

- an 8-bit copy, where the processor can multiply it (see coarse);
- elsewhere one matrix product in float32, and what may be among the k best by its rounding;
- or, for a few questions, a half-precision copy, which is read in half the time.  Its error is
  bounded by the vectors' own rounding; where that does not prove a list complete, the product does;
- more than `LARGE` items: an inverted file with 4-bit codes (see copies) for all but the most
  popular items, which are all looked at.  It may miss some; how many of its lists are looked into
  was chosen for these vectors and people when the release was packaged (see probes).

All that is on a short list is then scored again in double precision, by the same operations
whatever the batch, so that an answer does not depend on who else is asking.
"""

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridgerec.errors import ArtifactError
from bridgerec.serving.coarse import ALONE, OUT, UNIT, Coarse, possible
from bridgerec.serving.copies import half, listed, padded, sought
from bridgerec.serving.topk import Best, Floats, Ints, Pairs, at_least, hide, sort

Hidden = Sequence[Sequence[int] | Ints]
BUFFER = 2**24  # scores at a time: 64 MiB
FEW = 4  # questions up to which the half-precision copy is faster than a matrix product
SMALL = 20_000  # items below which it is not worth having
LARGE = 250_000
SPARE = 64  # places more than asked for, of the short lists that are not complete by themselves
REFINED = 3  # times as many as asked for, where the codes are of 4 bits
TOGETHER = 64  # questions at a time that the inverted file is asked
HEAD = 100  # one item of so many is always looked at
MANY = 8  # groups of the 8-bit copy that may be looked into, per item asked for and 100 more


class Index:
    """`vectors` (n, d) may be a read-only map of a file; `extras` (n, e) should be scaled so that
    they count about as much as one of the vectors' numbers: the short lists round all alike.
    `inverted` is a file over both (see copies).

    Raises:
        ArtifactError: a number is not finite.
    """

    def __init__(self, vectors: Floats, extras: Floats, inverted: Any = None) -> None:
        self.vectors = vectors
        # a constant for all items changes no order, but large numbers are rounded coarsely
        self.shift = extras.mean(axis=0)
        self.extras = np.ascontiguousarray(extras - self.shift)
        norms = np.sqrt(np.einsum("nd,nd->n", vectors, vectors) + (self.extras**2).sum(1))
        if not np.isfinite(norms).all():
            raise ArtifactError("an item vector holds numbers that are not finite. Train again.")
        self.longest = float(norms.max(initial=0))
        self._lock, self._buffer = threading.Lock(), np.empty(0, dtype=np.float32)
        self._half: Any = None
        self._coarse: Coarse | None = None
        self._inverted = inverted
        self._head: Ints | None = None
        if inverted is not None:
            self._keep_head(len(vectors) // HEAD)

    def quicken(self) -> None:
        """Make the copy by which lists are found faster.  Takes a while: others may ask meanwhile,
        and get the same answers."""
        if self._inverted is not None or not SMALL <= len(self.vectors) < LARGE:
            return
        if possible():
            found = Coarse(self.vectors, self.extras)
            found.prepare()
            self._coarse = found
        else:
            made, self._half_error = half(padded(self.vectors, self.extras))
            self._half = made

    def _keep_head(self, count: int) -> None:
        """Set apart the items for which most speaks whoever asks.  They may be among the best of
        people whose lists are elsewhere, so all of them are looked at."""
        worth = self.extras.sum(axis=1)
        self._head = np.sort(np.argpartition(-worth, count)[:count])
        self._head_keys = listed(self.vectors[self._head], self.extras[self._head])
        self._in_head = np.zeros(len(worth), dtype=bool)
        self._in_head[self._head] = True

    def top(self, queries: Floats, weights: Floats, k: Sequence[int], hidden: Hidden) -> list[Best]:
        """For questions with `queries` (batch, d) and `weights` (batch, e): the `k[i]` best
        without the places `hidden[i]`."""
        most = max(k, default=0)
        step = max(1, BUFFER // max(1, len(self.vectors)))
        if self._inverted is not None:
            step = TOGETHER
        found: list[Best] = []
        for start in range(0, len(queries), step):
            part = slice(start, start + step)
            asked = queries[part], weights[part], k[part], hidden[part]
            if self._inverted is not None:
                found += self._refined(self._inverted, *asked)
            elif self._coarse is not None and self._coarse.holds(most):
                found += self._narrowed(self._coarse, *asked)
            elif self._half is not None and len(asked[0]) <= FEW:
                found += self._few(*asked)
            else:
                found += self._all(*asked)
        return found

    def probe(self, lists: int) -> None:
        """How many inverted lists to look into from now on."""
        self._inverted.nprobe = lists

    @property
    def probes(self) -> int:
        """How many inverted lists are looked into."""
        return int(self._inverted.nprobe)

    @property
    def lists(self) -> int:
        """How many inverted lists there are."""
        return int(self._inverted.nlist)

    def scores(self, queries: Floats, weights: Floats) -> Floats:
        """Of all items, (batch, n), rounded as float32 products are."""
        found: Floats = queries @ self.vectors.T + weights @ self.extras.T
        found += (weights @ self.shift)[:, None]
        return found

    def _all(
        self, queries: Floats, weights: Floats, k: Sequence[int], hidden: Hidden
    ) -> list[Best]:
        size = len(queries) * len(self.vectors)
        with self._lock:
            if len(self._buffer) < size:
                self._buffer = np.empty(size, dtype=np.float32)
            scores = self._buffer[:size].reshape(len(self.vectors), len(queries)).T
            product(queries, self.vectors, scores, add=False)
            product(weights, self.extras, scores, add=True)
            hide(scores, hidden)
            pairs = at_least(scores, max(k, default=0), self._rounding(queries, weights))
        return sort(self._exact(queries, weights, pairs.row, pairs.place), len(queries), k)

    def _narrowed(
        self, coarse: Coarse, queries: Floats, weights: Floats, k: Sequence[int], hidden: Hidden
    ) -> list[Best]:
        batch, most = len(queries), max(k, default=0)
        if 1 < batch <= ALONE:
            rows = [slice(i, i + 1) for i in range(batch)]
            return [
                self._narrowed(coarse, queries[r], weights[r], k[r], hidden[r])[0] for r in rows
            ]
        asked = coarse.ask(queries, weights)
        with coarse:
            scores = coarse.scores(asked.keys, hidden)
            kth = coarse.kth(scores, max(1, most), batch)
            # k items score at least kth - error; what the copy puts two errors lower scores less
            bound = np.floor(kth - 2 * asked.error / asked.unit)
            bound = np.maximum(bound, OUT + 1).astype(np.int32)
            near = coarse.at_least(scores, bound, MANY * (most + 100))
        found = sort(self._exact(queries, weights, near.row, near.place), batch, k)
        for i in np.flatnonzero(near.many | (kth == OUT)).tolist():
            one = slice(i, i + 1)
            found[i] = self._all(queries[one], weights[one], k[one], hidden[one])[0]
        return found

    def _few(
        self, queries: Floats, weights: Floats, k: Sequence[int], hidden: Hidden
    ) -> list[Best]:
        batch, wanted = len(queries), self._wanted(max(k, default=0), hidden)
        near, place = self._half.search(padded(queries, weights), wanted)
        row, place = np.repeat(np.arange(batch), wanted), place.ravel().astype(np.int64)
        keep = place >= 0
        for i, own in enumerate(hidden):
            if len(own):
                keep[(row == i) & np.isin(place, own)] = False
        found = sort(self._exact(queries, weights, row[keep], place[keep]), batch, k)
        error = (self._half_error + 2 * UNIT * self.vectors.shape[1] * self.longest) * lengths(
            queries, weights
        )
        shift = weights @ self.shift
        for i, best in enumerate(found):
            # whatever is not on the list scores at most the least of it plus the error
            known = len(best.scores) == k[i] and (
                k[i] == 0 or best.scores[-1] - shift[i] > near[i, -1] + error[i] + 1e-6
            )
            if not known:
                one = slice(i, i + 1)
                found[i] = self._all(queries[one], weights[one], k[one], hidden[one])[0]
        return found

    def _refined(
        self,
        inverted: Any,
        queries: Floats,
        weights: Floats,
        k: Sequence[int],
        hidden: Hidden,
    ) -> list[Best]:
        """The best of the inverted file's short lists and of the head."""
        assert self._head is not None
        most, asked = max(k, default=0), sought(queries, weights)
        near = inverted.search(asked, self._wanted(REFINED * most, hidden))[1]
        slack = self._rounding(queries, weights)
        longest = max(map(len, hidden), default=0)
        popular = at_least(asked @ self._head_keys.T, most + longest, slack)
        found = []
        for i, own in enumerate(hidden):  # by itself, a question's items stay in the cache
            one, leading = slice(i, i + 1), popular.row == i
            close = near[i][near[i] >= 0]
            close = close[~self._in_head[close]]
            place = np.append(close, self._head[popular.place[leading]])
            scores = self.vectors[close] @ queries[i] + self.extras[close] @ weights[i]
            scores = np.append(scores, popular.score[leading])
            if len(own):
                scores[np.isin(place, own)] = -np.inf
            best = at_least(scores[None], k[i], slack[i])
            found += sort(
                self._exact(queries[one], weights[one], best.row, place[best.place]), 1, k[one]
            )
        return found

    def _wanted(self, most: int, hidden: Hidden) -> int:
        return min(len(self.vectors), most + max(map(len, hidden), default=0) + SPARE)

    def _rounding(self, queries: Floats, weights: Floats) -> Floats:
        """Twice what float32 can have moved a score by, (batch,)."""
        unit = 2 * UNIT * (self.vectors.shape[1] + 4) * self.longest
        return (unit * lengths(queries, weights)).astype(np.float32)

    def _exact(self, queries: Floats, weights: Floats, row: Ints, place: Ints) -> Pairs:
        products = self.vectors.take(place, axis=0)
        products *= queries.take(row, axis=0)
        own = products.astype(np.float64).sum(axis=1)
        extra = (self.extras[place] + self.shift) * weights[row]
        own += extra.astype(np.float64).sum(axis=1)
        return Pairs(row, place, own.astype(np.float32))


def lengths(queries: Floats, weights: Floats) -> NDArray[np.float64]:
    return np.sqrt(
        (queries.astype(np.float64) ** 2).sum(1) + (weights.astype(np.float64) ** 2).sum(1)
    )


def product(rows: Floats, columns: Floats, out: Floats, add: bool) -> None:
    """`out` (batch, n), in column-major order, becomes (or grows by) rows @ columns.T.

    By BLAS itself, since numpy cannot add to what is there; this order is the faster one.
    """
    if len(rows) == 1:  # which a matrix product is bad at
        one = columns @ rows[0]
        out[0] = out[0] + one if add else one
        return
    from scipy.linalg.blas import sgemm

    flipped = np.asfortranarray(rows, dtype=np.float32)
    done = sgemm(1.0, flipped, columns.T, float(add), out, overwrite_c=1)
    if not np.shares_memory(done, out):  # a copy was made: of an unaligned map, say
        out[:] = done
