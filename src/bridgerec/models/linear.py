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
FEW = 4  # a sparse product is as fast as a dense one with one number of so many


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
    """The weights B (kept, kept) of the items `kept`, given as rising numbers.

    All other items are regressed on those by the same ridge, C = P A_kept' A_others, of which
    nothing of the size (kept, others) is made: P = (I - B) diag(p), and A stays in its two parts
    x (people, items) and v (items, size).  With every item kept, p, x and v are empty.
    """

    def __init__(self, b: Floats, kept: NDArray[np.int64], p: Floats, x: Any, v: Floats) -> None:
        self.b, self.kept, self.p, self.x, self.v = b, kept, p, x, v
        self.others = np.setdiff1d(np.arange(x.shape[1]), kept)
        self.x_kept, self.x_others = x[:, kept], x[:, self.others].T.tocsr()

    @classmethod
    def solve(cls, x: Any, v: Floats, regularization: float, limit: int) -> "Primal":
        """The `limit` items with the largest sums of `x` are kept."""
        n = x.shape[1]
        met = np.asarray(x.sum(axis=0)).ravel()
        kept = np.sort(np.argsort(-met, kind="stable")[:limit])
        own, text = x[:, kept], v[kept]
        gram = np.asfortranarray((own.T @ own).toarray().astype(np.float32) + text @ text.T)
        gram[np.diag_indices(len(gram))] += regularization
        b = inverse(gram)
        p = np.diag(b).copy()
        b /= -p
        np.fill_diagonal(b, 0)
        if len(kept) == n:
            p, x, v = p[:0], x[:0], v[:, :0]
        return cls(b, kept, p, x, v)

    def score(self, h: Any, block: slice) -> Floats:
        if not len(self.others):
            return np.asarray(h @ self.b[:, block], dtype=np.float32)
        known = h[:, self.kept]
        found = known @ self.b
        z = (known.toarray() - found) * self.p  # h P
        scores = np.zeros((h.shape[0], block.stop - block.start), dtype=np.float32)
        own, other = (
            slice(*np.searchsorted(items, (block.start, block.stop)))
            for items in (self.kept, self.others)
        )
        scores[:, self.kept[own] - block.start] = found[:, own]
        rest = self.others[other]
        people = self.x_kept @ z.T
        scores[:, rest - block.start] = (self.x_others[other] @ people).T + (
            z @ self.v[self.kept]
        ) @ self.v[rest].T
        return scores

    def arrays(self) -> Arrays:
        return {"b": self.b, "kept": self.kept, "p": self.p, **pack("x", self.x), "v": self.v}

    @classmethod
    def of(cls, arrays: Arrays) -> "Primal":
        return cls(arrays["b"], arrays["kept"], arrays["p"], unpack("x", arrays), arrays["v"])


class Dual:
    """X sparse (people, items), V (items, size), K and q (items,) of the dual form."""

    def __init__(self, x: Any, v: Floats, k: Floats, q: Floats) -> None:
        self.x = x
        self.v, self.k, self.q = v, k, q
        self.columns = x.T.tocsr()
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
        met, meant = h @ self.columns, h @ self.v
        if met.nnz < n // FEW:  # who asks shares items with few people: most of K is not looked at
            z = met @ self.k[:n] + meant @ self.k[n:]
        else:
            z = np.concatenate([met.toarray(), meant], axis=1) @ self.k
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
