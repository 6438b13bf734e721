"""Popularity, all-time or recent: the baseline that needs no history at all."""

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bridgerec.data.dataset import Histories, Training
from bridgerec.models.base import Arrays, Candidate, CandidateConfig
from bridgerec.models.trends import Trends


class PopularityConfig(CandidateConfig):
    """`half_life_days`: after so many days a row counts half; None counts all rows alike."""

    half_life_days: float | None = Field(None, gt=0)


class Popularity(Candidate):
    """Rows per item, each by its strength; with a half-life those before the moment of the
    question alone, faded by age (`models.trends`)."""

    quick = True
    config_class = PopularityConfig

    def fit(self, training: Training) -> None:
        rows, half_life = training.histories, self.config.half_life_days
        self.trends = None
        if half_life is None or rows.timestamp is None:
            count = np.bincount(rows.items, rows.strength.astype(np.float64), self.n_items)
            self.popularity = count.astype(np.float32)
        else:
            self.trends = Trends.fit(training, (half_life,))

    def score(self, histories: Histories, target: str) -> NDArray[np.float32]:
        block = self.block(target)
        if self.trends is not None:
            return np.array(self.trends.of_block(0, histories.moment, block))
        return np.repeat(self.popularity[None, block], len(histories), axis=0)

    def contributions(
        self, histories: Histories, target: str, items: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        return np.zeros((len(items), len(histories.items)), dtype=np.float32)

    def arrays(self) -> Arrays:
        return {"popularity": self.popularity} if self.trends is None else self.trends.arrays()

    def restore(self, arrays: Arrays) -> None:
        self.trends = Trends.of(arrays) if "edges" in arrays else None
        if self.trends is None:
            self.popularity = arrays["popularity"]
