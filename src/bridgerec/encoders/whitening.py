"""Whitening of sentence vectors, with each domain's own mean removed.

Raw sentence vectors of one domain crowd into a narrow cone (mean cosine up to .8); whitening
makes directions comparable (Su et al. 2021, arXiv:2103.15316).  Removing the mean per domain
takes away what tells the platforms apart and keeps what they share.  `pca` sorts the directions by
strength, so that they can be cut; `zca` turns back, staying closest to the encoder's own axes
(Kessy et al. 2018); `none` only removes means.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridgerec.config import Whiten
from bridgerec.errors import DataError
from bridgerec.runtime import atomic_file

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Whitening:
    """`means` (domains, size of the encoder), `weights` (size of the encoder, size)."""

    means: Floats
    weights: Floats

    @classmethod
    def fit(
        cls, vectors: Floats, domain: NDArray[np.integer[Any]], size: int | None, epsilon: float,
        method: Whiten = "pca", domain_means: bool = True,
    ) -> "Whitening":  # fmt: skip
        """Fit on training items: `vectors` (n, d), `domain` (n,) numbers from 0.

        `size` keeps the strongest directions of `pca`; without `domain_means` one mean is removed
        from all.

        `epsilon` is added to each variance relative to the mean variance, so that directions of
        pure noise are not blown up.

        Raises:
            DataError: no item has any text, so that the vectors have no size.
        """
        if vectors.shape[1] == 0:
            raise DataError(
                "no item has any text in the fields that params.yaml names under embed.fields. "
                "Name fields that the tables fill (title, description, category, brand), or map "
                "their columns under data.domains.NAME.item_columns."
            )
        count = int(domain.max(initial=0)) + 1
        means = np.zeros((count, vectors.shape[1]))
        for number in range(count):
            members = domain == number if domain_means else np.full(len(domain), True)
            if members.any():
                means[number] = vectors[members].astype(np.float64).mean(0)
        if method == "none":
            return cls(means.astype(np.float32), np.eye(vectors.shape[1], dtype=np.float32))
        centred = vectors - means[domain]
        covariance = centred.T @ centred / max(len(centred), 1)
        variance, directions = np.linalg.eigh(covariance)
        variance, directions = variance[::-1], directions[:, ::-1]
        # eigenvectors have no sign of their own: make the largest entry positive
        largest = np.abs(directions).argmax(0)
        directions = directions * np.sign(directions[largest, np.arange(len(largest))])
        scale = 1 / np.sqrt(np.maximum(variance, 0) + epsilon * variance.mean() + 1e-12)
        weights = (directions * scale)[:, :size]
        if method == "zca":
            weights = (directions * scale) @ directions.T
        return cls(means.astype(np.float32), weights.astype(np.float32))

    def apply(self, vectors: Floats, domain: NDArray[np.integer[Any]]) -> Floats:
        """Unit vectors (n, size); rows of zeros (no text) stay zero."""
        known = np.minimum(domain, len(self.means) - 1)
        found = (vectors - self.means[known]) @ self.weights
        found[~np.any(vectors != 0, axis=1)] = 0
        norms = np.linalg.norm(found, axis=1, keepdims=True)
        return (found / np.maximum(norms, 1e-12)).astype(np.float32)

    def save(self, path: Path) -> None:
        from safetensors.numpy import save_file

        with atomic_file(path) as temporary:
            save_file({"means": self.means, "weights": self.weights}, temporary)

    @classmethod
    def load(cls, path: Path) -> "Whitening":
        from safetensors.numpy import load_file

        return cls(**load_file(path))
