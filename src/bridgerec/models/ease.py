"""EASE (Steck, WWW 2019) over one or all domains, with text rows and recency.

The matrix A = [X; w V'] (people and text dimensions by items) is autoencoded linearly; items
without any interaction get scores through their text rows.
"""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bridgerec.config import Range, Space
from bridgerec.data.dataset import Histories, Training
from bridgerec.errors import ArtifactError
from bridgerec.models.base import Arrays, Candidate, CandidateConfig, under
from bridgerec.models.linear import Dual, Primal, Solved
from bridgerec.models.sparse import entries, matrix


class EASEConfig(CandidateConfig):
    """`source_domains: false` looks at the target alone.  `text_weight` scales the rows of
    item vectors (0: none); without `text_between_domains` each domain has text rows of its own,
    so that items of different domains are like each other by who met them alone.  `recency`
    multiplies a history item once per newer item.
    `max_rows` bounds the matrix that is inverted: people plus text dimensions; where they are
    more, the most met items, on which all other items are regressed."""

    regularization: float = Field(400.0, gt=0)
    source_domains: bool = True
    text_weight: float = Field(0.0, ge=0)
    text_between_domains: bool = True
    recency: float = Field(1.0, gt=0, le=1)
    max_rows: int = Field(10_000, ge=1)


class EASE(Candidate):
    """Linear item-item autoencoder in closed form."""

    quick = True
    config_class = EASEConfig
    space: ClassVar[Space] = {
        "regularization": Range(low=1, high=5000, log=True),
        "text_weight": Range(low=0.1, high=50, log=True),
        "recency": Range(low=0.5, high=1),
    }

    def fit(self, training: Training) -> None:
        x = matrix(training.histories, self.n_items, weighted=True)
        if self.config.text_weight > 0 and training.vectors is None:
            raise ArtifactError("EASE with text_weight needs item vectors; run the embed stage.")
        v = (
            training.vectors * np.float32(self.config.text_weight)
            if self.config.text_weight > 0 and training.vectors is not None
            else np.zeros((self.n_items, 0), dtype=np.float32)
        )
        if self.config.source_domains and not self.config.text_between_domains:
            v = self._apart(v)  # a domain on its own has nothing to be kept apart from
        self.parts: dict[str, Solved] = {}
        spans = (
            {"all": slice(0, self.n_items)}
            if self.config.source_domains
            else {d: self.block(d) for d in self.domains}
        )
        for name, span in spans.items():
            inside = x[:, span]
            rows = np.flatnonzero(np.diff(inside.indptr) > 0)  # people without rows add nothing
            a = inside[rows], v[span], self.config.regularization
            small = len(rows) + v.shape[1] <= self.config.max_rows
            self.parts[name] = Dual.solve(*a) if small else Primal.solve(*a, self.config.max_rows)

    def _apart(self, v: NDArray[np.float32]) -> NDArray[np.float32]:
        """Vectors (items, size) with a range of columns for each domain, zeros elsewhere."""
        size = v.shape[1]
        found = np.zeros((len(v), size * len(self.domains)), dtype=np.float32)
        for i, domain in enumerate(self.domains):
            block = self.block(domain)
            found[block, i * size : (i + 1) * size] = v[block]
        return found

    def score(self, histories: Histories, target: str) -> NDArray[np.float32]:
        block = self.block(target)
        if self.config.source_domains:
            h = matrix(histories, self.n_items, self.config.recency)
            return self.parts["all"].score(h, block)
        known = histories.within(block)
        h = matrix(known, self.n_items, self.config.recency)[:, block]
        return self.parts[target].score(h, slice(0, block.stop - block.start))

    def contributions(
        self, histories: Histories, target: str, items: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        block, recency = self.block(target), self.config.recency
        if self.config.source_domains:
            each = self.parts["all"].score(entries(histories, self.n_items, recency), block)
        else:
            inside = (histories.items >= block.start) & (histories.items < block.stop)
            own = entries(histories.where(inside), self.n_items, recency)[:, block]
            each = np.zeros((len(inside), block.stop - block.start), dtype=np.float32)
            each[inside] = self.parts[target].score(own, slice(0, each.shape[1]))
        return np.ascontiguousarray(each[:, items - block.start].T)

    def arrays(self) -> Arrays:
        return {f"{n}.{k}": a for n, part in self.parts.items() for k, a in part.arrays().items()}

    def restore(self, arrays: Arrays) -> None:
        names = {key.split(".")[0] for key in arrays}
        self.parts = {}
        for name in sorted(names):
            own = under(arrays, f"{name}.")
            self.parts[name] = (Primal if "b" in own else Dual).of(own)
