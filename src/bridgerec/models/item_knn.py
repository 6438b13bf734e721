"""Item-based nearest neighbours over the merged histories of all domains.

Cosine similarity with shrinkage (Sarwar et al. 2001; Deshpande & Karypis 2004).
"""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import sparse

from bridgerec.config import Range, Space
from bridgerec.data.dataset import Histories, Training
from bridgerec.models.base import Arrays, Candidate, CandidateConfig
from bridgerec.models.sparse import entries, matrix, pack, unpack


class ItemKNNConfig(CandidateConfig):
    """`neighbours` kept per item; `shrink` is added to the denominator of the cosine."""

    neighbours: int = Field(100, ge=1)
    shrink: float = Field(10.0, ge=0)
    recency: float = Field(1.0, gt=0, le=1)


class ItemKNN(Candidate):
    """score(j) = sum over history items i of sim(i, j), i among the neighbours of j."""

    quick = True
    config_class = ItemKNNConfig
    space: ClassVar[Space] = {
        "neighbours": Range(low=20, high=1000, log=True),
        "shrink": Range(low=0.1, high=300, log=True),
        "recency": Range(low=0.5, high=1),
    }

    def fit(self, training: Training) -> None:
        x = matrix(training.histories, self.n_items, weighted=True).tocsc()
        norms = np.sqrt(np.asarray(x.multiply(x).sum(axis=0)).ravel())
        columns = []
        for start in range(0, self.n_items, 2048):  # a block of columns bounds the memory
            stop = min(start + 2048, self.n_items)
            product = (x.T @ x[:, start:stop]).tocsc()
            columns.append(self._nearest(product, norms, norms[start:stop], start))
        self._keep(sparse.hstack(columns, format="csr").astype(np.float32))

    def _keep(self, similarity: sparse.csr_matrix) -> None:
        self.similarity = similarity
        self.by_target = {d: similarity[:, self.block(d)].tocsr() for d in self.domains}

    def _nearest(
        self,
        product: sparse.csc_matrix,
        norms: NDArray[np.float32],
        own: NDArray[np.float32],
        start: int,
    ) -> sparse.csc_matrix:
        column = np.repeat(np.arange(product.shape[1]), np.diff(product.indptr))
        data = product.data / (norms[product.indices] * own[column] + self.config.shrink)
        data[product.indices == column + start] = 0
        # the most similar first inside each column, lower index first among equals
        order = np.lexsort((product.indices, -data, column))
        place = np.arange(len(order)) - product.indptr[:-1][column[order]]
        kept = order[(place < self.config.neighbours) & (data[order] > 0)]
        return sparse.csc_matrix(
            (data[kept], (product.indices[kept], column[kept])), shape=product.shape
        )

    def score(self, histories: Histories, target: str) -> NDArray[np.float32]:
        h = matrix(histories, self.n_items, self.config.recency)
        return (h @ self.by_target[target]).toarray().astype(np.float32)

    def contributions(
        self, histories: Histories, target: str, items: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        each = entries(histories, self.n_items, self.config.recency) @ self.by_target[target]
        return each[:, items - self.block(target).start].toarray().T.astype(np.float32)

    def arrays(self) -> Arrays:
        return pack("similarity", self.similarity)

    def restore(self, arrays: Arrays) -> None:
        self._keep(unpack("similarity", arrays))
