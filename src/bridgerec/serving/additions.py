"""Items that came after training, ranked by every model without training it again.

A new item's score is the mean of the model's scores of its nearest catalogue items, weighted by
their cosine: the nearest-neighbour transfer of Gantner et al. (ICDM 2010, "Learning
Attribute-to-Feature Mappings for Cold-Start Recommendations"), applied to scores in place of
factors, which for models that are linear in the item's factors is the same.  Being a mean it can
lead a list only where its neighbours do.
"""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
NEIGHBOURS = 10
NOWHERE: Mapping[int, int] = {}


@dataclass(frozen=True, eq=False)
class Borrowed:
    """How the added items of a domain get scores: `near` (m, k) places among the catalogue's items
    of the domain, and their `share` (m, k), which sums to 1."""

    near: Ints
    share: Floats

    def scores(self, scores: Floats) -> Floats:
        """(..., m) from the scores of the domain's catalogue items (..., n)."""
        found: Floats = (scores[..., self.near] * self.share).sum(-1)
        return found


class Entry(NamedTuple):
    """An addition: its global index, vector (size,), and the global indices of its neighbours (k,)
    with their shares (k,); `first` is the index of its domain's first catalogue item."""

    at: int
    domain: str
    vector: Floats
    near: Ints
    share: Floats
    first: int


class Additions:
    """`vectors` (m, size), `near` (m, k) catalogue indices, `weights` (m, k) that sum to 1;
    the global index of row j is `start + j`.  They never change: more of them are others."""

    def __init__(self, start: int) -> None:
        self.start = start
        self.vectors: Floats = np.zeros((0, 0), dtype=np.float32)
        self.near: Ints = np.zeros((0, 0), dtype=np.int64)
        self.weights: Floats = np.zeros((0, 0), dtype=np.float32)
        self._members: dict[str, Ints] = {}
        self._places: dict[str, dict[int, int]] = {}
        self._borrowed: dict[str, Borrowed] = {}
        self._none: Ints = np.zeros(0, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.vectors)

    def of_domain(self, domain: str) -> Ints:
        """Global indices of the added items of a domain, in the order they came."""
        return self._members.get(domain, self._none)

    def places(self, domain: str) -> Mapping[int, int]:
        """Where `of_domain` has them, by global index."""
        return self._places.get(domain, NOWHERE)

    def putting(self, entries: Sequence[Entry]) -> "Additions":
        """These with more, or in place of those with the same index."""
        if not entries:
            return self
        found, rows = copy(self), [entry.at - self.start for entry in entries]
        found.vectors = _put(self.vectors, rows, [entry.vector for entry in entries])
        found.near = _put(self.near, rows, [entry.near for entry in entries])
        found.weights = _put(self.weights, rows, [entry.share for entry in entries])
        found._members, found._borrowed = {**self._members}, {**self._borrowed}
        found._places = {**self._places}
        for domain, first in {entry.domain: entry.first for entry in entries}.items():
            own = {**self.places(domain)}
            for entry in entries:
                if entry.domain == domain:
                    own.setdefault(entry.at, len(own))
            members = np.array([*own], dtype=np.int64)
            found._places[domain] = own
            at = members - self.start
            found._members[domain] = members
            found._borrowed[domain] = Borrowed(found.near[at] - first, found.weights[at])
        return found

    def borrowed(self, domain: str) -> Borrowed | None:
        """How the domain's added items get scores; None: there are none."""
        return self._borrowed.get(domain)

    def stand_in(self, item: int) -> int:
        """The catalogue item that takes an added item's place in a history."""
        return int(self.near[item - self.start, 0])


def _put(old: NDArray[Any], rows: list[int], new: list[NDArray[Any]]) -> NDArray[Any]:
    """A copy of `old` (m, size) with `new` rows at these places, which may be behind its end."""
    found = np.zeros((max(len(old), max(rows) + 1), len(new[0])), dtype=old.dtype)
    if len(old):
        found[: len(old)] = old
    found[rows] = new
    return found


def nearest(cosine: Floats, k: int = NEIGHBOURS) -> tuple[Ints, Floats]:
    """The places of the largest cosines, best first, and weights that sum to 1.

    Always `k` of them: where there are fewer, the best place fills up with weight 0.
    """
    count = min(k, len(cosine))
    best = np.argpartition(-cosine, count - 1)[:count]
    best = best[np.lexsort((best, -cosine[best]))]
    weights = np.maximum(cosine[best], 0)
    if weights.sum() <= 0:  # a text without any likeness: all alike
        weights = np.ones(count, dtype=np.float32)
    filled = np.full(k, best[0], dtype=np.int64)
    filled[:count] = best
    share = np.zeros(k, dtype=np.float32)
    share[:count] = weights / weights.sum()
    return filled, share
