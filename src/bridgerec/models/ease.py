"""EASE (Steck, WWW 2019) over one or all domains, with text rows and recency, in dual form.

With A = [X; w V'] (people and text dimensions by items), lambda the regularisation,
K = (A A' + lambda I)^-1 and q_j = a_j' K a_j, the closed form B = I - P diag(1/P_jj) of the
paper becomes, by the Woodbury identity,

    h B = (h A' K A - h * q) / (1 - q)

so that only a (people + text size)^2 matrix is inverted, however many items there are.  Items
without any interaction get scores through their text rows.
"""

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.linalg import lapack

from bridgerec.data.dataset import Histories, Training
from bridgerec.errors import ArtifactError
from bridgerec.models.base import Arrays, Candidate, CandidateConfig
from bridgerec.models.sparse import matrix, pack, unpack


class EASEConfig(CandidateConfig):
    """`source_domains: false` looks at the target alone.  `text_weight` scales the rows of
    item vectors (0: none).  `recency` multiplies a history item once per newer item."""

    regularization: float = Field(400.0, gt=0)
    source_domains: bool = True
    text_weight: float = Field(0.0, ge=0)
    recency: float = Field(1.0, gt=0, le=1)
    max_rows: int = Field(20_000, ge=1)


class EASE(Candidate):
    """Linear item-item autoencoder in closed form."""

    config_class = EASEConfig

    def fit(self, training: Training) -> None:
        x = matrix(training.histories, self.n_items)
        if self.config.text_weight > 0 and training.vectors is None:
            raise ArtifactError("EASE with text_weight needs item vectors; run the embed stage.")
        v = (
            training.vectors * np.float32(self.config.text_weight)
            if self.config.text_weight > 0 and training.vectors is not None
            else np.zeros((self.n_items, 0), dtype=np.float32)
        )
        self.parts: dict[str, _Part] = {}
        spans = (
            {"all": slice(0, self.n_items)}
            if self.config.source_domains
            else {d: self.block(d) for d in self.domains}
        )
        for name, span in spans.items():
            inside = x[:, span]
            rows = np.flatnonzero(np.diff(inside.indptr) > 0)  # people without rows add nothing
            if len(rows) + v.shape[1] > self.config.max_rows:
                raise ArtifactError(
                    f"EASE would invert a matrix of {len(rows) + v.shape[1]:,} rows; the limit is "
                    f"max_rows = {self.config.max_rows:,}. Raise prepare.k_core.user or max_rows "
                    "(memory grows with its square)."
                )
            self.parts[name] = _Part.solve(inside[rows], v[span], self.config.regularization)

    def score(self, histories: Histories, target: str) -> NDArray[np.float32]:
        block = self.block(target)
        if self.config.source_domains:
            h = matrix(histories, self.n_items, self.config.recency)
            return self.parts["all"].score(h, block)
        known = histories.within(block)
        h = matrix(known, self.n_items, self.config.recency)[:, block]
        return self.parts[target].score(h, slice(0, block.stop - block.start))

    def arrays(self) -> Arrays:
        return {f"{n}.{k}": a for n, part in self.parts.items() for k, a in part.arrays().items()}

    def restore(self, arrays: Arrays) -> None:
        names = {key.split(".")[0] for key in arrays}
        self.parts = {
            n: _Part.of(
                {k.removeprefix(f"{n}."): a for k, a in arrays.items() if k.startswith(f"{n}.")}
            )
            for n in sorted(names)
        }


class _Part:
    """One solved problem: X sparse (people, items), V (items, size), K, q (items,)."""

    def __init__(
        self, x: object, v: NDArray[np.float32], k: NDArray[np.float32], q: NDArray[np.float32]
    ) -> None:
        self.x: object = x
        self.v, self.k, self.q = v, k, q
        self.targets: dict[tuple[int, int], object] = {}

    @classmethod
    def solve(cls, x, v, regularization: float) -> "_Part":  # type: ignore[no-untyped-def]
        n, size = x.shape[0], v.shape[1]
        gram = np.empty((n + size, n + size), dtype=np.float32, order="F")
        gram[:n, :n] = (x @ x.T).toarray()
        gram[:n, n:] = x @ v
        gram[n:, :n] = gram[:n, n:].T
        gram[n:, n:] = v.T @ v
        gram[np.diag_indices(n + size)] += regularization
        factor, info = lapack.spotrf(gram, lower=1, overwrite_a=1)
        k, info2 = lapack.spotri(factor, lower=1, overwrite_c=1)
        if info or info2:
            raise ArtifactError("EASE's matrix is singular; raise its regularization.")
        k = np.tril(k)
        k += np.tril(k, -1).T
        k = np.ascontiguousarray(k)
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

    def score(self, h, block: slice) -> NDArray[np.float32]:  # type: ignore[no-untyped-def]
        n = self.x.shape[0]  # type: ignore[attr-defined]
        half = np.concatenate([(h @ self.x.T).toarray(), h @ self.v], axis=1)  # type: ignore[attr-defined]
        z = half @ self.k
        span = (block.start, block.stop)
        if span not in self.targets:
            self.targets[span] = self.x[:, block].T.tocsr()  # type: ignore[index]
        u = (self.targets[span] @ z[:, :n].T).T  # type: ignore[operator]
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
    def of(cls, arrays: Arrays) -> "_Part":
        return cls(unpack("x", arrays), arrays["v"], arrays["k"], arrays["q"])
