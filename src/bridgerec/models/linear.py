"""EASE's closed form, solved over people (dual) or over items (primal).

With A = [X; V'] (people and text dimensions by items), lambda the regularisation and
P = (A' A + lambda I)^-1, the paper's solution is B = I - P diag(1/P_jj).  With
K = (A A' + lambda I)^-1 and q_j = a_j' K a_j the Woodbury identity makes it

    h B = (h A' K A - h * q) / (1 - q)

so that either matrix may be inverted, whichever is smaller; the dual one also needs no matrix of
items by items to be kept.
"""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from bridgerec.errors import ArtifactError
from bridgerec.models.base import Arrays
from bridgerec.models.sparse import pack, unpack

Floats = NDArray[np.float32]


class Solved(Protocol):
    """A solved problem: scores of a block of items for sparse histories `h` (batch, items)."""

    def score(self, h: Any, block: slice) -> Floats: ...

    def arrays(self) -> Arrays: ...


def inverse(gram: Floats) -> Floats:
    """Inverse of a symmetric positive definite matrix, which is overwritten (column order).

    Raises:
        ArtifactError: it is singular.
    """
    factor, info = lapack.spotrf(gram, lower=1, overwrite_a=1)
    found, info2 = lapack.spotri(factor, lower=1, overwrite_c=1)
    if info or info2:
        raise ArtifactError("EASE's matrix is singular; raise its regularization.")
    found = np.tril(found)
    found += np.tril(found, -1).T
    return np.ascontiguousarray(found)


class Primal:
    """The item-item weights B (items, items)."""

    def __init__(self, b: Floats) -> None:
        self.b = b

    @classmethod
    def solve(cls, x: Any, v: Floats, regularization: float) -> "Primal":
        gram = np.asfortranarray((x.T @ x).toarray().astype(np.float32) + v @ v.T)
        gram[np.diag_indices(len(gram))] += regularization
        p = inverse(gram)
        p /= -np.diag(p)
        np.fill_diagonal(p, 0)
        return cls(p)

    def score(self, h: Any, block: slice) -> Floats:
        return np.asarray(h @ self.b[:, block], dtype=np.float32)

    def arrays(self) -> Arrays:
        return {"b": self.b}

    @classmethod
    def of(cls, arrays: Arrays) -> "Primal":
        return cls(arrays["b"])


class Dual:
    """X sparse (people, items), V (items, size), K and q (items,) of the dual form."""

    def __init__(self, x: Any, v: Floats, k: Floats, q: Floats) -> None:
        self.x = x
        self.v, self.k, self.q = v, k, q
        self.targets: dict[tuple[int, int], Any] = {}

    @classmethod
    def solve(cls, x: Any, v: Floats, regularization: float) -> "Dual":
        n, size = x.shape[0], v.shape[1]
        gram = np.empty((n + size, n + size), dtype=np.float32, order="F")
        gram[:n, :n] = (x @ x.T).toarray()
        gram[:n, n:] = x @ v
        gram[n:, :n] = gram[:n, n:].T
        gram[n:, n:] = v.T @ v
        gram[np.diag_indices(n + size)] += regularization
        k = inverse(gram)
        # q_j = a_j' K a_j with a_j = [x_j; v_j]; the people part only touches x_j's few rows
        # (without text rows `einsum` would sum over an empty axis, which numpy 2.4 was seen to
        # answer with uninitialised memory: hence the two conditions)
        q = np.einsum("ij,ij->i", v @ k[n:, n:], v) if size else np.zeros(len(v), np.float32)
        columns = x.T.tocsr()
        for start in range(0, x.shape[1], 1024):
            cut = slice(start, start + 1024)
            half = columns[cut] @ k[:n]
            q[cut] += np.asarray(columns[cut].multiply(half[:, :n]).sum(axis=1)).ravel()
            if size:
                q[cut] += 2 * np.einsum("ij,ij->i", half[:, n:], v[cut])
        if not (np.isfinite(q).all() and q.max(initial=0) < 1):
            raise ArtifactError("EASE's matrix is nearly singular; raise its regularization.")
        return cls(x, v, k, q)

    def score(self, h: Any, block: slice) -> Floats:
        n = self.x.shape[0]
        half = np.concatenate([(h @ self.x.T).toarray(), h @ self.v], axis=1)
        z = half @ self.k
        span = (block.start, block.stop)
        if span not in self.targets:
            self.targets[span] = self.x[:, block].T.tocsr()
        u = (self.targets[span] @ z[:, :n].T).T
        if self.v.shape[1]:
            u = u + z[:, n:] @ self.v[block].T
        q = self.q[block]
        u = np.ascontiguousarray(u, dtype=np.float32)
        rows = h[:, block].tocoo()
        u[rows.row, rows.col] -= rows.data * q[rows.col]
        u /= 1 - q
        return u

    def arrays(self) -> Arrays:
        return {**pack("x", self.x), "v": self.v, "k": self.k, "q": self.q}

    @classmethod
    def of(cls, arrays: Arrays) -> "Dual":
        return cls(unpack("x", arrays), arrays["v"], arrays["k"], arrays["q"])
