"""NDCG of lists of scored items, where a blend is fitted to it."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
CUTS = (10, 100)


class Lists:
    """Lists (n, width) with what was `relevant` in them, of `total` (n,) items to be found; asked
    again and again with other scores."""

    def __init__(self, relevant: NDArray[np.bool_], total: NDArray[np.int64]) -> None:
        self.gain = 1 / np.log2(np.arange(2, max(CUTS) + 2))
        self.ideals = [np.cumsum(self.gain)[np.minimum(total, k) - 1] for k in CUTS]
        self.case, self.place = np.nonzero(relevant)

    def ndcg(self, scores: Floats) -> NDArray[np.float64]:
        """The mean of NDCG@10 and NDCG@100, shape (n,): the longer list steadies the shorter one,
        which alone is shown.  Ties count against the scores."""
        own = scores[self.case, self.place]
        rank = (scores[self.case] >= own[:, None]).sum(1) - 1
        found = np.zeros(len(scores))
        for k, ideal in zip(CUTS, self.ideals, strict=True):
            worth = np.where(rank < k, self.gain[np.minimum(rank, k - 1)], 0)
            found += np.bincount(self.case, worth, len(scores)) / ideal
        return found / len(CUTS)
