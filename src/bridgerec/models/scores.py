"""How scores of different models are added: made alike first, then one by one."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
After = Callable[[Floats, list[Floats]], Floats]


def standardised(scores: Floats) -> Floats:
    """Each row with mean 0 and deviation 1; a constant row becomes zeros."""
    centred = scores - scores.mean(axis=1, keepdims=True)
    spread = centred.std(axis=1, keepdims=True)
    return np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 1e-12)


class Mix:
    """A weighted sum that takes standardised scores (batch, items) of one model after the other,
    in the order of the columns of `weights` (batch, models).  They are kept only for `after`,
    which makes the answer from the sum and them."""

    def __init__(self, weights: Floats, n_items: int, after: After | None = None) -> None:
        self._sum: Floats = np.zeros((len(weights), n_items), dtype=np.float32)
        self._columns = iter(weights.T[:, :, None])
        self._after, self._kept = after, list[Floats]()

    def add(self, scores: Floats) -> None:
        self._sum += next(self._columns) * scores
        if self._after is not None:
            self._kept.append(scores)

    def scores(self) -> Floats:
        """The answer, once every model was added."""
        return self._sum if self._after is None else self._after(self._sum, self._kept)
