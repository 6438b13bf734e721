"""Item vectors averaged along who consumed what together.

AlphaRec (Sheng et al., ICLR 2025) with the normalisation of LightGCN (He et al., SIGIR 2020): a
step carries vectors from items to people and back.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags

from bridgerec.data.dataset import Histories

Floats = NDArray[np.float32]


def propagate(vectors: Floats, histories: Histories, steps: int) -> Floats:
    """The mean of the vectors after 0..`steps` steps, unit length; items without rows keep
    theirs."""
    if steps == 0:
        return vectors
    shape = (len(histories), len(vectors))
    ones = np.ones(len(histories.items), dtype=np.float32)
    # copied: sum_duplicates sorts in place, and the history must keep its order
    met = csr_matrix((ones, histories.items.copy(), histories.indptr), shape)
    met.sum_duplicates()
    met.data[:] = 1
    people, items = (
        diags(1 / np.sqrt(np.maximum(np.asarray(met.sum(axis)).ravel(), 1))) for axis in (1, 0)
    )
    met = (people @ met @ items).astype(np.float32)
    total, current = vectors.copy(), vectors
    for _ in range(steps):
        current = met.T @ (met @ current)
        total += current
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)
