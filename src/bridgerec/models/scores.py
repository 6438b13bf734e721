"""How scores of different models are added: made alike first, then one by one."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def standardised(scores: Floats) -> Floats:
    """Each row with mean 0 and deviation 1; a constant row becomes zeros."""
    centred = scores - scores.mean(axis=1, keepdims=True)
    spread = centred.std(axis=1, keepdims=True)
    return np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 1e-12)


class Mix:
    """A weighted sum that takes standardised scores (batch, items) of one model after the other,
    in the order of the columns of `weights` (batch, models), and keeps none of them."""

    def __init__(self, weights: Floats, n_items: int) -> None:
        self.scores: Floats = np.zeros((len(weights), n_items), dtype=np.float32)
        self._columns = iter(weights.T[:, :, None])

    def add(self, scores: Floats) -> None:
        self.scores += next(self._columns) * scores
