"""Items that came after training, ranked by every model without training it again.

A new item's score is the mean of the model's scores of its nearest catalogue items, weighted by
their cosine: the nearest-neighbour transfer of Gantner et al. (ICDM 2010, "Learning
Attribute-to-Feature Mappings for Cold-Start Recommendations"), applied to scores in place of
factors, which for models that are linear in the item's factors is the same.  Being a mean it can
lead a list only where its neighbours do.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
NEIGHBOURS = 10


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


class Additions:
    """`vectors` (m, size), `near` (m, k) catalogue indices, `weights` (m, k) that sum to 1;
    the global index of row j is `start + j`."""

    def __init__(self, start: int) -> None:
        self.start = start
        self.vectors: Floats = np.zeros((0, 0), dtype=np.float32)
        self.near: Ints = np.zeros((0, 0), dtype=np.int64)
        self.weights: Floats = np.zeros((0, 0), dtype=np.float32)
        self._members: dict[str, Ints] = {}
        self._borrowed: dict[str, Borrowed] = {}
        self._none: Ints = np.zeros(0, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.vectors)

    def of_domain(self, domain: str) -> Ints:
        """Global indices of the added items of a domain, in the order they came."""
        return self._members.get(domain, self._none)

    def put(self, at: int, domain: str, vector: Floats, block: Floats, first: int) -> None:
        """Add (or replace) the item with global index `at`; `block` (n, size) are the vectors of
        its domain's catalogue items, of which `first` is the index of row 0."""
        near, weights = nearest(vector, block)
        row = at - self.start
        self.vectors = _put(self.vectors, row, vector)  # replaced: others may read the old one
        self.near = _put(self.near, row, near + first)
        self.weights = _put(self.weights, row, weights)
        if at not in self.of_domain(domain):
            self._members[domain] = np.append(self.of_domain(domain), at)
        rows = self.of_domain(domain) - self.start
        self._borrowed[domain] = Borrowed(self.near[rows] - first, self.weights[rows])

    def borrowed(self, domain: str) -> Borrowed | None:
        """How the domain's added items get scores; None: there are none."""
        return self._borrowed.get(domain)

    def stand_in(self, item: int) -> int:
        """The catalogue item that takes an added item's place in a history."""
        return int(self.near[item - self.start, 0])


def _put(rows: NDArray[Any], row: int, new: NDArray[Any]) -> NDArray[Any]:
    if row == len(rows):
        return np.concatenate([rows, new[None]]) if row else new[None]
    found = rows.copy()
    found[row] = new
    return found


def nearest(vector: Floats, block: Floats, k: int = NEIGHBOURS) -> tuple[Ints, Floats]:
    """Rows of `block` with the largest cosines, best first, and weights that sum to 1.

    Always `k` of them: where the block is smaller, its best row fills up with weight 0.
    """
    cosine = block @ vector
    count = min(k, len(block))
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
